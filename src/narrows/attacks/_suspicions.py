"""Signs that a model is not what an attack takes it for, looked for before anything is spent."""

from __future__ import annotations

import logging
from contextlib import suppress

import torch
from torch import Tensor, nn

from narrows.attacks._base import first_look
from narrows.attacks._query import frozen
from narrows.errors import InputError

__all__ = ["are_probabilities", "drift", "suspicions", "warn_of_suspicions"]

_FEW = 64
_GAIN = 0.2  # of accuracy on 0-255 images, that is more than chance


def are_probabilities(rows: Tensor) -> bool:
    """Whether every row `[n, classes]` of a model's output is positive and sums to 1."""
    sums = rows.double().sum(1)
    return bool((rows >= 0).all() and (sums - 1).abs().max() < 1e-3)


def drift(model: nn.Module, x: Tensor) -> list[str]:
    """Names of parameters and buffers that a pass in evaluation mode changes; put back."""
    now = {name: part for name, part in model.state_dict().items() if isinstance(part, Tensor)}
    before = {name: value.clone() for name, value in now.items()}
    first_look(model, x[:8])
    changed = [name for name, value in before.items() if not torch.equal(value, now[name])]
    for name in changed:
        now[name].copy_(before[name])
    return changed


def suspicions(model: nn.Module, x: Tensor, y: Tensor) -> list[str]:
    """What looks wrong about a model on the first of its images; nothing is changed or seeded.

    Args:
        model: as it will be attacked.
        x: `[n, ...]` images in [0, 1].
        y: `[n]` labels.

    Raises:
        InputError: if the model cannot be run on them.
    """
    x, y = x[:_FEW], y[:_FEW].to(x.device)
    devices = [x.device] if x.is_cuda else []
    with torch.no_grad(), torch.random.fork_rng(devices), frozen(model):
        if changed := drift(model, x):
            return [
                f"the model changes in use, in evaluation mode too ({', '.join(changed[:5])}): it "
                "is another one for each attack; freeze it, or let the audit put it back"
            ]
        rows = wide = first_look(model, x)
        with suppress(InputError):  # a model may refuse them, and well
            wide = first_look(model, 255 * x)
    found = []
    if are_probabilities(rows):
        found.append(
            "the model seems to return probabilities, not logits: gradients vanish where they "
            "saturate, and what is left looks robust; return the logits, or audit the model"
        )
    right, right_of_wide = ((logits.argmax(1) == y).double().mean() for logits in (rows, wide))
    if right_of_wide > right + _GAIN:
        found.append(
            f"the model is right about {right:.0%} of the images in [0, 1], and about "
            f"{right_of_wide:.0%} of the same in 0-255; make the scaling part of the model"
        )
    return found


def warn_of_suspicions(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Log them as warnings."""
    for said in suspicions(model, x, y):
        logging.getLogger(__name__).warning(said)
