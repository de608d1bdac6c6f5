import math

import pytest
import torch

from narrows.data import load_toy1, load_toy2
from narrows.data.toys import Toy1, Toy2
from narrows.errors import ConfigError, InputError

N = 200_000


def near(share, expected):
    """Within five standard deviations of a mean of N coin flips (or exact where it is certain)."""
    return abs(share - expected) <= 5 * math.sqrt(expected * (1 - expected) / N)


def accuracy(votes, data):
    return ((votes > 0) == (data.y == 1)).double().mean().item()


def log_odds_toy2(x, toy):
    """Log of p(y=1|x) / p(y=-1|x), feature by feature from the densities."""
    coarse = torch.where(x[:, 0] > 0, 1, -1) * math.log(toy.p / (1 - toy.p))
    normal = torch.distributions.Normal
    fine = normal(toy.eta, 1.0).log_prob(x[:, 1:]) - normal(-toy.eta, 1.0).log_prob(x[:, 1:])
    return coarse, fine.sum(1)


def test_toy1_has_the_densities_of_its_definition():
    data = Toy1().sample(N, seed=0)
    sign = 2 * data.y - 1
    own = data.x * sign[:, None]
    assert near(data.y.double().mean().item(), 0.5)
    assert near((own[:, 1] > 0).double().mean().item(), 0.9)
    for values, top in ((own[:, 0], 10.0), (own[:, 1].abs(), 1.0)):
        assert values.min() > 0
        assert values.max() <= top
        for quarter in (0.25, 0.5, 0.75):
            assert near((values < quarter * top).double().mean().item(), quarter)


def test_toy1_bayes_accuracies_are_what_the_best_rules_reach():
    toy = Toy1()
    data, bayes = toy.sample(N, seed=1), toy.bayes()
    shifted = toy.shift(data)
    assert bayes == (1, 1, 0.9, 1)
    assert accuracy(data.x[:, 0], data) == bayes.robust
    assert near(accuracy(data.x[:, 1], data), bayes.fragile)
    assert accuracy(shifted.x[:, 0], shifted) == bayes.shifted
    # A classifier that trusts x2 alone loses every sample to a shift by 1.
    assert accuracy(shifted.x[:, 1], shifted) == 0


def test_toy1_without_agreement_draws_the_low_density_regions():
    data = Toy1(agreement=0.0).sample(1000, seed=0)
    assert accuracy(data.x[:, 1], data) == 0
    assert Toy1(agreement=0.0).bayes().fragile == 1


def test_toy2_has_the_moments_of_its_definition():
    data = Toy2(d=3).sample(N, seed=0)
    own = data.x * (2 * data.y - 1)[:, None]
    assert set(data.x[:, 0].tolist()) == {-1.0, 1.0}
    assert near((own[:, 0] > 0).double().mean().item(), 0.95)
    torch.testing.assert_close(own[:, 1:].mean(0), torch.full((3,), 0.3), atol=0.012, rtol=0)
    torch.testing.assert_close(own[:, 1:].T.cov(), torch.eye(3), atol=0.02, rtol=0)


@pytest.mark.parametrize("toy", [Toy2(d=20, eta=0.2, p=0.8), Toy2(d=5, eta=0.3, p=0.3)])
def test_toy2_bayes_accuracies_are_what_the_best_rules_reach(toy):
    data = toy.sample(N, seed=2)
    shifted = toy.shift(data)
    coarse, fine = log_odds_toy2(data.x, toy)
    bayes = toy.bayes()
    assert near(accuracy(coarse, data), bayes.robust)
    assert near(accuracy(fine, data), bayes.fragile)
    assert near(accuracy(coarse + fine, data), bayes.every)
    assert near(accuracy(sum(log_odds_toy2(shifted.x, toy)), shifted), bayes.shifted)
    assert bayes.every > max(bayes.robust, bayes.fragile)


def test_toy2_with_the_papers_parameters():
    bayes = Toy2().bayes()
    assert bayes.robust == 0.95
    # Phi(3), and the mixture of Phi((18 +- ln 19) / 6).
    assert bayes.fragile == pytest.approx(0.9986501, abs=1e-7)
    assert bayes.every == pytest.approx(0.9994687, abs=1e-7)
    assert bayes.shifted < 0.01


def test_a_shift_by_two_eta_mirrors_the_gaussians_and_spares_the_rest():
    toy = Toy2(d=4, eta=0.5)
    data = toy.sample(1000, seed=0)
    shifted = toy.shift(data)
    sign = (2 * data.y - 1)[:, None]
    assert torch.equal(shifted.x[:, 0], data.x[:, 0])
    assert torch.equal(shifted.y, data.y)
    torch.testing.assert_close(data.x[:, 1:] - shifted.x[:, 1:], (1.0 * sign).expand(-1, 4))
    assert shifted.name == "toy2 shifted"


@pytest.mark.parametrize("toy", [Toy1(), Toy2()])
def test_samples_depend_on_the_seed_alone(toy):
    torch.manual_seed(1)
    first = toy.sample(50, seed=0)
    torch.manual_seed(2)
    assert torch.equal(first.x, toy.sample(50, seed=0).x)
    assert not torch.equal(first.x, toy.sample(50, seed=1).x)
    assert not first.image


@pytest.mark.parametrize(("load", "features"), [(load_toy1, 2), (load_toy2, 101)])
def test_loaders_hold_three_independent_draws(load, features):
    splits = load()
    assert [(len(part), part.shape) for part in splits] == [
        (n, (features,)) for n in (10_000, 2_000, 10_000)
    ]
    assert not torch.equal(splits.train.x, splits.test.x)


@pytest.mark.parametrize("make", [lambda: Toy1(1.5), lambda: Toy2(p=1.0), lambda: Toy2(eta=0.0)])
def test_impossible_parameters_are_refused(make):
    with pytest.raises(ConfigError):
        make()
    with pytest.raises(InputError, match="n must be at least 1"):
        Toy1().sample(0, seed=0)
