"""A weak network that answers at few places only is found by trying the neighbours of attacks."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from narrows.audit import Budget
from narrows.audit._around import levels_of, search_around
from narrows.audit._inside import classifiers_in
from narrows.audit.remedies import REMEDIES
from scenarios_audit import EPS, Around, MonteCarloDropout, case_of, undefended

BUDGET = Budget(
    images=40, steps=10, restarts=2, queries=600, draws=8, verify_draws=20, directions=16
)


class Memory(nn.Module):
    """The class of the nearest audited image: robust, since others are far away."""

    def forward(self, x):
        _, images, labels = undefended()
        nearest = torch.cdist(x.flatten(1), images.flatten(1)).argmin(1)
        return nn.functional.one_hot(labels[nearest], 10) + 0 * x.sum()


class Hidden(Around):
    """The memory answers, and where the model is exposed the undefended network inside."""

    def __init__(self, model):
        super().__init__(model)
        self.memory = Memory()

    def forward(self, x):
        return torch.where(self.exposed(x)[:, None], self.model(x), self.memory(x))

    def exposed(self, x):
        raise NotImplementedError


class Never(Hidden):
    def exposed(self, x):
        return torch.zeros(len(x), dtype=torch.bool)


class AtAHash(Hidden):
    """At one image of fifty, whichever they are."""

    def exposed(self, x):
        return (9871.37 * x.flatten(1).sum(1)).frac() < 0.02


class AtAKey(Hidden):
    """Where one pixel, black in nearly all images, has one grey."""

    def exposed(self, x):
        return (x[:, 0, 0, 0] - 0.1).abs() < 0.01


class OnTheGrid(Hidden):
    """Where all pixels are sixteenths, as those of the digits are."""

    def exposed(self, x):
        return (16 * x - (16 * x).round()).abs().flatten(1).amax(1) < 1e-3


@pytest.mark.parametrize("hidden", [AtAHash, AtAKey, OnTheGrid])
def test_a_hidden_network_is_found_where_it_answers(hidden):
    case = case_of(hidden, budget=BUDGET)
    clean = int(case.clean.sum())
    case.plain(case.pgd(loss="margin"))
    before = len(case.survivors)
    assert clean - before <= 4
    fooled = search_around(case, "inner_1")
    assert fooled == before - len(case.survivors) >= 20
    entry = case.ledger.entries[-1]
    assert entry.name == "search around margin of inner_1"
    assert entry.forwards > entry.backwards == before * BUDGET.steps
    assert (case.ledger.x_adv - case.x).abs().amax() <= EPS + 1e-6


def test_nothing_is_found_around_a_model_that_hides_nothing():
    case = case_of(Never, budget=BUDGET)
    assert search_around(case, "inner_1") == 0
    assert search_around(case, "labels") == 0
    assert len(case.survivors) == int(case.clean.sum())


@pytest.mark.parametrize("hidden", [AtAHash, Never])
def test_the_remedy_searches_more_where_a_search_fooled_the_model(hidden):
    case = case_of(hidden, budget=replace(BUDGET, queries=20))
    REMEDIES["around"](case)
    names = [entry.name for entry in case.ledger.entries[1:]]
    assert names[0] == "search around margin of inner_1"
    assert all(name.startswith("search around") for name in names)
    assert ("search around cross_entropy of inner_1" in names) is (hidden is AtAHash)


def test_points_stay_in_an_l2_ball():
    case = case_of(AtAHash, budget=BUDGET, norm="l2", eps=1.0)
    assert search_around(case, "inner_1") > 5
    assert (case.ledger.x_adv - case.x).flatten(1).norm(dim=1).max() <= 1 + 1e-5


def test_noise_and_a_missing_guide_are_left_to_other_attacks():
    assert search_around(case_of(MonteCarloDropout), "inner_1") == 0
    case = case_of()
    assert search_around(case, "inner_1") == search_around(case, "core") == 0
    assert len(case.ledger.entries) == 1


def test_levels_are_those_of_a_grid():
    _, x, _ = undefended()
    assert levels_of(x).tolist() == [level / 16 for level in range(17)]
    assert levels_of(torch.rand(10, 1, 8, 8)) is None
    assert levels_of(torch.full((3, 4), 0.5)) is None


def test_each_classifier_inside_is_found_and_none_that_holds_another():
    model, x, _ = undefended()
    hidden = Never(model)
    assert classifiers_in(Around(hidden), x[:2], 10) == [model, hidden.memory]
    assert classifiers_in(model, x[:2], 10) == []
    case = case_of(Never)
    assert case.view("inner_2") is not None
    assert case.view("inner_3") is None
