"""Warnings before an attack: signs of a model or a radius whose result would mislead."""

from __future__ import annotations

import logging
from contextlib import suppress

import torch
from torch import Tensor, nn

from narrows.attacks.entrance import first_look, refuse_overwriting
from narrows.attacks.norms import ORDER
from narrows.attacks.query import frozen
from narrows.errors import InputError
from narrows.models.noise import forked_rng
from narrows.types import Norm

__all__ = ["are_probabilities", "drift", "suspicions", "too_far", "warn_of_suspicions"]

_TESTED = 64  # images on which the model is run
_NEIGHBOURS = 1000  # images among which neighbours are searched
_CLOSE = 0.1  # share of them that may have a neighbour of another class within the radius
_SMALLEST = 1e-3  # standard deviation of a channel that is divided by
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation, of most networks
_GAIN = 0.2  # in accuracy on 0-255 images, that is more than chance
_FEWEST = 10  # images on which two shares are compared


def are_probabilities(rows: Tensor) -> bool:
    """Whether every row `[n, classes]` of a model's output is positive and sums to 1."""
    sums = rows.double().sum(1)
    return bool((rows >= 0).all() and (sums - 1).abs().max() < 1e-3)


def drift(model: nn.Module, x: Tensor) -> list[str]:
    """Names of parameters and buffers that a pass in evaluation mode changes; they are restored.

    Raises:
        InputError: if the model cannot be run on the images, overwrites them, or returns integers.
    """
    now = {name: part for name, part in model.state_dict().items() if isinstance(part, Tensor)}
    before = {name: value.clone() for name, value in now.items()}
    images = x[:8].clone()
    kind = first_look(model, images).dtype
    if not kind.is_floating_point:
        raise InputError(
            f"the model returns {kind}, expected floating point logits; return the scores that "
            "the decision is made from"
        )
    refuse_overwriting(x[:8], images)
    changed = [name for name, value in before.items() if not torch.equal(value, now[name])]
    for name in changed:
        now[name].copy_(before[name])
    return changed


def too_far(x: Tensor, y: Tensor, eps: float, norm: Norm) -> float:
    """Share of images that have an image of another class within `eps`.

    No model can be robust at both, because the attack can turn one into the other.

    Args:
        x: `[n, ...]` images.
        y: `[n]` labels.
        eps: radius of the attack.
        norm: of the radius.
    """
    x, y = x[:_NEIGHBOURS].flatten(1).float(), y[:_NEIGHBOURS].to(x.device)
    distance = torch.cdist(x, x, p=ORDER[norm])
    distance = distance.masked_fill(y[:, None] == y, torch.inf)
    return (distance.amin(1) <= eps).double().mean().item()


def suspicions(
    model: nn.Module, x: Tensor, y: Tensor, eps: float | None = None, norm: Norm = "linf"
) -> list[str]:
    """Sentences about what looks wrong with a model and a radius; no state is changed.

    Args:
        model: to be attacked; it is run on the first of the images.
        x: `[n, ...]` images in [0, 1].
        y: `[n]` labels.
        eps: radius of the attack, if it has one.
        norm: of the radius.

    Raises:
        InputError: if the model cannot be run on the images, or overwrites them.
    """
    sentences = []
    if eps is not None and (share := too_far(x, y, eps, norm)) > _CLOSE:
        sentences.append(
            f"within {norm} {eps:g} of {share:.0%} of the images lies one of another class, so "
            "that no model can be robust there; divide by 255 if it was meant for 0-255 images"
        )
    return sentences + _suspicions_of(model, x[:_TESTED], y[:_TESTED].to(x.device))


def _suspicions_of(model: nn.Module, x: Tensor, y: Tensor) -> list[str]:
    normalised: list[Tensor] = []
    with torch.no_grad(), forked_rng(x.device), frozen(model):
        if changed := drift(model, x):
            return [
                "a pass in evaluation mode changes the model's parameters or buffers "
                f"({', '.join(changed[:5])}), so that each attack would meet another model; freeze "
                "them, or run the audit, which restores them"
            ]
        rows = wide = first_look(model, x)
        with suppress(InputError):  # a model may rightly refuse 0-255 images
            wide = first_look(model, 255 * x)
        with suppress(InputError):
            normalised = [first_look(model, images) for images in _normalised(x)]
    sentences: list[str] = []
    if are_probabilities(rows):
        sentences.append(
            "the model seems to return probabilities, not logits: their gradients vanish where "
            "they saturate, and the model wrongly looks robust; return the logits, or run the audit"
        )
    if len(y) < _FEWEST:  # on so few images another share says nothing
        return sentences
    right, right_of_wide = (_share(logits, y) for logits in (rows, wide))
    if right_of_wide > right + _GAIN:
        sentences.append(
            f"the model classifies {right:.0%} of the images in [0, 1] correctly, and "
            f"{right_of_wide:.0%} of the same images in 0-255; make the scaling part of the model"
        )
    elif (best := max((_share(logits, y) for logits in normalised), default=0)) > right + _GAIN:
        sentences.append(
            f"the model classifies {right:.0%} of the images in [0, 1] correctly, and {best:.0%} "
            "of the same images after normalisation; give what it was trained with by --mean and "
            "--std, or in Python by adapt(model, mean=..., std=...)"
        )
    return sentences


def _share(logits: Tensor, y: Tensor) -> float:
    return (logits.argmax(1) == y).double().mean().item()


def _normalised(x: Tensor) -> list[Tensor]:
    """The images `[n, channels, ...]` as they are usually normalised."""
    across = (1, -1, *[1] * (x.dim() - 2))
    places = [dim for dim in range(x.dim()) if dim != 1 or x.dim() == 2]
    mean, std = x.mean(places, keepdim=True), x.std(places, keepdim=True)
    ways = [((x - mean) / std.clamp_min(_SMALLEST)), (x - 0.5) / 0.5]
    if x.dim() == 4 and x.shape[1] == 3:
        mean, std = (x.new_tensor(numbers).view(across) for numbers in _IMAGENET)
        ways.append((x - mean) / std)
    return ways


def warn_of_suspicions(
    model: nn.Module, x: Tensor, y: Tensor, eps: float | None = None, norm: Norm = "linf"
) -> None:
    """Log `suspicions` as warnings.

    Args:
        model: to be attacked.
        x: `[n, ...]` images in [0, 1].
        y: `[n]` labels.
        eps: radius of the attack, if it has one.
        norm: of the radius.

    Raises:
        InputError: if the model cannot be run on the images, or overwrites them.
    """
    for sentence in suspicions(model, x, y, eps, norm):
        logging.getLogger(__name__).warning(sentence)
