from dataclasses import replace

import pytest
import torch
from torch import nn

from narrows.attacks import Square
from narrows.attacks._random_search import _Past
from narrows.attacks.losses import margin
from scenarios_attacks import Labels


def judged(*margins, queries=1000):
    """Whether a search ends at 500 queries whose margins were these after 0, 125, 250 and 500."""
    past = _Past(torch.tensor([margins[0]]), queries)
    for queried in range(1, 501):
        value = torch.tensor([margins[sum(queried >= mark for mark in (125, 250, 500))]])
        ends = past.hopeless(value, queried)
    return bool(ends)


def test_a_search_ends_where_the_margin_rises_steadily_and_by_far_too_little():
    # One doubling is left: .5 + 1.5 times the last rise is expected of it at most.
    assert judged(-20.0, -13.0, -12.0, -11.0)
    assert judged(-20.0, -5.0, -3.1, -2.1)
    assert not judged(-20.0, -5.0, -2.9, -1.9)


@pytest.mark.parametrize(
    "margins",
    [
        pytest.param((-20.0, -20.0, -20.0, -20.0), id="flat"),
        pytest.param((-20.0, -20.0, -20.0, -19.0), id="a first step"),
        pytest.param((-20.0, -19.0, -18.5, -17.0), id="faster and faster"),
        pytest.param((-20.0, -12.0, -11.0, -11.0), id="no longer rising"),
    ],
)
def test_a_search_goes_on_where_rises_say_nothing(margins):
    assert not judged(*margins)


def test_margins_are_remembered_of_the_images_that_stay():
    past = _Past(torch.tensor([0.0, -11.0, 0.0]), 1000)
    for queried in range(1, 400):
        past.hopeless(torch.tensor([0.0, -10.0 + queried / 1000, 0.0]), queried)
    past.keep(torch.tensor([1]))
    assert past.hopeless(torch.tensor([-9.5]), 500)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.01), ("l2", 0.03)])
def test_ending_early_costs_fewer_queries_and_no_image(norm, eps):
    attack = Square(norm=norm, eps=eps, queries=1200)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(196, 32), nn.Tanh(), nn.Linear(32, 5))
    x = torch.rand(16, 1, 14, 14)
    y = model(x).argmax(1)
    early, whole = (replace(attack, patient=patient)(model, x, y) for patient in (False, True))
    assert torch.equal(early.success, whole.success)
    assert early.forwards < 0.9 * whole.forwards
    assert (margin(model(early.x_adv), y) >= margin(model(x), y)).all()
    # One-hot logits have no steady rise.
    labels = Labels(model)
    assert replace(attack, patient=False)(labels, x, y).forwards == attack(labels, x, y).forwards
