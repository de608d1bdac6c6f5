"""What to do about an attack that failed: each remedy attacks what is left, another way.

A check that fails names the remedies that fit (`ANSWERS`); they run from cheap to dear, only on
images that nothing has fooled yet, and what they reach is judged on the model as it is. The cheap
ensemble always runs: without it the accuracy that is left would be that of one weak attack.

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420; Tramer et al. (2020), arXiv 2002.08347;
Pintor et al. (2022), arXiv 2106.09947, on mitigations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from narrows.attacks import APGD, FAB, PGD, Attack, HopSkipJump, MultiTargeted, SparseRS, Square
from narrows.audit._base import Case
from narrows.audit._guided import climb_guide
from narrows.audit.trials import helpful_views
from narrows.audit.twins import TWINS

__all__ = ["ALWAYS", "ANSWERS", "REMEDIES", "WHERE_ODD", "remedies_for", "unfit"]

_WALK = 4  # times the budget's queries that a walk along the boundary takes
_RIVALS = 3  # classes towards which FAB goes


def _ensemble(case: Case) -> None:
    """APGD on the cross-entropy and towards other classes, and FAB; with L0 PGD and Sparse-RS."""
    view = _through(case)
    for loss in ("cross_entropy", "targeted_dlr"):
        # On all images, so that its strength can be compared with that of others.
        case.run(_apgd(case, loss, restarts=1, draws=1), view)
    if case.norm == "l0":
        case.escalate(_search(case), view)
        return
    case.escalate(
        FAB(
            norm=case.norm,
            eps=case.eps,
            steps=case.budget.steps,
            restarts=1,
            targets=min(_RIVALS, case.classes - 1),
            verify_draws=case.budget.verify_draws,
            seed=case.seed,
        ),
        view,
    )


def _margin(case: Case) -> None:
    """The margin does not saturate."""
    case.escalate(case.pgd(loss="margin"))


def _restarts(case: Case) -> None:
    """More steps and restarts, on both losses."""
    for loss in ("cross_entropy", "margin"):
        case.escalate(_apgd(case, loss))


def _float64(case: Case) -> None:
    """Double precision, with the logits brought to a usual size."""
    for view in ("float64", "float64+rescaled"):
        case.escalate(case.pgd(), view)


def _log(case: Case) -> None:
    """Undo a softmax, in double precision where the model can be had in it.

    Of raw logits there is no logarithm: half of them are negative.
    """
    if not case.probabilities:
        return
    for view in ("float64+log", "log"):
        case.escalate(case.pgd(), view)
        case.escalate(case.pgd(loss="margin"), view)


def _draws(case: Case) -> None:
    """Attack the mean of the noise, then the expectation: over fresh draws, over the same ones."""
    if case.stochastic:
        case.escalate(case.pgd(loss="margin"), "mean")
        case.escalate(case.pgd(loss="margin", draws=case.budget.draws))
        case.escalate(case.pgd(loss="margin"), _through(case))


def _straight_through(case: Case) -> None:
    """The identity's gradient where rounding, detaching or a layer stops it."""
    for loss in ("margin", "cross_entropy"):
        case.escalate(case.pgd(loss=loss), _through(case, first="straight_through"))


def _differences(case: Case) -> None:
    """Gradients from finite differences wide enough to see over steps and ripples."""
    attack = case.pgd(loss="margin", chunk=128)
    for view in ("finite_differences", "wide_differences"):
        case.escalate(attack, _through(case, last=view))


def _square(case: Case) -> None:
    """Random search without gradients, on a stochastic model over fixed draws, then over more."""
    case.escalate(_search(case), _through(case))
    if case.stochastic:
        case.escalate(_search(case), _through(case, noise="many_draws"))


def _search(case: Case) -> Attack:
    return (SparseRS if case.norm == "l0" else Square)(
        norm=case.norm,
        eps=case.eps,
        queries=case.budget.queries,
        verify_draws=case.budget.verify_draws,
        seed=case.seed,
    )


def _labels(case: Case) -> None:
    """Walk along the boundary by classes alone, which no confidence can mislead."""
    attack = HopSkipJump(
        norm=case.norm,
        eps=case.eps,
        queries=_WALK * case.budget.queries,
        draws=case.budget.draws if case.stochastic else 1,
        verify_draws=case.budget.verify_draws,
        seed=case.seed,
    )
    case.escalate(attack)


def _transfer(case: Case) -> None:
    """Attack the twin, networks inside the model, and networks taught to say the same."""
    for view in ("twin", "core", "surrogate", "labels", "probe"):
        for loss in ("cross_entropy", "margin"):
            climb_guide(case, view, loss=loss)


