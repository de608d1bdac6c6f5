"""Signs that a model is not what an attack takes it for, looked for before anything is spent."""

from __future__ import annotations

import logging
from contextlib import suppress

import torch
from torch import Tensor, nn

from narrows.attacks.entrance import first_look, refuse_overwriting
from narrows.attacks.query import frozen
from narrows.errors import InputError
from narrows.types import Norm

__all__ = ["are_probabilities", "drift", "suspicions", "too_far", "warn_of_suspicions"]

_FEW = 64
_MANY = 1000  # images among which neighbours are looked for
_CLOSE = 0.1  # share of them that may have one within the radius
_GAIN = 0.2  # of accuracy on 0-255 images, that is more than chance


def are_probabilities(rows: Tensor) -> bool:
    """Whether every row `[n, classes]` of a model's output is positive and sums to 1."""
    sums = rows.double().sum(1)
    return bool((rows >= 0).all() and (sums - 1).abs().max() < 1e-3)


def drift(model: nn.Module, x: Tensor) -> list[str]:
    """Names of parameters and buffers that a pass in evaluation mode changes; put back.

    Raises:
        InputError: if the model cannot be run on the images, overwrites them, or returns integers.
    """
    now = {name: part for name, part in model.state_dict().items() if isinstance(part, Tensor)}
    before = {name: value.clone() for name, value in now.items()}
    few = x[:8].clone()
    kind = first_look(model, few).dtype
    if not kind.is_floating_point:
        raise InputError(
            f"the model returns {kind}, expected floating point logits: nothing can be climbed "
            "there, so return the scores that the decision is made from"
        )
    refuse_overwriting(x[:8], few)
    changed = [name for name, value in before.items() if not torch.equal(value, now[name])]
    for name in changed:
        now[name].copy_(before[name])
    return changed


def too_far(x: Tensor, y: Tensor, eps: float, norm: Norm) -> float:
    """Share of images `x: [n, ...]` with one of another class in `y: [n]` within `eps` of them.

    Whatever the model, it is wrong about one of the two, since they may be made the same.
    """
    x, y = x[:_MANY].flatten(1).float(), y[:_MANY].to(x.device)
    distance = torch.cdist(x, x, p=2.0 if norm == "l2" else torch.inf)
    distance = distance.masked_fill(y[:, None] == y, torch.inf)
    return (distance.amin(1) <= eps).double().mean().item()


def suspicions(
    model: nn.Module, x: Tensor, y: Tensor, eps: float | None = None, norm: Norm = "linf"
) -> list[str]:
    """What looks wrong about a model and a radius; nothing is changed or seeded.

    Args:
        model: as it will be attacked; looked at on the first of the images.
        x: `[n, ...]` images in [0, 1].
        y: `[n]` labels.
        eps: radius of the attack, if it has one.
        norm: in which.

    Raises:
        InputError: if the model cannot be run on the images, or overwrites them.
    """
    found = []
    if eps is not None and (share := too_far(x, y, eps, norm)) > _CLOSE:
        found.append(
            f"within {norm} {eps:g} of {share:.0%} of the images lies one of another class, so "
            "that no model can be robust there; divide by 255 if it was meant for 0-255 images"
        )
    return found + _suspicions_of(model, x[:_FEW], y[:_FEW].to(x.device))


def _suspicions_of(model: nn.Module, x: Tensor, y: Tensor) -> list[str]:
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
    found: list[str] = []
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


def warn_of_suspicions(
    model: nn.Module, x: Tensor, y: Tensor, eps: float | None = None, norm: Norm = "linf"
) -> None:
    """Log them as warnings."""
    for said in suspicions(model, x, y, eps, norm):
        logging.getLogger(__name__).warning(said)
