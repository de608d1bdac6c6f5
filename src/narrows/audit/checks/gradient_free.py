"""Whether a search without gradients fools what attacks by gradient could not.

    images fooled by Square or RayS  <=  images fooled by PGD on the cross-entropy or the margin

Square looks at the logits, RayS at nothing but the class: it cannot be led astray by confidence.

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420: "black-box attacks are better than
white-box attacks"; Croce & Hein (2020), arXiv 2003.01690, for Square as the judge; Chen & Gu
(2020), arXiv 2006.12792, for RayS.
"""

from __future__ import annotations

from typing import Any

import torch

from narrows.attacks import Attack, SparseRS, Square
from narrows.audit._base import Case
from narrows.audit._probe import by_gradient, counts, share
from narrows.audit._rays import RayS
from narrows.audit._statistics import only_first
from narrows.types import Finding

__all__ = ["gradient_free"]

_TITLES = {"square": "Square", "rays": "RayS", "sparse_rs": "Sparse-RS"}


def gradient_free(case: Case) -> Finding:
    """Fails where Square or RayS fools images that PGD does not."""
    climbed = by_gradient(case)
    success = {name: case.plain(attack).success for name, attack in _searches(case).items()}
    left = {name: share(~fooled) for name, fooled in success.items()}
    missed = only_first(torch.stack(list(success.values())).any(0), climbed)
    searched = ", ".join(f"{accuracy:.1%} under {_TITLES[name]}" for name, accuracy in left.items())
    evidence = (
        f"accuracy {searched}, {share(~climbed):.1%} under PGD on two losses; {share(missed):.1%} "
        "of the images are fooled by a search only"
    )
    passed = not counts(missed)
    remedy = "" if passed else "the gradient hides what a search finds: look for the reason"
    return Finding("gradient_free", passed, evidence, remedy, {**left, "pgd": share(~climbed)})


def _searches(case: Case) -> dict[str, Attack]:
    """Attacks without gradients by their names; RayS needs Linf or L2."""
    settings: dict[str, Any] = {
        "norm": case.norm,
        "eps": case.eps,
        "queries": case.budget.queries,
        "draws": case.budget.draws if case.stochastic else 1,
        "verify_draws": case.budget.verify_draws,
        "seed": case.seed,
    }
    if case.norm == "l0":
        return {"sparse_rs": SparseRS(**settings)}
    if case.norm == "l1":
        return {"square": Square(**settings)}
    return {"square": Square(**settings), "rays": RayS(**settings, common_noise=True)}
