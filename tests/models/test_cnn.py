import pytest
import torch
from torch import nn

from narrows.errors import ConfigError
from narrows.models import NetworkConfig, build_network
from narrows.models.cnn import SMALL, small_cnn


# Published: Madry et al.'s network has 3,274,634 parameters, Carlini & Wagner's (TRADES') 312,202.
@pytest.mark.parametrize(("name", "parameters"), [("lenet", 3_274_634), ("carlini", 312_202)])
def test_number_of_parameters(name, parameters):
    model = build_network(NetworkConfig(name, bottleneck=0), (1, 28, 28), 10)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("cnn", [26, 26, 24, 24, 12]),
        ("lenet", [28, 28, 14, 14, 14, 7]),
        ("carlini", [26, 26, 24, 24, 12, 10, 10, 8, 8, 4]),
    ],
)
def test_sides_after_each_layer(name, sides):
    layers, features = small_cnn(name, (1, 28, 28), [32, 64])
    x, found = torch.rand(1, 1, 28, 28), []
    for layer in layers:
        x = layer(x)
        found.append(x.shape[-1])
    assert found == [*sides, features]
    assert features == 64 * sides[-1] ** 2


@pytest.mark.parametrize(("name", "least"), [("cnn", 6), ("lenet", 4), ("carlini", 16)])
def test_the_least_side_is_just_enough(name, least):
    layers, features = small_cnn(name, (3, least, least + 2), [4, 5])
    assert nn.Sequential(*layers)(torch.rand(2, 3, least, least + 2)).shape == (2, features)
    with pytest.raises(ConfigError, match=f"{least - 1}x{least} are too small.*least {least} a"):
        small_cnn(name, (3, least - 1, least), [4, 5])


@pytest.mark.parametrize("name", SMALL)
def test_a_convolution_is_needed(name):
    with pytest.raises(ConfigError, match="at least one convolution, got encoder="):
        small_cnn(name, (1, 28, 28), [])
