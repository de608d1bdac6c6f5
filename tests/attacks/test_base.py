import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from narrows.attacks import APGD, ATTACKS, FAB, FGSM, NIFGSM, PGD, DeepFool, MultiTargeted
from narrows.attacks._best import Best
from narrows.errors import ConfigError, InputError, NarrowsError
from scenarios_attacks import linear_case

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
        (Y, "must differ from the label, 4 of 4 do not"),
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
        ({"norm": "l3"}, "one of linf, l2, l1, l0, got 'l3'"),
        ({"norm": 2}, "got 2"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
        ({"verify_draws": 0}, "verify_draws must be at least 1"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"chunk": "7"}, "chunk must be a whole number, got '7'"),
        ({"draws": "3"}, "draws must be a whole number, got '3'"),
        ({"draws": 2**62}, "draws must be at most 1,000,000"),
        ({"verify_draws": 10**9}, "verify_draws must be at most 1,000,000"),
        ({"loss": math.nan}, "loss must be text, got nan"),
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
        (lambda x: torch.as_tensor(x.numpy()) @ torch.eye(3), "avoid NumPy and in-place"),
        (lambda x: (x > 0.5).long(), "must return floating point logits"),
        (lambda x: {}["logits"], "KeyError"),
    ],
)
def test_a_model_that_no_attack_can_use_is_named(say, hint):
    with pytest.raises(InputError, match=hint):
        PGD(eps=0.1, steps=2)(_Says(say), 0.1 + 0.8 * torch.eye(2, 3), torch.tensor([0, 1]))


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


@pytest.mark.parametrize("attack", [FGSM(eps=0.1), DeepFool()])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda z: z.to("meta"), "logits must hold numbers; a tensor on the meta device"),
        (lambda z: z.to_sparse(), r"logits must be a dense tensor; write \.to_dense\(\)"),
        (lambda z: z[:, :0], "at least 2 classes are needed here, the model has 0"),
        (lambda z: z[:, :1], "one logit for each class, got a single one"),
    ],
)
def test_logits_that_cannot_be_read_are_named(attack, change, says):
    with pytest.raises(InputError, match=says):
        attack(_Says(lambda x: change(MODEL(x))), X, Y)


def test_images_and_labels_hold_numbers():
    for x, y, name in ((X.to("meta"), Y, "images"), (X, Y.to("meta"), "labels")):
        with pytest.raises(InputError, match=f"{name} must hold numbers"):
            FGSM(eps=0.1)(MODEL, x, y)
    with pytest.raises(InputError, match="images must be a dense tensor"):
        FGSM(eps=0.1)(MODEL, X.to_sparse(), Y)
    with pytest.raises(InputError, match="targets must hold numbers"):
        FGSM(eps=0.1)(MODEL, X, Y, ((Y + 1) % 3).to("meta"))
