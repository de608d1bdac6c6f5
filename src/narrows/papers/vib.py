"""Measurements for Figures 1 and 2 of the variational information bottleneck.

| measurement | of                                                  | for             |
|-------------|-----------------------------------------------------|-----------------|
| shot_errors | errors of one draw and of twelve, train and test    | Figures 1a, 1b  |
| embeddings  | posteriors of two units and the decoder around them | Figure 2        |

Source: Alemi et al. (2017), arXiv 1612.00410.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from narrows.errors import ConfigError, StoreError
from narrows.methods import METHODS
from narrows.models.bottleneck import Bottleneck, as_classifier
from narrows.models.noise import forked_rng
from narrows.papers.stored import Measurement, measured_members
from narrows.runs import Member, Progress, Run
from narrows.runs.evaluate import accuracy, encode

__all__ = ["Embedding", "ShotError", "embeddings", "shot_errors"]

_SEED = 0
_SHOTS = (1, 12)
_PICTURED = 1000
_GRID = 80
_REACH = 2.6  # standard deviations, a little more than an ellipse of 95 % has


@dataclass(frozen=True)
class ShotError(Measurement):
    """Error on `split`, from the average of `shots` draws of the code."""

    split: str
    shots: int
    error: float


@dataclass(frozen=True)
class Embedding(Measurement):
    """Posteriors of test images in the plane of two units.

    Attributes:
        mean: `[images][2]`.
        factor: `[images][4]`, the Cholesky factor of each covariance, row by row.
        label: `[images]`.
        centre: of the square that holds nearly all of every posterior.
        half: half the length of its side.
        entropy: of q(y|z) in bits on a grid over that square; the second coordinate is the inner
            loop.
    """

    mean: list[list[float]]
    factor: list[list[float]]
    label: list[int]
    centre: tuple[float, float]
    half: float
    entropy: list[float]


def shot_errors(run: Run, progress: Progress) -> list[ShotError]:
    """Error of every model on training and test data, from one draw of z and from twelve.

    Raises:
        StoreError: for a run that has no model with a variational rate.
    """
    if not any("variational_rate" in of for r in run.records() for of in r.information.values()):
        raise StoreError(f"no model of {run.path} has a variational rate; train vib")

    def errors(member: Member, model: nn.Module) -> list[ShotError]:
        rows = []
        with forked_rng(seed=_SEED):
            for split, data in (("train", run.splits.train), ("test", run.splits.test)):
                for shots in _SHOTS:
                    error = 1 - accuracy(as_classifier(model, samples=shots), data)
                    rows.append(ShotError(member, split, shots, error))
        return rows

    return measured_members(run, "shot_errors", ShotError, errors, progress)


def embeddings(run: Run, progress: Progress) -> list[Embedding]:
    """Posteriors of 1,000 test images in the plane of two units, and the decoder's entropy there.

    Models with another code are left out.

    Raises:
        ConfigError: if that is all of them.
    """
    batch = run.splits.test.batch(slice(0, _PICTURED))

    def embed(member: Member, model: nn.Module) -> list[Embedding]:
        latent = encode(model, batch.x)
        if latent is None or latent.scale is None or not isinstance(model, Bottleneck):
            return []
        if latent.mean.shape[1] != 2:
            return []
        factor = latent.scale if latent.scale.dim() == 3 else latent.scale.diag_embed()
        centre, half, entropy = _surroundings(model, latent.mean, factor)
        points = _rounded(latent.mean), _rounded(factor.flatten(1)), batch.y.tolist()
        return [Embedding(member, *points, centre, half, entropy)]

    if not any(map(partial(_may_have_plane, run), run.config.methods)):
        raise _no_plane()  # before anything is measured
    rows = measured_members(run, "embeddings", Embedding, embed, progress)
    if not rows:
        raise _no_plane()
    return rows


def _may_have_plane(run: Run, method: str) -> bool:
    network = run.config.networks[method]
    latent = network.latent or METHODS[method].latent
    return network.bottleneck == 2 and latent not in ("deterministic", "binary")


def _no_plane() -> ConfigError:
    return ConfigError(
        "embeddings are drawn of Gaussian codes of 2 units, and no model of this run has one; "
        "train with network.bottleneck=2 and a method like vib"
    )


def _surroundings(
    model: Bottleneck, mean: Tensor, factor: Tensor
) -> tuple[tuple[float, float], float, list[float]]:
    """Entropy of q(y|z) in bits over a square that holds nearly all of every posterior."""
    reach = _REACH * factor.norm(dim=2)
    low, high = (mean - reach).amin(0), (mean + reach).amax(0)
    centre, half = (low + high) / 2, (high - low).max() / 2
    steps = torch.linspace(-1, 1, _GRID)
    grid = torch.cartesian_prod(steps, steps) * half + centre
    with torch.no_grad():
        log_q = model.decoder(grid).log_softmax(1)
    entropy = -(log_q.exp() * log_q).sum(1) / math.log(2)
    x, y = _rounded(centre)
    return (x, y), half.item(), _rounded(entropy)


def _rounded(values: Tensor) -> Any:
    return (
        [_rounded(row) for row in values]
        if values.dim() > 1
        else [round(value, 4) for value in values.tolist()]
    )
