"""Models of other seeds that differ are found, beyond sampling error."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from narrows.audit.checks.seeds import seeds
from narrows.audit.planted import Detached
from scenarios_audit import case_of, undefended


def test_a_lucky_seed_is_found():
    torch.manual_seed(0)
    stranger = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    finding = seeds(case_of(eps=0.02, siblings=(stranger,)))
    assert not finding.passed
    assert finding.data["accuracy"][0] - finding.data["accuracy"][1] > 0.5


def test_the_same_model_passes():
    assert seeds(case_of(eps=0.1, siblings=(undefended()[0],))).passed


def test_siblings_without_a_gradient_are_attacked_all_the_same():
    case = case_of(Detached, siblings=(Detached(undefended()[0]),))
    assert seeds(case).passed


def test_without_siblings_nothing_is_examined():
    assert not seeds(case_of()).examined


@pytest.mark.parametrize(
    ("better", "worse", "passed"),
    # Of 100 images: 8 points are few; 12 are not, unless as many others may change as well.
    [(8, 0, True), (12, 0, False), (42, 30, True), (0, 0, True)],
)
def test_models_differ_by_ten_points_and_beyond_sampling_error(better, worse, passed):
    images = torch.arange(100)
    here, there = images < 50, (images >= better) & (images < 50 + worse)

    class Kept(nn.Module):
        """A sibling that the attack leaves the images `there`."""

    def attack(model, x, y):
        return SimpleNamespace(success=~(there if isinstance(model.model, Kept) else here))

    case = SimpleNamespace(
        **{"siblings": (Kept(),), "x": images, "y": images, "restored": nullcontext},
        pgd=lambda: attack,
        plain=lambda attack: SimpleNamespace(success=~here),
    )
    finding = seeds(case)
    assert finding.passed is passed
    assert finding.data["accuracy"] == [0.5, (50 - better + worse) / 100]
