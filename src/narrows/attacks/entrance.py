"""Checks before an attack: of its images and labels, and of the model itself.

An attack relies on a model whose logits for an image depend on that image alone, that does not
change the images, and of which it is known whether it is stochastic. A few passes over a few of the
images and perturbed copies of them test this:

| two passes over the same images differ                   | the model is stochastic              |
| logits change with the other images of the batch         | refused; if only slightly, a warning |
| the model changes the images                             | refused                              |
| it cannot be run on them, or on a single one             | refused                              |
| it returns a single logit, or not one row for each image | refused                              |

The images are chosen by their brightness, so that their order does not matter.
"""

from __future__ import annotations

import itertools
import logging
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from narrows.attacks._precision import Precision
from narrows.attacks.norms import NORMS, exact, farthest, random_start
from narrows.attacks.query import named_errors
from narrows.checks import ArrayLike, check_dense, check_images, check_labels, check_logits
from narrows.errors import ConfigError, InputError
from narrows.models.outputs import logits_of
from narrows.types import Norm

__all__ = [
    "Victim",
    "check_case",
    "check_eps",
    "check_norm",
    "check_reach",
    "differs",
    "enter",
    "first_look",
    "first_pass",
    "is_stochastic",
    "probes",
    "refuse_overwriting",
]

_PROBES = 8  # images on which a model is tested, and as many perturbed ones
_MOVED = 0.1  # radius of these perturbations if the attack has none, as a share of [0, 1]
# A change of logits with the rest of the batch, as a share of their spread:
_DEPENDENT = 0.05  # a larger one is refused
_ROUNDING = 1e-3  # a smaller one is rounding; between the two there is a warning


class Victim(NamedTuple):
    """What the checks have found out about a model.

    Attributes:
        precision: types of the images and of the model.
        stochastic: whether two passes over the same images differ.
        classes: number of its logits.
        forwards: images that were sent forward to find out.
    """

    precision: Precision
    stochastic: bool
    classes: int
    forwards: int


