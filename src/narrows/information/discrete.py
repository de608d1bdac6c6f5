"""Exact information of what is discrete and known: a joint distribution, a deterministic code.

    I(A;B) = sum_a,b p(a,b) log( p(a,b) / p(a) p(b) ),   H(A) = -sum_a p(a) log p(a)

A deterministic code z = f(x) has I(X;Z) = H(Z), and p(z,y) is the sum of p(x,y) over the x with
that z: equal rows are counted, nothing is estimated.

Source: Cover & Thomas (2006), "Elements of Information Theory", eqs. 2.1 and 2.28.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from narrows.checks import check_joint
from narrows.errors import InputError
from narrows.information._joint import mutual_information

__all__ = ["code_information", "discrete_entropy", "discrete_information", "label_rows"]

_MOST_LABELS = 2**62


def discrete_entropy(p: Tensor) -> float:
    """H in nats of probabilities of any shape.

    Raises:
        InputError: if they are negative, no numbers, or do not sum to 1.

    Example:
        >>> discrete_entropy(torch.tensor([0.5, 0.5, 0.0])) == math.log(2)
        True
    """
    p = _check_probabilities(p)
    return -torch.special.xlogy(p, p).sum().item()


def discrete_information(joint: Tensor) -> float:
    """I(A;B) in nats of a joint distribution `[A, B]`; rows and columns of probability 0 are fine.

    Raises:
        InputError: if it is no joint distribution.

    Example:
        >>> round(discrete_information(torch.tensor([[0.5, 0.0], [0.0, 0.5]])) / math.log(2), 12)
        1.0
    """
    if joint.dim() != 2:
        raise InputError(f"joint must be [A, B], got {list(joint.shape)}")
    p = _check_probabilities(joint)
    independent = p.sum(1, keepdim=True) * p.sum(0)
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, independent)).sum().item()


def code_information(codes: Tensor, joint: Tensor) -> tuple[float, float]:
    """I(X;Z) = H(Z) and I(Z;Y), exactly, of a code that is a function of x.

    Args:
        codes: `[X, ...]`, the code of every x there is; two are the same if they are equal, so
            quantise continuous ones first.
        joint: `[X, Y]`, p(x, y).

    Returns:
        Both in nats.

    Raises:
        InputError: for unequal lengths, NaN, or if `joint` is no joint distribution.

    Example:
        >>> codes, joint = torch.tensor([0, 0, 1, 1]), torch.full((4, 2), 0.125)
        >>> rate, relevance = code_information(codes, joint)
        >>> round(rate / math.log(2), 12), round(relevance, 12)
        (1.0, 0.0)
    """
    joint = check_joint(joint)
    if codes.dim() == 0 or len(codes) != len(joint):
        raise InputError(
            f"expected a code for each of the {len(joint)} x of the joint, got {list(codes.shape)}"
        )
    if codes.isnan().any():
        raise InputError("codes hold NaN, which equals nothing")
    label = label_rows(codes.detach().cpu())
    p_zy = joint.new_zeros(int(label.max()) + 1, joint.shape[1]).index_add_(0, label, joint)
    p_z = p_zy.sum(1)
    relevance = mutual_information(p_z, p_zy / p_z[:, None])
    return discrete_entropy(p_z), relevance.item()


def label_rows(codes: Tensor) -> Tensor:
    """Number the distinct rows of `codes: [n, ...]`: `[n]`, the same number where all is equal.

    Columns are packed into one integer as long as it holds them, so that a single sort serves many.
    """
    packed = torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
    size = 1
    for column in codes.reshape(len(codes), -1).T:
        values, digit = column.unique(return_inverse=True)
        if size * len(values) > _MOST_LABELS:
            packed = packed.unique(return_inverse=True)[1]
            size = len(codes)
        packed = packed * len(values) + digit
        size *= len(values)
    return packed.unique(return_inverse=True)[1]


def _check_probabilities(p: Tensor) -> Tensor:
    if not p.is_floating_point():
        raise InputError(f"probabilities must be floating point, got {p.dtype}")
    p = p.detach().to("cpu", torch.float64)
    if not (p >= 0).all() or not math.isclose(p.sum().item(), 1, abs_tol=1e-5):
        raise InputError(
            f"probabilities must not be negative and sum to 1, got a smallest of "
            f"{p.min().item() if p.numel() else math.nan:g} and a sum of {p.sum().item():g}"
        )
    return p / p.sum()
