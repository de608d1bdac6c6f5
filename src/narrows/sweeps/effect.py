"""Which keys of a configuration have no effect on a method.

Runs that differ in such keys alone would train the same models several times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from narrows.methods import METHODS, Method
from narrows.methods.adversarial import WRAPPERS

__all__ = ["has_effect"]

_OF_METHODS = ("options", "networks")
_OF_CRITICS = ("train.critic_learning_rate", "train.critic_adam_beta1")
_OF_ATTACKS = ("eps", "pgd_steps", "pgd_restarts", "attack_images", "mode")


def has_effect(
    key: str, method: str, base: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]
) -> bool:
    """Whether another value of a key can change a run of this method.

    Args:
        key: of the configuration, with dots.
        method: name of the method.
        base: keys that all runs of the sweep share.
        axes: values of each key of the grid.
    """
    first, _, rest = key.partition(".")
    if first in _OF_METHODS and rest:
        owner = rest.partition(".")[0]
        wrapped = owner in [base.get("adversarial"), *axes.get("adversarial", ())]
        return owner == method or (owner in WRAPPERS and wrapped)
    if key in _OF_CRITICS:
        return METHODS[method].critic_parameters is not Method.critic_parameters
    if first == "evaluate" and rest in _OF_ATTACKS:
        attack = (base.get("evaluate") or {}).get("attack", True)
        return attack or "evaluate.attack" in axes
    return True
