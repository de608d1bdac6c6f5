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

from narrows.attacks import FGSM, PGD, attack_each, attack_many
from narrows.attacks.entrance import is_stochastic
from narrows.errors import ConfigError
from narrows.models.bottleneck import Mode, as_classifier, resting_mode
from narrows.models.evaluating import evaluating
from narrows.models.stack import models_at_once
from narrows.runs import Member, Progress, Run
from narrows.runs.engine import check_device
from narrows.runs.files import locked_folder, read_json, write_json
from narrows.runs.progress import Bar
from narrows.runs.records import stacks_of

__all__ = [
    "MemberRow",
    "Reevaluated",
    "Reevaluation",
    "Row",
    "StoredReevaluation",
    "reevaluate",
    "reevaluate_models",
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
    (rows,) = reevaluate_models([model], x, y, settings, lambda listed: on_row(listed[0]))
    return rows


def reevaluate_models(
    models: Sequence[nn.Module],
    x: Tensor,
    y: Tensor,
    settings: Reevaluation,
    on_rows: Callable[[list[Row]], None] = lambda rows: None,
) -> list[list[Row]]:
    """`reevaluate` of many models that have the same modes, attacked together.

    Args:
        models: trained; normalise their own input.
        x: `[n, ...]` images in [0, 1].
        y: `[n]` labels.
        settings: which attacks.
        on_rows: called with a row of each model as they are measured, for progress.
    """
    measured = []
    for name, mode in _modes(models[0], x).items():
        samples = settings.samples if mode == "sample" else None
        victims = [as_classifier(model, samples, mode) for model in models]
        for attacks in (_one_step, _restarts):
            for rows in attacks(name, victims, x, y, settings):
                measured.append(rows)
                on_rows(rows)
    return [list(rows) for rows in zip(*measured, strict=True)]


def _modes(model: nn.Module, x: Tensor) -> dict[str, Mode]:
    """The modes that a model is attacked in, by the names of its rows."""
    rest, _ = resting_mode(model)
    with torch.no_grad(), evaluating(model):
        if not is_stochastic(as_classifier(model), x):
            return {"deterministic": rest}
    return {"mean": "mean", "sample": "sample"} if rest == "mean" else {"sample": "sample"}


def _one_step(
    mode: str, victims: Sequence[nn.Module], x: Tensor, y: Tensor, settings: Reevaluation
) -> Iterator[list[Row]]:
    for eps in [0.0, *settings.fgsm_eps]:
        attack = FGSM(eps=eps, verify_draws=settings.verify_draws)
        results = attack_many(victims, attack, x, y)
        yield [Row(mode, "fgsm", eps, None, result.robust_accuracy) for result in results]


def _restarts(
    mode: str, victims: Sequence[nn.Module], x: Tensor, y: Tensor, settings: Reevaluation
) -> Iterator[list[Row]]:
    for eps in settings.pgd_eps:
        standing = [torch.arange(len(x), device=x.device) for _ in victims]
        done = 0
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
            left = [index for index, rows in enumerate(standing) if len(rows)]
            if left:
                cases = [(x[standing[index]], y[standing[index]], None) for index in left]
                results = attack_each([victims[index] for index in left], attack, cases)
                for index, result in zip(left, results, strict=True):
                    standing[index] = standing[index][~result.success]
            done = total
            yield [Row(mode, "pgd", eps, total, len(rows) / len(x)) for rows in standing]


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
    with locked_folder(run.path / "reevaluation") as folder:
        known: dict[Member, StoredReevaluation] = {}
        for member in members:
            path = folder / f"{member.key}.json"
            stored = read_json(path, _KIND, StoredReevaluation) if path.exists() else None
            if stored and (stored.settings, stored.images) == (settings, len(x)):
                known[member] = stored
        pending = {member for member in members if member not in known}
        for stack in _stacks(run, members, x) if pending else ():
            if pending.isdisjoint(stack):
                continue
            for member, rows in _reevaluate_together(run, stack, x, y, settings, progress):
                if member in pending:
                    known[member] = StoredReevaluation(settings, len(x), rows)
                    write_json(folder / f"{member.key}.json", _KIND, known[member])
    rows = [MemberRow(member, row) for member in members for row in known[member].rows]
    return Reevaluated(rows, run.config.data_name, len(x))


def _stacks(run: Run, members: Sequence[Member], x: Tensor) -> Iterator[list[Member]]:
    """The members that are attacked together: those of one method and of the same modes."""

    def at_once(first: Member) -> int:
        return models_at_once(run.model(first).to(x.device), x) if run.config.stack else 1

    for stack in stacks_of(members, at_once):
        if len(stack) == 1:
            yield stack
            continue
        modes = [(_modes(run.model(member).to(x.device), x), member) for member in stack]
        while modes:
            first = modes[0][0]
            yield [member for other, member in modes if other == first]
            modes = [(other, member) for other, member in modes if other != first]


def _reevaluate_together(
    run: Run,
    stack: Sequence[Member],
    x: Tensor,
    y: Tensor,
    settings: Reevaluation,
    progress: Progress,
) -> list[tuple[Member, list[Row]]]:
    models = [run.model(member).to(x.device) for member in stack]
    modes = _modes(models[0], x)
    per_mode = 1 + len(settings.fgsm_eps) + len(settings.pgd_eps) * len(settings.restarts)
    label = str(stack[0])
    if len(stack) > 1:
        label = f"{stack[0].method}, {len(stack)} models"
    with progress.bar(label, len(models) * len(modes) * per_mode) as bar:

        def on_rows(rows: list[Row], bar: Bar = bar) -> None:
            for _ in rows:
                bar.advance()

        measured = reevaluate_models(models, x, y, settings, on_rows)
    return list(zip(stack, measured, strict=True))
