import pytest
import torch
from torch import nn

from narrows import MART, CrossEntropy
from narrows.errors import ConfigError
from narrows.types import Batch, ModelOutput


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def batch(n=16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.rand(n, 4, generator=generator, dtype=torch.float64), torch.arange(n) % 3)


def test_the_loss_and_its_gradient_are_those_of_the_equation_image_by_image():
    model, data = net(), batch()
    method = MART(CrossEntropy(), eps=0.2, steps=3)
    output = method.observe(model, data)
    loss = method.terms(output, data).total
    x_adv = output.activations["adversarial.images"]
    assert (x_adv - data.x).abs().max() > 0.15
    slow = 0.0
    for i, label in enumerate(data.y):
        p, q = torch.softmax(model(data.x[i]), 0), torch.softmax(model(x_adv[i]), 0)
        others = torch.stack([q[k] for k in range(3) if k != label])
        boosted = -torch.log(q[label]) - torch.log(1 - others.max())
        apart = (p * (p.log() - q.log())).sum()
        slow = slow + (boosted + 6 * apart * (1 - p[label])) / len(data.y)
    torch.testing.assert_close(loss, slow)
    for own, other in zip(
        torch.autograd.grad(loss, list(model.parameters())),
        torch.autograd.grad(slow, list(model.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(own, other)


def test_a_certain_and_wrong_prediction_keeps_a_finite_gradient():
    logits = torch.tensor([[80.0, 0.0, 0.0]], requires_grad=True)
    loss = MART(CrossEntropy()).prediction_loss(ModelOutput(logits), torch.tensor([1])).sum()
    loss.backward()
    # -log q_1 = 80 and -log(1 - q_0) = 80 - log 2
    assert loss.item() == pytest.approx(160 - 0.6931472, rel=1e-6)
    assert torch.isfinite(logits.grad).all()


def test_draws_are_averaged_after_the_loss():
    torch.manual_seed(0)
    draws, y = torch.randn(5, 6, 3, dtype=torch.float64), torch.arange(6) % 3
    method = MART(CrossEntropy())
    each = torch.stack([method.prediction_loss(ModelOutput(one), y) for one in draws])
    torch.testing.assert_close(method.prediction_loss(ModelOutput(draws), y), each.mean(0))


def test_the_variant_of_ib_rar_and_weights_that_mean_nothing():
    method = MART.ib_rar(CrossEntropy())
    assert (method.weight, method.eps, method.steps) == (0.5, 0.03, 10)
    with pytest.raises(ConfigError, match="MART needs a finite weight >= 0, got -1"):
        MART(CrossEntropy(), weight=-1)
