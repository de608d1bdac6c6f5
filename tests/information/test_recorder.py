import json

import pytest
import torch
from torch import nn

from narrows.errors import ConfigError, InputError
from narrows.information import PlaneRecorder, load_plane, log_spaced
from narrows.models import Bottleneck
from narrows.types import Batch
from scenarios import generator


def batch(n=60, inputs=4, classes=3):
    x = torch.rand(n, inputs, generator=generator(0))
    return Batch(x, torch.arange(n) % classes)


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))


def test_measuring_leaves_the_model_and_the_random_numbers_as_they_were():
    model = Bottleneck(nn.Linear(4, 4), nn.Linear(2, 3), latent="gaussian").train()
    recorder = PlaneRecorder(model, None, batch())
    state = torch.random.get_rng_state()
    first, second = recorder(0), recorder(1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert model.mode == "sample"
    assert [one.rate.nats for one in first] == [one.rate.nats for one in second]


def test_a_record_survives_its_file(tmp_path):
    recorder = PlaneRecorder(perceptron(), ["1"], batch(), "binned", samples=20, bins=4)
    recorder(0)
    recorder(10)
    recorder.save(tmp_path / "plane.json")
    record = load_plane(tmp_path / "plane.json")
    assert record == json.loads(json.dumps(recorder.record()))
    assert [point["epoch"] for point in record["points"]] == [0, 10]
    assert (record["n"], record["measure"], record["options"]) == (20, "binned", {"bins": 4})
    assert list(tmp_path.iterdir()) == [tmp_path / "plane.json"]


def test_what_is_no_plane_is_refused(tmp_path):
    for text in ("{}", "[1]", "no", '{"units": "bits", "points": []}'):
        (tmp_path / "file.json").write_text(text)
        with pytest.raises(InputError, match="no recorded information plane"):
            load_plane(tmp_path / "file.json")
    with pytest.raises(InputError, match="no recorded"):
        load_plane(tmp_path / "nowhere.json")
    with pytest.raises(ConfigError, match="did you mean 'binned'"):
        PlaneRecorder(perceptron(), None, batch(), "bined")


def test_what_cannot_be_recorded_is_refused():
    with pytest.raises(InputError, match=r"at least 2 inputs .* got .* \[0, 4\]"):
        PlaneRecorder(perceptron(), None, batch(n=0))
    with pytest.raises(InputError, match="samples must be at least 2, got 1"):
        PlaneRecorder(perceptron(), None, batch(), samples=1)
    with pytest.raises(InputError, match="no linear or convolutional layer"):
        PlaneRecorder(nn.Flatten(), None, batch())


def test_epochs_are_spaced_by_their_logarithm():
    assert log_spaced(100, 6) == [0, 1, 3, 10, 32, 100]
    assert log_spaced(3, 40) == [0, 1, 2, 3]
    assert log_spaced(0) == [0]
    with pytest.raises(InputError, match="last must be at least 0"):
        log_spaced(-1)
