import pytest
import torch
from torch import nn

from narrows.attacks import NIFGSM, PGD
from narrows.errors import ConfigError
from scenarios_attacks import curved_case, exact_radius, linear_case


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.08)])
def test_succeeds_exactly_beyond_the_exact_radius(norm, eps):
    model, x, y = linear_case(2, dtype=torch.float64)
    radius = exact_radius(model, x, y, norm)
    result = NIFGSM(norm=norm, eps=eps)(model, x, y)
    assert not result.success[radius > eps].any()
    assert result.success[radius < 0.99 * eps].all()


def by_hand(attack: NIFGSM, model: nn.Module, image: torch.Tensor, label: torch.Tensor):
    """The paper's update for one image; every look-ahead kept, until the first that fools."""

    def ball(point):
        delta = point - image
        if attack.norm == "linf":
            delta = delta.clamp(-attack.eps, attack.eps)
        else:
            delta = delta * min(1.0, attack.eps / max(delta.norm().item(), 1e-300))
        return (image + delta).clamp(0, 1)

    alpha, x, g, looks = attack.eps / attack.steps, image, torch.zeros_like(image), []
    for step in range(attack.steps + 1):
        ahead = ball(x + alpha * attack.decay * g) if step < attack.steps else x
        ahead = ahead.detach().requires_grad_()
        logits = model(ahead)
        loss = nn.functional.cross_entropy(logits, label)
        looks.append((loss.item(), ahead.detach()))
        if logits.argmax() != label:
            return ahead.detach()
        (gradient,) = torch.autograd.grad(loss, ahead)
        g = attack.decay * g + gradient / gradient.abs().mean()
        x = ball(x + alpha * (g.sign() if attack.norm == "linf" else g / g.norm()))
    return max(looks, key=lambda look: look[0])[1]


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.08), ("l2", 0.25)])
def test_equals_the_slow_twin(norm, eps):
    model, x, y = curved_case(dtype=torch.float64)
    attack = NIFGSM(norm=norm, eps=eps, steps=6, decay=0.8)
    result = attack(model, x, y)
    model.eval()
    twin = torch.cat([by_hand(attack, model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(result.x_adv, twin)
    assert 5 <= result.success.sum() <= 35


def test_without_momentum_it_is_pgd_of_its_step_size():
    model, x, y = curved_case(dtype=torch.float64)
    ours = NIFGSM(eps=0.08, steps=5, decay=0.0)(model, x, y)
    pgd = PGD(eps=0.08, steps=5, restarts=1, step_size=0.08 / 5)(model, x, y)
    torch.testing.assert_close(ours.x_adv, pgd.x_adv)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"decay": -0.1}, "decay must be finite and at least 0, got -0.1"),
        ({"step_size": 0.0}, "step_size must be finite and larger than 0"),
        ({"loss": "margins"}, "did you mean 'margin'"),
    ],
)
def test_refuses_what_means_nothing(wrong, says):
    with pytest.raises(ConfigError, match=says):
        NIFGSM(**{"eps": 0.1, **wrong})
