"""Views: the same answers as the model, and a gradient where it hides its own."""

import copy
from dataclasses import replace

import pytest
import torch

from narrows.audit.checks.differentiable import differentiable
from narrows.audit.checks.linearity import linearity
from narrows.audit.planted import (
    PLANTED,
    Detached,
    JPEGLike,
    NoisyInput,
    NoisyLatent,
    NoisyWeights,
    Probabilities,
    Quantised,
    Sawtooth,
)
from narrows.audit.remedies import REMEDIES
from narrows.audit.views import VIEWS
from narrows.errors import ConfigError
from narrows.models.outputs import logits_of
from scenarios_audit import (
    SMALL,
    Float32Only,
    HalfInside,
    NaNGradient,
    case_of,
    undefended,
)

SAME = ["plain", "straight_through", "finite_differences", "wide_differences", "rescaled"]


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


@pytest.mark.parametrize("wrap", [NoisyWeights, NoisyLatent])
def test_mean_says_what_a_draw_says_with_the_gradient_of_no_noise(wrap):
    case = case_of(wrap)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        drawn = case.model(case.x)
        torch.manual_seed(0)
        seen = case.view("mean")(case.x)
        found = gradient(case.view("mean"), case.x, case.y)
        hidden = gradient(case.model, case.x, case.y)
    torch.testing.assert_close(seen, drawn)
    truth = gradient(undefended()[0], case.x, case.y)
    torch.testing.assert_close(found, truth)
    assert torch.cosine_similarity(hidden.flatten(), truth.flatten(), dim=0) < 0.3
    assert case_of().view("mean") is None


def test_the_mean_breaks_noise_that_no_number_of_draws_would():
    case = case_of(NoisyWeights)
    case.escalate(case.pgd(loss="margin", draws=case.budget.draws))
    assert len(case.survivors) > 20
    REMEDIES["draws"](case)
    assert not len(case.survivors)


def test_half_precision_inside_a_model_is_no_hindrance():
    case = case_of(HalfInside)
    assert case.view("plain")(case.x).dtype == torch.float32
    assert case.plain(case.pgd()).success.any()
    assert all(check(case).evidence for check in (differentiable, linearity))


def test_unknown_views_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'float64'"):
        case_of().view("float46")
    assert "plain" in VIEWS


def test_differences_reach_a_share_of_what_each_pixel_moves_at_the_radius():
    for norm, eps, width in (("linf", 0.2, 0.05), ("l2", 0.8, 0.8 / 8 / 4)):
        case = case_of(norm=norm, eps=eps)
        model, seen = case.model, []
        view = case.view("finite_differences")
        handle = model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))  # noqa: B023
        gradient(view, case.x[:1], case.y[:1])
        handle.remove()
        moved = (seen[-1] - case.x[:1]).abs()
        torch.testing.assert_close(moved, torch.full_like(moved, width), atol=1e-6, rtol=1e-5)


def test_a_probe_is_fitted_to_the_training_data_where_there_are_any():
    x, y = undefended()[1:]
    given = case_of(training=(x[:20], (y[:20] + 1) % 10)).view("probe")(x[:20]).argmax(1)
    assert (given == (y[:20] + 1) % 10).double().mean() > 0.8
    assert (case_of().view("probe")(x).argmax(1) == y).double().mean() > 0.8


def test_rounding_is_passed_through_in_a_network_of_the_audits_own_too():
    case = case_of(Quantised, budget=replace(SMALL, steps=1))
    torch.testing.assert_close(
        case.view("surrogate+straight_through")(case.x), case.view("surrogate")(case.x)
    )
