"""A plan counts everything, measures a little, and stores nothing."""

import pytest

from narrows.report.sweeps import plan_text, show_plan
from narrows.sweeps import plan, plan_sweep, read_grid

GRID = """
methods = ["cross_entropy", "vib"]
betas = [0.1, 1.0]
seeds = 5
members_per_run = 4
train.epochs = 4
network = {encoder = [8], bottleneck = 2, decoder = []}
evaluate = {attack_images = 20, information_samples = 50}
[grid]
data = ["digits", "toy1"]
"""


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    monkeypatch.chdir(tmp_path)
    return read_grid(path)


def test_rows_count_what_their_runs_have(sweep, tmp_path):
    made = plan_sweep(sweep)
    assert [(row.label, row.runs, row.members) for row in made.rows] == [
        ("data digits, cross_entropy", 2, 5),
        ("data toy1, cross_entropy", 2, 5),
        ("data digits, vib", 3, 10),
        ("data toy1, vib", 3, 10),
    ]
    assert (made.members, made.runs, made.kinds) == (30, 10, 4)
    assert all(row.stacked and row.training_seconds > 0 for row in made.rows)
    assert [row.attack_seconds > 0 for row in made.rows] == [True, False, True, False]
    # 64-8, 8-2 (and as many scales), 2-10.
    assert [row.weights for row in made.rows[::2]] == [520 + 18 + 30, 520 + 36 + 30]
    assert made.seconds == pytest.approx(sum(row.seconds for row in made.rows))
    assert [path.name for path in tmp_path.iterdir()] == ["grid.toml"]


def test_many_kinds_are_measured_in_part(sweep, monkeypatch, capsys):
    monkeypatch.setattr(plan, "_MEASURED", 1)
    made = plan_sweep(sweep)
    assert made.seconds == pytest.approx(6 * made.rows[0].seconds)
    assert "3 further kinds of runs count as the mean" in plan_text(made)
    from rich.console import Console

    show_plan(made, Console())
    assert "together" in capsys.readouterr().out


def test_a_kind_that_cannot_begin_says_why(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text('methods = ["vib"]\n[grid]\n"network.name" = ["mlp", "binary"]\n')
    good, bad = plan_sweep(read_grid(path)).rows
    assert good.error is None
    assert bad.error is not None
    assert bad.seconds == 0
