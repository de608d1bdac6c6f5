"""What the checks look at: the model's own losses and gradients, and shares of images."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from narrows.audit import Case
from narrows.audit._claim import per_pixel
from narrows.audit._probe import by_gradient, correct_rows, counts, share, slope
from scenarios_audit import SMALL, case_of


class Detached(nn.Module):
    def __init__(self, model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x).detach()


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of()


def test_the_slope_is_that_of_autograd(case):
    rows = correct_rows(case)[:5]
    x = case.x[rows].clone().requires_grad_()
    loss = F.cross_entropy(case.model(x), case.y[rows], reduction="none")
    (expected,) = torch.autograd.grad(loss.sum(), x)
    seen = slope(case, case.x[rows], rows, "cross_entropy")
    assert seen.graph
    torch.testing.assert_close(seen.value, loss.detach())
    torch.testing.assert_close(seen.gradient, expected)


def test_a_model_without_a_graph_has_no_slope():
    case = case_of(Detached)
    rows = correct_rows(case)[:3]
    seen = slope(case, case.x[rows], rows, "margin")
    assert not seen.graph
    assert (seen.gradient == 0).all()
    assert seen.value.isfinite().all()


def test_rows_are_those_that_are_right(case):
    rows = correct_rows(case)
    assert (case.model(case.x[rows]).argmax(1) == case.y[rows]).all()
    assert len(rows) == int(case.clean.sum())


def test_a_pixel_moves_by_its_part_of_the_radius(case):
    assert per_pixel(case) == case.eps
    assert per_pixel(case_of(norm="l2", eps=0.8)) == pytest.approx(0.8 / math.sqrt(64))


def test_shares_and_what_is_more_than_a_tolerance():
    some = torch.arange(100) < 7
    assert share(some) == 0.07
    assert counts(some)
    assert not counts(torch.arange(100) < 6)
    assert not counts(some, tolerance=0.05)


def test_pgd_on_either_loss_counts(case):
    fooled = by_gradient(case)
    for loss in ("cross_entropy", "margin"):
        assert (fooled | ~case.plain(case.pgd(loss=loss)).success).all()
    assert fooled.shape == (SMALL.images,)
