"""Layers in which next to no unit is active are seen, however they are written."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from narrows.audit.checks.dead_units import dead_units
from scenarios_attacks import linear_case
from scenarios_audit import Around, MonteCarloDropout, case_of


class Silent(Around):
    """A layer of 128 units of which none is active."""

    rectify = nn.ReLU()

    def forward(self, x):
        silent = self.rectify(-1 - torch.cat([x.flatten(1)] * 2, 1))
        return self.model(x) + 0 * silent.sum(1, keepdim=True)


class Clamped(Silent):
    rectify = staticmethod(lambda x: x.clamp_min(0))


class Function(Silent):
    rectify = staticmethod(F.relu)


@pytest.mark.parametrize("wrap", [None, MonteCarloDropout])
def test_a_usual_network_is_active(wrap):
    finding = dead_units(case_of(wrap))
    assert finding.passed
    assert min(finding.data["active"]) > 0.1


@pytest.mark.parametrize("wrap", [Silent, Clamped, Function])
def test_a_silent_layer_is_named(wrap):
    finding = dead_units(case_of(wrap))
    assert not finding.passed
    assert "at 100.0% of" in finding.evidence
    assert "inactive units" in finding.remedy


def test_a_model_without_rectifiers_has_none_that_are_silent():
    model, x, y = linear_case(4, count=20)
    finding = dead_units(case_of(lambda _: model, x=x, y=y))
    assert finding.passed
    assert "no rectifiers" in finding.evidence


class Narrow(Around):
    """A silent layer of 4 units, of which one may well be."""

    def forward(self, x):
        silent = torch.relu(-1 - x.flatten(1)[:, :4])
        return self.model(x) + 0 * silent.sum(1, keepdim=True)


def test_layers_of_a_handful_of_units_may_be_silent():
    finding = dead_units(case_of(Narrow))
    assert finding.passed
    assert min(finding.data["active"]) > 0.1


def test_without_a_right_answer_nothing_is_examined():
    case = case_of()
    case.clean[:] = False
    finding = dead_units(case)
    assert (finding.passed, finding.examined) == (True, False)
