"""Nonlinear information bottleneck: noise on the code, and a bound of I(X;Z) from all pairs."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor

from narrows.checks import has_values
from narrows.errors import InputError
from narrows.methods._base import Method
from narrows.types import Batch, Latent, ModelOutput, Term

__all__ = ["NIB", "pairwise_bound"]

_LEAST = 1e-100


class NIB(Method):
    """Nonlinear information bottleneck: noise on the code, and a bound of I(X;Z) from all pairs.

        L = E[-log q(y|z)] + beta * B        or, squared,  L = E[-log q(y|z)] + beta * B^2
        z = f(x) + s n,   n ~ N(0, I)
        B = -1/m sum_i log 1/m sum_j exp(-|f(x_i) - f(x_j)|^2 / 2 s^2)

    Source: Kolchinsky, Tracey & Wolpert (2019), arXiv 1705.02436; the bound: Kolchinsky & Tracey
    (2017), arXiv 1706.02419; the square: Kolchinsky, Tracey & Van Kuyk (2019), arXiv 1808.07593:
    where labels are a function of x, the plain objective has its minima only at the ends of the IB
    curve.

    B is an upper bound of the information about which of the m inputs of the batch z came from. B
    cannot exceed log m, 4.85 nats for a batch of 128. A value near log m means that the noisy codes
    of the batch do not overlap; it says little about I(X;Z), and its gradient is close to zero.
    Then use larger batches or a larger s.

    Conversions: beta is the paper's own. The noise s is that of the model's latent:
    `latent="shared"` has one learned s, as in the published code (softplus variance, 1 at first);
    `latent="unit"` fixes s = 1, as Zhai & Zhang (2021), arXiv 2103.00381, describe it.

    Deviations: distances are computed in float64. In float32 the difference of two large squares
    loses the distance of near pairs.

    Args:
        beta: weight of the bound.
        squared: whether the loss contains the square of the bound.

    Raises:
        InputError: for a model whose latent has no noise, noise that differs between inputs, or
            full covariances.

    Example:
        >>> from narrows.models import Bottleneck
        >>> model = Bottleneck(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2), latent="shared")
        >>> NIB(beta=0.1)(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Kolchinsky et al. 2019, arXiv 1705.02436"
    couples = "its bound compares all codes of a batch"
    needs = "a Gaussian latent, its noise equal for all inputs"
    randomness = "z, one draw per input"
    latent = "shared"
    default_betas = (1e-2, 0.03, 0.1, 0.3, 0.6, 1.0)

    def __init__(self, beta: float, squared: bool = False) -> None:
        super().__init__(beta)
        self.squared = squared

    @classmethod
    def as_coded(cls, beta: float) -> Self:
        """The published code's objective, beta times the square; its latent is `"shared"`."""
        return cls(beta, squared=True)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """The bound in nats; where it is squared, its own value is a part of its weight."""
        latent = self._gaussian(output)
        if latent.scale is None or latent.scale.dim() > latent.mean.dim():
            raise InputError(
                "NIB needs noise on the code that is the same for all inputs: "
                "Bottleneck(encoder, decoder, latent='shared') or latent='unit'"
            )
        if has_values(latent.scale) and not (latent.scale == latent.scale[..., :1, :]).all():
            raise InputError(
                "NIB needs noise that is the same for all inputs, and this latent's depends on the "
                "input: use Bottleneck(encoder, decoder, latent='shared') or latent='unit'"
            )
        bound = pairwise_bound(latent)
        return {"pairwise_bound": Term(bound, self.beta * bound if self.squared else self.beta)}

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return f"{super().extra_repr()}, squared={self.squared}"


def pairwise_bound(latent: Latent) -> Tensor:
    """B in nats, at most the logarithm of the batch: scalar.

    Args:
        latent: with a mean `[batch, K]` and standard deviations `[batch, K]`, the same for every
            input.

    Raises:
        InputError: for a latent without noise.
    """
    if latent.scale is None:
        raise InputError("the bound is infinite for a code without noise")
    # Where float32 rounds the noise to 0, any tiny scale separates all codes as well.
    code = latent.mean.double() / latent.scale.double().clamp_min(_LEAST)
    code = code - code.mean(0)
    square = code.square().sum(-1)
    similarity = torch.addmm(-0.5 * square, code, code.T) - 0.5 * square[:, None]
    # The similarity of a code to itself is exactly 1, without rounding.
    others = 1 - torch.eye(len(code), dtype=code.dtype, device=code.device)
    similarity = similarity.clamp_max(0) * others
    information = math.log(len(code)) - similarity.logsumexp(1).mean()
    return information.to(latent.mean.dtype)
