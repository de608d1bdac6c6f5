import math

import pytest
import torch
from torch import nn

from narrows.models import NetworkConfig, build_network, tap
from narrows.models.hidden import drop_units, hidden_layers
from narrows.models.noise import SeededNoise, noise_from


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_the_kept_values_are_scaled_so_that_the_mean_stays(share):
    torch.manual_seed(0)
    thinned = drop_units(
        torch.full((200_000,), 3.0, dtype=torch.float64), torch.tensor(share).double()
    )
    scaled = 3.0 / (1 - torch.tensor(share).double())
    assert ((thinned == 0) | (thinned == scaled)).all()
    error = math.sqrt(share * (1 - share) / 200_000)
    assert (thinned == 0).double().mean().item() == pytest.approx(share, abs=4 * error + 1e-12)


def test_the_mask_comes_from_the_noise_of_the_run():
    values = torch.rand(50)
    first, second = (
        SeededNoise(torch.Generator().manual_seed(3)),
        SeededNoise(torch.Generator().manual_seed(3)),
    )
    before = torch.get_rng_state()
    with noise_from(first):
        one = drop_units(values, torch.tensor(0.5))
    with noise_from(second):
        assert torch.equal(drop_units(values, torch.tensor(0.5)), one)
    assert torch.equal(torch.get_rng_state(), before)


def test_hidden_layers_are_the_activation_functions():
    model = build_network(
        NetworkConfig(encoder=[8], bottleneck=3, decoder=[6]), (5,), 4, "gaussian"
    )
    modules = dict(model.named_modules())
    names = hidden_layers(model)
    assert [type(modules[name]) for name in names] == [nn.ReLU, nn.ReLU]
    assert names == sorted(names, reverse=True)  # encoder first
    output = tap(model, names)(torch.rand(2, 5))
    assert [a.shape[1] for a in output.activations.values()] == [8, 6]


def test_without_modules_for_them_all_weight_layers_but_the_last_are_hidden():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3), nn.Linear(3, 2))
    assert hidden_layers(model) == ["0", "2"]
    assert hidden_layers(nn.Linear(3, 2)) == []
    assert hidden_layers(nn.ReLU()) == []