def check_case(
    x: ArrayLike, y: ArrayLike, target: ArrayLike | None = None, model: nn.Module | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Checked images, labels and targets as tensors on the images' device.

    Args:
        x: `[n, ...]` images in [0, 1]; what is no tensor goes to the device of the model.
        y: `[n]` integer labels.
        target: `[n]` classes to reach, other than the labels.
        model: to be attacked.

    Raises:
        InputError: naming what was expected and what arrived.
    """
    weight = _weight(model) if isinstance(model, nn.Module) else None
    like = None if weight is None else weight.new_empty(0, dtype=exact(weight.dtype))
    images = check_dense(check_images(x, like=like), "images", present=True)
    labels = check_dense(check_labels(y, len(images)), "labels", present=True).to(images.device)
    if target is None:
        return images, labels, None
    targets = check_dense(
        check_labels(target, len(images), name="targets"), "targets", present=True
    )
    targets = targets.to(images.device)
    if same := int((labels == targets).sum()):
        raise InputError(f"a target must differ from the label, {same} of {len(images)} do not")
    return images, labels, targets


def check_eps(eps: float, norm: Norm) -> None:
    """Refuse a radius that makes no sense for images in [0, 1].

    Raises:
        ConfigError: saying which radii do.
    """
    if norm == "l0" and eps != int(eps):
        raise ConfigError(f"with norm l0 eps is a whole number of pixels, got {eps}")
    limit = 1 if norm == "linf" else math.inf
    if not (0 <= eps <= limit and math.isfinite(eps)):
        allowed = "lie in [0, 1]" if norm == "linf" else "be finite and not negative"
        raise ConfigError(
            f"eps must {allowed} for images in [0, 1], got {eps}; "
            "divide by 255 if it was meant for 0-255 images"
        )


def check_norm(norm: str) -> None:
    """Refuse a norm that does not exist.

    Raises:
        ConfigError: listing those that do.
    """
    if norm not in NORMS:
        raise ConfigError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")


def check_reach(eps: float, norm: Norm, x: Tensor) -> None:
    """Refuse a radius that is larger than the distance between any two images.

    Args:
        eps: the radius.
        norm: of the radius; Linf radii are checked by `check_eps`.
        x: `[n, ...]`, images, of which only the shape matters.

    Raises:
        ConfigError: saying how far apart two images can be.
    """
    limit = farthest(x, norm)
    if norm != "linf" and eps > limit * (1 + 1e-6):
        raise ConfigError(
            f"eps must be at most {limit:.4g} in {norm.title()}, the largest distance between two "
            f"images of {x[0].numel()} values in [0, 1], got {eps:g}; divide by 255 if it was "
            "meant for 0-255 images"
        )


def enter(model: nn.Module, x: Tensor, eps: float | None = None, norm: Norm = "linf") -> Victim:
    """Check a model before it is attacked; it must be in evaluation mode.

    The global generator is seeded by this.

    Args:
        model: any classifier.
        x: `[n, ...]`, the images.
        eps: radius of the perturbed images on which the model is tested; `None` for a tenth of
            the range.
        norm: of the radius.

    Raises:
        InputError: for a model on which the result of an attack would mean nothing; see the head
            of this module.
    """
    batch, first, passes = first_pass(model, x, probes(x, eps, norm))
    check_logits(first, len(batch))
    again, half = first, len(batch) // 2
    stochastic = not torch.equal(first, _seeded(model, batch, 1)[1])
    if stochastic:
        again = _seeded(model, batch, 0)[1]
    passes += 2 if stochastic else 1
    if torch.equal(first, again):  # noise of another generator cannot be held
        # The other half is replaced by copies of one image that is as far away as [0, 1] allows.
        far = (batch[half:][:1] < 0.5).to(batch.dtype).expand_as(batch[half:])
        strange = torch.cat([batch[:half], far])
        _check_alone(first[:half], _seeded(model, strange, 0)[1][:half], stochastic)
        passes += 1
    _check_single(model, batch[:1])
    precision = Precision(x.dtype, batch.dtype, norm, eps)
    return Victim(precision, stochastic, first.shape[-1], passes * len(batch) + 1)


def probes(x: Tensor, eps: float | None = None, norm: Norm = "linf") -> Tensor:
    """Some of the images, the same whatever their order, and perturbed copies: `[2 k, ...]`.

    Args:
        x: `[n, ...]` images.
        eps: radius of the perturbations; `None` for a tenth of the range.
        norm: of the radius.
    """
    order = x.flatten(1).to(exact(x.dtype)).mean(1).argsort(stable=True)
    places = torch.linspace(0, len(x) - 1, min(len(x), _PROBES), device=x.device).round().long()
    clean = x[order[places]]
    if not eps:
        part = _MOVED * farthest(x, norm)
        eps = math.ceil(part) if norm == "l0" else part
    generator = torch.Generator(x.device).manual_seed(0)
    exactly = clean.to(exact(x.dtype))
    moved = exactly + random_start(exactly, norm, eps, generator)
    return torch.cat([clean, moved.clamp_(0, 1).to(x.dtype)])


def differs(model: nn.Module, x: Tensor) -> bool:
    """Whether two passes over `x: [b, ...]` give different logits."""
    return not torch.equal(_finite(first_look(model, x)), _finite(first_look(model, x)))


def is_stochastic(
    model: nn.Module, x: Tensor, eps: float | None = None, norm: Norm = "linf"
) -> bool:
    """Whether two passes over some of the images and perturbed copies differ.

    Args:
        model: any classifier.
        x: `[n, ...]` images.
        eps: radius of the perturbations; `None` for a tenth of the range.
        norm: of the radius.

    Raises:
        InputError: if the model cannot be run on them.
    """
    return differs(model, probes(x, eps, norm))


def first_look(model: nn.Module, x: Tensor) -> Tensor:
    """Logits `[b, classes]` of `x: [b, ...]`, or an error that says why there are none.

    Raises:
        InputError: for a model on another device, of another dtype or for other shapes.
    """
    with named_errors(x):
        return check_dense(logits_of(model, x), "logits", present=True)


def refuse_overwriting(before: Tensor, now: Tensor) -> None:
    """Refuse a model that has changed the images it was given.

    Raises:
        InputError: saying how to write it.
    """
    if not torch.equal(before, now):
        raise InputError(
            "the model overwrites the images that it is given, so that an attack would lose them; "
            "write (x - mean) / std instead of x.sub_(mean).div_(std)"
        )


def _seeded(model: nn.Module, batch: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The images after a seeded pass, and the logits; the verdict deals with NaN later."""
    given = batch.clone()
    torch.manual_seed(seed)
    return given, _finite(first_look(model, given))


def _finite(logits: Tensor) -> Tensor:
    return torch.nan_to_num(logits)


def first_pass(model: nn.Module, x: Tensor, batch: Tensor) -> tuple[Tensor, Tensor, int]:
    """The batch in the type that the model takes, its logits, and how many passes were made.

    The type is that of the images or, if the model does not run on it, that of its weights. The
    global generator is seeded with 0.

    Args:
        model: any classifier.
        x: `[n, ...]`, all images, which are run only to find the cause of an error.
        batch: `[b, ...]`, the images to run.

    Raises:
        InputError: if the model runs on neither type.
    """
    passes = 1
    try:
        given, logits = _seeded(model, batch, 0)
    except InputError as error:
        weight = _weight(model)
        if weight is None or weight.dtype == batch.dtype:
            _check_size(model, x, batch, error)
            raise
        batch, passes = batch.to(weight.dtype), 2
        try:
            given, logits = _seeded(model, batch, 0)
        except InputError:
            raise error from None
    refuse_overwriting(batch, given)
    return batch, logits, passes


def _check_size(model: nn.Module, x: Tensor, batch: Tensor, error: InputError) -> None:
    """Raise an error that says so if the model fails only because of the size of the batch."""
    if len(x) == len(batch):
        return
    try:
        first_look(model, x.clone())
    except InputError:
        return
    raise InputError(
        f"the model runs on a batch of {len(x)} images and not on one of {len(batch)}, but an "
        "attack needs batches of any size; export or trace it with a dynamic batch size "
        "(dynamic_shapes=)"
    ) from error


def _check_single(model: nn.Module, image: Tensor) -> None:
    try:
        check_logits(_finite(first_look(model, image.clone())), 1)
    except InputError as error:
        raise InputError(
            f"the model cannot be run on a single image, which an attack does when one is left "
            f"({error}); give batch normalisation running statistics, track_running_stats=True"
        ) from error


def _check_alone(logits: Tensor, beside_others: Tensor, stochastic: bool) -> None:
    """Refuse a model whose logits of some images change with those beside them."""
    low, high = (bound.item() for bound in logits.double().clamp(-1e30, 1e30).aminmax())
    change = (logits.double() - beside_others.double()).abs().max().item()
    share = change / (high - low) if high > low else math.inf if change else 0.0
    if share <= _ROUNDING:
        return
    message = (
        f"the model's logits for an image depend on the others of its batch (they change by "
        f"{share:.1%} of their spread), so that the verdict about an image depends on its batch; "
        "give batch normalisation running statistics, or run the model on one image at a time"
    )
    if share > _DEPENDENT and not stochastic:
        raise InputError(message)
    logging.getLogger(__name__).warning(message)


def _weight(model: nn.Module) -> Tensor | None:
    """A weight of the model, floating point; `None` if it has none."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), None)
