"""Answers that are no numbers are counted, and named."""

import math

import torch

from narrows.audit.checks.finite import finite
from scenarios_audit import NaNNearby, NaNOnSome, case_of


def test_images_that_cannot_be_judged_are_left_out_by_number():
    case = case_of(NaNOnSome)
    finding = finite(case)
    assert not finding.passed
    assert "at 2 of 40 images" in finding.evidence
    assert "(number 3, 7)" in finding.evidence
    assert len(case.x) == 38


def test_nan_at_perturbed_images_is_no_success_and_is_counted():
    case = case_of(NaNNearby)
    result = case.plain(case.pgd())
    finding = finite(case)
    assert not finding.passed
    assert finding.data["near"] > 0.5
    assert result.robust_accuracy > 0.5  # what is no number was not counted as fooled


def test_minus_infinity_is_a_probability_of_zero():
    class Certain(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            logits = self.model(x)
            return logits.masked_fill(logits < logits.median(1, keepdim=True).values, -math.inf)

    case = case_of(Certain)
    finding = finite(case)
    assert finding.passed
    assert finding.evidence == "every answer was a number, or minus infinity near 40 of 40 images"
    assert case.plain(case.pgd()).success.all()
    assert finite(case).passed
