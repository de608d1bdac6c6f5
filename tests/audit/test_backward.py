"""Estimated gradients point where the function goes, from scores, from classes, or from another."""

import pytest
import torch
from torch import nn

from narrows.audit._backward import Backward, borrowed, differences, smoothed, votes
from narrows.audit.planted import Detached, Quantised, ScaledLogits, Shattered
from narrows.audit.views import VIEWS
from scenarios_audit import Misleading, case_of, undefended


def linear():
    model = nn.Linear(6, 3)
    with torch.no_grad():
        model.weight.copy_(torch.randn(3, 6, generator=torch.Generator().manual_seed(0)))
        model.bias.zero_()
    return model


def gradient(view, x, v):
    at = x.clone().requires_grad_()
    return torch.autograd.grad((view(at) * v).sum(), at)[0]


def test_the_values_are_those_of_the_model():
    model, x = linear(), torch.rand(4, 6)
    for kind in (differences(2, 0.1), votes(2, 0.1), smoothed(2, 0.1), borrowed(linear())):
        assert torch.equal(Backward(model, kind)(x), model(x))


@pytest.mark.parametrize("kind", [differences(4000, 0.3), smoothed(3, 0.3), borrowed(linear())])
def test_the_gradient_of_a_linear_model_is_found(kind):
    model, x, v = linear(), torch.full((1, 6), 0.5), torch.tensor([[1.0, -1.0, 0.0]])
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        made = gradient(Backward(model, kind), x, v)
    torch.testing.assert_close(made, v @ model.weight, atol=0.15, rtol=0.1)


def test_votes_point_out_of_the_class_at_its_boundary_and_nowhere_inside():
    model, v = linear(), torch.tensor([[-1.0, 1.0, 0.0]])
    x = torch.zeros(1, 6)  # all three classes meet here; the label is class 0
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        made = gradient(Backward(model, votes(4000, 0.5)), x, v)
    assert torch.cosine_similarity(made, -model.weight[:1]).item() > 0.7
    inside = 9 * model.weight[:1]
    assert not gradient(Backward(model, votes(20, 0.01)), inside, v).any()
    # A score that lies changes nothing: votes look at the class alone.
    model.weight.data *= 1e4
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        assert torch.equal(gradient(Backward(model, votes(4000, 0.5)), x, v), made)


def test_without_a_graph_smoothing_and_loans_are_zero():
    model = Detached(linear())
    x, v = torch.rand(2, 6), torch.ones(2, 3)
    assert not gradient(Backward(linear(), smoothed(2, 0.1)), x, 0 * v).any()
    assert not gradient(Backward(linear(), borrowed(model)), x, v).any()


@pytest.mark.parametrize(
    ("wrap", "view", "most"),
    [
        (Quantised, "wide_differences", 12),
        (Shattered, "narrow_differences", 8),
        (Shattered, "wide_smoothed", 40),
        (ScaledLogits, "smoothed", 8),
        (Misleading, "borrowed", 25),
        (Detached, "borrowed", 8),
    ],
)
def test_a_view_breaks_what_the_plain_gradient_does_not(wrap, view, most):
    case = case_of(wrap)
    case.escalate(case.pgd(loss="margin"), view)
    assert view in VIEWS
    assert len(case.survivors) <= most


def test_votes_fool_where_the_score_is_of_no_use():
    class Hard(Misleading):
        def forward(self, x):
            return nn.functional.one_hot(self.model(x).argmax(1), 10).float()

    left = {}
    for view in ("plain", "wide_votes"):
        case = case_of(Hard, eps=0.25)
        case.escalate(case.pgd(loss="margin"), view)
        left[view] = len(case.survivors)
    assert left["wide_votes"] < left["plain"] - 10
    assert undefended()[0] is case.model.model
