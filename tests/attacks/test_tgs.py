import pytest
import torch
from torch import nn

from narrows.attacks import FGSM, TGS
from narrows.errors import ConfigError
from scenarios_attacks import curved_case, linear_case


def test_one_step_is_the_papers_formula():
    model, x, y = curved_case(dtype=torch.float64)
    model.eval()
    result = TGS(eps=0.1)(model, x, y)
    attacked = (model(x).argmax(1) == y) & (result.distance > 0)
    x = x.requires_grad_()
    loss = nn.functional.cross_entropy(model(x), (y + 1) % 5, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    expected = (x - 0.1 * gradient.sign()).clamp(0, 1).detach()
    torch.testing.assert_close(result.x_adv[attacked], expected[attacked])
    assert attacked.sum() >= 1


def test_is_fgsm_towards_the_next_class():
    model, x, y = curved_case()
    target = TGS.target(y, 5)
    assert target.tolist() == [(label + 1) % 5 for label in y.tolist()]
    ours, fgsm = (attack(model, x, y, target) for attack in (TGS(eps=0.3), FGSM(eps=0.3)))
    assert torch.equal(ours.success, fgsm.success)
    torch.testing.assert_close(ours.x_adv[ours.success], fgsm.x_adv[fgsm.success])


@pytest.mark.parametrize("steps", [1, 10])
def test_accuracy_and_hits_are_both_counted(steps):
    model, x, y = linear_case(4)
    attack = TGS(eps=0.05, steps=steps)
    lost, hit = attack(model, x, y), attack(model, x, y, TGS.target(y, 4))
    said = model(lost.x_adv).argmax(1)
    assert torch.equal(lost.success, said != y)
    assert torch.equal(hit.success, model(hit.x_adv).argmax(1) == (y + 1) % 4)
    assert 0 < hit.success.sum() < lost.success.sum()


def test_more_steps_hit_more():
    model, x, y = curved_case(200)
    target = TGS.target(y, 5)
    one, many = (TGS(eps=0.2, steps=steps)(model, x, y, target) for steps in (1, 20))
    assert many.success.sum() > one.success.sum()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"steps": 0}, "steps must be at least 1"), ({"step_size": 0.0}, "step_size must be finite")],
)
def test_refuses_what_means_nothing(wrong, says):
    with pytest.raises(ConfigError, match=says):
        TGS(**{"eps": 0.1, **wrong})
