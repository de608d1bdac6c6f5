"""The nearest boundary by labels alone, on linear models whose boundaries are known."""

import pytest
import torch
from torch import nn

from narrows.attacks._decisions import Decisions
from narrows.attacks.norms import size
from narrows.attacks.query import Query
from scenarios_attacks import Lucky, linear_case


def decisions(
    model: nn.Module, x: torch.Tensor, labels: torch.Tensor, norm: str = "l2", **settings: bool
) -> Decisions:
    query = Query(model, labels, **settings)
    return Decisions(query, x, norm, 1000, 64, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_search_begins_at_the_nearest_image_of_another_class(norm):
    model, x, y = linear_case(3, count=30)
    judge = decisions(model, x, y, norm)
    order = 2 if norm == "l2" else torch.inf
    for image, label, start in zip(x, y, judge.start, strict=True):
        others = x[y != label]
        nearest = others[torch.cdist(image.reshape(1, -1), others.flatten(1), p=order).argmin()]
        assert model(start[None]).argmax() != label
        distance = size((start - image)[None], norm)
        assert distance <= size((nearest - image)[None], norm) + 1e-6


def test_towards_targets_it_begins_at_images_of_the_targets():
    model, x, y = linear_case(3, count=30)
    target = (y + 1) % 3
    judge = decisions(model, x, target, targeted=True)
    rows = judge.started()
    assert len(rows) == 30
    assert torch.equal(model(judge.start).argmax(1), target)


def test_a_single_image_begins_at_noise():
    model, x, y = linear_case(2, count=20)
    for row in range(20):
        judge = decisions(model, x[row : row + 1], y[row : row + 1])
        assert len(judge.started()) == 1
        assert model(judge.start).argmax(1) != y[row]


def test_a_model_of_one_class_has_no_starting_point():
    model, x, y = linear_case(2, count=5)
    model.layer.bias.data[0] += 1e6
    judge = decisions(model, x, torch.zeros_like(y))
    assert not len(judge.started())
    assert torch.equal(judge.start, x)
    assert torch.equal(judge.finish(None), x)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_bisection_ends_just_past_the_boundary(norm):
    model, x, y = linear_case(2, count=50, dtype=torch.float64)
    judge = decisions(model, x, y, norm)
    rows = judge.started()
    x_adv = judge.bisect(judge.start, rows, 1e-5)
    assert torch.equal(model(x_adv).argmax(1) != y, torch.ones_like(y, dtype=torch.bool))
    inside = x + (1 - 3e-5) * (x_adv - x)
    if norm == "l2":
        assert torch.equal(model(inside).argmax(1), y)
    assert (size(x_adv - x, norm) <= size(judge.start - x, norm)).all()
    assert torch.equal(judge.nearest.distance, size(x_adv - x, norm))


def test_queries_are_counted_image_by_image():
    model, x, y = linear_case(2, count=4)
    judge = decisions(model, x, y)
    before = judge.spent.clone()
    rows = torch.tensor([0, 0, 3])
    judge.fooled(x[rows], rows)
    assert (judge.spent - before).tolist() == [2, 0, 0, 1]
    assert judge.left(rows).tolist() == (1000 - judge.spent[rows]).tolist()


def test_answers_are_those_of_the_model_whatever_the_chunk():
    model, x, y = linear_case(4, count=100)
    judge = decisions(model, x, torch.zeros_like(y))
    rows = torch.arange(100).repeat(2)
    assert torch.equal(judge.fooled(x.repeat(2, 1, 1, 1), rows), (y != 0).repeat(2))


def test_luck_at_a_starting_point_is_not_confirmed():
    x, y = torch.full((20, 4), 0.5), torch.zeros(20, dtype=torch.int64)
    torch.manual_seed(0)
    judge = decisions(Lucky(0.2), x, y, stochastic=True)
    judge.bisect(judge.start, judge.started(), 0.01)
    query = Query(Lucky(0.2), y, stochastic=True)
    assert not query.verdict(judge.finish(None), torch.arange(20)).fooled.any()
