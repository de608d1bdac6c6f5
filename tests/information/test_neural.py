import math

import pytest
import torch

from narrows.errors import ConfigError, InputError
from narrows.information import CRITIC_BOUNDS, critic_bound, infonce
from scenarios import CorrelatedGaussians, generator

every = pytest.mark.parametrize("bound", CRITIC_BOUNDS)


def slow_bound(t, bound):
    """The four formulas, one pair at a time."""
    n = len(t)
    joint = sum(t[i][i] for i in range(n)) / n
    beside = [t[i][j] for i in range(n) for j in range(n) if i != j]
    if bound == "donsker_varadhan":
        return joint - math.log(sum(math.exp(s) for s in beside) / len(beside))
    if bound == "nwj":
        return joint - sum(math.exp(s) for s in beside) / len(beside) / math.e
    if bound == "smile":
        clipped = [math.exp(min(max(s, -5), 5)) for s in beside]
        return joint - math.log(sum(clipped) / len(beside))
    return sum(t[i][i] - math.log(sum(math.exp(s) for s in t[i]) / n) for i in range(n)) / n


def random_scores(*shape, seed=0):
    return 4 * torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def best_scores(target, n, seed, bound="infonce"):
    """log p(x,z) / p(x) p(z) of every pair, the best critic (plus 1 for NWJ)."""
    x, z = target.sample(n, seed)
    r = target.rho
    squares = r**2 * (x.square().sum(1)[:, None] + z.square().sum(1))
    return (r * (x @ z.T) - squares / 2) / (1 - r**2) + target.information + (bound == "nwj")


@every
def test_a_bound_equals_its_definition(bound):
    scores = random_scores(12, 12)
    value = CRITIC_BOUNDS[bound](scores)
    assert value.item() == pytest.approx(slow_bound(scores.tolist(), bound), abs=1e-12)
    assert critic_bound(scores, bound).nats == pytest.approx(value.item(), abs=1e-12)


@every
def test_several_matrices_are_measured_at_once(bound):
    scores = random_scores(2, 3, 7, 7)
    values = CRITIC_BOUNDS[bound](scores)
    assert values.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            assert values[i, j] == pytest.approx(CRITIC_BOUNDS[bound](scores[i, j]).item())


@every
def test_gradients_are_those_of_differences(bound):
    scores = random_scores(5, 5).requires_grad_()
    assert torch.autograd.gradcheck(CRITIC_BOUNDS[bound], scores)


@every
def test_the_best_critic_reaches_the_truth_and_a_worse_one_stays_below(bound):
    target = CorrelatedGaussians(0.8)
    estimate = critic_bound(best_scores(target, 1500, 0, bound), bound)
    assert estimate.nats == pytest.approx(target.information, abs=3 * estimate.std_error)
    worse = critic_bound(0.4 * best_scores(target, 1500, 0, bound), bound)
    assert worse.nats < target.information - 3 * worse.std_error


@every
def test_the_standard_error_is_the_spread_over_fresh_samples(bound):
    target = CorrelatedGaussians(0.7)
    estimates = [critic_bound(best_scores(target, 200, seed, bound), bound) for seed in range(100)]
    spread = torch.tensor([estimate.nats for estimate in estimates]).std().item()
    claimed = sum(estimate.std_error for estimate in estimates) / 100
    assert claimed == pytest.approx(spread, rel=0.3)


@every
def test_large_scores_do_not_overflow(bound):
    scores = random_scores(6, 6) + 1e4
    if bound in ("donsker_varadhan", "infonce"):
        value = CRITIC_BOUNDS[bound](scores - 1e4).item()
        assert CRITIC_BOUNDS[bound](scores).item() == pytest.approx(value, abs=1e-9)
    scores = 1000 * torch.eye(6, dtype=torch.float64)
    assert math.isfinite(CRITIC_BOUNDS[bound](scores).item())


def test_a_perfect_match_is_worth_the_logarithm_of_the_batch_to_infonce_and_more_to_others():
    scores = 1000 * torch.eye(16)
    estimate = critic_bound(scores, "infonce")
    assert estimate.nats == pytest.approx(math.log(16))
    assert estimate.ceiling == estimate.diagnostics["log_n"] == pytest.approx(math.log(16))
    assert estimate.diagnostics["saturated"]
    other = critic_bound(scores, "donsker_varadhan")
    assert other.nats == pytest.approx(1000)
    assert other.ceiling == math.inf
    assert other.diagnostics["saturated"]


def test_only_smile_is_no_bound():
    about = {
        bound: critic_bound(torch.eye(3), bound).diagnostics["bound"] for bound in CRITIC_BOUNDS
    }
    assert about.pop("smile") == "none"
    assert set(about.values()) == {"lower"}


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (torch.zeros(3, 4), r"\[n, n\] .* got \[3, 4\]"),
        (torch.zeros(1, 1), "at least 2 samples"),
        (torch.zeros(3, 3, dtype=torch.cfloat), "real numbers"),
        (torch.full((3, 3), math.nan), "diverged"),
    ],
)
def test_what_are_no_scores_is_refused(scores, message):
    with pytest.raises(InputError, match=message):
        critic_bound(scores)


def test_a_misspelt_bound_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'infonce'"):
        critic_bound(torch.eye(3), "infonec")


def test_scores_keep_their_gradients_to_themselves():
    scores = random_scores(4, 4).requires_grad_()
    critic_bound(scores)
    infonce(scores).backward()
    assert scores.grad is not None
