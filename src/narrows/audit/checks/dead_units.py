"""Whether enough units of each layer are active for a gradient to pass, image by image.

    share of units of a rectifier that are not zero,  at the layer where it is smallest

A layer with next to no active unit passes next to no gradient. A bottleneck can be trained into
that: the model then looks robust to every attack that follows the gradient.

Source: ours; the masking of gradients is that of Athalye, Carlini & Wagner (2018), arXiv
1802.00420. Rectifiers are seen where PyTorch runs them, whatever the code that calls them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from narrows.audit._base import Case
from narrows.audit._probe import correct_rows, counts, share
from narrows.models.outputs import logits_of
from narrows.types import Finding

__all__ = ["dead_units"]

_ACTIVE = 0.05  # share of a layer's units that should be active
_LIMIT = 0.05  # of the images
_FEWEST = 8  # units of a layer that is looked at
_RECTIFIERS = ("relu", "clamp", "clamp_min", "hardtanh", "threshold")


class _Counting(TorchDispatchMode):
    """Keeps the smallest share of active units of any rectifier, for each image."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.active = torch.ones(count)
        self.layers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").partition(".")[0].rstrip("_")
        if name in _RECTIFIERS and isinstance(result, Tensor) and result.dim() > 1:
            units = result.flatten(1)
            if len(units) == len(self.active) and units.shape[1] >= _FEWEST:
                self.layers += 1
                active = (units != 0).float().mean(1)
                self.active = torch.minimum(self.active.to(active), active)
        return result


def dead_units(case: Case) -> Finding:
    """Fails where fewer than 5 % of the units of some layer are active at many images."""
    rows = correct_rows(case)
    if not len(rows):
        return Finding("dead_units", True, "no image is classified correctly", examined=False)
    with case.quiet(), _Counting(len(rows)) as seen:
        logits_of(case.subject, case.x[rows])
    if not seen.layers:
        return Finding("dead_units", True, "the model has no rectifiers that could be silent")
    silent = seen.active < _ACTIVE
    evidence = (
        f"fewer than {_ACTIVE:.0%} of the units of some layer are active at {share(silent):.1%} of "
        f"{len(rows)} images; on average {seen.active.mean():.1%} are, where fewest are"
    )
    passed = not counts(silent, _LIMIT)
    remedy = "" if passed else "attack with a gradient through inactive units, or without one"
    return Finding("dead_units", passed, evidence, remedy, {"active": seen.active.tolist()})
