"""Low precision: attacks compute in float32 at least, and models see images of their own type.

A step of 2.5 eps / 100 is less than half the distance between two bfloat16 numbers near 1, so an
iterate of that type would never move. Iterates are therefore float32 at least. Before each pass
they are rounded to the type in which the images came, which is also that of the result, and then
cast to the type that the model takes.
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
    """The types of the images and of the model.

    Attributes:
        images: type of the images as they came, and of those that are returned.
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
        """Distance between neighbouring numbers just above 1 in the coarser of the two types."""
        return max(torch.finfo(self.images).eps, torch.finfo(self.model).eps)

    @property
    def coarse(self) -> bool:
        """Whether the images are of half precision, so that rounding can leave the radius."""
        return self.images in _BITS

    def given(self, x: Tensor, origin: Tensor | None = None) -> Tensor:
        """`x: [b, ...]` rounded to the type of the images, in the type of the model."""
        return self.rounded(x, origin).to(self.model)

    def rounded(self, x: Tensor, origin: Tensor | None = None) -> Tensor:
        """`x: [b, ...]` rounded to the type of the images, within the radius around `origin`.

        A pixel that rounding moves out of the ball is rounded towards the origin instead. With
        another norm that holds for all pixels of an image that leaves the ball.
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
            out = per_image(size(delta, self.norm) > limit, delta) & (
                delta.abs() > (x - origin).abs()
            )
        # Numbers that are not negative have the same order as their bits, read as integers.
        inward = ((near + 0).view(bits) - delta.sign().to(bits)).view(self.images)
        return torch.where(out, inward, near)
