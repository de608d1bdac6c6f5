"""The margin falls towards another class in an honest model, and not in a trap."""

import pytest
import torch

from narrows.attacks.norms import per_image
from narrows.audit.checks.confidence import _first_change, confidence
from narrows.audit.planted import Probabilities, Quantised, ScaledLogits
from scenarios_attacks import linear_case
from scenarios_audit import Around, Misleading, MonteCarloDropout, case_of, undefended


class HardLabels(Around):
    def forward(self, x):
        return torch.nn.functional.one_hot(self.model(x).argmax(1), 10).float()


@pytest.mark.parametrize("wrap", [None, Quantised, ScaledLogits, MonteCarloDropout])
def test_a_score_that_means_something_falls(wrap):
    finding = confidence(case_of(wrap))
    assert finding.passed
    assert finding.data["kept"] < 0.1


@pytest.mark.parametrize("wrap", [Misleading, HardLabels, Probabilities])
def test_a_score_that_stays_or_rises_is_named(wrap):
    finding = confidence(case_of(wrap))
    assert not finding.passed
    assert finding.data["kept"] > 0.9
    assert "labels only" in finding.remedy


def test_the_first_change_of_a_linear_model_is_where_it_is():
    model, x, y = linear_case(5, count=40)
    goal = torch.stack([x[y != label][0] for label in y])
    with torch.no_grad():
        t = _first_change(model, x, goal, y)
        before = x + per_image((t - 1e-3).clamp_min(0), x) * (goal - x)
        after = x + per_image(t + 2e-3, x) * (goal - x)
        assert (model(before).argmax(1) == y).all()
        assert (model(after).argmax(1) != y).double().mean() > 0.9


def test_one_class_alone_is_not_examined():
    _, x, y = undefended()
    finding = confidence(case_of(x=x[y == 3], y=y[y == 3]))
    assert finding.passed
    assert not finding.examined
