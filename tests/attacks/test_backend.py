import math
import random
import re
import sys
import types
import warnings
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from narrows.attacks import FGSM, PGD, Backend
from narrows.attacks import norms as geometry
from narrows.attacks.backend import from_art, from_autoattack, from_foolbox, from_torchattacks
from narrows.errors import ConfigError, InputError
from narrows.models.bottleneck import Bottleneck, as_classifier
from scenarios_attacks import Counting, NoisyInput, SignStep, curved_case, linear_case


def test_equals_our_own_where_the_library_does_the_same():
    model, x, y = curved_case()
    theirs = Backend(call=SignStep(0.15), eps=0.15)(model, x, y)
    ours = FGSM(eps=0.15)(model, x, y)
    torch.testing.assert_close(theirs.x_adv, ours.x_adv)
    assert torch.equal(theirs.success, ours.success)
    assert (theirs.forwards, theirs.backwards) == (ours.forwards, ours.backwards)


def test_towards_targets_it_runs_once_for_each_and_counts_all():
    model, x, y = linear_case(4)
    model = Counting(model)
    target = (y + 1 + torch.arange(len(y)) % 3) % 4
    result = Backend(call=SignStep(0.3), eps=0.3)(model, x, y, target)
    assert torch.equal(result.success, model(result.x_adv).argmax(1) == target)
    assert result.success.double().mean() > 0.9
    assert result.backwards == model.backwards


def gradient_free(model, x, y):
    """Sees the model without a gradient, drops an image, and answers in NumPy."""
    with torch.no_grad():
        assert model(x[:-1]).shape == (len(x) - 1, 5)
    assert not model.training
    assert next(model.parameters()).device == x.device
    return np.ones(tuple(x.shape))


def test_arrays_come_back_as_images_of_the_right_type():
    model, x, y = curved_case()
    result = Backend(call=gradient_free)(model, x, y)
    assert result.x_adv.dtype == x.dtype
    attacked = result.x_adv != x
    assert torch.equal(result.x_adv[attacked], torch.ones_like(x)[attacked])
    assert result.backwards == 0


@pytest.mark.parametrize(("given", "seen"), [(torch.float32, "double"), (torch.float64, "float")])
def test_a_library_may_compute_in_another_precision(given, seen):
    def other(model, x, y):
        return SignStep(0.15)(model, getattr(x, seen)(), y)

    model, x, y = curved_case(dtype=given)
    result = Backend(call=other, eps=0.15)(model, x, y)
    assert result.x_adv.dtype == given
    assert torch.equal(result.success, FGSM(eps=0.15)(model, x, y).success)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda model, x, y: x + 2, r"left \[0, 1\] by up to"),
        (lambda model, x, y: (x + 0.3).clamp(0, 1), "left the linf ball of radius 0.1 at 35 of 35"),
    ],
)
def test_says_how_far_it_had_to_bring_images_back(call, says):
    model, x, y = curved_case()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = Backend(call=call, eps=0.1)(model, x, y)
    assert any(re.search(says, str(one.message)) for one in said)
    assert geometry.size(result.x_adv - x, "linf").max() <= 0.1 + 1e-6
    assert result.x_adv.max() <= 1


