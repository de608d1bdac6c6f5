"""Rows are spread over all of a set, and points near images lie within the radius."""

import pytest
import torch

from narrows.attacks.norms import size
from narrows.audit._door import moved, nearby, spread_rows


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
