"""`narrows sweep`: a grid from its plan to its results."""

import json

import pytest

from narrows.runs import Run
from scenarios_runs import narrows, refused

GRID = """
methods = ["cross_entropy", "vib"]
betas = [0.1]
seeds = 2
network = {encoder = [8], bottleneck = 2, decoder = []}
train.epochs = 1
evaluate = {information_samples = 50}
[attacks.fgsm]
eps = 0.1
images = 10
"""


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def test_a_sweep_from_its_plan_to_its_results(grid, tmp_path, capsys):
    out = tmp_path / "runs"
    code, printed, err = narrows(capsys, "sweep", grid, "--dry-run", "--out", out)
    assert (code, err) == (0, "")
    assert printed.splitlines()[-1].startswith("4 models in 2 runs, about ")
    code, printed, err = narrows(capsys, "sweep", grid, "--dry-run", "--json")
    assert (code, json.loads(printed)["members"]) == (0, 4)
    assert not out.exists()
    code, printed, err = narrows(capsys, "sweep", grid, "--out", out)
    assert (code, err) == (0, "")
    assert "1 of 2: cross_entropy, seeds 0 to 1: 2 models" in printed
    assert printed.splitlines()[-1] == f"2 of 2 runs complete, 4 models in {out}"
    assert all(Run.open(path).complete for path in out.iterdir())
    code, printed, err = narrows(capsys, "sweep", grid, "--out", out, "--json")
    results = json.loads(printed)
    assert [(row["members"], row["attacks"]) for row in results] == [(2, 1), (2, 1)]


def test_what_is_refused(grid, tmp_path, capsys):
    words = ["sweep", grid, "--out", tmp_path / "runs"]
    said = refused(capsys, *words, "--set", "seeds=10000000")
    assert "20,000,000 models" in said
    assert "--yes" in said
    assert "the grid is empty" in refused(capsys, *words, "--set", "methods=[]")
    assert "locl" in refused(capsys, *words, "--engine", "locl")
    assert not list(tmp_path.glob("runs/*"))


def test_runs_that_fail_are_named_at_the_end(grid, tmp_path, capsys):
    words = ["--set", "methods=[vib]", "--set", "betas=[1e38]", "--set", "seeds=1", "--quiet"]
    code, printed, err = narrows(capsys, "sweep", grid, "--out", tmp_path / "runs", *words)
    assert (code, printed.splitlines()[-1][:4]) == (2, "0 of")
    assert err.startswith("narrows: 1 of 1 runs failed; vib, seed 0: vib: every model diverged")
