import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from narrows.errors import InputError
from narrows.information import variational_rate, variational_relevance
from scenarios import GaussianChannel, TwoGaussians, generator


def codes(n=50, k=3, seed=0):
    draw = generator(seed)
    mean = torch.randn(n, k, dtype=torch.float64, generator=draw)
    return mean, 0.2 + torch.rand(n, k, dtype=torch.float64, generator=draw)


def test_the_rate_is_the_mean_divergence_to_the_standard_normal():
    mean, scale = codes()
    kl = kl_divergence(Normal(mean, scale), Normal(0.0, 1.0)).sum(1)
    estimate = variational_rate(mean, scale)
    assert estimate.nats == pytest.approx(kl.mean().item())
    assert estimate.std_error == pytest.approx(kl.std().item() / math.sqrt(50))
    assert estimate.diagnostics == {"bound": "upper", "prior": "N(0, I)", "covariance": "diagonal"}


def test_the_rate_of_full_covariances_is_the_mean_divergence_of_multivariate_normals():
    mean, scale = codes()
    factor = torch.randn(50, 3, 3, dtype=torch.float64, generator=generator(1)).tril(-1)
    factor += scale.diag_embed()
    standard = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    kl = kl_divergence(MultivariateNormal(mean, scale_tril=factor), standard)
    assert variational_rate(mean, factor).nats == pytest.approx(kl.mean().item())
    assert variational_rate(mean, factor).diagnostics["covariance"] == "full"
    diagonal = variational_rate(mean, scale.diag_embed()).nats
    assert diagonal == pytest.approx(variational_rate(mean, scale).nats)


@pytest.mark.parametrize("shape", [(3,), (50, 3)], ids=["one marginal", "one a sample"])
def test_the_marginal_can_be_given(shape):
    mean, scale = codes()
    centre = torch.randn(shape, dtype=torch.float64, generator=generator(2))
    width = 0.5 + torch.rand(shape, dtype=torch.float64, generator=generator(3))
    kl = kl_divergence(Normal(mean, scale), Normal(centre, width)).sum(1)
    estimate = variational_rate(mean, scale, (centre, width))
    assert estimate.nats == pytest.approx(kl.mean().item())
    assert estimate.diagnostics["prior"] == "given"


def test_the_rate_is_exact_with_the_true_marginal_and_loose_by_its_divergence_otherwise():
    channel = GaussianChannel(d=2, signal=2.0, noise=1.0)
    x = channel.sample(20_000)
    true_marginal = (torch.zeros(2), torch.full((2,), math.sqrt(5)))
    tight = variational_rate(x, channel.noise, true_marginal)
    assert tight.nats == pytest.approx(channel.information, abs=3 * tight.std_error)
    loose = variational_rate(x, channel.noise)
    excess = 2 * 0.5 * (5 - 1 - math.log(5))
    assert loose.nats == pytest.approx(channel.information + excess, abs=3 * loose.std_error)


def test_the_relevance_is_exact_with_the_true_posterior_and_below_with_a_worse_one():
    target = TwoGaussians()
    _, z, y = target.sample(20_000)
    exact = variational_relevance(target.logits(z), y)
    assert exact.nats == pytest.approx(target.information, abs=3 * exact.std_error)
    assert exact.ceiling == pytest.approx(math.log(2))
    overconfident = variational_relevance(5 * target.logits(z), y)
    assert overconfident.nats + 3 * overconfident.std_error < target.information


def test_the_relevance_is_never_clipped():
    y = torch.tensor([0, 1, 0, 1])
    wrong = torch.tensor([[-5.0, 5.0], [5.0, -5.0]]).repeat(2, 1)
    loss = math.log1p(math.exp(10))
    assert variational_relevance(wrong, y).nats == pytest.approx(math.log(2) - loss)


def test_the_entropy_of_the_labels_is_that_of_the_frequencies_or_of_the_given_prior():
    y = torch.tensor([0, 0, 0, 1])
    flat = variational_relevance(torch.zeros(4, 2), y)
    frequencies = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert flat.nats == pytest.approx(frequencies - math.log(2))
    assert flat.ceiling == pytest.approx(frequencies)
    given = variational_relevance(torch.zeros(4, 2), y, prior=torch.tensor([0.5, 0.5]))
    assert given.nats == pytest.approx(0)
    assert given.ceiling == pytest.approx(math.log(2))


def test_an_absent_class_does_not_matter():
    y = torch.tensor([0, 1, 0, 1])
    assert variational_relevance(torch.zeros(4, 3), y).nats == pytest.approx(
        math.log(2) - math.log(3)
    )


def test_the_standard_error_of_the_relevance_is_the_spread_over_fresh_samples():
    target, draw = TwoGaussians(), generator(5)
    values, errors = [], []
    for seed in range(200):
        y = (torch.rand(300, generator=draw) < 0.1).long()
        mean = target.offset * (2.0 * y[:, None] - 1)
        z = mean + torch.randn(300, 1, dtype=torch.float64, generator=generator(seed))
        estimate = variational_relevance(target.logits(z), y)
        values.append(estimate.nats)
        errors.append(estimate.std_error)
    assert torch.tensor(errors).mean().item() == pytest.approx(
        torch.tensor(values).std().item(), rel=0.2
    )


def test_draws_of_z_are_averaged_by_their_losses():
    logits = torch.randn(7, 20, 3, dtype=torch.float64, generator=generator(0))
    y = torch.arange(20) % 3
    each = [variational_relevance(draw, y).nats for draw in logits]
    assert variational_relevance(logits, y).nats == pytest.approx(sum(each) / 7)
    assert variational_relevance(logits, y).n == 20


@pytest.mark.parametrize(
    ("scale", "prior", "message"),
    [
        (torch.zeros(50, 3), None, "zero, negative or not finite"),
        (torch.ones(50, 2), None, r"a number or \[50, 3\] or \[50, 3, 3\]"),
        (torch.ones(50, 3, 3), None, "lower triangular"),
        (1.0, (torch.zeros(2), torch.ones(2)), r"prior must be .*\[2\]"),
        (1.0, (torch.zeros(3), torch.zeros(3)), "finite scale above 0"),
    ],
)
def test_impossible_distributions_are_refused(scale, prior, message):
    with pytest.raises(InputError, match=message):
        variational_rate(codes()[0], scale, prior)


@pytest.mark.parametrize("prior", [torch.tensor([0.5, 0.6]), torch.tensor([1.5, -0.5])])
def test_a_prior_that_is_no_distribution_is_refused(prior):
    with pytest.raises(InputError, match="sum to 1"):
        variational_relevance(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]), prior)


def test_labels_without_a_logit_are_refused():
    with pytest.raises(InputError, match=r"0\.\.1, got 0\.\.2"):
        variational_relevance(torch.zeros(3, 2), torch.tensor([0, 1, 2]))


def test_a_probability_of_zero_is_measured_and_what_it_excludes_is_minus_infinity():
    logits = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0], [0.0, 0.0]])
    y = torch.tensor([0, 1, 1])
    frequencies = -(math.log(1 / 3) + 2 * math.log(2 / 3)) / 3
    assert variational_relevance(logits, y).nats == pytest.approx(frequencies - math.log(2) / 3)
    assert variational_relevance(logits, torch.tensor([1, 1, 1])).nats == -math.inf
    with pytest.raises(InputError, match="a single one"):
        variational_relevance(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64))
