import pytest
import torch
from torch import nn

from narrows import IBRAR
from narrows.errors import ConfigError
from narrows.types import Batch


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def batch(n=10) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 4, generator=generator, dtype=torch.float64)
    return Batch(x, (x[:, 0] > x[:, 1]).long())


def textbook(values: torch.Tensor, other: torch.Tensor, eps: float) -> torch.Tensor:
    """tr(K~ L~) of two kernels, by inverses."""
    m = len(values)
    h = torch.eye(m, dtype=torch.float64) - 1 / m
    ridge = eps * m * torch.eye(m, dtype=torch.float64)
    first, second = (h @ k @ h @ torch.linalg.inv(h @ k @ h + ridge) for k in (values, other))
    return torch.trace(first @ second)


def gaussian(values: torch.Tensor) -> torch.Tensor:
    return torch.exp(-(torch.cdist(values, values) ** 2) / (2 * 25 * values.shape[1]))


@pytest.mark.parametrize(
    ("adversarial", "mask", "linear"),
    [
        (None, False, False),
        (None, True, True),
        ("pgd_training", False, True),
        ("trades", True, False),
        ("mart", False, False),
    ],
)
def test_the_loss_is_equation_1_with_the_weights_as_coded(adversarial, mask, linear):
    model, (x, y) = net(), batch()
    loss = IBRAR.as_coded(adversarial, mask=mask, mask_layer="1" if mask else None).double()(
        model, x, y
    )
    hidden, one_hot = torch.tanh(model[0](x)), torch.eye(2, dtype=torch.float64)[y]
    of_y = one_hot @ one_hot.T if linear else gaussian(one_hot)
    slow = -torch.log_softmax(model(x), 1)[range(len(x)), y].mean()
    slow = slow + 0.008 * textbook(gaussian(x), gaussian(hidden), 1e-5)
    slow = slow - 0.08 * textbook(of_y, gaussian(hidden), 1e-5)
    torch.testing.assert_close(loss, slow, rtol=1e-5, atol=1e-7)


def test_labels_may_have_a_weight_where_the_images_have_none():
    model, (x, y) = net(), batch()
    loss = IBRAR(0.0, label_weight=0.08).double()(model, x, y)
    hidden, one_hot = torch.tanh(model[0](x)), torch.eye(2, dtype=torch.float64)[y]
    slow = -torch.log_softmax(model(x), 1)[range(len(x)), y].mean()
    slow = slow - 0.08 * textbook(gaussian(one_hot), gaussian(hidden), 1e-5)
    torch.testing.assert_close(loss, slow, rtol=1e-5, atol=1e-7)
    assert "label_weight=0.08" in repr(IBRAR(0.0, label_weight=0.08))


@pytest.mark.parametrize(
    ("network", "alpha", "beta"), [("vgg16", 1.0, 0.1), ("resnet18", 5e-4, 5e-5)]
)
def test_the_weights_of_the_text(network, alpha, beta):
    method, data = IBRAR.paper(network, layers=["1"]), batch()
    terms = method.regulariser(method.observe(net(), data), data)
    assert terms["nhsic_x"].weight.item() == pytest.approx(alpha)
    assert terms["nhsic_y"].weight.item() == pytest.approx(-beta)
    assert method.layers == ("1",)


def test_an_adaptive_attack_can_differentiate_the_whole_loss_in_the_input():
    (x, y), method = batch(), IBRAR.as_coded().double()
    x = x.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: method(net(), x, y), (x,), atol=1e-4, rtol=1e-3)


def test_what_there_is_not_is_refused():
    with pytest.raises(ConfigError, match="unknown network 'vgg19'; did you mean 'vgg16'"):
        IBRAR.paper("vgg19")
    with pytest.raises(ConfigError, match=r"got relevance=10\.0, eps=-1"):
        IBRAR(0.1, eps=-1)
    with pytest.raises(ConfigError, match="label_weight must be"):
        IBRAR(0.1, label_weight=-0.1)
    with pytest.raises(ConfigError, match="unknown adversarial training 'pgd'"):
        IBRAR.as_coded("pgd")
    with pytest.raises(ConfigError, match="unknown label kernel 'rbf'"):
        IBRAR(0.1, label_kernel="rbf")
