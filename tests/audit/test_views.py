"""Views: the same answers as the model, and a gradient where it hides its own."""

import copy

import pytest
import torch

from narrows.audit.blocking import blocking_modules
from narrows.audit.planted import (
    PLANTED,
    Detached,
    JPEGLike,
    NoisyInput,
    Probabilities,
    Quantised,
    Sawtooth,
)
from narrows.audit.views import VIEWS
from narrows.errors import ConfigError
from narrows.models.bottleneck import Bottleneck
from narrows.models.outputs import logits_of
from scenarios_audit import Float32Only, NaNGradient, case_of, undefended

SAME = ["plain", "straight_through", "finite_differences", "rescaled"]


def gradient(model, x, y):
    x = x.clone().requires_grad_()
    logits = logits_of(model, x)
    return torch.autograd.grad(logits.gather(1, y[:, None]).sum(), x)[0]


@pytest.mark.parametrize("wrap", [PLANTED["quantised"], Detached, JPEGLike, Sawtooth])
@pytest.mark.parametrize("view", SAME)
def test_a_view_says_what_the_model_says(wrap, view):
    case = case_of(wrap)
    with torch.no_grad():
        seen = case.view(view)(case.x)
        if view == "rescaled":
            seen = seen / seen.norm() * case.model(case.x).norm()
        torch.testing.assert_close(seen, case.model(case.x))


@pytest.mark.parametrize(
    ("wrap", "view"),
    [
        (Quantised, "straight_through"),
        (JPEGLike, "straight_through"),
        (Quantised, "finite_differences"),
        (Sawtooth, "finite_differences"),
        (Detached, "finite_differences"),
    ],
)
def test_a_view_has_the_gradient_of_the_undefended_model(wrap, view):
    case = case_of(wrap)
    model = undefended()[0]
    truth = gradient(model, case.x, case.y).flatten()
    hidden = gradient(case.view("plain"), case.x, case.y).flatten()
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        found = gradient(case.view(view), case.x, case.y).flatten()
    least = 0.9 if view == "straight_through" else 0.35  # 16 directions of 64
    assert torch.cosine_similarity(found, truth, dim=0) > least
    assert not hidden.any() or torch.cosine_similarity(hidden, truth, dim=0) < 0


def test_plain_turns_missing_and_broken_gradients_into_zero():
    for wrap in (Detached, NaNGradient):
        case = case_of(wrap)
        assert gradient(case.view("plain"), case.x, case.y).eq(0).all()


def test_float64_is_had_or_not():
    assert case_of().view("float64")(undefended()[1].double()).dtype == torch.float64
    case = case_of(Float32Only)
    assert case.view("float64") is None
    assert case.run(case.pgd(), "float64+rescaled") is None


def test_log_undoes_a_softmax():
    case = case_of(Probabilities)
    x = case.x.double()
    truth = (40 * copy.deepcopy(undefended()[0]).double()(x)).log_softmax(1)
    found = case.view("float64+log")(x)
    # What is less than the smallest double stays there: the logarithm of it is -708.
    torch.testing.assert_close(found, truth.clamp_min(-708.396418532264))


def test_fixed_noise_is_the_same_each_time_and_not_the_verdicts():
    case = case_of(NoisyInput)
    view = case.view("fixed_noise")
    assert torch.equal(view(case.x), view(case.x))
    assert not torch.equal(case.model(case.x), case.model(case.x))
    assert case_of().view("fixed_noise") is None


def test_mean_is_for_bottlenecks_only():
    assert case_of().view("mean") is None
    assert case_of(lambda model: Bottleneck(model, torch.nn.Identity())).view("mean") is not None


def test_surrogate_learns_what_the_model_says():
    case = case_of(Quantised)
    agree = case.view("surrogate")(case.x).argmax(1) == case.model(case.x).argmax(1)
    assert agree.double().mean() > 0.9


def test_layers_that_hide_their_gradient_are_named():
    model, x, _ = undefended()
    assert blocking_modules(JPEGLike(model), x[:4]) == ["compress"]
    assert blocking_modules(model, x[:4]) == []


def test_unknown_views_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'float64'"):
        case_of().view("float46")
    assert "plain" in VIEWS
