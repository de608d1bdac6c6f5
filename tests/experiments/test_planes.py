"""Information planes as plain rows in bits."""

import json
import math

import pytest
import torch
from torch import nn

from narrows.errors import InputError, NarrowsError
from narrows.experiments.planes import measure_layers, read_planes
from narrows.information import PlaneRecorder
from narrows.types import Batch
from scenarios import generator


def recorded(path, seed=0, epochs=(0, 10), **options):
    x = torch.rand(40, 3, generator=generator(0))
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    recorder = PlaneRecorder(model, None, Batch(x, torch.arange(40) % 2), **options)
    for epoch in epochs:
        recorder(epoch)
    recorder.save(path)
    return path


def test_one_row_for_each_model_and_layer(small_run):
    rows = measure_layers(small_run, ["vib"], [0.1], None, "pairwise", 60, {"noise_std": 1.0})
    assert {(row.model, row.beta, row.seed, row.epoch) for row in rows} == {
        ("vib", 0.1, 0, None), ("vib", 0.1, 1, None),
    }  # fmt: skip
    layers = [row.layer for row in rows if row.seed == 0]
    assert len(set(layers)) == len(layers) > 1
    for row in rows:
        assert row.ceiling == pytest.approx(math.log2(60))
        assert 0 <= row.relevance <= row.entropy + 0.2
        assert row.entropy <= math.log2(10)


def test_chosen_layers_alone_are_measured(small_run):
    rows = measure_layers(small_run, ["vib"], [0.1], ["encoder"], "binned", 60, {"bins": 4})
    assert [row.layer for row in rows] == ["encoder"] * 2
    with pytest.raises(NarrowsError, match="nope"):
        measure_layers(small_run, ["vib"], None, ["nope"], "pairwise", 60, {})


def test_recorded_planes_are_in_bits_and_each_file_is_a_seed(tmp_path):
    files = [recorded(tmp_path / f"{seed}.json", seed) for seed in (0, 1)]
    rows = read_planes(files)
    assert {(row.seed, row.epoch) for row in rows} == {(s, e) for s in (0, 1) for e in (0, 10)}
    assert {(row.model, row.beta) for row in rows} == {("recorded", None)}
    point = json.loads(files[1].read_text())["points"][0]
    row = next(row for row in rows if row.seed == 1)
    assert row.rate == pytest.approx(point["rate"]["nats"] / math.log(2))
    assert row.relevance == pytest.approx(point["relevance"]["nats"] / math.log(2))
    assert row.entropy == pytest.approx(1.0)
    assert row.ceiling == pytest.approx(math.log2(40))


def test_planes_that_were_not_measured_alike_are_refused(tmp_path):
    files = [recorded(tmp_path / "a.json"), recorded(tmp_path / "b.json", measure="binned")]
    with pytest.raises(InputError, match="were not measured alike and cannot be compared: pairw"):
        read_planes(files)
    assert read_planes([]) == []
