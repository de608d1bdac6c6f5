"""Whether the model returns numbers, at the images and wherever an attack has looked.

    no f_k(x') is NaN or plus infinity;  minus infinity is a probability of exactly zero

Images at which it doesn't are left out of every count. A perturbed image at which it doesn't is not
counted as fooled, although the model has no answer there: what is left may be less than it seems.
Minus infinity is allowed, and named, because nothing can be climbed there.

Source: none; Pintor et al. (2022), arXiv 2106.09947, look at gradients alone (indicator I1).
"""

from __future__ import annotations

from narrows.audit._base import Case
from narrows.types import Finding

__all__ = ["finite"]


def finite(case: Case) -> Finding:
    """Fails where any answer was no number."""
    near = int(case.subject.undefined.sum())
    impossible = int(case.subject.impossible.sum())
    zero = f"minus infinity near {impossible} of {len(case.x)} images" if impossible else ""
    if not near and not case.left_out:
        evidence = f"every answer was a number{f', or {zero}' if zero else ''}"
        return Finding("finite", True, evidence)
    facts = [case.describe_left_out()] if case.left_out else []
    if near:
        facts.append(f"NaN or infinity near {near} of {len(case.x)} images, where perturbed")
    facts += [zero] if zero else []
    data = {"left_out": list(case.left_out), "near": near / len(case.x)}
    remedy = "find the overflow or the division by zero; clamp what goes into a logarithm"
    return Finding("finite", False, "; ".join(facts), remedy, data)
