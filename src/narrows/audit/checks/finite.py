"""Whether the model returns numbers, at the images and wherever an attack has looked.

    no f_k(x') is NaN or plus infinity;  minus infinity is a probability of zero and is allowed

Images at which it doesn't are left out of every count. A perturbed image at which it doesn't is not
counted as fooled, although the model has no answer there: what is left may be less than it seems.

Source: none; Pintor et al. (2022), arXiv 2106.09947, look at gradients alone (indicator I1).
"""

from __future__ import annotations

from narrows.audit._base import Case
from narrows.types import Finding

__all__ = ["finite"]


def finite(case: Case) -> Finding:
    """Fails where any answer was no number."""
    near = int(case.subject.undefined.sum())
    if not near and not case.left_out:
        return Finding("finite", True, "every answer was a number")
    facts = [case.describe_left_out()] if case.left_out else []
    if near:
        facts.append(f"NaN or infinity near {near} of {len(case.x)} images, where perturbed")
    data = {"left_out": list(case.left_out), "near": near / len(case.x)}
    remedy = "find the overflow or the division by zero; clamp what goes into a logarithm"
    return Finding("finite", False, "; ".join(facts), remedy, data)
