import math

import numpy as np
import pytest
import torch
from torch import nn

from narrows.attacks import CarliniWagner, DeepFool
from narrows.attacks._nearest import Nearest
from narrows.attacks.carlini_wagner import _to_tanh
from narrows.attacks.query import Query
from narrows.errors import ConfigError
from scenarios_attacks import Linear, NoisyInput, curved_case, exact_radius, linear_case

QUICK = {"steps": 200, "searches": 5}


@pytest.mark.parametrize("classes", [2, 5])
def test_finds_the_exact_radius_of_a_linear_classifier(classes):
    model, x, y = linear_case(classes)
    radius = exact_radius(model, x, y, "l2")
    result = CarliniWagner(steps=1000, searches=5)(model, x, y)
    assert result.success.all()
    ratio = result.distance / radius
    assert ratio[radius > 1e-3].min() > 0.999
    assert ratio.median() < 1.01
    # With several classes a descent may end at one that is not the nearest.
    assert (ratio[radius > 1e-2] < 1.01).double().mean() > (0.95 if classes == 2 else 0.7)


def by_hand(attack: CarliniWagner, weight, bias, x, y, c, target=None):
    """Adam on the paper's objective of a linear classifier, one image, in NumPy: the last x."""
    w = np.arctanh(0.999999 * (2 * x - 1))
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in range(1, attack.steps + 1):
        image = (np.tanh(w) + 1) / 2
        logits = weight @ image + bias
        aim = y if target is None else target
        other = max((k for k in range(len(bias)) if k != aim), key=lambda k: logits[k])
        up, down = (aim, other) if target is None else (other, aim)
        lacking = logits[up] - logits[down] + attack.confidence
        slope = (weight[up] - weight[down]) * (lacking > 0)
        g = (2 * (image - x) + c * slope) * 0.5 * (1 - np.tanh(w) ** 2)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w -= attack.learning_rate * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("confidence", [0.0, 0.5])
def test_descends_the_loss_of_the_numpy_twin(targeted, confidence):
    model, x, y = linear_case(4, count=10, dtype=torch.float64)
    x[:, 0, 0, :3] = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    y = model(x).argmax(1)
    target = (y + 1) % 4
    attack = CarliniWagner.fixed_c(0.3, steps=60, confidence=confidence)
    query = Query(model, target if targeted else y, targeted=targeted)
    c = torch.full((10,), 0.3, dtype=torch.float64)
    w, _ = attack._descend(query, Nearest(x, "l2"), _to_tanh(x), c, fine=True)
    weight, bias = (part.detach().numpy() for part in (model.layer.weight, model.layer.bias))
    for i in range(10):
        aim = int(target[i]) if targeted else None
        image = x[i].flatten().numpy()
        twin = by_hand(attack, weight, bias, image, int(y[i]), 0.3, aim)
        np.testing.assert_allclose(w[i].flatten().detach().numpy(), twin, atol=1e-8)


def test_pixels_of_exactly_0_and_1_move():
    model = nn.Linear(2, 2)
    model.weight.data = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    model.bias.data = torch.zeros(2)
    x, y = torch.tensor([[0.0, 1.0]]), torch.tensor([0])
    result = CarliniWagner(**QUICK)(model, x, y)
    assert result.success.all()
    torch.testing.assert_close(result.x_adv, torch.full((1, 2), 0.5), atol=0.01, rtol=0)


class Recorded(CarliniWagner):
    """Writes down each c, and succeeds wherever c is at least `needed`."""

    def _descend(self, query, nearest, w, c, fine):
        self.__dict__.setdefault("tried", []).append(c.clone())
        return w, c >= self.needed


def test_search_multiplies_by_ten_then_halves():
    attack = Recorded(searches=7, initial_c=1.0)
    attack.__dict__["needed"] = torch.tensor([40.0, 0.3, math.inf])
    model, x, y = linear_case(2, count=3)
    attack.perturb(Query(model, y), x, torch.Generator())
    tried = torch.stack(attack.tried, 1).tolist()
    assert tried[0] == [1, 10, 100, 55, 32.5, 43.75, 38.125]
    assert tried[1] == pytest.approx([1, 0.5, 0.25, 0.375, 0.3125, 0.28125, 0.296875])
    assert tried[2] == [10.0**k for k in range(7)]


def test_first_c_of_a_linear_model_is_the_one_at_its_optimum():
    model, x, y = linear_case(2, dtype=torch.float64)
    radius = exact_radius(model, x, y, "l2")
    slope = (model.layer.weight[1] - model.layer.weight[0]).norm().item()
    c = CarliniWagner()._first_c(Query(model, y), x, torch.arange(len(x)))
    torch.testing.assert_close(c, (2 * radius / slope).clamp_min(1e-6))


def test_more_searches_end_nearer_and_from_any_c():
    model, x, y = curved_case(100)
    own, one, small = (
        CarliniWagner(steps=100, **options)(model, x, y)
        for options in ({"searches": 5}, {"searches": 1}, {"searches": 9, "initial_c": 1e-3})
    )
    assert own.success.all()
    assert small.success.all()
    assert own.success.sum() > one.success.sum()
    assert own.distance.mean() == pytest.approx(small.distance.mean().item(), rel=0.03)
    assert own.distance.median() <= 1.02 * DeepFool()(model, x, y).distance.median()


