"""What an audit finds out about a model before it attacks: its answers, its noise, its batch.

| question                             | how it is answered                                       |
|--------------------------------------|----------------------------------------------------------|
| does it return logits of each image? | one look at a few images                                 |
| does it draw noise?                  | two looks at clean, perturbed and attacked images        |
| does an answer depend on the batch?  | a batch against its rows alone and in the opposite order |

Noise that begins off the data cannot be seen on clean images: perturbed ones are looked at too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from narrows.attacks import PGD
from narrows.attacks.norms import random_start, steepest
from narrows.audit._guarded import Guarded
from narrows.audit._subject import Subject
from narrows.checks import check_dense, check_logits
from narrows.errors import InputError
from narrows.types import Norm

__all__ = ["attacked", "batch_dependence", "check_classifier", "moved", "nearby", "spread_rows"]

_FEW = 8
_BATCH = 16
_STEPS = 10
_DRAWS = 32
_DIFFERENT = 0.01  # of the standard deviation of the logits, far above rounding
_SURELY = 10.0  # standard errors, between means over draws of noise


def spread_rows(count: int, most: int, device: torch.device | None = None) -> Tensor:
    """At most `most` of `count` rows, evenly spread over all of them.

    Args:
        count: number of rows.
        most: of them that are wanted.
        device: of the result.

    >>> spread_rows(10, 4)
    tensor([0, 3, 6, 9])
    """
    if count <= most:
        return torch.arange(count, device=device)
    return torch.linspace(0, count - 1, most, device=device).round().long()


def check_classifier(subject: Subject, x: Tensor) -> int:
    """Refuse a model that is no classifier of such images; the number of its classes otherwise.

    Raises:
        InputError: if the model cannot be run on the images or overwrites them, or returns anything
            but a row of two or more floating point logits for each.
    """
    sample = x[:_FEW].to(subject.takes)
    shown = sample.clone()
    logits = check_dense(subject.raw(shown), "logits", present=True)
    if not torch.equal(sample, shown):
        raise InputError(
            "the model overwrites the images that it is given, so that an attack would lose them; "
            "write (x - mean) / std instead of x.sub_(mean).div_(std)"
        )
    if logits.dim() == 2 and logits.shape[0] == len(sample) and logits.is_floating_point():
        logits = logits.nan_to_num()  # what is no number is counted, image by image, not refused
    return check_logits(logits, len(sample)).shape[-1]


def nearby(x: Tensor, norm: Norm, eps: float, seed: int) -> list[Tensor]:
    """Images, random points of the balls around them, and random corners of the balls.

    Args:
        x: `[n, ...]` images.
        norm: of the radius.
        eps: the radius.
        seed: of the random points.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    anywhere = random_start(x, norm, eps, generator)
    corner = eps * steepest(random_start(x, norm, eps, generator), norm)
    return [x, (x + anywhere).clamp(0, 1), (x + corner).clamp(0, 1)]


def attacked(subject: Subject, x: Tensor, y: Tensor, norm: Norm, eps: float) -> list[Tensor]:
    """Where a short attack on the margin leads: noise may begin near the boundary only.

    Args:
        subject: the model.
        x: `[n, ...]` images.
        y: `[n]` labels.
        norm: of the radius.
        eps: the radius.
    """
    attack = PGD(norm=norm, eps=eps, steps=_STEPS, restarts=1, verify_draws=1, loss="margin")
    return [attack(Guarded(subject), x, y).x_adv]


def batch_dependence(
    subject: Subject, x: Tensor, look: Callable[[Tensor, int], Tensor], *, stochastic: bool
) -> str:
    """How the answer to an image depends on the rest of the batch, in words; empty if it does not.

    A model that takes no batch of one is shown single images twice from here on.

    Args:
        subject: the model.
        x: `[n, ...]` images.
        look: logits of one pass, by the seed of the noise; by a model that remembers nothing, or
            memory would be taken for dependence on the batch.
        stochastic: whether the model draws noise, so that only means can be compared.
    """
    x = x[spread_rows(len(x), _BATCH, x.device)]
    if len(x) == 1:
        x = torch.cat([x, 1 - x])
    try:
        look(x[:1], 0)
    except InputError:
        subject.doubled = True
        try:
            look(x[:1], 0)
        except InputError:
            return "it cannot be run on a single image"
    draws, alone = (_DRAWS, 2) if stochastic else (1, _FEW)

    def drawn(x: Tensor) -> Tensor:
        return torch.stack([look(x, draw) for draw in range(draws)])

    together = drawn(x)
    others = {
        "alone": torch.cat([drawn(row.unsqueeze(0)) for row in x[:alone]], 1),
        "in the opposite order": drawn(x.flip(0)).flip(1),
    }
    for place, answers in others.items():
        share = _difference(together[:, : answers.shape[1]], answers)
        if share > _DIFFERENT:
            return f"its logits move by {share:.2g} standard deviations when it is shown {place}"
    return ""


def moved(first: Tensor, second: Tensor) -> bool:
    """Whether logits `[n, C]` of the same images differ by more than rounding."""
    return _difference(first.unsqueeze(0), second.unsqueeze(0)) > _DIFFERENT


def _difference(first: Tensor, second: Tensor) -> float:
    """Largest difference of means over draws `[draws, n, C]` in standard deviations of logits."""
    scale = first.mean(0).std().clamp_min(torch.finfo(first.dtype).tiny)
    apart = (first.mean(0) - second.mean(0)).abs()
    if len(first) > 1:
        error = ((first.var(0) + second.var(0)) / len(first)).sqrt()
        apart = apart.masked_fill(apart <= _SURELY * error, 0)
    return (apart.max() / scale).item()
