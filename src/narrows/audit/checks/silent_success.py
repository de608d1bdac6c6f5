"""Whether an image was fooled on the way and not returned.

    images misclassified at any look of the attack  =  images it returned as fooled

Source: Pintor et al. (2022), arXiv 2106.09947, indicator I3, "silent success". Our own attacks keep
what fools; an attack of another library may not.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from narrows.attacks import Attack, Query
from narrows.audit._base import Case
from narrows.audit._probe import correct_rows, counts, share
from narrows.models.outputs import logits_of
from narrows.types import Finding

__all__ = ["silent_success", "silently_fooled"]


class _Watched(nn.Module):
    """Remembers whether any look at an image found it fooled, by the image it is nearest to."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        super().__init__()
        self.model = model
        self.origin = x.flatten(1)
        self.y = y
        self.fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.searching = False

    def forward(self, x: Tensor) -> Tensor:
        logits = logits_of(self.model, x)
        if self.searching:
            with torch.no_grad():
                rows = torch.cdist(x.detach().flatten(1).to(self.origin), self.origin).argmin(1)
                self.fooled[rows[logits.argmax(1) != self.y[rows]]] = True
        return logits


def silently_fooled(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """`[n]` bool: images that were misclassified on the way and came back unfooled.

    Passes that an attack makes before its search, to examine the model, do not count.

    Args:
        attack: the search.
        model: that is attacked.
        x: `[n, ...]` images.
        y: `[n]` labels.
    """
    watched = _Watched(model, x, y)
    search = attack.perturb

    def perturb(query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        watched.searching = True
        try:
            return search(query, x, generator)
        finally:
            watched.searching = False

    observed = copy.copy(attack)
    object.__setattr__(observed, "perturb", perturb)  # attacks are frozen
    result = observed(watched, x, y)
    return watched.fooled & ~result.success


def silent_success(case: Case) -> Finding:
    """Fails where PGD passes over what it looks for."""
    if case.stochastic:
        evidence = "the model draws noise: a look that found an image fooled may have been luck"
        return Finding("silent_success", True, evidence, examined=False)
    rows = correct_rows(case)
    victim = case.view("plain")
    if not len(rows) or victim is None:
        return Finding("silent_success", True, "nothing to attack", examined=False)
    with case.restored():
        silent = silently_fooled(case.pgd(), victim, case.x[rows], case.y[rows])
    evidence = f"{share(silent):.1%} of {len(rows)} images were fooled on the way and not returned"
    passed = not counts(silent)
    remedy = "" if passed else "keep the best of all steps and restarts"
    return Finding("silent_success", passed, evidence, remedy, {"share": share(silent)})