def _views(case: Case) -> None:
    """The views that help most on a few images, whatever the model is made of."""
    for view in helpful_views(case, _through(case)):
        for loss in ("margin", "cross_entropy"):
            case.escalate(case.pgd(loss=loss, chunk=128), view)


def _twins(case: Case) -> None:
    """Train networks plainly, on true labels and on the model's, and attack those."""
    for view in (*TWINS, "together"):
        for loss in ("cross_entropy", "margin"):
            climb_guide(case, view, loss=loss)
    climb_guide(case, "together", start="random")


def _through(case: Case, first: str = "", last: str = "", noise: str = "fixed_noise") -> str:
    """A view that holds a stochastic model's noise and undoes a softmax, with others around it."""
    parts = [
        "float64" if case.probabilities and case.view("float64") else "",
        first,
        noise if case.stochastic else "",
        "log" if case.probabilities else "",
        last,
    ]
    return "+".join(filter(None, parts)) or "plain"


def _targets(case: Case) -> None:
    """Towards every other class, one by one."""
    case.escalate(_apgd(case, "targeted_dlr"))
    case.escalate(
        MultiTargeted(
            norm=case.norm,
            eps=case.eps,
            steps=case.budget.steps,
            restarts=1,
            verify_draws=case.budget.verify_draws,
            seed=case.seed,
        )
    )


def _apgd(case: Case, loss: str, **changes: object) -> Attack:
    """APGD, or with L0, which it does not take, PGD and MultiTargeted."""
    settings: dict[str, Any] = {
        "norm": case.norm,
        "eps": case.eps,
        "steps": case.budget.steps,
        "restarts": case.budget.restarts,
        "draws": case.budget.draws if case.stochastic else 1,
        "verify_draws": case.budget.verify_draws,
        "seed": case.seed,
        **changes,
    }
    if case.norm != "l0":
        return APGD(loss=loss, **settings)
    return MultiTargeted(**settings) if loss == "targeted_dlr" else PGD(loss=loss, **settings)


Remedy = Callable[[Case], None]

REMEDIES: dict[str, Remedy] = {
    "ensemble": _ensemble,
    "margin": _margin,
    "float64": _float64,
    "log": _log,
    "straight_through": _straight_through,
    "draws": _draws,
    "restarts": _restarts,
    "transfer": _transfer,
    "twins": _twins,
    "views": _views,
    "square": _square,
    "labels": _labels,
    "finite_differences": _differences,
    "targets": _targets,
}

ALWAYS = ("ensemble",)

WHERE_ODD = ("twins", "views")

_HIDDEN = ("margin", "float64", "straight_through", "transfer", "finite_differences", "square")

ANSWERS: dict[str, tuple[str, ...]] = {
    "probabilities": ("log", "finite_differences"),
    "batch": ("transfer", "square"),
    "gradients": _HIDDEN,
    "differentiable": _HIDDEN,
    "saturation": ("margin", "float64"),
    "linearity": _HIDDEN,
    "unstable": ("draws", *_HIDDEN),
    "noise": ("draws", "finite_differences", "square", "transfer"),
    "one_step": (*_HIDDEN, "restarts"),
    "convergence": ("restarts", "targets", "finite_differences"),
    "chance": (*_HIDDEN, "draws"),
    "unbounded": (*_HIDDEN, "draws"),
    "gradient_free": (*_HIDDEN, "labels", "draws", "restarts"),
    "transfer": (*_HIDDEN, "draws", "restarts"),
    "silent_success": ("restarts",),
    "seeds": ("restarts", "targets"),
    "finite": ("square", "transfer"),
    "state": ("transfer", "square"),
    "confidence": ("transfer", "finite_differences", "square", "labels"),
    "dead_units": ("margin", "transfer", "finite_differences"),
}


def remedies_for(
    failed: Iterable[str],
    *,
    thorough: bool = False,
    twins: bool = False,
    without: Collection[str] = (),
) -> list[str]:
    """Names of the remedies to try, from cheap to dear.

    Args:
        failed: names of checks that failed.
        thorough: whether to try all of them.
        twins: whether to train twins also where no check failed.
        without: remedies that mean nothing for this model.

    >>> remedies_for(["saturation"])
    ['ensemble', 'margin', 'float64', 'twins', 'views']
    """
    wanted = {*ALWAYS, *(name for check in failed for name in (*ANSWERS[check], *WHERE_ODD))}
    if twins:
        wanted.add("twins")
    return [name for name in REMEDIES if (thorough or name in wanted) and name not in without]


def unfit(case: Case) -> list[str]:
    """Remedies that mean nothing here: no softmax to undo, no noise to average, no such norm."""
    cannot = {
        "log": not case.probabilities,
        "draws": not case.stochastic,
        "labels": case.norm not in HopSkipJump.supported_norms,
    }
    return [name for name, true in cannot.items() if true]
