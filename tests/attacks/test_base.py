import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from narrows.attacks import APGD, ATTACKS, FAB, FGSM, NIFGSM, PGD, DeepFool, MultiTargeted
from narrows.attacks._base import Best
from narrows.attacks.entrance import is_stochastic
from narrows.attacks.query import Query, frozen
from narrows.errors import ConfigError, InputError, NarrowsError
from scenarios_attacks import Counting, NoisyInput, curved_case, linear_case

X, Y = torch.full((4, 1, 2, 2), 0.5), torch.tensor([0, 1, 2, 0])
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def changed(value: float) -> torch.Tensor:
    x = X.clone()
    x[1, 0, 0, 0] = value
    return x


@pytest.mark.parametrize("attack", [FGSM(eps=0.1), PGD(eps=0.1), DeepFool()])
@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (changed(1.5), Y, r"must lie in \[0, 1\], got values from 0.5 to 1.5"),
        (changed(-0.1), Y, r"must lie in \[0, 1\], got values from -0.1 to 0.5"),
        (255 * X, Y, "divide 0-255 images by 255"),
        (changed(math.nan), Y, r"must lie in \[0, 1\], got values from nan"),
        (changed(math.inf), Y, r"must lie in \[0, 1\], got values from 0.5 to inf"),
        (X.to(torch.uint8), Y, "floating point .* got uint8"),
        (X[0, 0, 0, 0], Y, "floating point"),
        (X[:0], Y[:0], "images are empty"),
        (X, Y[:3], "one of labels for each of 4 samples, got 3"),
        (X, Y[:, None], r"got int64 \[4, 1\]; write labels.squeeze\(1\)"),
        (X, Y.float(), r"got float32 \[4\]; write labels.long\(\)"),
        (X, Y > 0, r"got bool \[4\]"),
        (X, Y + 1, r"labels must lie in 0..2, got 1..3"),
        (X, Y - 1, r"labels must lie in 0..2, got -1..1"),
    ],
)
def test_refuses_images_and_labels_that_mean_nothing(attack, x, y, says):
    with pytest.raises(InputError, match=says):
        attack(MODEL, x, y)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (Y, "must differ from the label, 4 of 4 don't"),
        (Y[:2], "one of targets for each of 4 samples, got 2"),
        (Y + 7, r"targets must lie in 0..2, got 7..9"),
    ],
)
def test_refuses_targets_that_mean_nothing(target, says):
    with pytest.raises(InputError, match=says):
        FGSM(eps=0.1)(MODEL, X, Y, target)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"eps": 8}, r"\[0, 1\].*got 8; divide by 255"),
        ({"eps": -0.1}, "got -0.1"),
        ({"eps": math.nan}, "got nan"),
        ({"eps": math.inf, "norm": "l2"}, "must be finite, got inf"),
        ({"norm": "l1"}, "'linf' or 'l2', got 'l1'"),
        ({"norm": 2}, "got 2"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
        ({"verify_draws": 0}, "verify_draws must be at least 1"),
        ({"chunk": 0}, "chunk must be at least 1"),
    ],
)
def test_refuses_settings_that_mean_nothing(wrong, says):
    with pytest.raises(ConfigError, match=says):
        FGSM(**{"eps": 0.1, **wrong})


def test_refuses_an_l2_radius_beyond_every_image():
    farthest = X[0].numel() ** 0.5
    assert FGSM(norm="l2", eps=farthest)(MODEL, X, Y).x_adv.shape == X.shape
    with pytest.raises(ConfigError, match=r"two images of \d+ values.*got 127.5; divide by 255"):
        FGSM(norm="l2", eps=127.5)(MODEL, X, Y)
    with pytest.raises(ConfigError, match="divide by 255"):
        FAB(norm="l2", eps=127.5)(MODEL, X, Y)


