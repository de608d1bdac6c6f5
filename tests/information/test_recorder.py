import hashlib
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from narrows.errors import ConfigError, InputError, StoreError
from narrows.information import PlaneRecorder, load_plane, log_spaced
from narrows.models import Bottleneck
from narrows.storage import json_bytes
from narrows.types import Batch
from scenarios import generator


def batch(n=60, inputs=4, classes=3):
    x = torch.rand(n, inputs, generator=generator(0))
    return Batch(x, torch.arange(n) % classes)


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))


def sign(path, content):
    """Write changed content with a checksum that fits it."""
    content = {name: value for name, value in content.items() if name != "sha256"}
    digest = hashlib.sha256(json_bytes(content)).hexdigest()
    path.write_text(json.dumps({**content, "sha256": digest}))


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
    assert record == recorder.record()
    assert [point.epoch for point in record.points] == [0, 10]
    assert (record.n, record.measure, record.options) == (20, "binned", {"bins": 4})
    assert json.loads((tmp_path / "plane.json").read_text())["units"] == "nats"
    assert list(tmp_path.iterdir()) == [tmp_path / "plane.json"]


def test_numbers_that_json_lacks_survive_the_file(tmp_path):
    recorder = PlaneRecorder(perceptron(), ["1"], batch())
    recorder(0)
    path = tmp_path / "plane.json"
    recorder.save(path)
    content = json.loads(path.read_text())
    for name in ("nats", "std_error", "ceiling"):
        content["points"][0]["rate"][name] = None
    sign(path, content)
    [point] = load_plane(path).points
    assert math.isnan(point.rate.nats)
    assert math.isnan(point.rate.std_error)
    assert point.rate.ceiling == math.inf


def test_what_is_no_plane_is_refused(tmp_path):
    for text in ("{}", "[1]", "no", '{"units": "bits", "points": []}'):
        (tmp_path / "file.json").write_text(text)
        with pytest.raises(InputError, match="not a recorded information plane"):
            load_plane(tmp_path / "file.json")
    with pytest.raises(InputError, match="not a recorded"):
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


def test_arrays_text_paths_and_numpy_numbers_are_recorded(tmp_path):
    data = batch()
    arrays = Batch(data.x.double().numpy(), data.y.numpy().astype("int16"))
    model = perceptron()
    recorder = PlaneRecorder(model, ["1"], arrays, noise_std=np.float32(0.5))
    expected = PlaneRecorder(model, ["1"], data, noise_std=0.5)(0)
    assert recorder(np.int64(3)) == expected
    recorder.save(str(tmp_path / "plane.json"))
    record = load_plane(str(tmp_path / "plane.json"))
    assert record.points[0].epoch == 3
    assert record.options == {"noise_std": 0.5}
    for path in (None, 3, ""):
        with pytest.raises(ConfigError, match="path must be a path"):
            recorder.save(path)
        with pytest.raises(ConfigError, match="path must be a path"):
            load_plane(path)
    with pytest.raises(StoreError, match="cannot write"):
        recorder.save(tmp_path / "missing" / "plane.json")


def test_a_plane_that_was_damaged_is_refused(tmp_path):
    recorder = PlaneRecorder(perceptron(), ["1"], batch())
    recorder(0)
    path = tmp_path / "plane.json"
    recorder.save(path)
    content = path.read_text()
    for key, value in (
        ("epoch", "1"),
        ("layer", 3),
        ("rate", 1.0),
        ("relevance", None),
        ("rate", {}),
        ("rate", {**json.loads(content)["points"][0]["rate"], "diagnostics": {}}),
    ):
        record = json.loads(content)
        record["points"][0][key] = value
        sign(path, record)
        with pytest.raises(InputError, match="not a recorded information plane"):
            load_plane(path)
    path.write_bytes(content.encode().replace(b'"', b"\xe1", 1))
    with pytest.raises(InputError, match="not a recorded information plane"):
        load_plane(path)
    for text in ('{"units": "nats", "points": [1]}', '{"units": "nats", "points": 1}', "[" * 10**5):
        path.write_text(text)
        with pytest.raises(InputError, match="not a recorded information plane"):
            load_plane(path)


def test_a_plane_with_a_changed_number_is_refused(tmp_path):
    recorder = PlaneRecorder(perceptron(), ["1"], batch())
    recorder(0)
    path = tmp_path / "plane.json"
    recorder.save(path)
    whole = path.read_text()
    record = json.loads(whole)
    record["points"][0]["rate"]["nats"] += 0.01
    for changed in (json.dumps(record), whole.replace('"epoch": 0', '"epoch": 1')):
        path.write_text(changed)
        with pytest.raises(InputError, match=r"plane\.json is damaged"):
            load_plane(path)
    path.write_text(json.dumps({key: record[key] for key in record if key != "sha256"}))
    with pytest.raises(InputError, match="missing required field `sha256`"):
        load_plane(path)
    path.write_text(json.dumps(json.loads(whole), indent=4))  # the layout may change
    assert load_plane(path) == recorder.record()


def test_one_name_of_a_layer_is_no_list_of_names():
    for layers in ("latent", [1], ["1", None]):
        with pytest.raises(InputError, match="layers must be a list of names"):
            PlaneRecorder(perceptron(), layers, batch())
    with pytest.raises(InputError, match="NaN or infinity"):
        PlaneRecorder(perceptron(), ["1"], Batch(batch().x * float("nan"), batch().y))
