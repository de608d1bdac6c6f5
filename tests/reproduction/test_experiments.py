"""Experiments that are no run: numbers by row and column of their table."""

import pytest

from narrows.papers.imb import PlaneConfig
from narrows.reproduction import experiments
from narrows.reproduction.experiments import EXPERIMENTS, IMAGES
from narrows.reproduction.tables import load_table
from narrows.runs import Progress


@pytest.mark.parametrize(
    ("table", "experiment"),
    [
        ("reevaluation-figure5", "toy1"),
        ("reevaluation-figure7", "toy2"),
        ("imb-figure1", "imb-plane"),
    ],
)
def test_an_experiment_fills_its_table(table, experiment, tmp_path):
    given = load_table(table)
    assert given.experiment == experiment
    numbers = EXPERIMENTS[experiment](given, "smoke", tmp_path, Progress())
    assert set(numbers) == {(row.name, column.name) for row, column, _ in given.cells}
    assert all(0 <= value <= 100 for values in numbers.values() for value in values)


def test_the_papers_scale_is_the_papers():
    assert experiments._PLANES["paper"] == PlaneConfig()
    assert experiments._PLANES["paper"].epochs == 20_000
    toy = experiments._toy_config("toy1", "paper")
    assert (toy.steps, toy.seeds) == (1000, 10)
    assert experiments._toy_config("toy1", "smoke").steps == 2


def test_shares_of_samples_have_their_number():
    assert set(IMAGES) == {"toy1", "toy2"}
