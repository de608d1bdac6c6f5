"""Models of other seeds that differ are found, beyond sampling error."""

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
