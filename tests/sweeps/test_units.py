from narrows.runs import Progress
from narrows.sweeps import Sweep, carry_out_unit

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