def test_an_image_whose_loss_stands_still_leaves():
    model, x, y = linear_case(2, count=50)
    on, off = (
        CarliniWagner(**QUICK, least_fall=share, approach_fall=10 * share)(model, x, y)
        for share in (1e-3, 0.0)
    )
    assert on.backwards < off.backwards / 2
    assert off.backwards == (1 + 5 * 200) * 50
    assert on.distance.median() < 1.03 * off.distance.median()


def test_confidence_is_the_lead_it_ends_with():
    model, x, y = linear_case(3)
    result = CarliniWagner(**QUICK, confidence=0.5)(model, x, y)
    with torch.no_grad():
        logits = model(result.x_adv)
    lead = logits.amax(1) - logits.gather(1, y[:, None]).squeeze(1)
    assert result.success.all()
    assert lead.min() >= 0.5 - 1e-5
    assert lead.median() < 0.52


def test_fresh_draws_confirm_what_it_returns_for_a_stochastic_model():
    model, x, y = linear_case(2)
    near = exact_radius(model, x, y, "l2") < 0.1
    model, x, y = NoisyInput(model, 0.1), x[near], y[near]
    attack = CarliniWagner(steps=60, searches=2, draws=8, verify_draws=50)
    assert attack(model, x, y).success.double().mean() > 0.8


def test_confidence_does_not_excuse_it_from_fresh_draws():
    model, x, y = linear_case(2)
    near = exact_radius(model, x, y, "l2") < 0.1
    model, x, y = NoisyInput(model, 0.05), x[near], y[near]
    attack = CarliniWagner(steps=60, searches=2, draws=8, verify_draws=50, confidence=0.01)
    assert attack(model, x, y).success.double().mean() > 0.8  # .45 if they were not asked


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("confidence", [0.0, 0.2])
def test_half_precision_ends_where_full_precision_does(dtype, confidence):
    model, x, y = linear_case(3)
    attack = CarliniWagner(**QUICK, confidence=confidence)
    exact = attack(model, x, y)
    result = attack(model.to(dtype), x.to(dtype), model(x.to(dtype)).argmax(1))
    assert result.x_adv.dtype == dtype
    assert result.success.all()
    found, wanted = result.distance.float().median(), exact.distance.median()
    assert found.item() == pytest.approx(wanted.item(), rel=0.1)


def test_named_settings_are_those_that_were_published():
    published, fixed = CarliniWagner.published(draws=12), CarliniWagner.fixed_c()
    assert (published.steps, published.searches, published.initial_c) == (10_000, 9, 1e-3)
    assert (published.learning_rate, published.approach_rate, published.draws) == (0.01, 0.01, 12)
    assert (fixed.steps, fixed.searches, fixed.initial_c) == (200, 1, 1.0)
    ib_rar = CarliniWagner.ib_rar()
    assert (ib_rar.steps, ib_rar.searches, ib_rar.initial_c) == (200, 1, 0.1)
    assert (ib_rar.learning_rate, ib_rar.least_fall, ib_rar.confidence) == (0.1, 0.0, 0.0)


def test_the_attack_of_ib_rar_leaves_images_whose_boundary_is_farther_than_c_allows():
    model = nn.Linear(1, 2)
    model.weight.data = torch.tensor([[-1.0], [1.0]])
    model.bias.data = torch.tensor([0.5, -0.5])
    x, y = torch.tensor([[0.45], [0.2]]), torch.tensor([0, 0])
    result = CarliniWagner.ib_rar()(model, x, y)
    # The boundary is at .5. d^2 + .1 * 2 (.5 - x - d) is least at d = .1, so the second stays.
    assert result.success.tolist() == [True, False]
    assert result.distance[0].item() == pytest.approx(0.05, abs=1e-3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"norm": "linf"}, "takes norm l2, got"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"searches": 0}, "searches must be at least 1"),
        ({"confidence": -1.0}, "confidence must be finite"),
        ({"initial_c": 0.0}, "initial_c must be finite and larger than 0"),
        ({"learning_rate": math.nan}, "learning_rate must be finite and larger than 0"),
        ({"least_fall": 1.0}, "least_fall must be less than 1"),
    ],
)
def test_refuses_what_means_nothing(wrong, says):
    with pytest.raises(ConfigError, match=says):
        CarliniWagner(**wrong)


def test_a_lucky_draw_beside_the_image_does_not_end_the_search():
    torch.manual_seed(0)
    model = Linear(100, 3)
    model.scale(10)
    x = 0.6 * torch.rand(50, 100, generator=torch.Generator().manual_seed(1)) + 0.2
    y = model(x).argmax(1)
    # No more than noise for each look alone: 12 of 50 hits led away from the boundary. There the
    # last vote is still a matter of luck.
    result = CarliniWagner(steps=40, searches=3)(NoisyInput(model, 0.1), x, y)
    assert result.success.sum() >= 45
