import pytest
import torch
import torch.nn.functional as F
from torch import nn

from narrows import CrossEntropy
from narrows.errors import ConfigError
from narrows.methods._base import negative_log_likelihood
from narrows.types import ModelOutput


def batch(n=32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 4, generator=generator, dtype=torch.float64)
    return x, (x[:, 0] > x[:, 1]).long()


def test_the_loss_is_the_mean_negative_log_likelihood():
    model = nn.Linear(4, 3).double()
    x, y = batch()
    slow = sum(
        -torch.log(torch.softmax(row, 0)[label]) for row, label in zip(model(x), y, strict=True)
    )
    torch.testing.assert_close(CrossEntropy()(model, x, y), slow / len(x))


def test_an_undecided_model_loses_the_log_of_the_classes():
    model = nn.Linear(4, 3).double()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    assert CrossEntropy()(model, *batch()).item() == pytest.approx(1.0986122886681098)


def test_over_several_draws_the_losses_are_averaged_not_the_probabilities():
    logits = torch.randn(5, 8, 3, dtype=torch.float64)
    y = torch.randint(3, (8,))
    losses = torch.stack([F.cross_entropy(draw, y, reduction="none") for draw in logits])
    torch.testing.assert_close(negative_log_likelihood(logits, y), losses.mean(0))
    output = ModelOutput(logits)
    torch.testing.assert_close(CrossEntropy().prediction_loss(output, y), losses.mean(0))


def test_a_training_loop_of_ones_own_learns():
    torch.manual_seed(0)
    model, method = nn.Linear(4, 2).double(), CrossEntropy()
    optimiser = torch.optim.Adam(model.parameters(), 0.1)
    x, y = batch(64)
    for _ in range(60):
        optimiser.zero_grad()
        method(model, x, y).backward()
        optimiser.step()
    assert (model(x).argmax(1) == y).double().mean() > 0.95


def test_it_has_no_beta_and_no_critic():
    with pytest.raises(ConfigError, match=r"compresses nothing: beta must be 0, got 0\.5"):
        CrossEntropy(beta=0.5)
    assert repr(CrossEntropy()) == "CrossEntropy()"
    assert CrossEntropy().critic_steps == 0
    assert list(CrossEntropy().critic_parameters()) == []
