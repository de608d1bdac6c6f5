import json
import math

import pytest
import torch
from click.testing import CliRunner
from narrows.experiments.imb_plane import (
    PlaneConfig,
    epochs_to_reach,
    main,
    measured_epochs,
    run_plane,
)
from narrows.experiments.progress import Progress

from narrows.errors import ConfigError
from narrows.experiments import imb_plane

SHORT = {"epochs": 4, "seeds": 1, "samples": 1, "points": 2, "batch_size": 1000}


def point(epoch, *layers) -> dict:
    """Two seeds around the given relevances."""
    return {
        "epoch": epoch,
        "relevance": [[bits - 0.01 for bits in layers], [bits + 0.01 for bits in layers]],
    }


def test_epochs_are_spaced_evenly_in_the_logarithm_and_end_with_the_last():
    assert measured_epochs(1000, 4) == [0, 1, 10, 100, 1000]
    assert measured_epochs(5, 100) == [0, 1, 2, 3, 4, 5]
    assert measured_epochs(1, 1) == [0, 1]


def test_epochs_to_reach_what_the_rival_has_in_the_end():
    planes = {
        "sfnn": [point(0, 0.0, 0.0), point(100, 0.4, 0.1), point(1000, 0.5, 0.3)],
        "joint_imb": [point(0, 0.0, 0.0), point(50, 0.6, 0.2), point(1000, 0.55, 0.35)],
        "greedy_imb": [point(0, 0.0, 0.0), point(1000, 0.45, 0.1)],
    }
    found = epochs_to_reach(planes)
    assert found["sfnn"]["layer_1"] == 1.0
    assert found["joint_imb"]["layer_1"] == 0.05
    assert found["joint_imb"]["each"] == [0.05, 1.0]
    assert found["joint_imb"]["highest"] == pytest.approx([0.6, 0.35])
    assert found["greedy_imb"]["layer_1"] is None
    assert found["greedy_imb"]["each"] == [None, None]


@pytest.fixture
def small(monkeypatch) -> None:
    """Layers of few units, whose tables are small."""
    monkeypatch.setattr(imb_plane, "_HIDDEN", (4, 3))


@pytest.mark.usefixtures("small")
def test_the_command_trains_measures_and_says_where(tmp_path):
    arguments = ["--epochs", "2", "--seeds", "1", "--samples", "1", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    plane = json.loads((tmp_path / "imb-plane" / "plane.json").read_text())
    assert set(plane) == {"config", "reached", "sfnn", "joint_imb", "greedy_imb"}
    for method in ("sfnn", "joint_imb", "greedy_imb"):
        assert [p["epoch"] for p in plane[method]] == [0, 1, 2]
        for p in plane[method]:
            (rates,), (relevances,) = p["rate"], p["relevance"]
            # Data processing: less and less of both, and never more of the label than there is.
            assert rates == sorted(rates, reverse=True)
            assert relevances == sorted(relevances, reverse=True)
            assert 0 <= relevances[-1] <= relevances[0] <= 0.9992
    first = [plane[method][0] for method in ("sfnn", "joint_imb", "greedy_imb")]
    assert first[0] == first[1] == first[2]  # the same networks to begin with


class StoppedError(Exception):
    pass


@pytest.mark.usefixtures("small")
def test_a_run_that_was_broken_off_goes_on_to_the_same_end(tmp_path, monkeypatch):
    monkeypatch.setattr(imb_plane, "_CHECKPOINT_SECONDS", 0.0)
    config = PlaneConfig(methods=["joint_imb"], **SHORT)
    whole = run_plane(config, tmp_path / "whole", Progress())
    standing = imb_plane._standing

    def stop(point):
        if point["epoch"] == 2:
            raise StoppedError
        return standing(point)

    monkeypatch.setattr(imb_plane, "measured_epochs", lambda epochs, points: [0, 1, 2, 4])
    monkeypatch.setattr(imb_plane, "_standing", stop)
    with pytest.raises(StoppedError):
        run_plane(config, tmp_path / "broken", Progress())
    monkeypatch.setattr(imb_plane, "_standing", standing)
    again = run_plane(config, tmp_path / "broken", Progress())
    points = [
        json.loads((folder / "joint_imb" / "plane.json").read_text()) for folder in (whole, again)
    ]
    assert points[0] == [p for p in points[1] if p["epoch"] != 2]
    assert [p["epoch"] for p in points[1]] == [0, 1, 2, 4]
    kept = (again / "joint_imb" / "plane.json").stat().st_mtime_ns
    run_plane(config, tmp_path / "broken", Progress())
    assert (again / "joint_imb" / "plane.json").stat().st_mtime_ns == kept


def test_the_plane_is_that_of_the_enumeration_of_both_layers():
    members = imb_plane._members("sfnn", PlaneConfig(seeds=2))
    model = members.member(1).model
    x = torch.tensor([[i >> bit & 1 for bit in range(12)] for i in range(4096)]).double()
    linear = model.linear_layers()[0].double()
    p = torch.sigmoid(linear(x))
    # H(Z_1|X) of independent coins; H(Z_1) from a sum over all codes.
    codes = torch.tensor([[i >> bit & 1 for bit in range(10)] for i in range(1024)]).double()
    log_p = p.log() @ codes.T + (1 - p).log() @ (1 - codes).T
    of_z = log_p.exp().mean(0)
    given = -(p * p.log() + (1 - p) * (1 - p).log()).sum(1).mean()
    bits = (-(of_z * of_z.log()).sum() - given) / math.log(2)
    assert imb_plane._measure(members, 0)["rate"][1][0] == pytest.approx(bits.item(), abs=1e-9)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="binary networks"):
        PlaneConfig(methods=["vib"])
    with pytest.raises(ConfigError, match="at least 1"):
        PlaneConfig(epochs=0)


def test_what_a_user_gets_wrong_is_said_in_one_line(tmp_path):
    found = CliRunner().invoke(main, ["--methods", "vib", "--out", str(tmp_path)])
    assert found.exit_code == 2
    assert "unknown method of binary networks 'vib'" in found.output
