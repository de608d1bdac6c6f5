"""The plane of binary networks as they learn, and how soon a layer knows enough."""

import math
from dataclasses import asdict

import pytest
import torch
from click.testing import CliRunner

from narrows.errors import ConfigError, StoreError
from narrows.papers import imb
from narrows.papers.imb import (
    PlaneConfig,
    PlanePoint,
    Reached,
    TrainingPlane,
    epochs_to_reach,
    main,
    measured_epochs,
    read_training_plane,
    run_plane,
)
from narrows.runs import Progress
from narrows.runs.files import read_json, write_json

SHORT = {"epochs": 4, "seeds": 1, "samples": 1, "points": 2, "batch_size": 1000}


def point(epoch: int, *layers: float) -> PlanePoint:
    """Two seeds around the given relevances."""
    relevance = [[bits - 0.01 for bits in layers], [bits + 0.01 for bits in layers]]
    return PlanePoint(epoch, [[1.0] * len(layers)] * 2, relevance)


def points_of(folder, method: str) -> list[PlanePoint]:
    return read_json(folder / method / "plane.json", imb._POINTS, list[PlanePoint])


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
    reached = epochs_to_reach(planes)
    assert reached["sfnn"].layer_1 == 1.0
    assert reached["joint_imb"].layer_1 == 0.05
    assert reached["joint_imb"].each == [0.05, 1.0]
    assert reached["joint_imb"].highest == pytest.approx([0.6, 0.35])
    assert reached["greedy_imb"].layer_1 is None
    assert reached["greedy_imb"].each == [None, None]


@pytest.fixture
def small(monkeypatch) -> None:
    """Layers of few units, whose tables are small."""
    monkeypatch.setattr(imb, "_HIDDEN", (4, 3))


@pytest.mark.usefixtures("small")
def test_the_command_trains_measures_and_says_where(tmp_path):
    arguments = ["--epochs", "2", "--seeds", "1", "--samples", "1", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    plane = read_training_plane(tmp_path / "imb-plane")
    assert plane.config == PlaneConfig(epochs=2, seeds=1, samples=1)
    methods = ["sfnn", "joint_imb", "greedy_imb"]
    assert list(plane.points) == list(plane.reached) == methods
    for method in methods:
        assert [p.epoch for p in plane.points[method]] == [0, 1, 2]
        for p in plane.points[method]:
            (rates,), (relevances,) = p.rate, p.relevance
            # Data processing: less and less of both, and never more of the label than there is.
            assert rates == sorted(rates, reverse=True)
            assert relevances == sorted(relevances, reverse=True)
            assert 0 <= relevances[-1] <= relevances[0] <= 0.9992
    first = [plane.points[method][0] for method in methods]
    assert first[0] == first[1] == first[2]  # the same networks to begin with
    assert "Measurements: " in result.output


class StoppedError(Exception):
    pass


@pytest.mark.usefixtures("small")
def test_a_run_that_was_broken_off_goes_on_to_the_same_end(tmp_path, monkeypatch):
    monkeypatch.setattr(imb, "_CHECKPOINT_SECONDS", 0.0)
    config = PlaneConfig(methods=["joint_imb"], **SHORT)
    whole = run_plane(config, tmp_path / "whole", Progress())
    status = imb._status

    def stop(point):
        if point.epoch == 2:
            raise StoppedError
        return status(point)

    monkeypatch.setattr(imb, "measured_epochs", lambda epochs, points: [0, 1, 2, 4])
    monkeypatch.setattr(imb, "_status", stop)
    with pytest.raises(StoppedError):
        run_plane(config, tmp_path / "broken", Progress())
    monkeypatch.setattr(imb, "_status", status)
    again = run_plane(config, tmp_path / "broken", Progress())
    points = [points_of(folder, "joint_imb") for folder in (whole, again)]
    assert points[0] == [p for p in points[1] if p.epoch != 2]
    assert [p.epoch for p in points[1]] == [0, 1, 2, 4]
    kept = (again / "joint_imb" / "plane.json").stat().st_mtime_ns
    leftover = again / "joint_imb" / "checkpoint.safetensors"
    leftover.write_bytes(b"of a process that was killed just after it had finished")
    run_plane(config, tmp_path / "broken", Progress())
    assert not leftover.exists()
    assert (again / "joint_imb" / "plane.json").stat().st_mtime_ns == kept
    with pytest.raises(StoreError, match="holds another plane; choose another --out"):
        run_plane(PlaneConfig(**SHORT), tmp_path / "broken", Progress())


def test_the_plane_is_that_of_the_enumeration_of_both_layers():
    members = imb._members("sfnn", PlaneConfig(seeds=2))
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
    assert imb._measure(members, 0).rate[1][0] == pytest.approx(bits.item(), abs=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ["vib"]}, "unknown method of binary networks 'vib'"),
        ({"methods": []}, "methods must be named, and none twice"),
        ({"methods": ["sfnn", "sfnn"]}, "methods must be named, and none twice"),
        ({"epochs": 0}, "at least 1"),
        ({"seeds": 0}, "at least 1"),
        ({"samples": 0}, "at least 1"),
        ({"batch_size": 0}, "at least 1"),
        ({"points": 0}, "at least 1"),
        ({"beta": math.inf}, "beta must be finite and at least 0, got inf"),
        ({"beta": -1.0}, "beta must be finite and at least 0, got -1.0"),
        ({"beta": math.nan}, "beta must be finite and at least 0, got nan"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"device": "toaster"}, "device 'toaster' cannot be used here"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        run_plane(PlaneConfig(**SHORT | settings), tmp_path, Progress())
    assert list(tmp_path.iterdir()) == []


