"""What the base class gives to every method; that each keeps to it is tested in conformance."""

import pytest
import torch
from torch import nn

from narrows import VIB, Bottleneck, CrossEntropy, LabelSmoothing
from narrows.errors import ConfigError, InputError
from narrows.methods._base import Method, negative_log_likelihood
from narrows.models import BinaryStochasticNet
from narrows.types import ModelOutput


def test_the_likelihood_of_several_draws_is_averaged():
    logits, y = torch.randn(3, 5, 4), torch.arange(5) % 4
    one_by_one = [nn.functional.cross_entropy(row, y, reduction="none") for row in logits]
    torch.testing.assert_close(negative_log_likelihood(logits, y), torch.stack(one_by_one).mean(0))
    torch.testing.assert_close(negative_log_likelihood(logits[0], y), one_by_one[0])


def test_beta_is_a_buffer_that_is_saved_and_stacked():
    method = LabelSmoothing(0.25)
    assert method.state_dict()["beta"] == 0.25
    method.beta = torch.tensor([0.1, 0.2])
    assert repr(method) == "LabelSmoothing(beta=stacked)"


@pytest.mark.parametrize("beta", [-1.0, float("nan"), float("inf")])
def test_a_beta_that_is_no_weight_is_refused(beta):
    with pytest.raises(ConfigError, match="beta must be finite and at least 0"):
        VIB(beta)


def test_by_default_there_is_no_regulariser_no_critic_and_no_stage():
    method = CrossEntropy()
    output = ModelOutput(torch.zeros(2, 3))
    assert method.regulariser(output, None) == {}
    assert (method.critic_steps, method.matures) == (0, 0.0)
    assert list(method.critic_parameters()) == []
    with pytest.raises(InputError, match="CrossEntropy has no critic"):
        method.critic_loss(output, None)


def test_an_example_has_what_its_method_needs():
    method, model, batch = VIB.example(0.2, samples=3)
    assert (method.beta, method.samples) == (pytest.approx(0.2), 3)
    assert isinstance(model, Bottleneck)
    assert (batch.x.shape, batch.y.shape) == ((32, 20), (32,))
    assert 0 <= batch.x.min() <= batch.x.max() <= 1
    assert CrossEntropy.example(0.2).method.beta == 0

    class Layered(Method):
        latent = "binary"

    assert isinstance(Layered.example().model, BinaryStochasticNet)


def test_a_missing_latent_is_told_how_to_make_one():
    with pytest.raises(InputError, match=r"insert_bottleneck\(model, at='layer name', latent='ga"):
        VIB(0.1)(nn.Linear(4, 2), torch.rand(3, 4), torch.zeros(3).long())
