"""A ledger in the form of RobustBench's model entries, extended by what noise means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from narrows.errors import InputError
from narrows.types import Norm

__all__ = ["robustbench_entry", "wilson"]

_FORM: Mapping[str, Any] = {
    "link": "",
    "authors": "",
    "venue": "",
    "architecture": "",
    "dataset": "",
    "reported": "",
    "additional_data": False,
    "number_forward_passes": "1",
    "unreliable": False,
    "footnote": "",
}
_NOISE: Mapping[str, Any] = {"draws": 1, "verify_draws": 1, "mode": "mean"}


def robustbench_entry(
    *,
    name: str,
    eps: float,
    norm: Norm,
    clean: float,
    robust: float,
    single_draw: float,
    distance: Tensor,
    attacks: list[dict[str, Any]],
    known: Mapping[str, Any],
) -> dict[str, Any]:
    """The entry; see `Ledger.to_robustbench`.

    Raises:
        InputError: naming keys of `known` that the form does not have.
    """
    form = {**_FORM, **_NOISE}
    if unknown := sorted(set(known) - set(form)):
        raise InputError(f"unknown keys {', '.join(unknown)}; valid: {', '.join(form)}")
    low, high = wilson(round(robust * len(distance)), len(distance))
    return {
        "name": name,
        **{key: known.get(key, default) for key, default in _FORM.items()},
        "eps": str(eps),
        "clean_acc": _percent(clean),
        "autoattack_acc": _percent(robust),
        "norm": norm,
        "images": len(distance),
        "median_distance": _finite(distance.median().item()),
        "interval_95": [_percent(low), _percent(high)],
        "attacks": attacks,
        "noise": {
            **{key: known.get(key, default) for key, default in _NOISE.items()},
            "vote_acc": _percent(robust),
            "single_draw_acc": _percent(single_draw),
        },
    }


def wilson(successes: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share, of 95 % by default.

    >>> low, high = wilson(0, 100)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.037)
    """
    share = successes / count
    centre = share + z**2 / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z**2 / count
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
