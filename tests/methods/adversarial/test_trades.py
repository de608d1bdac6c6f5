import pytest
import torch
from torch import nn
from torch.distributions import Categorical, kl_divergence

from narrows import TRADES, CrossEntropy
from narrows.errors import ConfigError
from narrows.types import Batch, ModelOutput


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def batch(n=16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.rand(n, 4, generator=generator, dtype=torch.float64), torch.arange(n) % 3)


def slow(model, x, y, noise, weight, predict):
    """Algorithm 1 with its loss, image by image."""
    total = 0.0
    for i in range(len(x)):
        held = Categorical(logits=model(x[i]).detach())
        moved = (x[i] + 0.001 * noise[i]).clamp(0, 1)
        for _ in range(3):
            moved = moved.detach().requires_grad_()
            value = kl_divergence(held, Categorical(logits=model(moved)))
            moved = moved + 0.07 * torch.autograd.grad(value, moved)[0].sign()
            moved = torch.clamp(torch.clamp(moved, x[i] - 0.2, x[i] + 0.2), 0, 1)
        clean, adversarial = model(x[i]), model(moved.detach())
        shown = clean if predict == "clean" else adversarial
        total -= torch.log_softmax(shown, 0)[y[i]] / len(x)
        apart = kl_divergence(Categorical(logits=clean), Categorical(logits=adversarial))
        total += weight * apart / len(x)
    return total


@pytest.mark.parametrize(("weight", "predict"), [(6.0, "clean"), (0.5, "adversarial")])
def test_the_loss_and_its_gradient_are_those_of_the_algorithm(weight, predict):
    model, (x, y) = net(), batch()
    method = TRADES(
        CrossEntropy(), eps=0.2, steps=3, step_size=0.07, weight=weight, predict=predict
    )
    torch.manual_seed(2)
    loss = method(model, x, y)
    torch.manual_seed(2)
    by_hand = slow(model, x, y, torch.randn_like(x), weight, predict)
    torch.testing.assert_close(loss, by_hand)
    for own, other in zip(
        torch.autograd.grad(loss, list(model.parameters())),
        torch.autograd.grad(by_hand, list(model.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(own, other)


def test_draws_are_averaged_before_predictions_are_compared():
    torch.manual_seed(0)
    clean, adversarial = torch.randn(2, 5, 6, 3, dtype=torch.float64)
    p, q = (logits.softmax(-1).mean(0) for logits in (clean, adversarial))
    output = ModelOutput(clean, None, {"adversarial.logits": adversarial, "adversarial.images": p})
    term = TRADES(CrossEntropy()).regulariser(output, batch(6))["trades"]
    torch.testing.assert_close(term.value, (p * (p / q).log()).sum(1).mean())
    assert term.weight == 6.0


def test_the_variant_of_ib_rar():
    method = TRADES.ib_rar(CrossEntropy())
    assert (method.weight, method.predict, method.eps, method.steps) == (
        0.5,
        "adversarial",
        0.03,
        10,
    )
    assert method.step_size == pytest.approx(0.0069)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"weight": -1.0}, "a finite weight >= 0, got -1"),
        ({"weight": float("inf")}, "a finite weight >= 0, got inf"),
        ({"predict": "both"}, "predict 'clean' or 'adversarial', got 'both'"),
        ({"start": "zero"}, "start 'uniform' or 'normal', got 'zero'"),
        ({"inner": "kl"}, "inner 'divergence' or 'cross_entropy', got 'kl'"),
    ],
)
def test_bad_arguments_are_refused(bad, message):
    with pytest.raises(ConfigError, match=f"TRADES needs {message}"):
        TRADES(CrossEntropy(), **bad)
