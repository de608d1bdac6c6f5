from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import nn

from narrows.errors import ConfigError
from narrows.models import NETWORKS, NetworkConfig, build_network
from narrows.models.gaussian import LatentKind
from narrows.models.mlp import Normalise, mlp


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def dense(*widths: int) -> int:
    return sum((a + 1) * b for a, b in pairwise(widths))


def test_the_network_of_vib_has_the_papers_size():
    config = NetworkConfig(encoder=[1024, 1024], bottleneck=256, decoder=[])
    model = build_network(config, (1, 28, 28), 10, "gaussian")
    assert count(model) == dense(784, 1024, 1024, 512) + dense(256, 10) == 2_380_810
    output = model(torch.rand(2, 1, 28, 28))
    assert output.logits.shape == (2, 10)
    assert output.latent.scale.shape == (2, 256)


def test_the_network_of_aib_has_the_papers_size():
    config = NetworkConfig(encoder=[128, 128], bottleneck=10, decoder=[128])
    model = build_network(config, (1, 28, 28), 10, "deterministic")
    assert count(model) == dense(784, 128, 128, 10) + dense(10, 128, 10) == 120_980
    assert model(torch.rand(2, 1, 28, 28)).latent.z.shape == (2, 10)


def test_the_convolutional_network_of_aib_has_the_papers_shapes():
    config = NetworkConfig(name="cnn", encoder=[32, 64], bottleneck=64, decoder=[128])
    model = build_network(config, (1, 28, 28), 10, "deterministic")
    shapes = []
    x = torch.rand(2, 1, 28, 28)
    for layer in model.encoder:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [
        (1, 28, 28),  # normalised
        *[(32, 26, 26)] * 2,
        *[(64, 24, 24)] * 2,
        (64, 12, 12),
        (9216,),
        (64,),
    ]
    assert count(model.decoder) == dense(64, 128, 10)


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("latent", get_args(LatentKind))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 7)])
def test_every_network_takes_images_of_any_size(name, latent, shape):
    model = build_network(NetworkConfig(name, [4], 3, [5]), shape, 6, latent)
    output = model(torch.rand(2, *shape))
    assert output.logits.shape == (2, 6)
    assert output.latent.z.shape == (2, 3)


def test_hidden_layers_may_be_left_out():
    config = NetworkConfig(encoder=[], bottleneck=2, decoder=[], normalise=False)
    model = build_network(config, (2,), 3, "deterministic")
    x = torch.rand(4, 2)
    first, last = (next(m for m in part if isinstance(m, nn.Linear)) for part in model.children())
    torch.testing.assert_close(model(x).logits, last(first(x)))


def test_inputs_are_normalised_inside_the_model():
    x = torch.tensor([[0.0, 0.5, 1.0]])
    assert Normalise()(x).tolist() == [[-1.0, 0.0, 1.0]]
    config = NetworkConfig(encoder=[], bottleneck=2, decoder=[])
    assert isinstance(build_network(config, (3,), 2, "deterministic").encoder[0], Normalise)


def test_an_mlp_starts_at_xavier_weights_and_zero_biases():
    torch.manual_seed(0)
    network = mlp([300, 200, 10], final_activation=True)
    assert [type(layer).__name__ for layer in network] == ["Linear", "ReLU"] * 2
    bound = (6 / 500) ** 0.5
    assert network[0].weight.abs().max() <= bound
    assert network[0].weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not network[0].bias.any()
    assert not network[2].bias.any()


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        ({"name": "cnm"}, (1, 8, 8), "unknown network 'cnm'; did you mean 'cnn'"),
        ({"bottleneck": 0}, (4,), "widths of a network must be positive"),
        ({"decoder": [3, -1]}, (4,), "widths of a network must be positive"),
        ({"name": "cnn"}, (64,), r"needs images \[channels, height, width\], got inputs \(64,\)"),
        ({"name": "cnn", "encoder": []}, (1, 8, 8), "at least one convolution"),
        ({"name": "cnn", "encoder": [2] * 3}, (1, 7, 9), "7x9 are too small for 3.*at least 8"),
        ({"name": "cnn", "encoder": [2] * 5}, (1, 4, 4), "4x4 are too small"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(config, shape, message):
    with pytest.raises(ConfigError, match=message):
        build_network(NetworkConfig(**config), shape, 10, "deterministic")


@pytest.mark.parametrize("sizes", [[], [4], [4, 0, 2]])
def test_an_mlp_needs_two_positive_widths(sizes):
    with pytest.raises(ConfigError, match="at least two positive widths"):
        mlp(sizes)


def test_the_configuration_may_ask_for_another_latent_than_the_method():
    config = NetworkConfig(encoder=[4], bottleneck=3, decoder=[], latent="unit")
    assert build_network(config, (5,), 2, "gaussian").latent == "unit"
    assert build_network(NetworkConfig(), (5,), 2, "gaussian").latent == "gaussian"
    with pytest.raises(ConfigError, match="unknown latent 'untit'; did you mean 'unit'"):
        NetworkConfig(latent="untit")
