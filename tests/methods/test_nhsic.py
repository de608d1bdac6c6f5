"""Which layers HBaR and IB-RAR read, and in which precision; the losses are tested with each."""

import pytest
import torch
from torch import nn

from narrows import HBaR, tap
from narrows.information.hsic import gaussian_kernel, normalise_kernel
from narrows.methods._nhsic import label_gram, layer_dependence
from narrows.models import Bottleneck
from narrows.types import Batch, ModelOutput


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2)]
        return nn.Sequential(*layers).double()


def batch(n=12) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 4, generator=generator, dtype=torch.float64)
    return Batch(x, (x[:, 0] > x[:, 1]).long())


@pytest.mark.parametrize("kind", ["gaussian", "linear"])
def test_sums_over_layers_are_those_of_the_kernels_of_hsic(kind):
    data, generator = batch(), torch.Generator().manual_seed(2)
    layers = [torch.rand(12, d, generator=generator, dtype=torch.float64) for d in (1, 7, 30)]
    output = ModelOutput(torch.zeros(12, 2), activations=dict(enumerate(layers)))
    found = layer_dependence(output, data, kind, 1e-3)
    kernels = [normalise_kernel(gaussian_kernel(layer), 1e-3) for layer in layers]
    targets = gaussian_kernel(data.x), label_gram(data, 2, kind)
    for value, target in zip(found, targets, strict=True):
        fixed = normalise_kernel(target, 1e-3)
        torch.testing.assert_close(value, sum((fixed * kernel).sum() for kernel in kernels))


def test_a_tapped_model_says_itself_which_layers():
    model, (x, y) = net(), batch()
    by_tap = HBaR(0.1).double()(tap(model, ["1"]), x, y)
    torch.testing.assert_close(by_tap, HBaR(0.1, layers=["1"]).double()(model, x, y))
    only_code = tap(model, [], latent="2")  # read for its latent: the layers are all hidden ones
    seen = HBaR(0.1).observe(only_code, Batch(x, y)).activations
    assert list(seen) == ["model.1", "model.3", "nhsic.code"]


def test_the_code_of_a_bottleneck_is_one_of_its_hidden_layers():
    encoder = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    model, data = Bottleneck(encoder, nn.Linear(3, 2)).double(), batch()
    every = HBaR(0.1).double().observe(model, data).activations
    assert [values.shape[1] for values in every.values()] == [6, 3]
    assert torch.equal(every["nhsic.code"], model(data.x).latent.z)
    assert list(HBaR(0.1, layers=["encoder.1"]).observe(model, data).activations) == ["encoder.1"]


def test_a_network_in_half_precision_keeps_kernels_of_the_inputs_precision():
    model, method = net().float(), HBaR(0.1, relevance=0.0)
    (x, y), plain = batch(), {}
    data = Batch(x.float(), y)
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            terms = method.regulariser(method.observe(model, data), data)
        plain[half] = terms["nhsic_x"].value
    assert plain[True].dtype == torch.float32
    assert plain[True].item() == pytest.approx(plain[False].item(), rel=0.05)
