"""Whether logits lie so far apart that the loss is flat in float32, and hide what can be fooled.

    log-softmax rounds to 0 where z_y - max_k z_k > 16.6 = -log(2^-24);  its gradient where > 103

The attack is repeated in float64 on logits brought to a usual size, and on the margin.

Source: Carlini & Wagner (2017), arXiv 1608.04644, on how distillation hides the gradient.
"""

from __future__ import annotations

import math

from narrows.audit._base import Case
from narrows.audit._probe import counts, share
from narrows.audit._statistics import only_first
from narrows.types import Finding

__all__ = ["saturation"]

_FLAT = -math.log(2.0**-24)
_SHARE = 0.1


def saturation(case: Case) -> Finding:
    """Fails where images are saturated and another precision or loss fools more of them."""
    if not case.clean.any():
        return Finding("saturation", True, "no image is classified correctly", examined=False)
    top = case.logits[case.clean].topk(2, 1).values
    gap = top[:, 0] - top[:, 1]
    saturated = share(gap > _FLAT)
    usual = case.plain(case.pgd()).success
    more = {}
    for name, attack, view in (
        ("float64", case.pgd(), "float64+rescaled"),
        ("margin", case.pgd(loss="margin"), "plain"),
    ):
        result = case.run(attack, view)
        if result is not None:
            more[name] = only_first(result.success, usual)
    gains = {name: share(images) for name, images in more.items()}
    evidence = (
        f"the loss of {saturated:.0%} of the images is exactly zero in float32; beyond "
        "cross-entropy, " + ", ".join(f"{name} fools {gain:.1%}" for name, gain in gains.items())
    )
    passed = saturated <= _SHARE or not any(counts(images) for images in more.values())
    remedy = "" if passed else "report attacks on the margin, or in float64"
    data = {"gap": gap.tolist(), "saturated": saturated, **gains}
    return Finding("saturation", passed, evidence, remedy, data)
