"""Whether the answer to an image depends on the other images of the batch.

    f([x_1, ..., x_n])_i  =  f([x_i])_1  =  f([x_n, ..., x_1])_(n - i + 1)

Batch normalisation in training mode is the usual case. No accuracy describes such a model: an
attack changes its answers to the images beside. The audit shows each image with the same others.

Source: Croce, Gowal, Brunner, Shelhamer, Hein & Cemgil (2022), arXiv 2202.13711, on defences that
adapt to the batch at test time.
"""

from __future__ import annotations

from narrows.audit._base import Case
from narrows.types import Finding

__all__ = ["batch"]


def batch(case: Case) -> Finding:
    """Fails where logits of a row change with the rows beside it; noise is averaged out first."""
    if not case.batch:
        evidence = "an image is classified alike alone, in a batch, and in the opposite order"
        return Finding("batch", True, evidence)
    beside = 0 if case.subject.companions is None else len(case.subject.companions)
    return Finding(
        "batch",
        False,
        f"the model depends on the batch: {case.batch}; each image was shown with the same "
        f"{beside} images here",
        "use running statistics (eval mode), or report accuracy for batches of a stated kind",
    )
