"""A model whose answer depends on the batch is named, however it does, and no other."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from narrows.audit import audit
from narrows.audit.checks.batch import batch
from narrows.audit.planted import NoisyWeights
from scenarios_audit import (
    EPS,
    SMALL,
    BatchStatistics,
    Centred,
    OneByOne,
    Ranked,
    Squeezing,
    TwoRows,
    case_of,
    undefended,
)


@pytest.mark.parametrize(
    ("wrap", "says"),
    [
        (BatchStatistics, "standard deviations"),
        (Centred, "standard deviations"),
        (Ranked, "in the opposite order"),
    ],
)
def test_dependence_is_found(wrap, says):
    finding = batch(case_of(wrap))
    assert not finding.passed
    assert says in finding.evidence
    assert "the same 16 images" in finding.evidence


def test_a_noisy_model_that_depends_on_the_batch_is_found():
    class Noisy(Centred):
        def forward(self, x):
            return super().forward(x + 0.01 * torch.randn_like(x))

    assert not batch(case_of(Noisy)).passed


@pytest.mark.parametrize("wrap", [None, NoisyWeights, Squeezing, OneByOne])
def test_other_models_pass(wrap):
    assert batch(case_of(wrap)).passed


def test_normalisation_by_running_statistics_passes():
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    assert batch(case_of(lambda model: layers)).passed


@pytest.mark.parametrize("wrap", [BatchStatistics, TwoRows])
def test_an_audit_of_it_ends_with_a_verdict(wrap):
    model, x, y = undefended()
    tiny = replace(SMALL, steps=2, restarts=1, queries=5, directions=1)
    report = audit(wrap(model), x[:6], y[:6], eps=EPS, budget=tiny)
    assert "batch" in report.flagged
    # Each image is judged beside the same others, in whatever company an attack has put it.
    judged = report.case.judge(report.ledger.x_adv, report.case.y)
    alone = torch.cat([report.case.subject(row[None]) for row in report.ledger.x_adv])
    assert torch.equal(judged.fooled, alone.argmax(1) != report.case.y)
    assert torch.equal(judged.fooled, report.ledger.fooled)
