import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from narrows.errors import InputError
from narrows.information import (
    MEASURES,
    binned_rate,
    binned_relevance,
    exact_plane,
    kde_bounds,
    pairwise_plane,
    plane_layers,
)
from narrows.models import BinaryStochasticNet, Bottleneck
from narrows.types import Batch, Latent, ModelOutput
from scenarios import generator


def batch(n=60, inputs=4, classes=3):
    x = torch.rand(n, inputs, generator=generator(0))
    return Batch(x, torch.arange(n) % classes)


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))


def test_the_layers_of_a_model_are_found_behind_their_nonlinearities():
    assert plane_layers(perceptron()) == ["1", "3"]
    bottleneck = Bottleneck(
        nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4)),
        nn.Linear(2, 3),
        latent="gaussian",
    )
    assert plane_layers(bottleneck) == ["encoder.1", "latent", "decoder"]
    assert plane_layers(BinaryStochasticNet(4, [3, 2], 3)) == ["z1", "z2"]
    convolutions = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)
    )
    assert plane_layers(convolutions) == ["2", "3"]


def test_pairwise_points_are_the_bounds_of_what_the_layer_returns():
    model, data = perceptron().eval(), batch()
    [point] = pairwise_plane(model, ["1"], data, noise_std=0.5)
    z = model[:2](data.x).detach()
    assert point.layer == "1"
    assert point.rate.nats == pytest.approx(kde_bounds(z, 0.5)[1].nats)
    assert point.rate.ceiling == pytest.approx(math.log(60))
    assert point.relevance.ceiling == pytest.approx(math.log(3))
    assert 0 < point.relevance.nats < math.log(3)


def test_a_gaussian_latent_is_measured_with_its_own_noise():
    torch.manual_seed(0)
    model = Bottleneck(nn.Linear(4, 4), nn.Linear(2, 3), latent="gaussian")
    data = batch()
    [point] = pairwise_plane(model, ["latent"], data)
    latent = model.encode(data.x)
    assert point.rate.nats == pytest.approx(kde_bounds(latent.mean, latent.scale)[1].nats, rel=1e-5)
    assert point.rate.diagnostics["noise_scale"] is None


def test_binned_points_are_counts():
    model, data = perceptron().eval(), batch()
    [point] = MEASURES["binned"](model, ["1"], data, width=0.2)
    z = model[:2](data.x).detach()
    assert point.rate.nats == binned_rate(z, width=0.2).nats
    assert point.relevance.nats == binned_relevance(z, data.y, width=0.2).nats


def slow_information(p_ab):
    total = 0.0
    for row in p_ab:
        for j, p in enumerate(row):
            if p > 0:
                total += p * math.log(p / (sum(row) * sum(r[j] for r in p_ab)))
    return total


def test_exact_points_agree_with_every_path_counted_by_hand():
    torch.manual_seed(1)
    model = BinaryStochasticNet(4, [3, 2], 3).double()
    data = batch(12)
    data = data._replace(x=data.x.double())
    points = exact_plane(model, ["z1", "z2"], data)
    first, second, _ = model.linear_layers()
    given = torch.zeros(12, 4, dtype=torch.float64)
    with torch.no_grad():
        p1 = first(data.x).sigmoid()
        for a in range(8):
            bits = torch.tensor([a >> i & 1 for i in range(3)], dtype=torch.float64)
            of_a = torch.where(bits > 0, p1, 1 - p1).prod(1)
            p2 = second(bits).sigmoid()
            for b in range(4):
                code = torch.tensor([b >> i & 1 for i in range(2)])
                given[:, b] += of_a * torch.where(code > 0, p2, 1 - p2).prod()
    p_y = F.one_hot(data.y).double() / 12
    assert points[1].rate.nats == pytest.approx(slow_information((given / 12).tolist()))
    assert points[1].relevance.nats == pytest.approx(slow_information((given.T @ p_y).tolist()))
    assert points[0].rate.nats > points[1].rate.nats


def test_only_binary_layers_can_be_enumerated():
    with pytest.raises(InputError, match="BinaryStochasticNet"):
        exact_plane(perceptron(), ["1"], batch())
    with pytest.raises(InputError, match="z1, z2, not z3"):
        exact_plane(BinaryStochasticNet(4, [3, 2], 3), ["z3"], batch())


def test_a_scale_too_small_for_its_precision_is_taken_from_its_logarithm():
    class Narrow(nn.Module):
        """A latent of which half the scales are 0 in single precision, and e^-150 or less."""

        def forward(self, x):
            log_scale = torch.where(torch.arange(len(x)) % 2 == 0, -150.0, -5000.0)[:, None] - x
            latent = Latent(x, x, log_scale.exp(), log_scale)
            return ModelOutput(x[:, :2], latent)

    data = batch(n=10)
    [point] = pairwise_plane(Narrow(), ["latent"], data)
    # Codes that narrow tell all inputs apart, and with them the labels.
    assert point.rate.nats == pytest.approx(math.log(10))
    assert point.relevance.nats == pytest.approx(point.relevance.ceiling)
