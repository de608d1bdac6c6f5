import math

import pytest
import torch
from torch import nn

from narrows import HBaR
from narrows.errors import ConfigError, InputError
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


def slow_kernel(values: torch.Tensor) -> torch.Tensor:
    """Gaussian kernel, bandwidth 5 sqrt(dim), pair by pair."""
    m, dim = values.shape
    rows = []
    for i in range(m):
        distances = [((values[i] - values[j]) ** 2).sum() for j in range(m)]
        rows.append(torch.stack([torch.exp(-d / (2 * 25 * dim)) for d in distances]))
    return torch.stack(rows)


def slow_nhsic(k: torch.Tensor, other: torch.Tensor, eps: float) -> torch.Tensor:
    """Trace of the product of the two normalised kernels, as the textbook writes them."""
    m = len(k)
    h = torch.eye(m, dtype=k.dtype) - torch.full((m, m), 1 / m, dtype=k.dtype)
    ridge = eps * m * torch.eye(m, dtype=k.dtype)
    normalised = [h @ c @ h @ torch.linalg.inv(h @ c @ h + ridge) for c in (k, other)]
    return torch.trace(normalised[0] @ normalised[1])


@pytest.mark.parametrize("label_kernel", ["gaussian", "linear"])
@pytest.mark.parametrize("layers", [None, ["1"], ["3"]])
def test_the_loss_is_that_of_the_equation_with_textbook_matrices(label_kernel, layers):
    model, (x, y) = net(), batch()
    method = HBaR(0.02, 5.0, layers, label_kernel, eps=1e-3).double()
    loss = method(model, x, y)
    hidden = {"1": torch.tanh(model[0](x))}
    hidden["3"] = torch.relu(model[2](hidden["1"]))
    one_hot = torch.eye(2, dtype=torch.float64)[y]
    of_y = slow_kernel(one_hot) if label_kernel == "gaussian" else one_hot @ one_hot.T
    slow = -torch.log_softmax(model[4](hidden["3"]), 1)[range(len(x)), y].mean()
    for name in layers or ["1", "3"]:
        of_layer = slow_kernel(hidden[name])
        slow = slow + 0.02 * slow_nhsic(slow_kernel(x), of_layer, 1e-3)
        slow = slow - 5.0 * 0.02 * slow_nhsic(of_y, of_layer, 1e-3)
    torch.testing.assert_close(loss, slow, rtol=1e-6, atol=1e-9)
    parameters = list(model.parameters())
    for own, by_hand in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(slow, parameters), strict=True
    ):
        torch.testing.assert_close(own, by_hand, rtol=1e-5, atol=1e-9)


def test_single_precision_agrees_with_double():
    torch.manual_seed(0)
    data = Batch(torch.rand(100, 50), torch.arange(100) % 10)
    model = nn.Sequential(nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 10))
    with torch.no_grad():
        model[0].bias.add_(100)  # kernels close to 1 and features far from 0
    found = []
    for kind in (torch.float32, torch.float64):
        own, method = model.to(kind), HBaR(1.0).to(kind)
        batch = Batch(data.x.to(kind), data.y)
        terms = method.regulariser(method.observe(own, batch), batch)
        loss = terms["nhsic_x"].value - 50 * terms["nhsic_y"].value
        (gradient,) = torch.autograd.grad(loss, [own[0].weight])
        assert gradient.dtype == kind
        found.append([terms["nhsic_x"].value, terms["nhsic_y"].value, gradient.norm()])
    for single, double in zip(*found, strict=True):
        assert single.item() == pytest.approx(double.item(), rel=0.02)


def test_images_and_maps_are_flattened():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).double()
    x, y = 20 * torch.rand(6, 1, 4, 4, dtype=torch.float64), torch.arange(6) % 2
    with torch.no_grad():
        model[0].bias.fill_(5.0)  # or no channel may live
    terms = HBaR(0.1, eps=1e-3).double().terms(HBaR(0.1).observe(model, Batch(x, y)), Batch(x, y))
    hidden = model[1](model[0](x)).flatten(1)
    assert hidden.abs().sum() > 0
    expected = slow_nhsic(slow_kernel(x.flatten(1)), slow_kernel(hidden), 1e-3)
    torch.testing.assert_close(terms.regularisers["nhsic_x"].value, expected, rtol=1e-6, atol=0)


def test_training_makes_the_layers_depend_on_the_labels_and_less_on_the_inputs():
    found = {}
    for beta in (0.0, 0.02):
        torch.manual_seed(0)
        model, method, data = net(), HBaR(beta, 5.0).double(), batch(48)
        optimiser = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(150):
            optimiser.zero_grad()
            method(model, *data).backward()
            optimiser.step()
        values = method.regulariser(method.observe(model, data), data)
        found[beta] = [values[name].value.item() for name in ("nhsic_x", "nhsic_y")]
    assert found[0.02][1] > found[0.0][1]
    ratios = {beta: of_x / of_y for beta, (of_x, of_y) in found.items()}
    assert ratios[0.02] < 0.8 * ratios[0.0]


@pytest.mark.parametrize(
    ("data", "adversarial", "of_x", "of_y"),
    [
        ("mnist", False, 1, 50),
        ("mnist", True, 0.003, 0.001),
        ("cifar10", False, 0.006, 0.05),
        ("cifar10", True, 5e-4, 5e-3),
    ],
)
def test_the_papers_weights(data, adversarial, of_x, of_y):
    method, (x, y) = HBaR.paper(data, adversarial), batch()
    terms = method.regulariser(method.observe(net(), Batch(x, y)), Batch(x, y))
    assert terms["nhsic_x"].weight.item() == pytest.approx(of_x)
    assert terms["nhsic_y"].weight.item() == pytest.approx(-of_y)
    assert method.label_kernel == "linear"


def test_the_weight_of_the_labels_does_not_follow_beta_where_it_is_given():
    method, data = HBaR(0.0, label_weight=0.5), batch()
    terms = method.regulariser(method.observe(net(), data), data)
    assert float(terms["nhsic_x"].weight) == 0
    assert float(terms["nhsic_y"].weight) == -0.5


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"relevance": -1.0}, "relevance=-1.0"),
        ({"relevance": math.nan}, "relevance=nan"),
        ({"eps": 0.0}, r"eps=0\.0"),
        ({"label_kernel": "liner"}, "unknown label kernel 'liner'; did you mean 'linear'"),
    ],
)
def test_numbers_and_names_out_of_range_are_refused(bad, message):
    with pytest.raises(ConfigError, match=message):
        HBaR(0.1, **bad)


def test_models_and_outputs_that_do_not_fit_are_refused():
    data = batch()
    with pytest.raises(ConfigError, match="unknown data set 'mnits'; did you mean 'mnist'"):
        HBaR.paper("mnits")
    with pytest.raises(InputError, match="Linear has no modules that are known"):
        HBaR(0.1).double()(nn.Linear(4, 2).double(), *data)
    with pytest.raises(ConfigError, match="no layer '9'"):
        HBaR(0.1, layers=["9"]).double()(net(), *data)
    with pytest.raises(InputError, match="no hidden layers to regularise"):
        HBaR(0.1).regulariser(ModelOutput(torch.rand(12, 2)), data)
    encoder = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6))
    decoder = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    several = Bottleneck(encoder, decoder, latent="gaussian", samples=3).double()
    with pytest.raises(InputError, match=r"layers of 12 images, got \[12, 36, 3\]"):
        HBaR(0.1).double()(several, *data)
