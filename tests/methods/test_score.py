"""Baselines by brute force; unbiased gradients of whole trees are tested in `test_trees.py`."""

import math

import pytest
import torch

from narrows.methods._score import node_credits, with_score
from narrows.models import BinaryStochasticNet
from narrows.models.binary_stochastic import tree

M = 3


def mean_without(values: torch.Tensor, index: int) -> torch.Tensor:
    return torch.stack([value for k, value in enumerate(values) if k != index]).mean()


def test_the_baseline_of_a_known_cost_is_the_mean_without_the_node():
    costs = torch.tensor([[1.0, 2.0, 6.0], [0.5, 4.0, 4.0]])  # two inputs, three draws each
    (credits,) = node_credits([costs.T.flatten()], layer=1, samples=M)
    wanted = [
        [row.mean() - mean_without(row, draw) for row in costs for draw in (index,)]
        for index in range(M)
    ]
    torch.testing.assert_close(credits, torch.tensor(wanted).flatten())


def test_the_baseline_of_the_log_of_a_mean_is_that_of_the_tree_without_the_node():
    likelihoods = torch.rand(M, M, generator=torch.Generator().manual_seed(0)) + 0.1
    parents = likelihoods.mean(0)  # rows are the newest draw, columns its parent
    root = parents.mean()
    costs = [-part.log().flatten() for part in (root, parents, likelihoods)]
    of_parents, of_leaves = node_credits(costs, layer=0, samples=M)
    for parent in range(M):
        wanted = -root.log() + mean_without(parents, parent).log()
        torch.testing.assert_close(of_parents[parent], wanted)
        for leaf in range(M):
            changed = parents.clone()
            changed[parent] = mean_without(likelihoods[:, parent], leaf)
            wanted = -root.log() + changed.mean().log()
            torch.testing.assert_close(of_leaves[leaf * M + parent], wanted)


def test_a_single_draw_has_no_baseline():
    (credits,) = node_credits([torch.tensor([2.0, 3.0])], layer=1, samples=1)
    assert credits.tolist() == [2.0, 3.0]
    (credits,) = node_credits([-torch.tensor([0.5]).log(), torch.tensor([3.0])], 0, 1)
    assert credits.item() == pytest.approx(math.log(2))


def test_the_score_changes_the_gradient_and_not_the_value():
    net = BinaryStochasticNet(2, [3], classes=2, gradient="reinforce")
    drawn = tree(net, torch.rand(4, 2), samples=M)
    credits, value = [torch.rand(4 * M)], torch.rand(4)
    scored = with_score(value, credits, drawn)
    torch.testing.assert_close(scored, value)
    weight = net.linear_layers()[0].weight
    (gradient,) = torch.autograd.grad(scored.sum(), weight, retain_graph=True)
    a, z = drawn.scores[0].repeat(M, 1), drawn.codes[0]
    log_p = torch.distributions.Bernoulli(logits=a).log_prob(z).sum(1)
    (wanted,) = torch.autograd.grad((credits[0] * log_p).sum(), weight)
    torch.testing.assert_close(gradient, wanted)