def test_what_a_user_gets_wrong_is_said_in_one_line(tmp_path):
    result = CliRunner().invoke(main, ["--methods", "vib", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "unknown method of binary networks 'vib'" in result.output


def test_a_folder_without_a_plane_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"has no plane\.json; expected a folder of `python -m"):
        read_training_plane(tmp_path)
    (tmp_path / "plane.json").write_text("{}")
    with pytest.raises(StoreError, match=r"plane\.json is not a information plane|no checksum"):
        read_training_plane(tmp_path)


@pytest.mark.parametrize(
    ("rate", "relevance"),
    [
        ([[1.0, 2.0], [1.0]], [[1.0, 2.0], [1.0, 2.0]]),
        ([[1.0, 2.0]], [[1.0]]),
        ([[1.0]], [[1.0], [1.0]]),
        ([], []),
        ([[]], [[]]),
    ],
)
def test_a_point_has_as_many_numbers_for_each_seed_and_layer(rate, relevance):
    with pytest.raises(ConfigError, match=r"epoch 3: expected rate and relevance \[seeds\]"):
        PlanePoint(3, rate, relevance)


def test_a_plane_has_the_points_of_its_methods(tmp_path):
    config = PlaneConfig(methods=["sfnn"], seeds=1)
    points = [PlanePoint(0, [[1.0]], [[0.5]]), PlanePoint(1, [[1.0]], [[0.6]])]
    reached = {"sfnn": Reached(1.0, [1.0], [0.6])}
    plane = asdict(TrainingPlane(config, {"sfnn": points}, reached))
    wider = [*points, PlanePoint(2, [[1.0, 1.0]], [[0.6, 0.1]])]
    for other, shares in (
        ({}, reached),
        ({"sfnn": []}, reached),
        ({"sfnn": points, "joint_imb": points}, reached),
        ({"sfnn": wider}, reached),
        ({"sfnn": points}, {"joint_imb": reached["sfnn"]}),
        ({"sfnn": points}, {"sfnn": Reached(None, [], [])}),
    ):
        with pytest.raises(ConfigError, match="expected"):
            TrainingPlane(config, other, shares)
    # A file whose checksum is right is refused in one line that names it.
    plane["points"]["sfnn"][1]["rate"] = [[1.0, 2.0], [3.0]]
    write_json(tmp_path / "plane.json", "information plane of a training", plane)
    with pytest.raises(StoreError, match=r"plane\.json is not a valid .* epoch 1"):
        read_training_plane(tmp_path)


def test_sfnn_has_no_compression_and_the_others_that_of_the_configuration():
    config = PlaneConfig(beta=0.25, seeds=2, samples=3)
    for name in config.methods:
        members = imb._members(name, config)
        assert len(members) == 2
        for index in range(2):
            method = members.member(index).method
            assert method.beta.item() == (0.0 if name == "sfnn" else 0.25)
            assert method.samples == 3
    assert (config.train.optimiser, config.train.learning_rate) == ("sgd", 1.0)


@pytest.mark.usefixtures("small")
def test_without_sfnn_there_is_nothing_to_reach(tmp_path):
    folder = run_plane(PlaneConfig(methods=["greedy_imb"], **SHORT), tmp_path, Progress())
    plane = read_training_plane(folder)
    assert list(plane.points) == ["greedy_imb"]
    assert plane.reached == {}


def test_the_relevance_of_a_layer_is_the_mean_over_seeds():
    two = PlanePoint(3, [[1.0, 1.0], [2.0, 2.0]], [[0.5, 0.25], [1.0, 0.75]])
    assert two.mean_relevance() == [0.75, 0.5]
    assert imb._status(two) == "I(Z;Y) at epoch 3: 0.750 0.500 bits"
