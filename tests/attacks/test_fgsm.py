import pytest
import torch
from torch import nn

from narrows.attacks import FGSM
from narrows.errors import ConfigError
from scenarios_attacks import exact_radius, linear_case


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.08)])
@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_succeeds_exactly_beyond_the_exact_radius(norm, eps, loss):
    model, x, y = linear_case(2, dtype=torch.float64)
    radius = exact_radius(model, x, y, norm)
    result = FGSM(norm=norm, eps=eps, loss=loss)(model, x, y)
    assert torch.equal(result.success, radius < eps)
    assert 20 < result.success.sum() < 180
    torch.testing.assert_close(
        result.distance[result.success], torch.full_like(radius, eps)[result.success]
    )


def test_saturated_logits_hide_the_gradient_from_cross_entropy_but_not_from_the_margin():
    # Softmax of float32 logits 1e4 apart is exactly 1, and its gradient exactly 0.
    model, x, y = linear_case(2)
    model.scale(1e4)
    far = exact_radius(model, x, y, "linf") > 0.005
    x, y = x[far], y[far]
    assert FGSM(eps=0.2)(model, x, y).robust_accuracy == 1
    assert FGSM(eps=0.2, loss="margin")(model, x, y).robust_accuracy == 0


def test_target_is_approached_not_fled():
    model = nn.Linear(3, 3, bias=False)
    model.weight.data = torch.eye(3)
    x, y = torch.tensor([[0.5, 0.4, 0.45]]), torch.tensor([0])
    toward = FGSM(eps=0.1)(model, x, y, torch.tensor([1]))
    assert toward.success.all()
    torch.testing.assert_close(toward.x_adv, torch.tensor([[0.4, 0.5, 0.35]]))


def test_eps_zero_changes_nothing():
    model, x, y = linear_case(3)
    result = FGSM(eps=0)(model, x, y)
    assert torch.equal(result.x_adv, x)
    assert result.robust_accuracy == 1


def test_unknown_loss_is_refused_before_the_attack():
    with pytest.raises(ConfigError, match="did you mean 'margin'"):
        FGSM(eps=0.1, loss="margins")
