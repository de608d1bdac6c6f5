"""Variational bounds: what the loss of a VIB says about I(X;Z) and I(Z;Y)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor, check_logits, check_samples
from narrows.errors import InputError
from narrows.information._checks import as_real, check_scale, labels_of, standard_error
from narrows.types import Estimate

__all__ = ["variational_rate", "variational_relevance"]


def variational_rate(
    mean: ArrayLike,
    scale: ArrayLike | float,
    prior: tuple[ArrayLike, ArrayLike] | None = None,
) -> Estimate:
    """Upper bound of I(X;Z) for Gaussian codes: the mean KL divergence to the marginal r(z).

        I(X;Z) <= E_x KL( p(z|x) || r(z) )

    It is too high by KL(p(z) || r(z)): a marginal that fits the codes badly makes them look richer
    than they are. The bound holds in expectation over fresh samples.

    Source: Alemi, Fischer, Dillon & Murphy (2017), arXiv 1612.00410, eq. 14.

    Args:
        mean: `[n, K]`, the means of p(z|x).
        scale: standard deviations, a number or `[n, K]`; or `[n, K, K]`, Cholesky factors of full
            covariances.
        prior: mean and standard deviation of r(z), each `[K]`, or `[n, K]` for a marginal that
            depends on the label (then the bound is of I(X;Z|Y)); None for N(0, I).

    Returns:
        Estimate in nats, never negative and without a ceiling; its standard error is that of the
        mean over the samples. The value depends on the units of the code, because r(z) has a scale:
        ten times the code passes as much information and has another rate. Diagnostics: `bound`
        ("upper"), `prior`, `covariance`.

    Raises:
        InputError: for NaN, wrong shapes, fewer than 2 samples, or a scale that is not positive.

    Example:
        >>> variational_rate(torch.tensor([[1.0], [-1.0]]), 1.0).nats
        0.5
    """
    mean = check_samples(mean, "mean")
    factor = check_scale(scale, mean, cholesky=True)
    full = factor.dim() == 3
    variance = factor.square().sum(-1) if full else factor.square()
    deviations = factor.diagonal(dim1=-2, dim2=-1) if full else factor
    centre, width = _check_prior(prior, mean)
    spread = (variance + (mean - centre).square()) / width.square()
    kl = (0.5 * (spread - 1) - deviations.log() + width.log()).sum(1)
    diagnostics = {
        "bound": "upper",
        "prior": "N(0, I)" if prior is None else "given",
        "covariance": "full" if full else "diagonal",
    }
    return Estimate(kl.mean().item(), standard_error(kl), len(kl), diagnostics=diagnostics)


def variational_relevance(
    logits: ArrayLike, y: ArrayLike, prior: ArrayLike | None = None
) -> Estimate:
    """Lower bound of I(Z;Y): H(Y) minus the cross-entropy of a decoder.

        I(Z;Y) >= H(Y) + E_x,y E_z~p(z|x) log q(y|z)

    It is too low by the mean of KL(p(y|z) || q(y|z)): a poor decoder makes a code look less useful
    than it is. On the samples that the decoder was trained on it is no bound: an overfitted decoder
    reaches H(Y) on random labels. Give it held-out samples.

    Source: Alemi, Fischer, Dillon & Murphy (2017), arXiv 1612.00410, eq. 12.

    Args:
        logits: `[n, classes]`, or `[samples, n, classes]` for several draws of z, whose
            cross-entropies are averaged (averaging their probabilities first would bound I(X;Y)).
            Minus infinity is a probability of zero; a label of probability zero makes the estimate
            minus infinity.
        y: `[n]` integer labels.
        prior: `[classes]` class probabilities from which H(Y) is computed; None for the frequencies
            in `y`, with which H(Y) is too small by about (classes - 1) / 2n.

    Returns:
        Estimate in nats; its ceiling is H(Y). It is negative where the decoder predicts worse than
        the class frequencies do. Diagnostics: `bound` ("lower") and `prior`.

    Raises:
        InputError: for NaN, wrong shapes, unequal lengths, labels out of range, fewer than 2
            samples, or probabilities that don't sum to 1.

    Example:
        >>> variational_relevance(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])).nats
        0.0
    """
    draws = _check_draws(logits)
    classes = draws.shape[2]
    y = labels_of(y, draws[0], classes)
    loss = F.cross_entropy(draws.flatten(0, 1), y.repeat(len(draws)), reduction="none").unflatten(
        0, draws.shape[:2]
    )
    if prior is None:
        p_y = torch.bincount(y, minlength=classes).to(draws) / len(y)
        # The frequencies vary with the sample too, and the terms have to show it.
        terms = -p_y.log()[y] - loss.mean(0)
    else:
        p_y = _check_probabilities(prior, draws[0])
        terms = _entropy(p_y) - loss.mean(0)
    diagnostics = {"bound": "lower", "prior": "empirical" if prior is None else "given"}
    return Estimate(
        terms.mean().item(), standard_error(terms), len(y), _entropy(p_y).item(), diagnostics
    )


def _entropy(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p).sum()


def _check_draws(logits: ArrayLike) -> Tensor:
    """Return logits as `[samples, n, classes]` float64, one sample where there is no such axis."""
    draws = as_tensor(logits, "logits").detach()
    if draws.dim() not in (2, 3):
        raise InputError(
            "logits must be real numbers [n, classes] or [samples, n, classes], got "
            f"{draws.dtype} {list(draws.shape)}"
        )
    draws = draws.double()
    draws = draws if draws.dim() == 3 else draws.unsqueeze(0)
    if not len(draws):
        raise InputError(f"logits are empty, {list(draws.shape)}; at least one draw is needed")
    numbers = draws.masked_fill(draws == -math.inf, 0.0)
    check_samples(numbers[0], "logits")
    check_samples(numbers.flatten(0, 1), "logits")
    return check_logits(draws, draws.shape[1])


def _check_prior(prior: tuple[ArrayLike, ArrayLike] | None, mean: Tensor) -> tuple[Tensor, Tensor]:
    if prior is None:
        return torch.zeros_like(mean), torch.ones_like(mean)
    if not isinstance(prior, Sequence) or len(prior) != 2:
        raise InputError(f"prior must be a mean and a scale, got {type(prior).__name__}")
    centre, width = (as_real(part, "prior").detach().to(mean) for part in prior)
    for part in (centre, width):
        if part.shape not in (mean.shape, mean.shape[1:]):
            raise InputError(
                f"prior must be a mean and a scale of {list(mean.shape[1:])} or "
                f"{list(mean.shape)}, got {list(part.shape)}"
            )
    if not torch.isfinite(centre).all() or not (torch.isfinite(width) & (width > 0)).all():
        raise InputError("prior must have a finite mean and a finite scale above 0")
    return centre, width


def _check_probabilities(prior: ArrayLike, logits: Tensor) -> Tensor:
    p_y = as_real(prior, "prior").detach().to(logits)
    if p_y.shape != logits.shape[1:]:
        raise InputError(f"prior must be [{logits.shape[1]}], got {list(p_y.shape)}")
    if not (p_y >= 0).all() or not math.isclose(p_y.sum().item(), 1, abs_tol=1e-5):
        raise InputError(f"prior must be probabilities that sum to 1, got {p_y.tolist()}")
    return p_y
