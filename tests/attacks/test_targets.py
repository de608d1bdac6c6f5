"""The order of the classes that a targeted attack heads for."""

from dataclasses import replace

import pytest
import torch

from narrows.attacks import APGD, FAB, MultiTargeted
from narrows.attacks._targets import rivals, target_classes
from narrows.attacks.query import Query
from narrows.errors import ConfigError, NarrowsError
from scenarios_attacks import Linear, curved_case, linear_case


def order_of(model: Linear, x: torch.Tensor, y: torch.Tensor, count: int, order: str, norm: str):
    rows = torch.arange(len(x))
    return rivals(Query(model, y), x, rows, model(x).detach(), count, order, norm)


def test_likely_classes_come_first():
    model, x, y = curved_case()
    result = order_of(model.eval(), x, y, 4, "likelihood", "linf")
    for row, logits, label in zip(result.tolist(), model(x), y.tolist(), strict=True):
        ranked = logits.argsort(descending=True).tolist()
        assert row == [k for k in ranked if k != label]


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2), ("l1", torch.inf)])
def test_classes_with_a_near_boundary_come_first(norm, dual):
    model, x, y = linear_case(6, count=40, dtype=torch.float64)
    model.layer.weight.data[2] *= 4  # likely, and yet its boundary is near for other reasons
    y = model(x).argmax(1)
    weight, logits = model.layer.weight.detach(), model(x).detach()
    result = order_of(model, x, y, 5, "distance", norm)
    for row, z, label in zip(result.tolist(), logits, y.tolist(), strict=True):
        slope = torch.linalg.vector_norm(weight - weight[label], dual, 1)
        distance = ((z[label] - z) / slope).nan_to_num(torch.inf)
        assert row == [k for k in distance.argsort().tolist() if k != label]
    assert not torch.equal(result, order_of(model, x, y, 5, "likelihood", norm))
    assert torch.equal(order_of(model, x, y, 2, "distance", norm), result[:, :2])


def test_of_many_classes_only_the_likeliest_are_candidates():
    model, x, y = linear_case(120, count=3)
    query = Query(model, y)
    rows = torch.arange(3)
    result = rivals(query, x, rows, model(x).detach(), 5, "distance", "linf")
    assert query.backwards == 3 * 100
    assert result.shape == (3, 5)
    assert (result != y[:, None]).all()


@pytest.mark.parametrize(
    "attack",
    [
        APGD(eps=0.1, steps=10, restarts=1, loss="targeted_dlr", order="distance"),
        FAB(steps=10, restarts=1, targets=4, order="distance"),
        MultiTargeted(eps=0.1, steps=10, restarts=1, order="distance"),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_either_order_reaches_the_same_images(attack):
    model, x, y = curved_case()
    near, likely = attack(model, x, y), replace(attack, order="likelihood")(model, x, y)
    assert torch.equal(near.success, likely.success)
    assert near.success.sum() > 10


def test_one_target_by_distance_is_the_one_that_a_linear_model_yields_to():
    model, x, y = linear_case(6, count=100, dtype=torch.float64)
    model.layer.weight.data[2] *= 4
    model.layer.bias.data -= model(x).mean(0).detach()
    y = model(x).argmax(1)
    shared = {"eps": 0.02, "restarts": 1, "loss": "targeted_dlr"}
    every = APGD(targets=5, **shared)(model, x, y).success
    nearest = APGD(targets=1, order="distance", **shared)(model, x, y).success
    likeliest = APGD(targets=1, **shared)(model, x, y).success
    assert torch.equal(nearest, every)
    assert likeliest.sum() < every.sum()


@pytest.mark.parametrize("kind", [APGD, FAB, MultiTargeted])
def test_an_unknown_order_names_the_known(kind):
    with pytest.raises(ConfigError, match=r"order of targets 'distanse'.*distance"):
        kind(order="distanse")


def test_classes_to_reach():
    model, x, y = linear_case(5, count=200)
    after = target_classes(model, x, y, "next")
    assert torch.equal(after, (y + 1) % 5)
    unlikely = target_classes(model, x, y, "least_likely")
    assert torch.equal(unlikely, model(x).argmin(1))
    worst = model(x).argmin(1)
    second = model(x).topk(2, largest=False).indices[:, 1]
    assert torch.equal(target_classes(model, x, worst, "least_likely"), second)
    drawn = target_classes(model, x, y, "random")
    assert (drawn != y).all()
    assert (((drawn - y) % 5).bincount() > 30)[1:].all()
    assert torch.equal(drawn, target_classes(model, x, y, "random"))
    assert not torch.equal(drawn, target_classes(model, x, y, "random", seed=1))
    rows = y != 3
    assert (target_classes(model, x[rows], y[rows].numpy(), 3) == 3).all()


def test_an_attack_takes_them():
    model, x, y = curved_case()
    target = target_classes(model, x, y, "least_likely")
    result = APGD(eps=0.4, restarts=1)(model, x, y, target)
    assert torch.equal(result.success, model.eval()(result.x_adv).argmax(1) == target)
    assert result.success.sum() > 10


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("nxt", "unknown choice of targets 'nxt'; did you mean 'next'"),
        ("3", "unknown choice of targets '3'"),
        (5, "the classes 0 to 4, got target 5"),
        (-1, "a target class"),
        (1.5, "a target class"),
        (True, "a target class"),
        (0, "images are of class 0 already"),
    ],
)
def test_classes_that_cannot_be_reached(choice, message):
    model, x, y = linear_case(5, count=50)
    with pytest.raises(NarrowsError, match=message):
        target_classes(model, x, y, choice)
