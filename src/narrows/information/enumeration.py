"""Exact information in the layers of a binary stochastic network, by enumeration of all codes.

    p(z_l|x) = sum_z' p(z_l|z') p(z_(l-1) = z'|x)
    p(z_l|z') = prod_i Bernoulli(z_l,i; sigmoid(W z' + b)_i)
    I(X;Z) = H(Z) - sum_x p(x) H(Z|x),   p(z,y) = sum_x p(x,y) p(z|x)

A layer of N units has 2^N codes, so tables stay small up to about sixteen units, for any weights.

Source: the exact information plane of Nguyen & Choi (2017), arXiv 1712.01272, who enumerate the
codes of a 12-10-8-6-4-1 network on all 4,096 patterns of twelve bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from narrows.checks import ArrayLike, as_tensor, check_count, check_joint, check_number
from narrows.errors import InputError

__all__ = ["LayerInformation", "binary_codes", "binary_tables", "bit_table", "chain_information"]

_TINY = 1e-300
_MOST_ENTRIES = 2**28
_MOST_UNITS = 23
_BLOCK = 64


class LayerInformation(NamedTuple):
    """The information of one layer, in nats.

    Attributes:
        rate: I(X;Z).
        relevance: I(Z;Y).
    """

    rate: float
    relevance: float


def binary_codes(units: int, low: float = 0.0) -> Tensor:
    """Every code of a layer once: `[2^units, units]` float64 of `low` and 1.

    Row i has bit j of the number i in column j.

    Raises:
        InputError: for fewer than one unit, or so many that the codes would exceed 2 GiB.

    Example:
        >>> binary_codes(2).tolist()
        [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    units = check_count(units, "units", error=InputError)
    low = check_number(low, "low", error=InputError)
    if units > _MOST_UNITS:
        raise InputError(
            f"cannot list every code of {units} units: expected 1 to 23; estimate from samples"
        )
    numbers = torch.arange(2**units)[:, None]
    bits = (numbers >> torch.arange(units) & 1).double()
    return low + (1 - low) * bits


def bit_table(p: ArrayLike) -> Tensor:
    """Probabilities of all codes of independent bits, `p: [..., units]` that each is set.

    Returns:
        `[..., 2^units]` in the order of `binary_codes`.

    Raises:
        InputError: for no units, or numbers outside 0..1 or NaN.

    Example:
        >>> bit_table(torch.tensor([0.25, 0.5])).tolist()
        [0.375, 0.125, 0.375, 0.125]
    """
    table = as_tensor(p, "probabilities")
    if not table.dim() or not table.shape[-1]:
        raise InputError(f"expected probabilities [..., units], got {list(table.shape)}")
    if not ((table >= 0) & (table <= 1)).all():
        low, high = table.aminmax()
        raise InputError(f"probabilities must lie in 0..1, got {low.item():g} to {high.item():g}")
    return _outer(table)


def _outer(p: Tensor) -> Tensor:
    """`bit_table` by halves, so that the large table is written only once."""
    half = p.shape[-1] // 2
    if not half:
        return torch.cat([1 - p, p], -1)
    low, high = _outer(p[..., :half]), _outer(p[..., half:])
    return (high[..., None] * low[..., None, :]).flatten(-2)


def binary_tables(
    x: ArrayLike, layers: Iterable[tuple[ArrayLike, ArrayLike]], low: float = 0.0
) -> list[Tensor]:
    """Conditional tables of a network whose units are drawn from Bernoulli(sigmoid(W z + b)).

    Args:
        x: `[X, D]`, every input there is.
        layers: weight `[units, inputs]` and bias `[units]` of each layer, as `nn.Linear` has them.
        low: the value of a unit that is not set, 0 or -1.

    Returns:
        p(z_1|x): `[X, 2^units]`, then p(z_l|z_(l-1)): `[2^units, 2^units]` each, float64 on the
        CPU, for `chain_information`.

    Raises:
        InputError: for shapes that do not fit, NaN, or a layer whose table would exceed 2 GiB.
    """
    inputs = _numbers(x, "x")
    if inputs.dim() != 2:
        raise InputError(f"x must be [X, D], got {list(inputs.shape)}")
    tables = []
    for number, layer in enumerate(layers, start=1):
        weight, bias = (_numbers(part, f"layer {number}") for part in layer)
        if bias.dim() != 1 or weight.shape != (len(bias), inputs.shape[1]):
            raise InputError(
                f"layer {number} must have a weight [units, {inputs.shape[-1]}] and a bias "
                f"[units], got {list(weight.shape)} and {list(bias.shape)}"
            )
        units = len(bias)
        if len(inputs) * 2**units > _MOST_ENTRIES:
            raise InputError(
                f"layer {number} has {units} units, a table of {len(inputs)} x 2^{units} entries, "
                "too large to enumerate; estimate its information from samples"
            )
        logits = torch.addmm(bias, inputs, weight.T)
        if not torch.isfinite(logits).all():
            raise InputError(f"layer {number} has NaN or inf in its weights or inputs")
        tables.append(bit_table(logits.sigmoid()))
        inputs = binary_codes(units, low)
    return tables


def chain_information(tables: Sequence[ArrayLike], joint: ArrayLike) -> list[LayerInformation]:
    """I(X;Z_l) and I(Z_l;Y) of every layer of a chain X - Z_1 - Z_2 ..., exactly.

    Args:
        tables: p(z_1|x): `[X, Z_1]`, then p(z_l|z_(l-1)): `[Z_(l-1), Z_l]`, rows summing to 1.
        joint: `[X, Y]`, p(x, y).

    Raises:
        InputError: for no table, shapes that do not fit, rows that are no probabilities, or if
            `joint` is no joint distribution.

    Example:
        >>> noiseless = torch.eye(2, dtype=torch.float64)
        >>> joint = torch.tensor([[0.4, 0.1], [0.1, 0.4]])
        >>> rates = [layer.rate for layer in chain_information([noiseless, noiseless], joint)]
        >>> [round(rate, 4) for rate in rates]
        [0.6931, 0.6931]
    """
    p_zy = check_joint(joint)
    if not len(tables):
        raise InputError("expected a table for each layer, got none")
    p_x, of_y = p_zy.sum(1), _entropy(p_zy.sum(0))
    code, codes = None, len(p_zy)
    layers = []
    for number, of_layer in enumerate(tables, start=1):
        table = _check_table(of_layer, codes, number)
        code, codes = table if code is None else code @ table, table.shape[1]
        p_zy = table.T @ p_zy
        p_z = p_zy.sum(1)
        of_z = _entropy(p_z)
        rate = of_z - p_x @ _entropy(code)
        relevance = of_z + of_y - _entropy(p_zy.flatten())
        layers.append(LayerInformation(rate.item(), relevance.item()))
    return layers


def _entropy(p: Tensor) -> Tensor:
    """Entropy of each row: `[..., N]` to `[...]`."""
    if p.dim() == 1:
        return -(p * p.clamp_min(_TINY).log()).sum()
    # A block of rows that fits into the cache takes a quarter of the time.
    return torch.cat([-(p.clamp_min(_TINY).log_().mul_(p)).sum(1) for p in p.split(_BLOCK)])


def _numbers(value: ArrayLike, name: str) -> Tensor:
    """Float64 on the CPU."""
    return as_tensor(value, name).detach().to("cpu", torch.float64)


def _check_table(value: ArrayLike, rows: int, number: int) -> Tensor:
    table = _numbers(value, f"table {number}")
    if table.dim() != 2 or len(table) != rows or not table.shape[1]:
        raise InputError(f"table {number} must be [{rows}, codes], got {list(table.shape)}")
    off = (table.sum(1) - 1).abs().max().item()
    if not (table >= 0).all() or not off < 1e-5:
        raise InputError(
            f"rows of table {number} must be probabilities: the smallest is "
            f"{table.min().item():g}, and a row's sum is off 1 by {off:g}"
        )
    return table
