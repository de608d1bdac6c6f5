"""What is read off trees of draws, against full enumeration of codes and of trees."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from narrows.methods import _trees
from narrows.methods._trees import binary_divergence, node_likelihoods, observe_tree
from narrows.models.binary_stochastic import tree
from narrows.types import Batch
from scenarios_binary import every_tree, exact_terms, forced, log_probability, tiny

Y = 1


def one_input() -> torch.Tensor:
    return torch.tensor([[0.2, 0.9, 0.5]], dtype=torch.float64)


def priors(hidden, trained=True) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [
        torch.randn(units, generator=generator, dtype=torch.float64).requires_grad_(trained)
        for units in hidden
    ]


def over_all_trees(net, r, samples) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Every term of every tree that one input can have, and the log-probability of each tree."""
    count, draws = every_tree(net.hidden, samples)
    many = Batch(one_input().repeat(count, 1), torch.full((count,), Y))
    with forced(draws):
        output = observe_tree("test", net, many, samples=samples, chunk=None, log_odds=r)
    codes = tuple(draw.flatten(0, 1) for draw in draws)
    return dict(output.activations), log_probability(net, many.x, codes)


def test_divergence_of_coins():
    a, b = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    oracle = kl_divergence(Bernoulli(logits=a), Bernoulli(logits=b)).sum(1)
    torch.testing.assert_close(binary_divergence(a, b), oracle)
    assert torch.isfinite(binary_divergence(torch.tensor([200.0]), torch.tensor([-200.0])))


def test_terms_are_those_of_the_equations_node_by_node():
    torch.manual_seed(0)
    m, net = 3, tiny((3, 2))
    x = torch.rand(4, 3, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 0])
    r = priors(net.hidden, trained=False)
    noise = torch.get_rng_state()
    found = observe_tree("test", net, Batch(x, y), samples=m, chunk=None, log_odds=r)
    torch.set_rng_state(noise)
    drawn = tree(net, x, samples=m)
    likelihood = drawn.logits.softmax(1)
    for b in range(4):
        p = torch.zeros(m, m, dtype=torch.float64)
        costs = torch.zeros(m, dtype=torch.float64)
        for m1 in range(m):
            a = drawn.scores[1][m1 * 4 + b]
            costs[m1] = kl_divergence(Bernoulli(logits=a), Bernoulli(logits=r[1])).sum()
            for m2 in range(m):
                p[m1, m2] = likelihood[(m2 * m + m1) * 4 + b, y[b]]
        first = kl_divergence(Bernoulli(logits=drawn.scores[0][b]), Bernoulli(logits=r[0])).sum()
        by_hand = {
            "vcr.0": -p.mean().log(),
            "vcr.1": -p.mean(1).log().mean(),
            "vcr.2": -p.log().mean(),
            "compression.1": first,
            "compression.2": costs.mean(),
        }
        for name, value in by_hand.items():
            torch.testing.assert_close(found.activations[name][b], value)
        torch.testing.assert_close(found.logits[b].exp()[y[b]], p.mean())


def test_the_layers_are_ordered_as_theorem_3_2_says():
    torch.manual_seed(0)
    net = tiny((4, 3, 2))
    drawn = tree(net, one_input(), samples=4)
    values = node_likelihoods(drawn.logits.log_softmax(1), torch.tensor([Y]), drawn)
    vcr = [-value.mean().item() for value in values]
    assert vcr == sorted(vcr)


def test_compressions_and_the_last_layers_relevance_have_no_bias():
    net, r = tiny((2, 2)), priors((2, 2))
    terms, log_p = over_all_trees(net, r, samples=2)
    exact = exact_terms(net, one_input()[0], Y, r)
    p = log_p.exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    for name in ("compression.1", "compression.2", "vcr.2"):
        assert (p * terms[name]).sum().item() == pytest.approx(exact[name].item(), abs=1e-12)


def test_the_other_relevances_are_bounds_from_above_that_tighten():
    net, r = tiny((2,)), priors((2,))
    exact = exact_terms(net, one_input()[0], Y, r)["vcr.0"].item()
    means = []
    for samples in (1, 2, 4, 8):
        terms, log_p = over_all_trees(net, r, samples)
        means.append((log_p.exp() * terms["vcr.0"]).sum().item())
    bias = [mean - exact for mean in means]
    assert bias[0] > bias[1] > bias[2] > bias[3] > 0
    # Var[p(y|Z_L)] / (2 n p(y)^2), to first order.
    codes = torch.tensor([[a, b] for a in (0.0, 1.0) for b in (0.0, 1.0)], dtype=torch.float64)
    p_code = log_probability(net, one_input().repeat(4, 1), (codes,)).exp()
    said = net.linear_layers()[-1](codes).softmax(1)[:, Y]
    variance = (p_code * (said - math.exp(-exact)) ** 2).sum().item()
    assert bias[3] == pytest.approx(variance / 16 / math.exp(-exact) ** 2, rel=0.35)


