"""Low precision: an attack computes in float32 at least, and the model sees what it would be given.

A step of 2.5 eps / 100 is less than half the distance between two bfloat16 numbers near 1, so an
iterate of that type would never move. Iterates are therefore float32 at least. Before each look
they are rounded to the type of the images as they came, in which the result is returned, and cast
to the type that the model takes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from narrows.attacks.norms import per_image, size
from narrows.types import Norm

__all__ = ["Precision"]

_BITS = {torch.float16: torch.int16, torch.bfloat16: torch.int16}
_SLACK = 1 + 1e-5  # of a radius: the rounding of x + eps


class Precision(NamedTuple):
    """How images reach the model.

    Attributes:
        images: type of the images as they came and as they are returned.
        model: type that the model takes.
        norm: of the radius.
        eps: radius within which rounded images stay, if the attack has one.
    """

    images: torch.dtype
    model: torch.dtype
    norm: Norm = "linf"
    eps: float | None = None

    @property
    def grain(self) -> float:
        """Distance between neighbouring numbers just above 1, as the model sees them."""
        return max(torch.finfo(self.images).eps, torch.finfo(self.model).eps)

    def given(self, x: Tensor, origin: Tensor | None = None) -> Tensor:
        """What the model is given for `x: [b, ...]`: rounded as images are, in its own type."""
        return self.rounded(x, origin).to(self.model)

    def rounded(self, x: Tensor, origin: Tensor | None = None) -> Tensor:
        """`x: [b, ...]` rounded to the type of the images; within the radius around `origin`.

        A pixel that rounding takes out of the ball goes to the neighbour on the image's side. With
        L2 that holds for all pixels of an image that leaves the ball.
        """
        near = x.to(self.images)
        bits = _BITS.get(self.images)
        if self.eps is None or origin is None or bits is None or x.dtype == self.images:
            return near
        delta = near.to(x.dtype) - origin
        limit = self.eps * _SLACK
        if self.norm == "linf":
            out = delta.abs() > limit
        else:
            out = per_image(size(delta, "l2") > limit, delta) & (delta.abs() > (x - origin).abs())
        # The bits of numbers that are not negative, read as integers, are in the same order.
        inward = ((near + 0).view(bits) - delta.sign().to(bits)).view(self.images)
        return torch.where(out, inward, near)
