"""Experiments that are no run: numbers by row and column of their table."""

import pytest

from narrows.data import DATASETS
from narrows.papers.imb import PlaneConfig
from narrows.report.figures import FIGURES
from narrows.reproduction import experiments
from narrows.reproduction.experiments import EXPERIMENTS, FOLDERS, IMAGES, SETTINGS
from narrows.reproduction.tables import load_table
from narrows.runs import Progress
from product.stand_ins import stand_in


@pytest.mark.parametrize(
    ("table", "experiment"),
    [
        ("reevaluation-figure5", "toy1"),
        ("reevaluation-figure7", "toy2"),
        ("imb-figure1", "imb-plane"),
        ("ib-rar-figure5", "ib-rar-plane"),
    ],
)
def test_an_experiment_fills_its_table_and_has_its_figure(table, experiment, tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "cifar10", stand_in("cifar10"))
    given = load_table(table)
    assert given.experiment == experiment
    numbers = EXPERIMENTS[experiment](given, "smoke", tmp_path, Progress())
    assert set(numbers) == {(row.name, column.name) for row, column, _ in given.cells}
    assert all(0 <= value <= 100 for values in numbers.values() for value in values)
    (drawn,) = given.figures
    assert drawn.run == "experiment"
    folder = tmp_path / FOLDERS[experiment]("smoke")
    assert FIGURES[drawn.name].make(folder, Progress())[0].chart is not None


def test_every_experiment_has_settings_and_a_folder():
    assert set(EXPERIMENTS) == set(SETTINGS) == set(FOLDERS)


def test_the_plane_of_ib_rar_grows_with_the_scale():
    smoke, short, paper = (SETTINGS["ib-rar-plane"](s) for s in ("smoke", "short", "paper"))
    assert [each.run.train.epochs for each in (smoke, short, paper)] == [2, 10, 60]
    assert [each.run.networks["ib_rar"].channel_share for each in (smoke, short, paper)] == [
        0.03125, 0.25, 1.0,
    ]  # fmt: skip
    assert (smoke.run.train_images, paper.every, paper.batch_size) == (40, 50, 100)


def test_the_papers_scale_is_the_papers():
    assert experiments._PLANES["paper"] == PlaneConfig()
    assert experiments._PLANES["paper"].epochs == 20_000
    toy = experiments._toy_config("toy1", "paper")
    assert (toy.steps, toy.seeds) == (1000, 10)
    assert experiments._toy_config("toy1", "smoke").steps == 2


def test_shares_of_samples_have_their_number():
    assert set(IMAGES) == {"toy1", "toy2"}
