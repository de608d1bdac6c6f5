"""Whether the model returns probabilities where logits are expected.

    f(x) >= 0,  sum_k f_k(x) = 1

The cross-entropy of a softmax of a softmax lies between log(1 + (C - 1) / e) and log(e + C - 1),
and is flat wherever the model is sure.

Source: one of the flags of AutoAttack, Croce & Hein (2020), arXiv 2003.01690.
"""

from __future__ import annotations

from narrows.audit._base import Case
from narrows.types import Finding

__all__ = ["probabilities"]


def probabilities(case: Case) -> Finding:
    """Fails where every row is positive and sums to one."""
    if not case.probabilities:
        return Finding("probabilities", True, "the outputs are no probabilities")
    return Finding(
        "probabilities",
        False,
        "every output is positive and each row sums to 1",
        "return logits, without the softmax; attacks on the logarithm undo it here",
    )
