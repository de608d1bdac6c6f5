"""The surface holds the losses that one would find by asking point by point."""

import pytest
import torch
import torch.nn.functional as F

from narrows.audit.loss_surface import loss_surface
from narrows.audit.planted import ScaledLogits
from narrows.errors import InputError
from scenarios_audit import case_of


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.2), ("l2", 1.0)])
def test_values_are_losses_at_the_points(norm, eps):
    case = case_of(norm=norm, eps=eps)
    rows = torch.tensor([3, 0])
    found = loss_surface(case, rows, points=5)
    assert found.loss.shape == found.correct.shape == (2, 5, 5)
    assert found.steps.tolist() == [-1, -0.5, 0, 0.5, 1]
    assert found.inside.tolist() == [
        [abs(a) + abs(b) <= 2 for b in range(-2, 3)] for a in range(-2, 3)
    ]
    x, y = case.x[rows], case.y[rows]
    torch.testing.assert_close(
        found.loss[:, 2, 2], F.cross_entropy(case.model(x), y, reduction="none")
    )
    delta = case.run(case.pgd()).x_adv[rows] - x
    size = delta.abs() if norm == "linf" else delta.flatten(1).norm(dim=1)[:, None, None, None]
    moved = eps * (delta.sign() if norm == "linf" else delta / size)
    for k in (0, 3, 4):
        there = (x + found.steps[k] * moved).clamp(0, 1)
        logits = case.model(there)
        torch.testing.assert_close(
            found.loss[:, k, 2], F.cross_entropy(logits, y, reduction="none")
        )
        assert torch.equal(found.correct[:, k, 2], logits.argmax(1) == y)
    # The attack's direction is worse than the random one.
    assert (found.loss[:, 4, 2] > found.loss[:, 2, 4]).all()


def test_flat_where_the_loss_saturates():
    surface = loss_surface(case_of(ScaledLogits), torch.tensor([0]), points=5, reach=0.1)
    assert (surface.loss == 0).all()


@pytest.mark.parametrize(
    ("rows", "points", "says"),
    [([0], 4, "odd"), ([0], 1, "odd"), ([40], 5, "0..39"), ([-1], 5, "0..39"), ([], 5, "0..39")],
)
def test_refuses(rows, points, says):
    with pytest.raises(InputError, match=says):
        loss_surface(case_of(), torch.tensor(rows, dtype=torch.int64), points=points)
