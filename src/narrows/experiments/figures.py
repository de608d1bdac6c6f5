"""What the figures of the papers need beyond the records of a run, measured on its trained models.

| measurement | of                                                  | for                 |
|-------------|-----------------------------------------------------|---------------------|
| exact_curve | I(X;Z), I(Z;Y) over all twelve-bit patterns         | AIB, Figure 4A      |
| shot_errors | errors of one draw and of twelve, train and test    | VIB, Figures 1a, 1b |
| embeddings  | posteriors of two units and the decoder around them | VIB, Figure 2       |

Each is written to the run's folder, `figures/<measurement>.json`, and not repeated. Nothing is
chosen here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from narrows.data import load
from narrows.data.twelve_bit import joint, patterns
from narrows.errors import ConfigError
from narrows.experiments.config import load_config
from narrows.experiments.evaluate import accuracy, encode
from narrows.experiments.members import list_members, load_member
from narrows.experiments.progress import Progress
from narrows.experiments.store import Folder, read_json
from narrows.information import posterior_information
from narrows.models.bottleneck import Bottleneck, as_classifier
from narrows.types import Latent

__all__ = ["embeddings", "exact_curve", "shot_errors"]

_SEED = 0
_SHOTS = (1, 12)
_PICTURED = 1000
_GRID = 80
_REACH = 2.6  # standard deviations, a little more than an ellipse of 95 % has
Row = dict[str, Any]


def exact_curve(folder: Path, progress: Progress) -> list[Row]:
    """Each latent's place in the information plane of all twelve-bit patterns, in bits.

    Labels are soft, with I(X;Y) = 0.99 bits: for hard ones the exact curve is two straight lines. A
    deterministic code is measured after Gaussian noise of the run's `evaluate.noise_std`.

    Raises:
        ConfigError: for a run on other data, or without a latent.
        InputError: for a latent with full covariance.
    """
    config = load_config(values=read_json(folder / "config.json"))
    if config.data != "twelve-bit":
        raise ConfigError(f"the exact curve is known for twelve-bit data only, not {config.data}")
    p_xy = joint()
    p_yx = p_xy / p_xy.sum(1, keepdim=True)

    def place(model: nn.Module) -> Row:
        latent = _latent(model, patterns())
        scale = config.evaluate.noise_std if latent.scale is None else latent.scale
        generator = torch.Generator().manual_seed(_SEED)
        found = posterior_information(latent.mean, scale, p_yx, generator=generator)
        rate, relevance = found
        error = max(one.std_error for one in found) / math.log(2)
        return {"rate": rate.bits, "relevance": relevance.bits, "error": error}

    return _of_members(folder, "exact_curve", lambda model: [place(model)], progress)


def shot_errors(folder: Path, progress: Progress) -> list[Row]:
    """Error of every model on training and test data, from one draw of z and from twelve."""
    config = load_config(values=read_json(folder / "config.json"))
    splits = load(config.data, validation_share=config.validation_share)

    def errors(model: nn.Module) -> list[Row]:
        found = []
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(_SEED)
            for name, data in (("train", splits.train), ("test", splits.test)):
                for shots in _SHOTS:
                    error = 1 - accuracy(as_classifier(model, samples=shots), data)
                    found.append({"split": name, "shots": shots, "error": error})
        return found

    return _of_members(folder, "shot_errors", errors, progress)


def embeddings(folder: Path, progress: Progress) -> list[Row]:
    """Posteriors of 1,000 test images in the plane of two units, and the decoder's entropy there.

    Models with another code are left out.

    Raises:
        ConfigError: if that is all of them.
    """
    config = load_config(values=read_json(folder / "config.json"))
    batch = load(config.data, validation_share=config.validation_share).test.batch(
        slice(0, _PICTURED)
    )

    def embed(model: nn.Module) -> list[Row]:
        latent = encode(model, batch.x)
        if latent is None or latent.scale is None or not isinstance(model, Bottleneck):
            return []
        if latent.mean.shape[1] != 2:
            return []
        factor = latent.scale if latent.scale.dim() == 3 else latent.scale.diag_embed()
        row = {"mean": _rounded(latent.mean), "factor": _rounded(factor.flatten(1))}
        return [row | {"label": batch.y.tolist()} | _surroundings(model, latent.mean, factor)]

    rows = _of_members(folder, "embeddings", embed, progress)
    if not rows:
        raise ConfigError(
            "embeddings are drawn of Gaussian codes of 2 units, and no model of this run has one; "
            "train with network.bottleneck=2 and a method like vib"
        )
    return rows


def _surroundings(model: Bottleneck, mean: Tensor, factor: Tensor) -> Row:
    """Entropy of q(y|z) in bits over a square that holds nearly all of every posterior."""
    reach = _REACH * factor.norm(dim=2)
    low, high = (mean - reach).amin(0), (mean + reach).amax(0)
    centre, half = (low + high) / 2, (high - low).max() / 2
    steps = torch.linspace(-1, 1, _GRID)
    grid = torch.cartesian_prod(steps, steps) * half + centre
    with torch.no_grad():
        log_q = model.decoder(grid).log_softmax(1)
    entropy = -(log_q.exp() * log_q).sum(1) / math.log(2)
    return {"centre": _rounded(centre), "half": half.item(), "entropy": _rounded(entropy)}


def _of_members(
    folder: Path, name: str, measure: Callable[[nn.Module], list[Row]], progress: Progress
) -> list[Row]:
    """The rows of every trained model of a run; read back where they were measured before."""
    kept = Folder(folder).sub("figures")
    if kept.file(f"{name}.json").exists():
        return kept.read(f"{name}.json")
    rows = []
    members = list_members(folder)
    with progress.bar(name.replace("_", " "), len(members)) as bar:
        for method, beta, seed in members:
            about = {"method": method, "beta": beta, "seed": seed}
            rows += [about | row for row in measure(load_member(folder, method, beta, seed))]
            bar.advance()
    kept.write(f"{name}.json", rows)
    return rows


def _latent(model: nn.Module, x: Tensor) -> Latent:
    latent = encode(model, x)
    if latent is None:
        raise ConfigError("this figure is of latents, and a model of this run has none")
    return latent


def _rounded(values: Tensor) -> Any:
    return (
        [_rounded(row) for row in values]
        if values.dim() > 1
        else [round(value, 4) for value in values.tolist()]
    )
