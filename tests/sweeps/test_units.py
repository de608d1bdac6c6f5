from dataclasses import replace

from narrows.runs import Progress, Run
from narrows.runs.environment import Environment
from narrows.runs.files import locked_folder, read_json, write_json
from narrows.sweeps import Sweep, carry_out_unit, units

BASE = {
    "network": {"encoder": [8], "bottleneck": 2, "decoder": []},
    "train": {"epochs": 1},
    "evaluate": {"attack": False, "information_samples": 50},
}


def test_a_unit_says_what_became_of_its_models(tmp_path):
    base = {**BASE, "betas": [0.1, 1e38]}
    (unit,) = Sweep(base, ["vib"], seeds=1).units()
    result = carry_out_unit(unit, tmp_path, Progress())
    assert (result.members, result.diverged, result.error) == (1, 1, None)
    assert result.path == str(next(tmp_path.iterdir()))
    (unit,) = Sweep({**BASE, "betas": [1e38]}, ["vib"], seeds=1).units()
    result = carry_out_unit(unit, tmp_path)
    assert result.error is not None
    assert result.error.startswith("vib: every model diverged")


def test_a_unit_in_use_and_one_that_other_code_has_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(units, "_PAUSE", 0.0)
    (unit,) = Sweep(BASE, ["cross_entropy"], seeds=1).units()
    run = Run.open(str(carry_out_unit(unit, tmp_path).path))
    with locked_folder(run.path):
        result = carry_out_unit(unit, tmp_path)
    assert result.in_use
    assert "in use by another process" in str(result.error)
    assert result.other_code == ""
    path = run.path / "environment.json"
    write_json(path, "environment", Environment(narrows="0.0.1", git_commit="abc"))
    assert carry_out_unit(unit, tmp_path).other_code == "0.0.1 (commit abc)"
    attacked = replace(unit, attacks={"fgsm": {"eps": 0.1, "images": 5}})
    for _ in range(2):  # nothing is attacked a second time
        assert carry_out_unit(attacked, tmp_path).other_code == "0.0.1 (commit abc)"
        assert len(read_json(path, "environment", Environment).resumed) == 1
