"""Conditional entropy bottleneck: the code is compared with a label-conditional marginal q(z|y)."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import nn

from narrows.errors import ConfigError, InputError
from narrows.methods._base import Method, Sizes
from narrows.models.gaussian import kl_to_standard_normal
from narrows.types import Batch, ModelOutput, Term

__all__ = ["CEB"]


class CEB(Method):
    """Conditional entropy bottleneck: a KL to a marginal of z that depends on the label.

        L = E_x E_{z ~ p(z|x)} [-log q(y|z)] + beta * E KL(p(z|x) || q(z|y))
        p(z|x) = N(mu(x), I),   q(z|y) = N(W y, I),   y one-hot

    Source: Fischer (2020), arXiv 2002.05379; Fischer & Alemi (2020), arXiv 2002.05380; in the form
    of Korshunova, Stutz, Alemi, Wiles & Gowal (2021), arXiv 2107.05712, eq. 3, whose second term is
    exp(-rho) E log p(z|x) / q(z|y). That term is an upper bound of the residual information
    I(X;Z|Y) = I(X;Z) - I(Y;Z), which z keeps of x beyond the label. It can reach 0 while z still
    determines y.

    Conversions: beta = exp(-rho), computed by `from_rho`. As E[-log q(y|z)] is an upper bound of
    H(Y|Z), the loss is (1 + beta) H(Y|Z) + beta I(X;Z) up to a constant: an information bottleneck
    with the weight beta / (1 + beta).

    Deviations: the expectation over z in the second term is computed in closed form, which has the
    same mean and less variance; with unit variances it is |mu(x) - W y|^2 / 2. The annealing of rho
    from 100 down to its value in the first epochs belongs to the training settings
    (`train.beta_ramp`).

    W belongs to the method: in a training loop of your own, give `method.parameters()` to the
    optimiser too. The published latent is `"unit"`; any Gaussian latent works.

    Args:
        beta: weight of the residual information; exp(-rho).
        latent: K, number of units of z.
        classes: number of classes.

    Raises:
        ConfigError: for fewer than one unit or two classes.
        InputError: for a model whose latent has no distribution, or has another size.

    Example:
        >>> from narrows.models import Bottleneck
        >>> model = Bottleneck(nn.Linear(4, 3), nn.Linear(3, 2), latent="unit")
        >>> method = CEB.from_rho(3, latent=3, classes=2)
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Fischer & Alemi 2020, arXiv 2002.05380"
    needs = "a Gaussian latent"
    randomness = "z, one draw per input"
    latent = "unit"
    default_betas = (1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)

    def __init__(self, beta: float, latent: int, classes: int) -> None:
        super().__init__(beta)
        if latent < 1 or classes < 2:
            raise ConfigError(
                f"CEB needs latent >= 1 and classes >= 2, got latent={latent}, classes={classes}"
            )
        self.latent_size, self.classes = latent, classes
        self.class_means = nn.Parameter(torch.empty(classes, latent))
        nn.init.xavier_uniform_(self.class_means)

    @classmethod
    def build(cls, beta: float, sizes: Sizes, **options) -> Self:
        """Build the method with a q(z|y) of the network's sizes; see `Method.build`."""
        return cls(beta, latent=sizes.latent, classes=sizes.classes, **options)

    @classmethod
    def from_rho(cls, rho: float, latent: int, classes: int) -> Self:
        """Build the method from the papers' rho.

        Args:
            rho: beta = exp(-rho), so the compression is weaker for a larger rho.
            latent: K, number of units of z.
            classes: number of classes.
        """
        return cls(math.exp(-rho), latent, classes)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """KL(p(z|x) || q(z|y)) in nats, averaged over the batch."""
        latent = self._gaussian(output)
        if latent.mean.shape[-1] != self.latent_size:
            raise InputError(
                f"CEB was built for codes of {self.latent_size}, got {latent.mean.shape[-1]}"
            )
        # A divergence does not change when both means move by the same amount.
        moved = latent._replace(mean=latent.mean - self.class_means[batch.y])
        return {"residual_information": Term(kl_to_standard_normal(moved).mean(), self.beta)}

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return f"{super().extra_repr()}, latent={self.latent_size}, classes={self.classes}"