class Broken(nn.Module):
    """Breaks where `where` says: in its logits, or only in their gradient."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def forward(self, x):
        score = x.flatten(1).sum(1)
        if self.where == "logits":
            score = score.log() * 0 / 0
        if self.where == "gradient":  # sqrt has an infinite slope at 0
            score = score + (x[:, 0, 0, 0] - 0.5).abs().sqrt()
        if self.where == "shape":
            return score
        if self.where == "rows":
            return torch.zeros(3, 3) + score[:1, None]
        if self.where == "width":
            return x.flatten(1) @ torch.zeros(99, 3)
        if self.where == "graph":
            score = score.detach()
        if self.where == "other graph":
            score = score.detach() + torch.zeros(len(x), requires_grad=True)
        return torch.stack([score + 9, -score, 0 * score], 1)


@pytest.mark.parametrize("attack", [FGSM(eps=0.1), PGD(eps=0.1), DeepFool()])
@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("logits", "NaN or infinite logits"),
        ("gradient", "gradient is NaN or infinite at 4 of 4 images"),
        ("shape", r"must return logits .* got shape \(8,\)"),
        ("rows", r"must return logits \[8, classes\] for 8 inputs, got \[3, 3\]"),
        ("width", r"cannot be run on images \[8, .*\] of torch.float32 on cpu \(RuntimeError: "),
        ("graph", "the model has no gradient"),
        ("other graph", "the model has no gradient"),
    ],
)
def test_a_broken_model_is_named_not_survived(attack, where, says):
    model = Broken(where).train()
    with pytest.raises(NarrowsError, match=says):
        attack(model, X, torch.zeros(4, dtype=torch.int64))
    assert model.training


def test_frozen_restores_after_an_error():
    layer, dropout = nn.Linear(2, 2), nn.Dropout().eval()
    model = nn.Sequential(layer, dropout)
    layer.bias.requires_grad_(False)
    with pytest.raises(ZeroDivisionError), frozen(model):
        _ = 1 / (model.training or layer.weight.requires_grad)
    assert [module.training for module in model.modules()] == [True, True, False]
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, False]


def test_best_keeps_the_best_of_attempts_that_meet_in_one_image():
    best = Best(torch.zeros(3, 2))
    rows = torch.tensor([0, 1, 0, 1, 1])
    attempts = torch.arange(10.0).view(5, 2)
    no = torch.zeros(5, dtype=torch.bool)
    best.offer(rows, attempts, torch.tensor([1.0, 5.0, 2.0, 5.0, 4.0]), no)
    assert best.x.tolist() == [[4, 5], [2, 3], [0, 0]]
    assert best.value.tolist() == [2, 5, -math.inf]
    fooled = torch.tensor([False, False, True, False, False])
    best.offer(rows, -attempts, torch.tensor([9.0, 1.0, -3.0, 1.0, 1.0]), fooled)
    assert best.x.tolist() == [[-4, -5], [2, 3], [0, 0]]
    assert best.fooled.tolist() == [True, False, False]
    best.offer(rows, attempts, torch.full((5,), 8.0), no)
    assert best.x.tolist() == [[-4, -5], [2, 3], [0, 0]]


@pytest.mark.parametrize("targeted", [False, True])
def test_gradient_is_that_of_the_objective(targeted):
    model, x, y = linear_case(4, dtype=torch.float64)
    query = Query(model, y, targeted=targeted)
    rows = torch.arange(50, 90)

    def lead(logits, labels):
        return logits.gather(1, labels[:, None]).squeeze(1) * 2

    value, gradient, logits = query.ascend(x[rows], rows, lead)
    sign = -1 if targeted else 1
    torch.testing.assert_close(gradient.flatten(1), sign * 2 * model.layer.weight[y[rows]].detach())
    torch.testing.assert_close(value, sign * lead(logits, y[rows]))
    assert query.fooled(logits, rows).all() == targeted


def test_gaps_are_leads_and_their_gradients():
    model, x, y = linear_case(4, dtype=torch.float64)
    query = Query(model, y)
    rivals = torch.stack([(y + 1) % 4, (y + 3) % 4], 1)
    weight, logits = model.layer.weight.detach(), model(x).detach()
    for k, (lead, gradient) in enumerate(query.gaps(x, y, rivals)):
        rival = rivals[:, k]
        torch.testing.assert_close(gradient.flatten(1), weight[rival] - weight[y])
        torch.testing.assert_close(
            lead, logits.gather(1, rival[:, None])[:, 0] - logits.gather(1, y[:, None])[:, 0]
        )
    assert (query.forwards, query.backwards) == (len(x), 2 * len(x))


def test_draws_are_averaged_in_probability():
    model, x, y = curved_case()
    noisy = NoisyInput(model.eval(), 0.5)
    with torch.no_grad():
        torch.manual_seed(3)
        averaged = Query(noisy, y, stochastic=True, draws=50).logits(x)
        torch.manual_seed(3)
        drawn = noisy(x.repeat(50, 1, 1, 1)).unflatten(0, (50, len(x)))
    torch.testing.assert_close(averaged.softmax(1), drawn.softmax(-1).mean(0))


def test_common_noise_is_the_same_at_every_look_and_fresh_in_verdicts():
    model, x, y = curved_case()
    noisy, rows = NoisyInput(model.eval(), 0.5), torch.arange(len(x))
    query = Query(noisy, y, stochastic=True, draws=2, verify_draws=2, common_noise=3)
    with torch.no_grad():
        torch.manual_seed(0)
        state = torch.get_rng_state()
        first = query.logits(x)
        assert torch.equal(torch.get_rng_state(), state)
        torch.rand(1)
        assert torch.equal(query.logits(x), first)
        verdicts = [query.verdict(x, rows).logits for _ in range(2)]
    assert not torch.equal(*verdicts)


def test_attempts_run_alone_first_and_then_side_by_side_where_something_is_left():
    best = Best(torch.zeros(5, 2))
    plan = best.attempts(6, 5)
    rows, number = next(plan)
    assert (rows.tolist(), number.tolist()) == ([0, 1, 2, 3, 4], 5 * [0])
    best.fooled[torch.tensor([0, 2, 3])] = True
    assert [part.tolist() for part in next(plan)] == [[1, 4, 1, 4], [1, 1, 2, 2]]
    best.fooled[1] = True
    assert [part.tolist() for part in next(plan)] == [[4, 4, 4], [3, 4, 5]]
    assert next(plan, None) is None


def test_rivals_are_the_likeliest_other_classes():
    model, x, y = curved_case()
    rivals = Query(model.eval(), y).rivals(x, torch.arange(len(x)), 4)
    for row, logits, label in zip(rivals.tolist(), model(x), y.tolist(), strict=True):
        order = logits.argsort(descending=True).tolist()
        assert row == [k for k in order if k != label]


class _Doubled(nn.Module):
    """Computes in float64 whatever it is given, as a model with a NumPy table would."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3, dtype=torch.float64))

    def forward(self, x):
        return x.double() @ self.weight


