"""The number of a column, for one trained model of a run.

Accuracies, errors and shares are in percent. `accuracy`, `error`, `fgsm`, `pgd` and DeepFool's
distances come from the records of the run; `attack` and `distance` attack the model, once, into the
run's folder `attacks/`, where a repetition finds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from narrows.attacks import PGD, accuracy_curve
from narrows.errors import ConfigError, StoreError
from narrows.experiments.attacking import (
    LEDGER,
    AttackReport,
    attack_target,
    build_attack,
)
from narrows.experiments.reevaluation import Reevaluation, reevaluate_run
from narrows.experiments.targets import member_target
from narrows.models.bottleneck import as_classifier
from narrows.papers.ib_rar_figures import attacked_classes
from narrows.papers.vib import shot_errors
from narrows.reproduction.tables import Column
from narrows.runs import Member, Progress, Run
from narrows.runs.evaluate import encode
from narrows.runs.overrides import plain_overrides
from narrows.runs.records import AttackRecord, MemberRecord
from narrows.storage import load_tensors

__all__ = ["MEASURES", "Measured", "Source", "check_columns"]

_PERCENT = 100.0
_DIGEST = 8
# What makes slow attacks quick where only a few images are attacked, to see that everything works.
_QUICK = {
    "carlini_wagner": ["steps=3", "searches=1"],
    "fab": ["steps=3"],
    "pgd": ["steps=2"],
    "adaptive": ["steps=2"],
}
_ENSEMBLE_IMAGES = 2
_FEW_STARTS = Reevaluation(restarts=[1, 2], steps=2)


@dataclass(frozen=True)
class Source:
    """Where numbers of one run come from.

    Attributes:
        run: a complete one.
        device: where its models are attacked.
        images: largest number of images that are attacked; 0 for no limit.
        progress: where progress is shown.
        taken: which classes attacked images were taken for; one attack has the counts of a table.
    """

    run: Run
    device: str
    images: int
    progress: Progress
    taken: dict[tuple[Member, float, int], list[list[int]]] = field(default_factory=dict)

    def record(self, member: Member) -> MemberRecord:
        """What the run has measured on a model."""
        return next(r for r in self.run.records([member.method]) if r.member == member)


@dataclass(frozen=True)
class Measured:
    """A number, and how many images it was counted on; 0 for a number that is no share."""

    value: float
    images: int = 0


def _accuracy(source: Source, member: Member, column: Column) -> Measured:
    share = source.record(member).accuracy.test
    return Measured(_PERCENT * share, len(source.run.splits.test))


def _error(source: Source, member: Member, column: Column) -> Measured:
    accuracy = _accuracy(source, member, column)
    return Measured(_PERCENT - accuracy.value, accuracy.images)


def _sampled_error(source: Source, member: Member, column: Column) -> Measured:
    """Of the average of several draws; of a deterministic model, its only one."""
    sampled = source.record(member).sampled_test_accuracy
    if sampled is None:
        return _error(source, member, column)
    return Measured(_PERCENT * (1 - sampled), len(source.run.splits.test))


def _sampled_accuracy(source: Source, member: Member, column: Column) -> Measured:
    error = _sampled_error(source, member, column)
    return Measured(_PERCENT - error.value, error.images)


def _shot_error(source: Source, member: Member, column: Column) -> Measured:
    """Test error of the average of `shots` draws of a stochastic code."""
    shots = plain_overrides(column.set)["shots"]
    for error in shot_errors(source.run, source.progress):
        if (error.member, error.split, error.shots) == (member, "test", shots):
            return Measured(_PERCENT * error.error, len(source.run.splits.test))
    raise StoreError(f"the error of {shots} draws was not measured for {member}")


def _active_units(source: Source, member: Member, column: Column) -> Measured:
    """Mean number of units of the code that are not zero, on the first test images."""
    count = min(column.images, source.images or column.images)
    x = source.run.splits.test.batch(slice(0, count)).x
    latent = encode(source.run.model(member), x)
    if latent is None:
        raise StoreError(f"{member} has no code")
    return Measured((latent.mean != 0).sum(1).double().mean().item())


def _reevaluated(source: Source, member: Member, column: Column) -> Measured:
    """Accuracy under one step, or under PGD with so many starts."""
    restarts = plain_overrides(column.set).get("restarts")
    result = reevaluate_run(
        source.run,
        [member.method],
        [member.beta],
        min(column.images, source.images or column.images),
        source.device,
        source.progress,
        _FEW_STARTS if source.images else None,
    )
    wanted = min(restarts, 2) if restarts and source.images else restarts
    for row in (each.row for each in result.rows if each.member == member):
        if row.mode in (column.mode, "deterministic") and (
            (row.attack, row.eps, row.restarts) == (column.attack, column.eps, wanted)
        ):
            return Measured(_PERCENT * row.accuracy, result.images)
    raise StoreError(f"the re-evaluation of {member} has no {column.name}")


def _taken_for(source: Source, member: Member, column: Column) -> Measured:
    """Of the images of class `label` under PGD: how many are taken for `class`, of `whole`."""
    wanted = plain_overrides(column.set)
    count = column.images or len(source.run.splits.test)
    key = (member, column.eps or 0.0, min(count, source.images or count))
    if key not in source.taken:
        source.taken[key] = _taken(source, *key)
    row = source.taken[key][wanted["label"]]
    if not sum(row):
        raise StoreError(f"there is no image of class {wanted['label']}")
    return Measured(column.whole * row[wanted["class"]] / sum(row), sum(row))


def _taken(source: Source, member: Member, eps: float, images: int) -> list[list[int]]:
    """How many images of each class PGD turns into each class: `[class][taken for]`."""
    x, y = source.run.splits.test.to(source.device).batch(slice(0, images))
    victim = as_classifier(source.run.model(member).to(source.device), mode="mean")
    x_adv = PGD(eps=eps, steps=10)(victim, x, y).x_adv
    return attacked_classes(victim, x_adv, y, source.run.classes).tolist()


def _stored_attack(source: Source, member: Member, name: str, eps: float | None) -> AttackRecord:
    for attack in source.record(member).attacks or []:
        if (attack.attack, attack.eps) == (name, eps):
            return attack
    at = "" if eps is None else f" at eps = {eps:g}"
    raise StoreError(f"{source.run.path} has no record of {name}{at}")


def _fgsm(source: Source, member: Member, column: Column) -> Measured:
    return _stored_accuracy(source, member, "fgsm", column)


def _pgd(source: Source, member: Member, column: Column) -> Measured:
    return _stored_accuracy(source, member, "pgd", column)


def _stored_accuracy(source: Source, member: Member, name: str, column: Column) -> Measured:
    attack = _stored_attack(source, member, name, column.eps)
    if attack.accuracy is None:
        raise StoreError(f"{source.run.path} has no accuracy under {name}")
    return Measured(_PERCENT * attack.accuracy, attack.images)


def _deepfool_mean(source: Source, member: Member, column: Column) -> Measured:
    distance = _stored_attack(source, member, "deepfool", None).mean_distance
    if distance is None:
        raise StoreError(f"DeepFool has fooled no image of {member} in {source.run.path}")
    return Measured(distance)


def _attack(source: Source, member: Member, column: Column) -> Measured:
    report, folder = _attacked(source, member, column)
    share = report.robust_accuracy
    if column.radius is not None:
        sizes = load_tensors(folder / LEDGER)[0]["hit.size"]
        (share,) = accuracy_curve(sizes, [column.radius])
    return Measured(_PERCENT * share, report.request.images)


def _distance(source: Source, member: Member, column: Column) -> Measured:
    distance = _attacked(source, member, column)[0].median_distance
    if distance is None:
        raise StoreError(f"{column.attack} has fooled fewer than half of the images of {member}")
    return Measured(distance)


def _attacked(source: Source, member: Member, column: Column) -> tuple[AttackReport, Path]:
    run = source.run
    quick = _QUICK.get(column.attack, []) if source.images else []
    settings = [*column.set, *quick]
    attack = build_attack(column.attack, column.eps, column.norm or None, settings)
    count = column.images or len(run.splits.test)
    images = min(count, source.images or count)
    return attack_target(
        member_target(run, member).to(source.device),
        column.attack,
        attack,
        column.mode,
        images,
        attack_folder(run, member, column, images),
        source.progress,
        column.towards,
    )


def attack_folder(run: Run, member: Member, column: Column, images: int) -> Path:
    """Where an attack of a column on a model is stored.

    Args:
        run: of the model.
        member: which of its models is attacked.
        column: the attack and its arguments.
        images: number of images that are attacked.
    """
    settings = repr(replace(column, name="", unit="", tolerance=0.0, images=images))
    digest = hashlib.sha256(settings.encode()).hexdigest()[:_DIGEST]
    return run.path / "attacks" / f"{member.key}-{column.attack}-{digest}"


Measure = Callable[[Source, Member, Column], Measured]
MEASURES: dict[str, Measure] = {
    "accuracy": _accuracy,
    "error": _error,
    "sampled_accuracy": _sampled_accuracy,
    "sampled_error": _sampled_error,
    "shot_error": _shot_error,
    "active_units": _active_units,
    "reevaluated": _reevaluated,
    "taken_for": _taken_for,
    "fgsm": _fgsm,
    "pgd": _pgd,
    "deepfool_mean": _deepfool_mean,
    "attack": _attack,
    "distance": _distance,
}
"""Measures by the name that a column gives."""


def check_columns(columns: list[Column]) -> None:
    """Refuse a column with an unknown measure, before anything is trained.

    Raises:
        ConfigError: naming it.
    """
    for column in columns:
        if column.measure not in MEASURES:
            raise ConfigError(f"column {column.name}: there is no measure {column.measure!r}")
