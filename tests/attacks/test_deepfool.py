import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from narrows.attacks import DeepFool
from narrows.data import load
from narrows.errors import ConfigError
from scenarios_attacks import Linear, curved_case, exact_radius, linear_case

NORMS = ["l2", "linf"]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 10])
def test_finds_the_exact_radius_of_a_linear_classifier(norm, classes):
    model, x, y = linear_case(classes)
    radius = exact_radius(model, x, y, norm).clamp_min(1e-4)  # its least step
    result = DeepFool(norm=norm)(model, x, y)
    assert result.success.all()
    # Each class costs one pass of the first step, which is all that a linear model needs.
    assert result.backwards == (classes - 1) * len(x)
    assert (result.distance <= 1.01 * 1.02 * radius).all()
    assert (result.distance >= 0.99 * radius)[radius > 1e-4].all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("norm", NORMS)
def test_half_precision_rounds_no_step_away(norm, dtype):
    model, x, y = linear_case(10)
    result = DeepFool(norm=norm)(model.to(dtype), x.to(dtype), model(x.to(dtype)).argmax(1))
    assert result.x_adv.dtype == dtype
    assert result.success.all()
    exact = exact_radius(model.float(), x, y, norm).median()
    step = torch.finfo(dtype).eps * (20**0.5 if norm == "l2" else 1)
    assert result.distance.float().median() < 1.02 * exact + step


@pytest.mark.parametrize("norm", NORMS)
def test_scale_of_the_logits_does_not_matter(norm):
    # Where the gradient of the cross-entropy is exactly zero in float32.
    model, x, y = linear_case(5)
    plain = DeepFool(norm=norm)(model, x, y)
    model.scale(1e4)
    torch.testing.assert_close(
        DeepFool(norm=norm)(model, x, y).distance, plain.distance, rtol=1e-3, atol=1e-5
    )


def by_hand(attack: DeepFool, model: nn.Module, image: torch.Tensor, label: int):
    """Algorithm 2 on one image without a box, looking in the overshot point as its authors do."""
    total = torch.zeros_like(image)
    x = image
    for _ in range(attack.steps):
        x = x.detach().requires_grad_()
        f = model(x)[0]
        if f.argmax() != label:
            break
        gradients = [torch.autograd.grad(f[k], x, retain_graph=True)[0] for k in range(len(f))]
        nearest, step = math.inf, torch.zeros_like(x)
        for k in range(len(f)):
            if k == label:
                continue
            w = gradients[k] - gradients[label]
            gap = (f[k] - f[label]).abs().item()
            size = w.norm().item() if attack.norm == "l2" else w.abs().sum().item()
            if gap / size < nearest:
                nearest = gap / size
                unit = w / w.norm() if attack.norm == "l2" else w.sign()
                step = max(nearest, 1e-4) * unit
        total = total + step
        x = image + (1 + attack.overshoot) * total
    return x.detach()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("overshoot", [0.0, 0.02])
def test_equals_the_slow_twin_of_the_paper(norm, overshoot):
    model, x, y = curved_case(dtype=torch.float64)
    model.eval()
    model.first.weight.data *= 20  # curved enough for a second step
    x = 0.5 + 0.3 * (x - 0.5)  # no step may reach the box, which the paper doesn't know
    y = model(x).argmax(1)
    attack = DeepFool(norm=norm, overshoot=overshoot)
    result = attack(model, x, y)
    twin = torch.cat(
        [by_hand(attack, model, x[i : i + 1], int(label)) for i, label in enumerate(y)]
    )
    assert 0 < twin.min() < twin.max() < 1
    assert result.success.all()
    assert result.backwards > 4 * len(x)
    torch.testing.assert_close(result.x_adv, twin, rtol=0, atol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_classes_passed_over_would_not_have_been_the_nearest(norm, monkeypatch):
    torch.manual_seed(0)
    train, _, test = load("digits")
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(100):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(train.x), train.y).backward()
        optimiser.step()
    quick = DeepFool(norm=norm)(model, test.x, test.y)
    monkeypatch.setattr("narrows.attacks.deepfool._GROWTH", math.inf)
    full = DeepFool(norm=norm)(model, test.x, test.y)
    torch.testing.assert_close(quick.x_adv, full.x_adv, rtol=0, atol=1e-5)
    assert quick.success.all()
    assert quick.backwards < full.backwards / 2


