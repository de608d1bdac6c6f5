"""Accuracy under one step (FGSM), and under PGD with more and more restarts.

Source: Korshunova, Stutz, Alemi, Wiles & Gowal (2021), arXiv 2107.05712: Figure 1 (FGSM at eps .2,
.35 and .5, a stochastic code both drawn and at its mean), Figures 2 and 8 (PGD of 40 steps of .01
at eps .2 and .1 against the number of restarts).

Deviations: the first start of PGD is the image, all others are random points. The numbers of
restarts are one experiment: an image that was fooled after two starts stays fooled after five, and
only the other images are attacked further, from new points. Success against a drawn code is decided
by the vote of fresh draws; the paper does not say on which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from narrows.attacks import FGSM, PGD
from narrows.attacks.entrance import is_stochastic
from narrows.errors import ConfigError
from narrows.models.bottleneck import Mode, as_classifier, resting_mode
from narrows.models.evaluating import evaluating
from narrows.runs import Member, Progress, Run
from narrows.runs.engine import check_device
from narrows.runs.files import locked_folder, read_json, write_json
from narrows.runs.progress import Bar

__all__ = [
    "MemberRow",
    "Reevaluated",
    "Reevaluation",
    "Row",
    "StoredReevaluation",
    "reevaluate",
    "reevaluate_run",
]

_KIND = "re-evaluation of a model"


@dataclass(frozen=True)
class Row:
    """What one attack left of a model.

    Attributes:
        mode: `"deterministic"`, `"mean"` or `"sample"`: how the code of the model was passed on.
        attack: `"fgsm"` or `"pgd"`.
        eps: Linf radius; 0 for clean images.
        restarts: number of starts of PGD; `None` for FGSM.
        accuracy: share of images that are still classified correctly.
    """

    mode: str
    attack: str
    eps: float
    restarts: int | None
    accuracy: float


@dataclass(frozen=True)
class MemberRow:
    """A row, and the model that it is of."""

    member: Member
    row: Row


@dataclass(frozen=True)
class Reevaluation:
    """What is measured.

    Args:
        fgsm_eps: radii of the single step.
        pgd_eps: radii of PGD.
        restarts: numbers of starts after which accuracy is noted, rising.
        steps: of PGD.
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
        counts = list(self.restarts)
        if not counts or counts[0] < 1 or sorted(set(counts)) != counts:
            raise ConfigError(f"restarts must be rising numbers from 1 on, got {counts}")


@dataclass(frozen=True)
class StoredReevaluation:
    """What is stored for one model."""

    settings: Reevaluation
    images: int
    rows: list[Row]


@dataclass(frozen=True)
class Reevaluated:
    """What was measured on a run.

    Attributes:
        rows: of all its models.
        data: name of the data set.
        images: number of test images that were attacked.
    """

    rows: list[MemberRow]
    data: str
    images: int


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
    """
    rows = []
    for name, mode in _modes(model, x).items():
        victim = as_classifier(model, settings.samples if mode == "sample" else None, mode)
        for attacks in (_one_step, _restarts):
            for row in attacks(name, victim, x, y, settings):
                rows.append(row)
                on_row(row)
    return rows


def _modes(model: nn.Module, x: Tensor) -> dict[str, Mode]:
    """The modes that a model is attacked in, by the names of its rows."""
    rest, _ = resting_mode(model)
    with torch.no_grad(), evaluating(model):
        if not is_stochastic(as_classifier(model), x):
            return {"deterministic": rest}
    return {"mean": "mean", "sample": "sample"} if rest == "mean" else {"sample": "sample"}


def _one_step(
    mode: str, victim: nn.Module, x: Tensor, y: Tensor, settings: Reevaluation
) -> Iterator[Row]:
    for eps in [0.0, *settings.fgsm_eps]:
        result = FGSM(eps=eps, verify_draws=settings.verify_draws)(victim, x, y)
        yield Row(mode, "fgsm", eps, None, result.robust_accuracy)


def _restarts(
    mode: str, victim: nn.Module, x: Tensor, y: Tensor, settings: Reevaluation
) -> Iterator[Row]:
    for eps in settings.pgd_eps:
        standing, done = torch.arange(len(x), device=x.device), 0
        for total in settings.restarts:
            # PGD begins each time at the images themselves; only the first start counts that one.
            attack = PGD(
                eps=eps,
                steps=settings.steps,
                step_size=settings.step_size,
                restarts=total - done + (done > 0),
                verify_draws=settings.verify_draws,
                seed=done,
            )
            if len(standing):
                standing = standing[~attack(victim, x[standing], y[standing]).success]
            done = total
            yield Row(mode, "pgd", eps, total, len(standing) / len(x))


def reevaluate_run(
    run: Run,
    methods: Sequence[str] | None,
    betas: Sequence[float] | None,
    images: int,
    device: str,
    progress: Progress,
    settings: Reevaluation | None = None,
) -> Reevaluated:
    """Attack the models of a run, each once: its file in the folder `reevaluation` is kept.

    Args:
        run: whose models are attacked.
        methods: which of its methods; `None` for all.
        betas: which of their betas; `None` for all.
        images: number of test images, the first ones.
        device: where the models are attacked.
        progress: where progress is shown.
        settings: which attacks; `None` for those of the paper.

    Raises:
        StoreError: if the folder cannot be written, or another process is writing to it.
        ConfigError: for methods or betas that the run does not have, or data without images.
    """
    settings = settings or Reevaluation()
    check_device(device)
    members = run.require_members(methods, betas)
    if not run.splits.test.image:
        raise ConfigError(f"{run.config.data_name} has no images that could be attacked")
    x, y = run.splits.test.to(device).batch(slice(0, images))
    rows = []
    with locked_folder(run.path / "reevaluation") as folder:
        for member in members:
            path = folder / f"{member.key}.json"
            stored = read_json(path, _KIND, StoredReevaluation) if path.exists() else None
            if stored is None or (stored.settings, stored.images) != (settings, len(x)):
                measured = _reevaluate_member(run, member, x, y, settings, progress)
                write_json(path, _KIND, stored := StoredReevaluation(settings, len(x), measured))
            rows += [MemberRow(member, row) for row in stored.rows]
    return Reevaluated(rows, run.config.data_name, len(x))


def _reevaluate_member(
    run: Run, member: Member, x: Tensor, y: Tensor, settings: Reevaluation, progress: Progress
) -> list[Row]:
    model = run.model(member).to(x.device)
    per_mode = 1 + len(settings.fgsm_eps) + len(settings.pgd_eps) * len(settings.restarts)
    with progress.bar(str(member), len(_modes(model, x)) * per_mode) as bar:

        def on_row(row: Row, bar: Bar = bar) -> None:
            bar.advance()

        return reevaluate(model, x, y, settings, on_row)
