"""Rows are spread over all of a set, and points near images lie within the radius."""

import pytest
import torch
from torch import nn

from narrows.attacks.norms import size
from narrows.audit import audit
from narrows.audit._door import moved, nearby, spread_rows
from narrows.errors import InputError


@pytest.mark.parametrize(("count", "most"), [(5, 8), (8, 8), (1000, 8), (1, 1)])
def test_rows_are_spread(count, most):
    rows = spread_rows(count, most)
    assert len(rows) == len(set(rows.tolist())) == min(count, most)
    assert rows[0] == 0
    assert rows[-1] == count - 1


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.5)])
def test_points_nearby(norm, eps):
    x = torch.full((6, 1, 4, 4), 0.5)
    images, anywhere, corner = nearby(x, norm, eps, 0)
    assert torch.equal(images, x)
    assert (size(anywhere - x, norm) <= eps + 1e-6).all()
    torch.testing.assert_close(size(corner - x, norm), torch.full((6,), eps))


def test_rounding_is_no_difference():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert not moved(logits, logits * (1 + 1e-6))
    assert moved(logits, logits + torch.tensor([0.0, 0.0, 0.1]))


class _Changed(nn.Module):
    def __init__(self, change) -> None:
        super().__init__()
        self.linear, self.change = nn.Linear(16, 3), change

    def forward(self, x):
        return self.change(self.linear(x.flatten(1)))


X, Y = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


@pytest.mark.parametrize(
    ("change", "x", "y", "says"),
    [
        (lambda z: z.to("meta"), X, Y, "logits must hold numbers"),
        (lambda z: z.to_sparse(), X, Y, "logits must be a dense tensor"),
        (lambda z: z[:, :0], X, Y, "the model has 0"),
        (lambda z: z, X.to("meta"), Y, "images must hold numbers"),
        (lambda z: z, X, Y.to("meta"), "labels must hold numbers"),
        (lambda z: z, X.to_sparse(), Y, "images must be a dense tensor"),
    ],
)
def test_what_holds_no_numbers_is_not_audited(change, x, y, says):
    with pytest.raises(InputError, match=says):
        audit(_Changed(change), x, y, eps=0.1, budget="fast")
