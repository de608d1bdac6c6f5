import pytest
import torch

from narrows.attacks import FGSM
from narrows.attacks._judge import confirmed, judge, reproduces
from narrows.types import AttackResult
from scenarios_attacks import Counting, Lucky, curved_case


def lucky_result(count: int, rate: float) -> tuple[AttackResult, torch.Tensor]:
    x, y = torch.full((count, 1, 2, 2), 0.5), torch.zeros(count, dtype=torch.int64)
    rates = torch.full((count,), rate, dtype=torch.float64)
    success, distance = torch.ones(count, dtype=torch.bool), torch.full((count,), 0.1)
    return AttackResult(x, success, distance, 7, 3, rates), y


def test_a_deterministic_model_is_judged_by_its_argmax_in_one_pass():
    model, x, y = curved_case()
    counting = Counting(model)
    state = torch.get_rng_state()
    judgement = judge(counting, x, y)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not judgement.stochastic
    assert torch.equal(judgement.fooled, model.eval()(x).argmax(1) != y)
    assert judgement.forwards == counting.forwards
    reached = judge(model, x, y, targeted=True)
    assert torch.equal(reached.fooled, ~judgement.fooled)


def test_a_stochastic_model_is_judged_by_the_vote_of_its_draws():
    x, y = torch.full((40, 1, 2, 2), 0.5), torch.zeros(40, dtype=torch.int64)
    judgement = judge(Lucky(0.3), x, y, draws=2000, seed=1)
    assert judgement.stochastic
    assert not judgement.fooled.any()
    # The standard error of a share of 2000 draws is .0102.
    assert (judgement.fooled_rate - 0.3).abs().max() < 0.045
    again = judge(Lucky(0.3), x, y, draws=2000, seed=1)
    assert torch.equal(again.fooled_rate, judgement.fooled_rate)


def test_lucky_successes_are_taken_back_and_clear_ones_cost_nothing():
    result, y = lucky_result(30, 0.6)
    given = {"targeted": False, "verify_draws": 20, "seed": 0}
    after = confirmed(Lucky(0.2), result, y, **given)
    assert result.success.all()
    assert not after.success.any()
    assert torch.isinf(after.distance).all()
    assert (after.fooled_rate - 0.2).abs().max() < 0.15
    assert after.forwards > result.forwards
    clear, y = lucky_result(30, 1.0)
    assert confirmed(Lucky(0.2), clear, y, **given) is clear


def test_a_success_that_more_draws_confirm_stays():
    result, y = lucky_result(30, 0.7)
    after = confirmed(Lucky(0.75), result, y, targeted=False, verify_draws=20, seed=0)
    assert after.success.all()
    assert torch.equal(after.distance, result.distance)


@pytest.mark.parametrize("flipped", [0, 1, 5])
def test_a_verdict_that_has_changed_is_noticed(flipped):
    model, x, y = curved_case()
    result = FGSM(eps=0.15)(model, x, y)
    fooled = result.success.clone()
    fooled[:flipped] = ~fooled[:flipped]
    given = {"targeted": False, "noise_held": False}
    assert reproduces(model, result.x_adv, y, fooled, result.fooled_rate, **given) == (flipped == 0)


def test_rates_of_a_stochastic_model_may_differ_by_the_luck_of_selection_only():
    result, y = lucky_result(60, 0.45)
    given = {"targeted": False}
    args = (result.x_adv, y, result.success, result.fooled_rate)
    assert reproduces(Lucky(0.3), *args, noise_held=False, **given)
    assert not reproduces(Lucky(0.8), *args, noise_held=False, **given)
    assert reproduces(Lucky(0.8), *args, noise_held=True, **given)
