"""The records that parts of the library hand to each other."""

import math

import pytest
import torch

from narrows.types import AttackResult, Estimate, LossTerms, Term


def test_a_total_is_the_prediction_and_the_weighted_terms():
    terms = LossTerms(
        torch.tensor(2.0), {"rate": Term(torch.tensor(3.0), 0.5), "b": Term(torch.tensor(1.0), 4)}
    )
    assert terms.total.item() == 2.0 + 0.5 * 3.0 + 4 * 1.0
    values = {name: value.item() for name, value in terms.values().items()}
    assert values == {"loss": 7.5, "prediction": 2.0, "rate": 3.0, "b": 1.0}


def test_what_is_logged_has_no_graph():
    rate = torch.tensor(3.0, requires_grad=True)
    terms = LossTerms(torch.tensor(2.0), {"rate": Term(rate, 0.5)})
    assert terms.total.requires_grad
    assert not any(value.requires_grad for value in terms.values().values())


def test_bits_are_nats_over_log_2():
    assert Estimate(math.log(8), math.nan, 10).bits == pytest.approx(3)
    assert Estimate(-0.1, math.nan, 10).bits < 0
    assert Estimate(1.0, 0.0, 1).ceiling == math.inf


def test_robust_accuracy_is_what_did_not_succeed():
    success = torch.tensor([True, False, False, False])
    result = AttackResult(torch.rand(4, 2), success, torch.zeros(4), 1, 1, success.double())
    assert result.robust_accuracy == 0.75
