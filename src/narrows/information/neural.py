"""Variational bounds of I(X;Z) from the scores of a critic, as functions of a matrix of pairs.

    scores[i, j] = T(x_i, z_j): dependent pairs on the diagonal, independent ones elsewhere

Donsker-Varadhan, NWJ and InfoNCE are lower bounds for any critic, in expectation over fresh
samples and up to the logarithm of a sample mean, which makes Donsker-Varadhan too high by about
half the variance of that mean. SMILE gives up the bound for a small variance: it can be too high,
and nothing in it tells. On the samples that the critic was trained on none of them bounds anything.
No lower bound that holds with high confidence exceeds the logarithm of the number of samples
(McAllester & Stratos 2020, arXiv 1811.04251).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from narrows.checks import ArrayLike, check_number
from narrows.errors import InputError, unknown_name
from narrows.information._checks import as_real, standard_error
from narrows.types import Estimate

__all__ = [
    "CRITIC_BOUNDS",
    "BoundName",
    "critic_bound",
    "donsker_varadhan",
    "infonce",
    "nwj",
    "smile",
]

BoundName = Literal["donsker_varadhan", "nwj", "infonce", "smile"]

_CLIP = 5.0
_SATURATED = 0.95


def donsker_varadhan(scores: ArrayLike) -> Tensor:
    """The Donsker-Varadhan bound of I(X;Z), which MINE maximises.

        I(X;Z) >= mean_i T_ii - log mean_(i != j) exp T_ij

    Source: Belghazi et al. (2018), "MINE", arXiv 1801.04062.

    Args:
        scores: `[..., n, n]`, T(x_i, z_j). Half precision is computed in single.

    Returns:
        The bound in nats, `[...]`, differentiable; NaN where a score is NaN.

    Raises:
        InputError: for scores that are no square matrices of at least 2 samples.
    """
    scores = _as_scores(scores)
    return _joint(scores) - _log_mean_elsewhere(scores)


def nwj(scores: ArrayLike) -> Tensor:
    """The bound of I(X;Z) by Nguyen, Wainwright & Jordan.

        I(X;Z) >= mean_i T_ii - 1/e mean_(i != j) exp T_ij

    Its best critic is 1 + log p(x,z) / p(x)p(z): here a constant added to all scores matters.

    Source: Nguyen, Wainwright & Jordan (2010), arXiv 0809.0853, in the form of Poole et al. (2019),
    arXiv 1905.06922, section 2.

    Args:
        scores: `[..., n, n]`, T(x_i, z_j). Half precision is computed in single.

    Returns:
        The bound in nats, `[...]`, differentiable; NaN where a score is NaN.

    Raises:
        InputError: for scores that are no square matrices of at least 2 samples.
    """
    scores = _as_scores(scores)
    return _joint(scores) - (_log_mean_elsewhere(scores) - 1).exp()


def infonce(scores: ArrayLike) -> Tensor:
    """The contrastive bound of I(X;Z), which never exceeds log n.

        I(X;Z) >= mean_i ( T_ii - log 1/n sum_j exp T_ij )

    Source: van den Oord, Li & Vinyals (2018), arXiv 1807.03748, eq. 5.

    Args:
        scores: `[..., n, n]`, T(x_i, z_j). Half precision is computed in single.

    Returns:
        The bound in nats, `[...]`, differentiable; NaN where a score is NaN.

    Raises:
        InputError: for scores that are no square matrices of at least 2 samples.
    """
    scores = _as_scores(scores)
    return _joint(scores) - scores.logsumexp(-1).mean(-1) + math.log(scores.shape[-1])


def smile(scores: ArrayLike, clip: float = _CLIP) -> Tensor:
    """Donsker-Varadhan with the scores of independent pairs clipped; an estimate, not a bound.

        I(X;Z) ~ mean_i T_ii - log mean_(i != j) exp clip(T_ij, -c, c)

    Source: Song & Ermon (2020), arXiv 1910.06222, section 4.

    Args:
        scores: `[..., n, n]`, T(x_i, z_j). Half precision is computed in single.
        clip: c, above 0.

    Returns:
        The bound in nats, `[...]`, differentiable; NaN where a score is NaN.

    Raises:
        InputError: for scores that are no square matrices of at least 2 samples, or a clip that is
            not positive.
    """
    scores = _as_scores(scores)
    clip = check_number(clip, "clip", above=0, error=InputError)
    return _joint(scores) - _log_mean_elsewhere(scores.clamp(-clip, clip))


CRITIC_BOUNDS: dict[str, Callable[[ArrayLike], Tensor]] = {
    "donsker_varadhan": donsker_varadhan,
    "nwj": nwj,
    "infonce": infonce,
    "smile": smile,
}


def critic_bound(scores: ArrayLike, bound: BoundName = "infonce") -> Estimate:
    """Estimate of I(X;Z) from the scores of a critic on samples that it was not trained on.

        infonce, for one:  I(X;Z) >= mean_i ( T_ii - log 1/n sum_j exp T_ij ),   T_ij = scores[i, j]

    Source: Poole et al. (2019), arXiv 1905.06922, section 2; that of each bound is with its
    function in `CRITIC_BOUNDS`.

    Args:
        scores: `[n, n]`, T(x_i, z_j).
        bound: one of `CRITIC_BOUNDS`.

    Returns:
        Estimate in nats; its ceiling is log n for InfoNCE. The standard error is an infinitesimal
        jackknife, which takes into account that each sample occurs in a row and a column.
        Diagnostics: `bound` ("lower", or "none" for SMILE), `critic_bound`, `log_n`, and
        `saturated`: within 5 % of log n or above, where more samples may give more (InfoNCE) or the
        estimate cannot be trusted (the others).

    Raises:
        InputError: for NaN, scores that are no square matrix of at least 2 samples, or so large
            that the bound is not finite.
        ConfigError: for an unknown bound.

    Example:
        >>> critic_bound(torch.zeros(8, 8)).nats
        0.0
    """
    if str(bound) not in CRITIC_BOUNDS:
        raise unknown_name("critic bound", str(bound), CRITIC_BOUNDS)
    scores = _check_scores(scores)
    n = len(scores)
    nats = CRITIC_BOUNDS[bound](scores).item()
    if not math.isfinite(nats):
        raise InputError(
            f"scores up to {scores.abs().max().item():.1g} have no finite {bound} bound; the "
            "critic has diverged"
        )
    diagnostics = {
        "bound": "none" if bound == "smile" else "lower",
        "critic_bound": bound,
        "log_n": math.log(n),
        "saturated": nats > _SATURATED * math.log(n),
    }
    ceiling = math.log(n) if bound == "infonce" else math.inf
    return Estimate(nats, standard_error(_influence(scores, bound)), n, ceiling, diagnostics)


def _joint(scores: Tensor) -> Tensor:
    return scores.diagonal(dim1=-2, dim2=-1).mean(-1)


def _log_mean_elsewhere(scores: Tensor) -> Tensor:
    """Log of the mean of exp(scores) beside the diagonal: `[...]`."""
    n = scores.shape[-1]
    diagonal = torch.eye(n, dtype=torch.bool, device=scores.device)
    return scores.masked_fill(diagonal, -torch.inf).logsumexp((-2, -1)) - math.log(n * (n - 1))


def _influence(scores: Tensor, bound: BoundName) -> Tensor:
    """What each sample adds to the estimate, up to a constant: `[n]`."""
    n = len(scores)
    joint = scores.diagonal()
    if bound == "infonce":
        log_row = scores.logsumexp(1)
        return joint - log_row - (scores - log_row[:, None]).logsumexp(0).exp()
    log_mean = _log_mean_elsewhere(scores)
    if bound == "smile":
        scores = scores.clamp(-_CLIP, _CLIP)
        log_mean = _log_mean_elsewhere(scores)
    divisor = scores.new_ones(()) if bound == "nwj" else log_mean
    weight = (scores - divisor).exp().fill_diagonal_(0)
    return joint - (weight.sum(0) + weight.sum(1)) / (n - 1)


def _as_scores(scores: ArrayLike) -> Tensor:
    matrix = as_real(scores, "scores")
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] < 2:
        raise InputError(
            "scores must be real numbers [n, n] of at least 2 samples, every x with every z; got "
            f"{list(matrix.shape)}"
        )
    return matrix


def _check_scores(scores: ArrayLike) -> Tensor:
    matrix = _as_scores(scores)
    if matrix.dim() != 2:
        raise InputError(f"scores must be a matrix [n, n], got {list(matrix.shape)}")
    if not torch.isfinite(matrix).all():
        raise InputError("scores hold NaN or infinity; the critic has diverged")
    return matrix.detach().double()