def test_a_tree_of_many_draws_comes_close_to_enumeration():
    torch.manual_seed(0)
    net, r = tiny((3, 2)), priors((3, 2), trained=False)
    many = Batch(one_input().repeat(20, 1), torch.full((20,), Y))
    found = observe_tree("test", net, many, samples=80, chunk=None, log_odds=r).activations
    for name, value in exact_terms(net, one_input()[0], Y, r).items():
        spread = found[name].std().item() / math.sqrt(20)
        assert found[name].mean().item() == pytest.approx(value.item(), abs=5 * spread + 0.01)


@pytest.mark.parametrize(
    ("hidden", "samples"), [((3,), 1), ((2, 1), 1), ((2,), 3), ((2, 1), 2), ((1, 1, 1), 2)]
)
def test_the_score_gradient_of_every_term_is_exact_on_average(hidden, samples):
    net, r = tiny(hidden, gradient="reinforce"), priors(hidden)
    terms, log_p = over_all_trees(net, r, samples)
    trained = [*net.parameters(), *r]
    net.gradient = "raiko"  # which leaves the values as they are
    plain, _ = over_all_trees(net, r, samples)
    for name, values in terms.items():
        torch.testing.assert_close(values, plain[name])
        estimated = torch.autograd.grad(
            (log_p.exp().detach() * values).sum(), trained, retain_graph=True, allow_unused=True
        )
        # The gradient of sum_t p_t F_t, in which p_t is differentiated and F_t's draws are not.
        of_path = torch.autograd.grad(
            (log_p.exp() * values.detach()).sum(), trained, retain_graph=True, allow_unused=True
        )
        direct = gradient_with_draws_fixed(net, r, samples, name, trained)
        for found, a, b in zip(estimated, of_path, direct, strict=True):
            missing = torch.zeros((), dtype=torch.float64)
            wanted = (missing if a is None else a) + (missing if b is None else b)
            torch.testing.assert_close(
                missing.expand_as(wanted) if found is None else found, wanted
            )


def gradient_with_draws_fixed(net, r, samples, name, trained):
    net.gradient = "reinforce"
    unscored, _trees.with_score = _trees.with_score, lambda value, credits, drawn: value
    try:
        terms, log_p = over_all_trees(net, r, samples)
    finally:
        _trees.with_score = unscored
    loss = (log_p.exp().detach() * terms[name]).sum()
    return torch.autograd.grad(loss, trained, allow_unused=True)


def test_baselines_lower_the_variance_of_the_score_gradient():
    net, r = tiny((3,), gradient="reinforce"), priors((3,))
    weight = net.linear_layers()[0].weight

    def spread(samples: int) -> float:
        torch.manual_seed(0)
        gradients = []
        for _ in range(300):
            batch = Batch(one_input(), torch.tensor([Y]))
            found = observe_tree("test", net, batch, samples=samples, chunk=None, log_odds=r)
            gradients.append(torch.autograd.grad(found.activations["vcr.1"].sum(), weight)[0])
        return torch.stack(gradients).var(0).sum().item()

    # Four times the draws alone would take the variance to a quarter; one has no baseline.
    assert spread(4) < 0.8 * spread(1) / 4


@pytest.mark.parametrize("gradient", ["raiko", "reinforce"])
@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_are_drawn_again_for_the_backward_pass(gradient, chunk, monkeypatch):
    net, r = tiny((4, 3), gradient=gradient), priors((4, 3))
    x = torch.rand(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    batch = Batch(x, torch.arange(7) % 3)

    def result():
        torch.manual_seed(5)
        found = observe_tree("test", net, batch, samples=4, chunk=chunk, log_odds=r)
        after = torch.rand(1)
        loss = sum(value.mean() for value in found.activations.values())
        return loss, torch.autograd.grad(loss, [*net.parameters(), *r]), after

    loss, gradients, after = result()
    monkeypatch.setattr(_trees, "checkpoint", lambda read, x, y, **_: read(x, y))
    kept_loss, kept_gradients, kept_after = result()
    torch.testing.assert_close(loss, kept_loss, rtol=0, atol=0)
    torch.testing.assert_close(gradients, kept_gradients, rtol=0, atol=0)
    assert after == kept_after


def test_what_is_kept_for_the_backward_pass_is_bounded_by_the_chunk():
    net = tiny((64, 64))
    batch = Batch(torch.rand(16, 3, dtype=torch.float64), torch.zeros(16, dtype=torch.long))

    def kept(chunk) -> int:
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = observe_tree("test", net, batch, samples=8, chunk=chunk)
            assert output.logits.requires_grad
        return sum(sizes.values())

    assert kept(None) > 16 * 8**2 * 64 * 8  # the draws of layer 2 in float64
    assert kept(2) < kept(None) / 10