def reckless(model, x, y):
    """What libraries were seen to do to the process that runs them."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    sys.settrace(None)
    return x


def test_what_a_library_does_to_the_process_ends_with_it():
    model, x, y = linear_case(2)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    trace = sys.gettrace()
    tracer = lambda *_: None
    sys.settrace(tracer)
    try:
        Backend(call=reckless)(model, x, y)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(trace)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]


def test_one_seed_one_result_for_any_generator():
    def jitter(model, x, y):
        shift = 0.01 * random.random() + 0.01 * np.random.rand()  # noqa: NPY002
        return (x + shift + 0.01 * torch.rand_like(x)).clamp(0, 1)

    model, x, y = linear_case(2)
    one, same, other = (Backend(call=jitter, seed=seed)(model, x, y).x_adv for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_verdict_meets_other_noise_than_the_library_did():
    seen = []

    def lucky(model, x, y):
        seen.append(model(x).argmax(1) != y)
        return x

    model, x, y = linear_case(2)
    result = Backend(call=lucky, verify_draws=1)(NoisyInput(model, 0.3), x, y)
    attacked = result.fooled_rate[: len(seen[0])]
    assert 0.05 < seen[0].double().mean() < 0.5
    assert not torch.equal(attacked > 0, seen[0])


@pytest.mark.parametrize("result", [torch.zeros(3), torch.tensor(float("nan"))])
def test_refuses_what_is_no_image(result):
    model, x, y = linear_case(2)
    shape = x.shape if result.isnan().any() else result.shape
    with pytest.raises(InputError, match="a backend returns finite images"):
        Backend(call=lambda model, x, y: result.expand(shape))(model, x, y)


def test_refuses_settings_that_mean_nothing():
    with pytest.raises(ConfigError, match="call must be"):
        Backend(call="fgsm")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"eps must lie in \[0, 1\]"):
        Backend(call=reckless, eps=-1)


def fake(monkeypatch, **modules):
    for name, content in modules.items():
        module = types.ModuleType(name.replace("__", "."))
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)


class Built:
    """Stands for an attack of any library: `call(model, x, y)` is a sign step of `eps`."""

    def __init__(self, model=None, eps=0.1, **options):
        self.model, self.step, self.options = model, SignStep(eps), options

    def __call__(self, x, y, labels=None, epsilons=None):
        if epsilons is not None:  # foolbox: model first
            return None, SignStep(epsilons)(x, y, labels), None
        return self.step(self.model, x, y)

    def run_standard_evaluation(self, x, y):
        return self(x, y), y

    def generate(self, x, y):
        return self.step(self.model, torch.from_numpy(x), torch.from_numpy(y)).numpy()


def test_constructors_call_libraries_as_these_want_it(monkeypatch):
    model, x, y = curved_case()
    attacks = types.SimpleNamespace(Attack=Built)
    fake(
        monkeypatch,
        torchattacks={"Attack": Built},
        foolbox={"attacks": attacks, "PyTorchModel": lambda model, bounds, device: model},
        pyautoattack={"AutoAttack": Built},
        art={},
        art__estimators={},
        art__estimators__classification={"PyTorchClassifier": lambda model, **_: model},
        art__attacks={},
        art__attacks__evasion={"Attack": Built},
    )
    expected = FGSM(eps=0.12)(model, x, y)
    for attack in (
        from_torchattacks("Attack", eps=0.12),
        from_foolbox("Attack", eps=0.12),
        from_art("Attack", eps=0.12),
        from_autoattack(eps=0.12, version="standard"),
    ):
        result = attack(model, x, y)
        torch.testing.assert_close(result.x_adv, expected.x_adv)
        assert result.backwards == expected.backwards


class OfSeveralNorms(Built):
    """Stands for an attack that is told its norm."""

    told: ClassVar[list] = []

    def __init__(self, model=None, eps=0.1, norm=None, constraint=None):
        super().__init__(model, eps)
        self.told.append(constraint if norm is None else norm)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (from_torchattacks, ("Linf", "L2")),
        (from_foolbox, ("linf", "l2")),
        (from_art, (math.inf, 2)),
    ],
)
@pytest.mark.filterwarnings("ignore:the backend left the l2 ball")
def test_an_attack_of_several_norms_is_told_which(make, words, monkeypatch):
    model, x, y = curved_case()
    attacks = types.SimpleNamespace(Attack=OfSeveralNorms, __name__="foolbox.attacks")
    fake(
        monkeypatch,
        torchattacks={"Attack": OfSeveralNorms},
        foolbox={"attacks": attacks, "PyTorchModel": lambda model, bounds, device: model},
        art={},
        art__estimators={},
        art__estimators__classification={"PyTorchClassifier": lambda model, **_: model},
        art__attacks={},
        art__attacks__evasion={"Attack": OfSeveralNorms},
    )
    for norm, word in zip(("linf", "l2"), words, strict=True):
        OfSeveralNorms.told.clear()
        make("Attack", norm=norm, eps=0.2)(model, x, y)
        assert set(OfSeveralNorms.told) == {word}


def test_a_missing_library_and_a_misspelt_attack_are_named(monkeypatch):
    model, x, y = linear_case(2)
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(ConfigError, match="pip install torchattacks"):
        from_torchattacks("PGD", eps=0.1)(model, x, y)
    fake(monkeypatch, torchattacks={"PGD": Built})
    with pytest.raises(ConfigError, match="did you mean 'PGD'"):
        from_torchattacks("PGDD", eps=0.1)(model, x, y)


@pytest.mark.parametrize(
    ("module", "attack"),
    [
        ("torchattacks", from_torchattacks("PGD", eps=0.1, alpha=0.01, steps=20)),
        ("torchattacks", from_torchattacks("APGD", norm="l2", eps=0.4, steps=20)),
        (
            "art",
            from_art("ProjectedGradientDescent", norm="l2", eps=0.4, max_iter=20, verbose=False),
        ),
        ("foolbox", from_foolbox("L2PGD", norm="l2", eps=0.4, rel_stepsize=0.1, steps=20)),
        (
            "pyautoattack",
            from_autoattack(norm="l2", eps=0.4, version="custom", attacks=["apgd-ce"]),
        ),
        ("foolbox", from_foolbox("LinfPGD", eps=0.1, abs_stepsize=0.01, steps=20)),
        ("pyautoattack", from_autoattack(eps=0.1, version="custom", attacks=["apgd-ce"])),
        ("art", from_art("ProjectedGradientDescentPyTorch", eps=0.1, max_iter=20, verbose=False)),
        ("art", from_art("ProjectedGradientDescent", eps=0.1, max_iter=20, verbose=False)),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_real_library_where_it_is_installed(module, attack):
    pytest.importorskip(module, reason=f"{module} is not installed", exc_type=Exception)
    model, x, y = curved_case()
    ours = PGD(eps=attack.eps, norm=attack.norm, steps=20, restarts=3)(model, x, y).robust_accuracy
    result = attack(model, x, y)
    assert result.robust_accuracy == pytest.approx(ours, abs=0.1)
    assert result.backwards > 0


@pytest.mark.filterwarnings("ignore")
def test_a_stochastic_model_of_ours_is_a_classifier_of_art():
    art = pytest.importorskip("art.estimators.classification", exc_type=Exception)
    evasion = pytest.importorskip("art.attacks.evasion", exc_type=Exception)
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 16))
    net = Bottleneck(encoder, nn.Linear(8, 3), latent="gaussian")
    ours = as_classifier(net, samples=12).eval()
    theirs = art.PyTorchClassifier(
        ours, nn.CrossEntropyLoss(), (1, 4, 4), 3, clip_values=(0, 1), device_type="cpu"
    )
    x = torch.rand(20, 1, 4, 4)
    logits = theirs.predict(x.numpy())
    np.testing.assert_allclose(np.exp(logits).sum(1), 1, rtol=1e-5)
    y = logits.argmax(1)
    found = evasion.FastGradientMethod(theirs, eps=0.3).generate(x.numpy(), y=y)
    assert np.abs(found - x.numpy()).max() <= 0.3 + 1e-6
    fall = logits - theirs.predict(found)
    assert (fall[np.arange(20), y] > 0).mean() > 0.8


def test_an_ordinary_function_is_enough():
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.eye(2)
    x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
    assert Backend(call=lambda model, x, y: 1 - x, norm="l2")(model, x, y).success.all()
