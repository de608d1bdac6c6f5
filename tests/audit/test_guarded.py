"""An attack can climb on any model: where there is no gradient it is zero."""

import torch
from torch import nn

from narrows.audit._guarded import Guarded
from narrows.models import Bottleneck

X = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
LINEAR = nn.Linear(4, 2)


class Changed(nn.Module):
    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(x)


def gradient(model, x):
    x = x.clone().requires_grad_()
    (result,) = torch.autograd.grad(Guarded(model)(x).sum(), x)
    return result


def test_a_gradient_that_is_there_is_passed_on():
    expected = LINEAR.weight.sum(0).expand(3, 4)
    torch.testing.assert_close(gradient(LINEAR, X), expected)
    torch.testing.assert_close(Guarded(LINEAR)(X), LINEAR(X))


def test_without_a_graph_it_is_zero():
    for change in (lambda x: LINEAR(x).detach(), lambda x: LINEAR(x.detach()).detach()):
        for x in (X, 0 * X):
            assert torch.equal(gradient(Changed(change), x), torch.zeros_like(X))
            assert torch.equal(Guarded(Changed(change))(x), LINEAR(x))


def test_what_is_not_finite_is_zero():
    def broken(x):
        row = torch.zeros(3, 1)
        row[1] = torch.nan
        return LINEAR(x * (1 + row - row.detach().nan_to_num()))

    result = gradient(Changed(broken), X)
    assert result.isfinite().all()
    assert (result[1] == 0).all()
    assert (result[0] != 0).any()


def test_logits_have_the_precision_of_the_images():
    half = Changed(lambda x: LINEAR(x.float()).half())
    assert Guarded(half)(X).dtype == torch.float32
    with torch.no_grad():
        assert Guarded(half)(X.double()).dtype == torch.float64


def test_several_passes_are_drawn():
    noisy = Bottleneck(nn.Linear(4, 6), nn.Linear(3, 2), latent="gaussian")
    drawn = Guarded(noisy).draw_logits(X, 5)
    assert drawn.shape == (5, 3, 2)
    assert not torch.equal(drawn[0], drawn[1])
