"""One step, and then more and more restarts: what is left of a robustness that was read off FGSM.

Source: Korshunova, Stutz, Alemi, Wiles & Gowal (2021), arXiv 2107.05712: Figure 1 (FGSM at eps .2,
.35 and .5, a stochastic code both drawn and at its mean), Figures 2 and 8 (PGD of 40 steps of .01
at eps .2 and .1 against the number of restarts).

Deviations: the first climb begins at the image, all others at random points. The ladder of restarts
is one experiment: an image that one rung fooled stays fooled on the next, which attacks only those
that are left, from other points. Success against a drawn code is decided by the vote of fresh
draws; the paper does not say on which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from narrows.attacks import FGSM, PGD
from narrows.attacks._entrance import is_stochastic
from narrows.data import load
from narrows.errors import ConfigError
from narrows.experiments.members import list_members, load_member
from narrows.experiments.progress import Bar, Progress
from narrows.experiments.store import Folder, read_json
from narrows.models.bottleneck import Mode, as_classifier, resting_mode
from narrows.models.evaluating import evaluating

__all__ = ["Found", "Reevaluation", "reevaluate", "reevaluate_run"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Reevaluation:
    """What is measured.

    Args:
        fgsm_eps: radii of the single step.
        pgd_eps: radii of the climbs with restarts.
        restarts: rungs of the ladder, counted in climbs, rising.
        steps: of a climb.
        step_size: of one, in units of the [0, 1] image range.
        samples: draws of a stochastic code that are averaged in a pass.
        verify_draws: such passes that decide on success.
    """

    fgsm_eps: list[float] = field(default_factory=lambda: [0.2, 0.35, 0.5])
    pgd_eps: list[float] = field(default_factory=lambda: [0.1, 0.2])
    restarts: list[int] = field(default_factory=lambda: [1, 2, 5, 10, 20, 50])
    steps: int = 40
    step_size: float = 0.01
    samples: int = 12
    verify_draws: int = 20

    def __post_init__(self) -> None:
        rungs = list(self.restarts)
        if not rungs or rungs[0] < 1 or sorted(set(rungs)) != rungs:
            raise ConfigError(f"restarts must be rising numbers from 1 on, got {rungs}")


def reevaluate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    settings: Reevaluation,
    on_row: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Attack a model in every mode that it has.

    Args:
        model: trained; normalises its own input.
        x: `[n, ...]` images in [0, 1].
        y: `[n]` labels.
        settings: which attacks.
        on_row: called with each row as it is measured, for progress.

    Returns:
        Rows with `mode`, `attack`, `eps`, `restarts` (None for FGSM) and `accuracy`.
    """
    rows = []
    for named, mode in _modes(model, x).items():
        victim = as_classifier(model, settings.samples if mode == "sample" else None, mode)
        for row in [*_one_step(victim, x, y, settings), *_ladders(victim, x, y, settings)]:
            rows.append({"mode": named, **row})
            on_row(rows[-1])
    return rows


def _modes(model: nn.Module, x: Tensor) -> dict[str, Mode]:
    """The modes that a model is attacked in, by the names of its rows."""
    rest, _ = resting_mode(model)
    with torch.no_grad(), evaluating(model):
        if not is_stochastic(as_classifier(model), x):
            return {"deterministic": rest}
    return {"mean": "mean", "sample": "sample"} if rest == "mean" else {"sample": "sample"}


def _one_step(victim: nn.Module, x: Tensor, y: Tensor, settings: Reevaluation) -> Sequence[Row]:
    found = []
    for eps in [0.0, *settings.fgsm_eps]:
        result = FGSM(eps=eps, verify_draws=settings.verify_draws)(victim, x, y)
        about = {"attack": "fgsm", "eps": eps, "restarts": None}
        found.append({**about, "accuracy": result.robust_accuracy})
    return found


def _ladders(victim: nn.Module, x: Tensor, y: Tensor, settings: Reevaluation) -> Sequence[Row]:
    found = []
    for eps in settings.pgd_eps:
        left, done = torch.arange(len(x), device=x.device), 0
        for total in settings.restarts:
            # Each rung climbs from the images too, since PGD does; only the first one counts it.
            more = total - done + (done > 0)
            attack = PGD(
                eps=eps,
                steps=settings.steps,
                step_size=settings.step_size,
                restarts=more,
                verify_draws=settings.verify_draws,
                seed=done,
            )
            if len(left):
                left = left[~attack(victim, x[left], y[left]).success]
            done = total
            about = {"attack": "pgd", "eps": eps, "restarts": total}
            found.append({**about, "accuracy": len(left) / len(x)})
    return found


class Found(NamedTuple):
    """What was measured on a run: the rows of all its models, with method, beta and seed."""

    rows: list[Row]
    data: str
    images: int


def reevaluate_run(
    folder: Path,
    methods: Sequence[str] | None,
    betas: Sequence[float] | None,
    images: int,
    device: str,
    progress: Progress,
    settings: Reevaluation | None = None,
) -> Found:
    """Attack the models of a run's folder, each once: its file in `reevaluation/` is kept.

    Raises:
        StoreError: if the folder is not one of a run, or cannot be written.
        ConfigError: for methods or betas that the run does not have.
    """
    settings = settings or Reevaluation()
    listed = list_members(folder, methods, betas)
    config = read_json(folder / "config.json")
    test = load(config["data"], validation_share=config["validation_share"]).test
    x, y = test.to(device).batch(slice(0, images))
    store = Folder(folder / "reevaluation")
    asked = {**asdict(settings), "images": len(x)}
    rows = []
    for method, beta, seed in listed:
        name = f"{method}-{beta:g}-{seed}.json"
        kept = store.read(name) if store.file(name).exists() else None
        if kept is None or kept["settings"] != asked:
            model = load_member(folder, method, beta, seed).to(device)
            count = len(_modes(model, x)) * _rows(settings)
            with progress.bar(f"{method}, beta {beta:g}, seed {seed}", count) as bar:

                def show(row: Row, bar: Bar = bar) -> None:
                    bar.advance()

                found = reevaluate(model, x, y, settings, show)
            kept = {"settings": asked, "rows": found}
            store.write(name, kept)
        rows += [{"method": method, "beta": beta, "seed": seed, **row} for row in kept["rows"]]
    return Found(rows, config["data"], len(x))


def _rows(settings: Reevaluation) -> int:
    """Rows of one mode."""
    ladders = len(settings.pgd_eps) * len(settings.restarts)
    return 1 + len(settings.fgsm_eps) + ladders
