"""What is given is checked once; any form of model is met, and left as it was found."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from narrows.audit import Budget, Case, audit, resolve_budget
from narrows.audit._claim import gray_radius
from narrows.errors import ConfigError, InputError, NarrowsError
from narrows.models.mlp import mlp
from scenarios_audit import (
    EPS,
    SMALL,
    Around,
    Caching,
    Centred,
    NaNOnSome,
    OffGrid,
    Overwriting,
    Tiring,
    TwoRows,
    case_of,
    undefended,
)


def reference():
    case = case_of(eps=0.1)
    return case, case.plain(case.pgd())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_is_audited_in_float32_at_least(dtype):
    model, x, y = undefended()
    case = Case(copy.deepcopy(model).to(dtype), x.to(dtype), y, eps=0.1, budget=SMALL)
    assert case.x.dtype == torch.promote_types(dtype, torch.float32)
    assert case.subject(case.x).dtype == case.x.dtype
    surrogate = case.view("surrogate")
    assert surrogate(case.x).dtype == case.x.dtype
    assert torch.isfinite(surrogate(case.x)).all()
    agree = surrogate(case.x).argmax(1) == case.subject(case.x).argmax(1)
    assert agree.double().mean() > 0.9
    result, (_, truth) = case.plain(case.pgd()), reference()
    assert (result.success == truth.success).double().mean() >= 0.9
    view = case.view("float64")
    assert view is not None
    assert view(case.x.double()).dtype == torch.float64


@pytest.mark.parametrize(
    "form",
    [
        nn.DataParallel,
        torch.jit.script,
        lambda model: torch.jit.trace(model, undefended()[1][:2]),
        lambda model: torch.jit.freeze(torch.jit.script(model)),
        lambda model: torch.compile(model, backend="eager"),
        lambda model: torch.export.export(
            model, (undefended()[1][:4],), dynamic_shapes=({0: torch.export.Dim("batch")},)
        ).module(),
    ],
    ids=["data_parallel", "script", "trace", "freeze", "compile", "export"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_form_of_a_model_gives_the_same(form):
    model, (_, truth) = form(copy.deepcopy(undefended()[0])), reference()
    _, x, y = undefended()
    case = Case(model, x, y, eps=0.1, budget=SMALL)
    result = case.plain(case.pgd())
    assert torch.equal(result.success, truth.success)
    assert case.view("straight_through") is not None
    assert case.batch == ""
    assert not case.stochastic


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (lambda x: x.numpy(), lambda y: y.numpy()),
        (lambda x: x.double().numpy(), lambda y: y.numpy().astype(np.uint8)),
        (lambda x: x.tolist(), lambda y: y.tolist()),
        (lambda x: x, lambda y: y.to(torch.int8)),
        (lambda x: x, lambda y: y.to(torch.uint16)),
    ],
)
def test_arrays_lists_and_any_integers_are_taken(images, labels):
    model, x, y = undefended()
    case = Case(model, images(x), labels(y), eps=0.1, budget=SMALL)
    assert torch.equal(case.x, x)
    assert torch.equal(case.y, y)


class Broken(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10] * math.nan


class Integers(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10].round().long()


def classes(count):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, count))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: {"x": 255 * x}, "divide 0-255 images by 255"),
        (lambda x, y: {"x": x.to(torch.uint8)}, "floating point"),
        (lambda x, y: {"x": x[:0], "y": y[:0]}, "empty"),
        (lambda x, y: {"y": y[:3]}, "one of labels for each of 40 samples, got 3"),
        (lambda x, y: {"y": y.float()}, "must be integers"),
        (lambda x, y: {"y": y + 20}, "lie in 0..9"),
        (lambda x, y: {"eps": 8.0}, "divide by 255"),
        (lambda x, y: {"eps": 127.5, "norm": "l2"}, "at most 8 in L2.*divide by 255"),
        (lambda x, y: {"eps": 0.0}, "eps must be positive"),
        (lambda x, y: {"eps": math.nan}, "eps must"),
        (lambda x, y: {"norm": "l3"}, "norm must be"),
        (lambda x, y: {"budget": "huge"}, "unknown budget 'huge'"),
        (lambda x, y: {"claimed": 90}, "divide percent by 100"),
        (lambda x, y: {"model": Broken()}, "NaN or infinity for all 40 images"),
        (lambda x, y: {"model": Overwriting(undefended()[0])}, "overwrites the images"),
        (lambda x, y: {"model": Integers()}, "floating point logits, got torch.int64"),
        (lambda x, y: {"twin": classes(9)}, "twin must tell the same 10 classes apart.*has 9"),
        (lambda x, y: {"siblings": [classes(10), classes(11)]}, "sibling must tell the same 10"),
        (lambda x, y: {"siblings": [nn.Linear(3, 10)]}, "cannot be run on images"),
    ],
)
def test_bad_input_is_named_before_anything_runs(change, says):
    model, x, y = undefended()
    given = {"model": model, "x": x, "y": y, "eps": EPS, "budget": SMALL, **change(x, y)}
    with pytest.raises(NarrowsError, match=says):
        audit(given.pop("model"), given.pop("x"), given.pop("y"), **given)


class OneLogit(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :1]


class Ends(Around):
    def forward(self, x):
        raise SystemExit(3)


class Text(Around):
    def forward(self, x):
        return "seven"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (OneLogit(), "one logit for each class"),
        (Ends(undefended()[0]), r"ended the program \(sys.exit\(3\)\)"),
        (Text(undefended()[0]), "got str"),
        (nn.Flatten(0), "logits"),
        (lambda x: x, "torch.nn.Module, got function"),
    ],
)
def test_what_is_no_classifier_is_refused_in_one_line(model, says):
    _, x, y = undefended()
    with pytest.raises(InputError, match=says) as refused:
        Case(model, x, y * 0, eps=0.1, budget=SMALL)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"eps": "0.1"}, "eps must be a number"),
        ({"eps": float("inf")}, "eps must be finite"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"budget": 3}, "budget must be a Budget or one of fast, standard, full, got 3"),
    ],
)
def test_settings_of_another_type_are_refused(change, says):
    with pytest.raises(ConfigError, match=says):
        case_of(**change)


def test_a_budget_is_of_whole_numbers():
    with pytest.raises(ConfigError, match="steps must be a whole number"):
        Budget(10, 2.5, 1, 1, 1, 1, 1)
    assert resolve_budget("fast").images == 100


def test_images_without_an_answer_are_left_out_with_their_labels():
    case = case_of(NaNOnSome)
    assert case.left_out == [3, 7]
    kept = [row for row in range(40) if row not in (3, 7)]
    assert torch.equal(case.x, undefended()[1][kept])
    assert torch.equal(case.y, undefended()[2][kept])
    assert len(case.ledger.fooled) == 38


def test_one_image_is_enough():
    _, x, y = undefended()
    case = case_of(x=x[:1], y=y[:1])
    assert case.plain(case.pgd()).success.tolist() == [True]


@pytest.mark.parametrize("wrap", [Tiring, Caching])
def test_memory_is_taken_for_neither_noise_nor_dependence_on_the_batch(wrap):
    case = case_of(wrap)
    assert (case.stochastic, case.batch) == (False, "")
    assert case.memories


def test_noise_is_looked_for_beside_the_images_and_in_any_order():
    _, x, y = undefended()
    assert case_of(OffGrid, x=x.flip(0), y=y.flip(0)).stochastic
    assert not case_of().stochastic


def test_a_model_that_takes_no_single_image_is_shown_it_beside_others():
    case = case_of(TwoRows)
    assert case.batch
    alone = case.subject(case.x[5:6])
    together = case.subject(case.x[:8])[5:6]
    torch.testing.assert_close(alone, together)


def test_the_mode_and_the_gradients_of_parameters_are_put_back():
    model = nn.Sequential(nn.Flatten(), *mlp([64, 8, 10]), nn.Dropout()).train()
    model[0].eval()
    _, x, y = undefended()
    Case(model, x, y, eps=0.1, budget=SMALL)
    assert [part.training for part in (model, model[0], model[-1])] == [True, False, True]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_gray_radius_reaches_every_gray_image():
    case = case_of()
    assert gray_radius(case) == 0.5
    l2 = case_of(norm="l2", eps=1.0)
    assert gray_radius(l2) == pytest.approx(0.5 * 64**0.5)
    assert (l2.x - 0.5).flatten(1).norm(dim=1).max() <= gray_radius(l2)


def test_images_that_are_left_out_are_named_up_to_ten():
    case = case_of(NaNOnSome)
    assert case.describe_left_out() == (
        "the model returns NaN or infinity at 2 of 40 images, which were left out (number 3, 7)"
    )
    case.left_out = list(range(12))
    assert "12 of 50 images" in case.describe_left_out()
    assert case.describe_left_out().endswith("(number 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)")
    assert case_of().describe_left_out() == ""


def test_a_twin_that_looks_at_its_batch_is_shown_the_same_companions():
    model, x, _ = undefended()
    case = case_of(twin=Centred(model), siblings=[model])
    assert case.twin.companions is not None
    torch.testing.assert_close(case.twin(x[:1]), case.twin(x[:5])[:1])
    assert case.siblings[0].companions is None
    assert not case.batch


def test_a_model_whose_answers_changed_with_use_is_known_for_it_from_then_on():
    case = case_of(Tiring)
    assert not case.stateful
    case.plain(case.pgd())
    assert case.stateful
    assert case.check_memory()
    same = case_of(Caching)
    same.plain(same.pgd())
    assert not same.stateful
    assert not same.check_memory()
