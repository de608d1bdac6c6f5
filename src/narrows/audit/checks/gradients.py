"""Whether there is a gradient to follow, and it is a number other than zero.

    share of images where grad_x L does not exist, is NaN or infinite, or is exactly zero

Source: Pintor et al. (2022), arXiv 2106.09947, indicator I1, "unavailable gradients"; Athalye,
Carlini & Wagner (2018), arXiv 1802.00420, "vanishing gradients". Deviations: gradients too small to
matter to a sign step, though not zero, are reported and not held against the model. The limit of
5 % is ours.
"""

from __future__ import annotations

import torch

from narrows.audit._base import Case
from narrows.audit._probe import correct_rows, counts, share, slope
from narrows.types import Finding

__all__ = ["gradients"]

_LIMIT = 0.05
_TINY = 1e-12


def gradients(case: Case) -> Finding:
    """Fails where the cross-entropy has no usable gradient at more than 5 % of the images."""
    rows = correct_rows(case)
    if not len(rows):
        return Finding("gradients", True, "no image is classified correctly", examined=False)
    looked = slope(case, case.x[rows], rows, "cross_entropy")
    if not looked.graph:
        return Finding(
            "gradients",
            False,
            "the output does not depend on the input by any differentiable path",
            "keep preprocessing in the graph; attacked here by differences, search and transfer",
            {"missing": 1.0},
        )
    flat = looked.gradient.flatten(1)
    broken = (~torch.isfinite(flat)).any(1)
    largest = flat.abs().nan_to_num(0).amax(1)
    zero, tiny = (largest == 0) & ~broken, (largest < _TINY) & (largest > 0)
    parts = {"broken": broken, "zero": zero, "vanishing": tiny}
    shares = {name: share(images) for name, images in parts.items()}
    evidence = (
        f"of {len(rows)} images the gradient of the cross-entropy is zero at {shares['zero']:.0%}, "
        f"NaN or infinite at {shares['broken']:.0%}, below {_TINY:g} at {shares['vanishing']:.0%}"
    )
    passed = not counts(zero | broken, _LIMIT)
    remedy = "" if passed else "attack the margin, in float64, or without the model's gradient"
    return Finding("gradients", passed, evidence, remedy, shares)