def test_overshoots_the_accumulated_perturbation():
    model, x, y = linear_case(2, dtype=torch.float64)
    radius = exact_radius(model, x, y, "l2")
    far = radius > 1e-3
    for overshoot in (0.02, 0.5):
        result = DeepFool(overshoot=overshoot)(model, x, y)
        torch.testing.assert_close(result.distance[far], (1 + overshoot) * radius[far])


@pytest.mark.parametrize("norm", NORMS)
def test_towards_a_target_it_meets_that_boundary(norm):
    model, x, y = linear_case(3, dtype=torch.float64)
    target = (y + 1) % 3
    result = DeepFool(norm=norm)(model, x, y, target)
    assert result.success.all()
    assert torch.equal(model(result.x_adv).argmax(1), target)
    untargeted = DeepFool(norm=norm)(model, x, y).distance
    assert (result.distance >= untargeted - 1e-4).all()
    pair = Linear(20, 2).double()
    for i in range(20):  # not nearer than the boundary between these two classes alone
        both = torch.stack([y[i], target[i]])
        pair.layer.weight.data = model.layer.weight.data[both]
        pair.layer.bias.data = model.layer.bias.data[both]
        least = exact_radius(pair, x[i : i + 1], torch.tensor([0]), norm)
        assert result.distance[i] >= 0.999 * least


def test_stays_in_the_box_and_still_succeeds():
    # The boundary is crossed only by the second pixel, since the first cannot go below 0.
    model = nn.Linear(2, 2)
    model.weight.data = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    model.bias.data = torch.tensor([-0.2, 0.2])
    x, y = torch.tensor([[0.05, 0.9]]), torch.tensor([0])
    result = DeepFool()(model, x, y)
    assert result.success.all()
    assert result.x_adv[0, 0] == 0
    assert result.x_adv[0, 1] == pytest.approx(0.2, abs=0.02)


class Lead(nn.Module):
    """Class 0 has logit 0, the others what functions of the first pixel say."""

    def __init__(self, *functions: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x):
        pixel = x[:, 0]
        return torch.stack([0 * pixel, *(function(pixel) for function in self.functions)], 1)


def test_later_steps_need_not_undo_what_the_clip_cut_off():
    # Slope -1 at .05, so that the first step goes to -.26, cut off at 0; there the slope is +1.
    model = Lead(lambda pixel: -20 * (pixel - 0.025) ** 2 - 0.3)
    x, y = torch.tensor([[0.05, 0.5]]), torch.tensor([0])
    result = DeepFool(steps=2)(model, x, y)
    assert result.x_adv[0, 0] == pytest.approx(0.05 + 1.02 * (0.3125 - 0.05), rel=1e-3)


def test_a_class_without_gradient_is_looked_at_again():
    # Class 1 draws the first step and then goes flat; class 2 is flat until that step is made.
    model = Lead(
        lambda pixel: 10 * pixel.clamp_max(0.32) - 3.3,
        lambda pixel: 20 * (pixel - 0.3).relu() - 1,
    )
    result = DeepFool()(model, torch.tensor([[0.2, 0.5]]), torch.tensor([0]))
    assert result.success.all()
    assert result.x_adv[0, 0] == pytest.approx(0.35, abs=0.01)


def test_a_model_without_gradients_is_left_unfooled_and_unharmed():
    x, y = torch.full((3, 4), 0.5), torch.zeros(3, dtype=torch.int64)
    result = DeepFool(steps=3)(Lead(lambda pixel: 0 * pixel - 1), x, y)
    assert torch.equal(result.x_adv, x)
    assert not result.success.any()
    assert torch.isinf(result.distance).all()


def test_an_image_on_the_boundary_moves():
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.eye(2)
    result = DeepFool()(model, torch.tensor([[0.5, 0.5]]), torch.tensor([0]))
    assert result.success.all()
    assert result.distance.item() == pytest.approx(1.02e-4, rel=0.01)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"overshoot": -0.1}, {"overshoot": math.nan}])
def test_refuses_what_means_nothing(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DeepFool(**wrong)
