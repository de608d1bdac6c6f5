"""Views are chosen by what they fool on a few images."""

from dataclasses import replace

import torch

from narrows.audit.planted import Detached, Shattered
from narrows.audit.trials import CANDIDATES, helpful_views
from narrows.audit.views import VIEWS
from scenarios_audit import SMALL, MonteCarloDropout, case_of


def test_candidates_are_views():
    assert [name for name in CANDIDATES if name not in VIEWS] == []


def test_what_helps_is_chosen_and_nothing_is_entered():
    case = case_of(Detached)
    chosen = helpful_views(case)
    assert len(chosen) == 2
    assert not {"plain", "smoothed", "leaky"} & set(chosen)  # these see no gradient at all
    assert min(chosen.values()) >= 14
    assert len(case.ledger.entries) == 1
    assert len(case.survivors) > 30


def test_the_views_differ_with_the_model():
    chosen = helpful_views(case_of(Shattered, eps=0.1))
    assert "plain" not in chosen


def test_where_nothing_helps_twice_the_radius_is_tried():
    brief = replace(SMALL, steps=2, directions=2)
    assert helpful_views(case_of(eps=1e-6, budget=brief)) == {}
    near = case_of(eps=0.03)
    near.offer(
        "all that falls", near.plain(near.pgd(loss="margin", steps=40)).x_adv, torch.arange(40)
    )
    chosen = helpful_views(near)
    assert all(0 < count <= 16 for count in chosen.values())


def test_noise_is_held_in_every_candidate():
    brief = replace(SMALL, steps=3, directions=4)
    chosen = helpful_views(case_of(MonteCarloDropout, budget=brief), "fixed_noise")
    assert chosen
    plain, others = "fixed_noise", CANDIDATES[1:]
    assert set(chosen) <= {plain, *(f"{plain}+{name}" for name in others)}


def test_where_no_view_can_be_had_none_helps():
    assert helpful_views(case_of(eps=0.1), "fixed_noise") == {}
