"""Information plane by nHSIC, t-SNE and counts of attacked classes, against slow twins."""

import sys

import pytest
import torch
from torch import nn

from narrows.errors import ConfigError, InputError
from narrows.methods import IBRAR
from narrows.papers.ib_rar_figures import (
    attacked_classes,
    follow_training,
    last_layer_maps,
    layer_dependences,
    tsne_map,
)
from narrows.runs import Progress
from narrows.training import TrainConfig
from scenarios_runs import copied, tiny_run
from scenarios_training import prototypes


def build() -> nn.Module:
    layers = [nn.Linear(20, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(6, 4))


def textbook(values: torch.Tensor, other: torch.Tensor) -> float:
    """nHSIC of two kernels by inverses, eps = 1e-5."""
    m = len(values)
    h = torch.eye(m, dtype=torch.float64) - 1 / m
    ridge = 1e-5 * m * torch.eye(m, dtype=torch.float64)
    first, second = (h @ k @ h @ torch.linalg.inv(h @ k @ h + ridge) for k in (values, other))
    return torch.trace(first @ second).item()


def gaussian(values: torch.Tensor) -> torch.Tensor:
    values = values.double()
    return torch.exp(-(torch.cdist(values, values) ** 2) / (2 * 25 * values.shape[1]))


@pytest.mark.parametrize("label_kernel", ["gaussian", "linear"])
def test_a_layer_lies_at_the_mean_of_its_batches(label_kernel):
    torch.manual_seed(0)
    model, x, y = build(), torch.rand(50, 20), torch.arange(50) % 4
    points = layer_dependences(
        model, x, y, ["2", "4"], step=7, batch_size=20, label_kernel=label_kernel
    )
    assert model.training
    assert [(point.step, point.layer) for point in points] == [(7, "2"), (7, "4")]
    model.eval()
    for point, depth in zip(points, (3, 5), strict=True):
        of_x, of_y = [], []
        for rows in (slice(0, 20), slice(20, 40)):
            kernel, one_hot = gaussian(model[:depth](x[rows])), torch.eye(4).double()[y[rows]]
            labels = gaussian(one_hot) if label_kernel == "gaussian" else one_hot @ one_hot.T
            of_x.append(textbook(gaussian(x[rows]), kernel))
            of_y.append(textbook(labels, kernel))
        assert point.of_inputs == pytest.approx(sum(of_x) / 2, rel=1e-4)
        assert point.of_labels == pytest.approx(sum(of_y) / 2, rel=1e-4)


def test_a_training_is_followed_and_not_changed():
    data = prototypes(n=96)
    config = TrainConfig(epochs=3, batch_size=32, learning_rate=0.02)
    before = torch.get_rng_state()
    points = follow_training(
        build, IBRAR(0.05), data, data, config, ["2"], every=3, images=60, batch_size=30
    )
    assert torch.equal(before, torch.get_rng_state())
    assert [point.step for point in points] == [0, 3, 6, 9]
    assert points[-1].of_labels > points[0].of_labels
    seldom = follow_training(
        build, IBRAR(0.05), data, data, config, ["2"], every=9, images=60, batch_size=30
    )
    assert seldom == [points[0], points[-1]]


def test_a_map_keeps_far_classes_apart():
    pytest.importorskip("sklearn", reason="t-SNE is scikit-learn's")
    x = torch.cat([torch.randn(20, 5), 50 + torch.randn(20, 5)])
    model = nn.Sequential(nn.Linear(5, 5), nn.Identity())
    placed = tsne_map(model, x, "1", perplexity=5.0)
    assert placed.shape == (40, 2)
    inside = torch.cdist(placed[:20], placed[:20]).max()
    assert torch.cdist(placed[:20], placed[20:]).min() > inside / 2
    assert torch.equal(placed, tsne_map(model, x, "1", perplexity=5.0))
    with pytest.raises(InputError, match="needs more images, got 40"):
        tsne_map(model, x, "1", perplexity=40.0)


def test_the_last_hidden_layer_of_one_model_per_method_is_mapped(small_run, tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="t-SNE is scikit-learn's")
    monkeypatch.setattr("narrows.papers.ib_rar_figures._MAPPED", 40)
    run = copied(small_run, tmp_path)
    maps = last_layer_maps(run, Progress())
    assert [each.member for each in maps] == [run.member(name) for name in run.config.methods]
    x, y = run.splits.test.batch(slice(0, 40))
    for each in maps:
        placed = tsne_map(run.model(each.member), x, each.layer, perplexity=13.0)
        assert each.places == placed.tolist()
        assert each.labels == y.tolist()
    monkeypatch.setattr("narrows.papers.ib_rar_figures.tsne_map", None)
    assert last_layer_maps(run, Progress()) == maps


def test_without_scikit_learn_the_reader_is_told(small_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    run = copied(small_run, tmp_path)
    with pytest.raises(ConfigError, match="pip install scikit-learn"):
        last_layer_maps(run, Progress())
    assert not (run.path / "figures" / "last_layer_maps.json").exists()


def test_attacked_images_are_counted_by_class_and_prediction():
    torch.manual_seed(0)
    logits, y = torch.randn(700, 3), torch.arange(700) % 3
    counts = attacked_classes(nn.Identity(), logits, y, 3)
    by_hand = [
        [sum(1 for i in range(700) if y[i] == t and logits[i].argmax() == k) for k in range(3)]
        for t in range(3)
    ]
    assert counts.tolist() == by_hand
    with pytest.raises(InputError, match=r"must lie in 0\.\.1"):
        attacked_classes(nn.Identity(), logits[:, :2], y, 2)


def test_what_cannot_be_measured_is_refused():
    x, y = torch.rand(50, 20), torch.arange(50) % 4
    with pytest.raises(InputError, match="batches of 100, and there are 50"):
        layer_dependences(build(), x, y, ["2"])
    with pytest.raises(ConfigError, match="no layer '9'"):
        layer_dependences(build(), x, y, ["9"], batch_size=20)


def test_a_network_without_hidden_layers_has_no_map(tmp_path):
    pytest.importorskip("sklearn", reason="t-SNE is scikit-learn's")
    quick = {"methods": ["cross_entropy"], "seeds": 1, "train": {"epochs": 1}}
    network = {"encoder": [], "bottleneck": 0, "decoder": []}
    run = tiny_run(tmp_path, **quick, network=network)
    with pytest.raises(ConfigError, match="has no hidden layer to draw"):
        last_layer_maps(run, Progress())


def test_an_interval_of_no_steps_is_refused():
    data = prototypes(n=64)
    with pytest.raises(ConfigError, match="every must be at least 1"):
        follow_training(build, IBRAR(0.05), data, data, TrainConfig(epochs=1), ["2"], every=0)
