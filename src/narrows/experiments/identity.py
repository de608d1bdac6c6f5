"""The hash of a configuration, which names the folder of its run.

A key that the first format didn't have counts where it is not at its default, so that folders keep
their names when a key is added. Equal numbers count as equal, however they are spelt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

__all__ = ["identity_of"]

# Of a run, of its network, of its training recipe, and of what is measured.
_FIRST_KEYS = """
    data methods betas grids seeds validation_share device network train evaluate options
    name encoder bottleneck decoder normalise latent
    epochs batch_size learning_rate adam_beta1 decay decay_every averaging patience
    critic_learning_rate critic_adam_beta1 checkpoint_seconds
    eps pgd_steps pgd_restarts attack_images mode samples information_samples noise_std
"""
_FIRST_FORMAT = frozenset(_FIRST_KEYS.split())


def identity_of(config: Any) -> str:
    """Hash of every number of a resolved configuration: 10 hexadecimal digits."""
    text = json.dumps(_canonical(_plain(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _plain(value: Any) -> Any:
    """A configuration as plain dicts, without what is new and at its default."""
    if not is_dataclass(value):
        return value
    plain = {}
    for one in fields(value):
        own = getattr(value, one.name)
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if one.name in _FIRST_FORMAT or own != default:
            plain[one.name] = _plain(own)
    return plain


def _canonical(value: Any) -> Any:
    """One spelling for what means the same: 1 and 1.0, a tuple and a list."""
    if isinstance(value, Mapping):
        return {name: _canonical(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
