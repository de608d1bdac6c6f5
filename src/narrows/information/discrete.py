"""Exact information of discrete variables: of a joint distribution, or of a deterministic code."""

from __future__ import annotations

import torch
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor, check_joint
from narrows.errors import InputError
from narrows.information._joint import mutual_information

__all__ = ["code_information", "discrete_entropy", "discrete_information", "label_rows"]

_MOST_LABELS = 2**62
_TINY = 1e-300


def discrete_entropy(p: ArrayLike) -> float:
    """Entropy in nats of probabilities of any shape.

        H(A) = -sum_a p(a) log p(a)

    Source: Cover & Thomas (2006), "Elements of Information Theory", eq. 2.1.

    Args:
        p: probabilities that sum to 1.

    Returns:
        H in nats.

    Raises:
        InputError: if there are none, or they are negative, no numbers, or do not sum to 1.

    Example:
        >>> import math
        >>> discrete_entropy(torch.tensor([0.5, 0.5, 0.0])) == math.log(2)
        True
    """
    table = check_joint(as_tensor(p, "probabilities").reshape(1, -1), "probabilities")
    return torch.special.entr(table).sum().item()


def discrete_information(joint: ArrayLike) -> float:
    """Mutual information in nats of a joint distribution `[A, B]`.

        I(A;B) = sum_a,b p(a,b) log( p(a,b) / p(a) p(b) )

    Source: Cover & Thomas (2006), "Elements of Information Theory", eq. 2.28.

    Args:
        joint: `[A, B]`, p(a, b); rows and columns of probability 0 are allowed.

    Returns:
        I(A;B) in nats.

    Raises:
        InputError: if it is not a joint distribution.

    Example:
        >>> import math
        >>> round(discrete_information(torch.tensor([[0.5, 0.0], [0.0, 0.5]])) / math.log(2), 12)
        1.0
    """
    p = check_joint(joint)
    independent = p.sum(1, keepdim=True) * p.sum(0)
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, independent)).sum().item()


def code_information(codes: ArrayLike, joint: ArrayLike) -> tuple[float, float]:
    """I(X;Z) and I(Z;Y), exactly, of a code that is a function of x.

        I(X;Z) = H(Z),   p(z, y) = sum of p(x, y) over the x with that z

    Equal codes are counted; nothing is estimated.

    Source: Cover & Thomas (2006), "Elements of Information Theory", eqs. 2.1 and 2.28.

    Args:
        codes: `[X, ...]`, the code of every x there is. Two codes are the same if they are equal,
            so quantise continuous ones first.
        joint: `[X, Y]`, p(x, y).

    Returns:
        Both in nats.

    Raises:
        InputError: for unequal lengths, NaN, or if `joint` is not a joint distribution.

    Example:
        >>> import math
        >>> codes, joint = torch.tensor([0, 0, 1, 1]), torch.full((4, 2), 0.125)
        >>> rate, relevance = code_information(codes, joint)
        >>> round(rate / math.log(2), 12), round(relevance, 12)
        (1.0, 0.0)
    """
    p = check_joint(joint)
    of_x = as_tensor(codes, "codes").detach().cpu()
    if of_x.dim() == 0 or len(of_x) != len(p):
        raise InputError(
            f"expected a code for each of the {len(p)} x of the joint, got {list(of_x.shape)}"
        )
    if of_x.isnan().any():
        raise InputError("codes hold NaN; leave those rows out")
    label = label_rows(of_x)
    p_zy = p.new_zeros(int(label.max()) + 1, p.shape[1]).index_add_(0, label, p)
    p_z = p_zy.sum(1)
    # A code whose x have probability 0 has no p(y|z), and its weight is 0.
    relevance = mutual_information(p_z, p_zy / p_z.clamp_min(_TINY)[:, None])
    return discrete_entropy(p_z), relevance.item()


def label_rows(codes: Tensor) -> Tensor:
    """Number the distinct rows of `codes: [n, ...]`: `[n]`, the same number for equal rows.

    Columns are packed into one integer while they fit, so that one sort serves several.
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