@pytest.mark.parametrize("attack", [PGD(eps=0.2, steps=5), APGD(eps=0.2, steps=5), FAB(steps=5)])
def test_a_model_may_compute_in_another_precision_than_its_images(attack):
    x, y = torch.tensor([[0.6, 0.5, 0.1]]), torch.tensor([0])
    result = attack(_Doubled(), x, y)
    assert result.success.all()
    assert result.x_adv.dtype == torch.float32


class _Says(nn.Module):
    def __init__(self, say) -> None:
        super().__init__()
        self.say = say

    def forward(self, x):
        return self.say(x)


@pytest.mark.parametrize(
    ("say", "hint"),
    [
        (lambda x: torch.as_tensor(x.numpy()) @ torch.eye(3), "keep it in PyTorch"),
        (lambda x: (x > 0.5).long(), "must return floating point logits"),
        (lambda x: {}["logits"], "KeyError"),
    ],
)
def test_a_model_that_no_attack_can_use_is_named(say, hint):
    with pytest.raises(InputError, match=hint):
        PGD(eps=0.1, steps=2)(_Says(say), torch.rand(2, 3), torch.tensor([0, 1]))


def test_what_is_no_module_or_no_tensor_is_refused():
    x, y = torch.rand(2, 3), torch.tensor([0, 1])
    with pytest.raises(InputError, match=r"must be a torch\.nn\.Module, got function"):
        PGD(eps=0.1)(lambda x: x, x, y)
    for images in ("images", {"x": x}, [[0.5, 0.5], [0.5]]):
        with pytest.raises(InputError, match="images"):
            PGD(eps=0.1)(nn.Linear(3, 3), images, y)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_arrays_and_lists_are_images_labels_and_targets(kind):
    model, x, y = linear_case(3, 12)
    target = (y + 1) % 3
    expected = PGD(eps=0.1, restarts=1)(model, x, y, target)
    numbers, goals = y.to(kind), target.to(kind)
    for given in (
        (x.numpy(), numbers.numpy(), goals.numpy()),
        (x.double().numpy(), numbers.tolist(), goals.tolist()),
        (x.tolist(), numbers, goals),
    ):
        result = PGD(eps=0.1, restarts=1)(model, *given)
        assert torch.equal(result.success, expected.success)
        assert result.x_adv.dtype == torch.float32


