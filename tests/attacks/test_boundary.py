import math

import pytest
import torch
from torch import nn

from narrows.attacks._boundary import BoundarySearch
from narrows.attacks.query import Query
from scenarios_attacks import curved_case, exact_radius, linear_case


def by_hand(model: nn.Module, x, y, norm):
    """Distance of the nearest linearised boundary of every image, from one gradient at a time."""
    distances = []
    for image, label in zip(x, y.tolist(), strict=True):
        image = image.clone().requires_grad_()
        logits = model(image[None])[0]
        rows = []
        for k in range(len(logits)):
            if k != label:
                gap = logits[k] - logits[label]
                (gradient,) = torch.autograd.grad(gap, image, retain_graph=True)
                dual = gradient.abs().sum() if norm == "linf" else gradient.norm()
                rows.append(gap.abs().item() / dual.item())
        distances.append(min(rows))
    return torch.tensor(distances, dtype=x.dtype)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_nearest_boundary_is_that_of_a_search_through_all_classes(norm):
    model, x, y = curved_case(dtype=torch.float64)
    model.eval()
    query, rows = Query(model, y), torch.arange(len(x))
    search = BoundarySearch(query, norm, growth=1e9)
    boundary = search.nearest(x, rows, model(x).detach())
    torch.testing.assert_close(boundary.distance, by_hand(model, x, y, norm))
    lead = boundary.lead.abs()
    dual = boundary.normal.flatten(1)
    dual = dual.abs().sum(1) if norm == "linf" else dual.norm(dim=1)
    torch.testing.assert_close(lead / dual, boundary.distance)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_classes_that_cannot_be_nearest_are_skipped_without_a_change(norm):
    model, x, y = linear_case(8, count=60, dtype=torch.float64)
    query, rows = Query(model, y), torch.arange(60)
    search = BoundarySearch(query, norm, growth=2)
    radius = exact_radius(model, x, y, norm)
    torch.testing.assert_close(search.nearest(x, rows, model(x).detach()).distance, radius)
    assert query.backwards == 60 * 7
    left = torch.arange(0, 60, 2)
    search.keep(left)
    again = search.nearest(x[left], rows[left], model(x[left]).detach())
    torch.testing.assert_close(again.distance, radius[left])
    assert query.backwards < 60 * 7 + 30 * 7 / 2


def test_towards_a_target_only_its_boundary_counts():
    model, x, y = linear_case(5, dtype=torch.float64)
    target = (y + 2) % 5
    boundary = BoundarySearch(Query(model, target, targeted=True), "l2", 2).nearest(
        x, torch.arange(len(x)), model(x).detach()
    )
    weight, logits = model.layer.weight.detach(), model(x).detach()
    gap = (logits.gather(1, y[:, None]) - logits.gather(1, target[:, None])).squeeze(1)
    torch.testing.assert_close(boundary.distance, gap / (weight[target] - weight[y]).norm(dim=1))


def test_without_a_gradient_there_is_no_boundary():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.tensor([1.0, 0.0, 0.0]) + 0 * x.flatten(1).sum(1, keepdim=True)

    x, y = torch.rand(3, 4), torch.zeros(3, dtype=torch.int64)
    boundary = BoundarySearch(Query(Constant(), y), "l2", 2).nearest(
        x, torch.arange(3), Constant()(x)
    )
    assert boundary.distance.tolist() == [math.inf] * 3
    assert not boundary.normal.any()
