import pytest
import torch

from narrows.errors import ConfigError
from narrows.models.mlp import Normalise, mlp


def test_inputs_are_mapped_to_mean_and_scale():
    x = torch.tensor([[0.0, 0.5, 1.0]])
    assert Normalise()(x).tolist() == [[-1.0, 0.0, 1.0]]
    assert Normalise(mean=1.0, std=2.0)(x).tolist() == [[-0.5, -0.25, 0.0]]
    assert x.tolist() == [[0.0, 0.5, 1.0]]


def test_an_mlp_starts_at_xavier_weights_and_zero_biases():
    torch.manual_seed(0)
    network = mlp([300, 200, 10], final_activation=True)
    assert [type(layer).__name__ for layer in network] == ["Linear", "ReLU"] * 2
    bound = (6 / 500) ** 0.5
    assert network[0].weight.abs().max() <= bound
    assert network[0].weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not network[0].bias.any()
    assert not network[2].bias.any()


@pytest.mark.parametrize("sizes", [[], [4], [4, 0, 2]])
def test_an_mlp_needs_two_positive_widths(sizes):
    with pytest.raises(ConfigError, match="at least two positive widths"):
        mlp(sizes)