class Sometimes(nn.Module):
    """A classifier of a linear case with noise on some images only."""

    def __init__(self, model, where) -> None:
        super().__init__()
        self.model, self.where = model, where

    def forward(self, x):
        noise = 5 * torch.randn(len(x), 1) * torch.tensor([[1.0, -1.0]])
        return self.model(x) + noise * self.where(x).to(x.dtype)[:, None]


def off_the_data(x):
    return ((x * 255 - (x * 255).round()).abs() > 1e-3).flatten(1).any(1)


def dark(x):
    return x.flatten(1).mean(1) < 0.47


@pytest.mark.parametrize("where", [off_the_data, dark])
@pytest.mark.parametrize("attack", [FGSM(eps=0.01), DeepFool(norm="linf"), FAB(eps=0.01, steps=5)])
def test_noise_is_found_wherever_it_is_and_in_any_order(where, attack):
    model, x, y = linear_case(2, 60)
    x = (255 * x).round() / 255
    order = x.flatten(1).mean(1).argsort(descending=True)
    x = x[order]  # the dark images come last
    y = model(x).argmax(1)
    noisy = Sometimes(model, where)
    with torch.no_grad():
        assert is_stochastic(noisy.eval(), x)
        assert is_stochastic(noisy, x.flip(0))
    result = attack(noisy, x, y)
    rate = result.fooled_rate
    assert ((rate > 0) & (rate < 1)).any()  # judged on many draws
    votes = result.fooled_rate[result.success & (result.distance > 0)]
    assert (votes > 0.4).all()


def test_noise_that_only_the_attack_meets_is_found_at_the_end():
    model, x, y = linear_case(2, 60)
    found = PGD(eps=0.02, restarts=1)(model, x, y).x_adv
    noisy = Sometimes(model, lambda z: torch.cdist(z.flatten(1), found.flatten(1)).amin(1) < 1e-6)
    with torch.no_grad():
        assert not is_stochastic(noisy.eval(), x)
    counting = Counting(noisy)
    result = PGD(eps=0.02, restarts=1)(counting, x, y)
    assert ((result.fooled_rate > 0) & (result.fooled_rate < 1)).any()
    assert (result.forwards, result.backwards) == (counting.forwards, counting.backwards)


@pytest.mark.parametrize("name", ATTACKS)
def test_settings_are_checked_by_their_types(name):
    attack = ATTACKS[name].example()
    for field in fields(attack):
        wrong: list[object] = []
        if field.type == "int":
            wrong = [2.5, "3", True, None, [1]] + ([0, -1] if field.name != "seed" else [2**64])
        elif field.type in ("float", "float | None"):
            wrong = ["0.1", True, math.nan, [0.1]]
        elif field.type == "int | None":
            wrong = [2.5, "3", True, 0]
        elif field.type == "bool":
            wrong = [1, "yes", None]
        elif field.type in ("str", "str | None"):
            wrong = [3, "nothing"]
        for value in wrong:
            with pytest.raises(ConfigError, match=f"{field.name}|attack loss|objective"):
                replace(attack, **{field.name: value})


def test_numbers_of_numpy_are_taken_for_pythons():
    attack = PGD(eps=np.float32(0.25), steps=np.int64(3), seed=np.uint8(1))
    plain = PGD(eps=0.25, steps=3, seed=1)
    assert repr(attack) == repr(plain)
    assert repr(PGD(eps=np.float64(0.1))) == repr(PGD(eps=0.1))
    assert eval(repr(attack)) == plain
    assert repr(PGD(eps=1)) == repr(PGD(eps=1)).replace("1.0", "1")


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
def test_every_loss_leads_to_a_target_of_any_rank(loss, norm):
    model, x, y = linear_case(6, 60)
    eps = 0.2 if norm == "linf" else 0.8
    given = {"norm": norm, "eps": eps, "loss": loss}
    for rank in (1, 2, 5):
        target = model(x).argsort(1, descending=True)[:, rank]
        reached = MultiTargeted(norm=norm, eps=eps, steps=40, restarts=1)(model, x, y, target)
        enough = 0.85 * reached.success.sum()
        for attack in (
            PGD(steps=40, restarts=1, **given),
            APGD(steps=40, restarts=1, **given),
            NIFGSM(steps=20, **given),
        ):
            assert attack(model, x, y, target).success.sum() >= enough, (attack, rank)
