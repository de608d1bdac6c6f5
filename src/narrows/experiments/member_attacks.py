"""Attacks on all models of a finished run, stored model by model; nothing is trained for them.

RUN/attacks/<name>-<hash>/<model>.json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from narrows.attacks import ATTACKS, Attack, attack_many
from narrows.errors import ConfigError, unknown_name
from narrows.experiments.attacking import build_attack
from narrows.models.bottleneck import as_classifier, resting_mode
from narrows.models.stack import models_at_once
from narrows.runs import Member, Progress, Run
from narrows.runs.environment import record_environment
from narrows.runs.files import locked_folder, make_folder, read_json, write_json
from narrows.runs.identity import identity_of
from narrows.runs.records import AttackRecord, stacks_of

__all__ = ["AttackPlan", "MemberAttack", "attack_run", "plan_attacks", "read_attacks"]

_KIND = "attack on a model"
_IMAGES = 1000


@dataclass(frozen=True)
class AttackPlan:
    """One attack of a sweep.

    Attributes:
        name: of the attack, which names its folder.
        settings: the attack with its arguments, in words.
        images: number of test images, the first ones.
        mode: whether a stochastic code is drawn or decoded at its mean.
    """

    name: str
    settings: str
    images: int
    mode: str

    @property
    def folder(self) -> str:
        """Name of the folder of its results, inside that of the run."""
        return f"attacks/{self.name}-{identity_of(self)}"


@dataclass(frozen=True)
class MemberAttack:
    """What one attack left of one model."""

    plan: AttackPlan
    member: Member
    record: AttackRecord


def plan_attacks(
    named: Mapping[str, Mapping[str, Any]],
) -> list[tuple[AttackPlan, Attack]]:
    """The attacks that a grid names, each radius by itself.

    Args:
        named: the arguments of each attack by its name: `eps` (a number or a list), `norm`,
            `images`, `mode`, and those of the attack itself.

    Raises:
        ConfigError: for an unknown attack or argument, or a radius that is missing.
    """
    planned = []
    for name, settings in named.items():
        if name not in ATTACKS or name == "backend":
            raise unknown_name("attack", name, [key for key in ATTACKS if key != "backend"])
        if not isinstance(settings, Mapping):
            raise ConfigError(f"attacks.{name} must be a table of settings, got {settings!r}")
        options = dict(settings)
        radii = options.pop("eps", None)
        norm, mode = options.pop("norm", None), options.pop("mode", "mean")
        images = options.pop("images", _IMAGES)
        if mode not in ("mean", "sample"):
            raise ConfigError(f"attacks.{name}.mode must be mean or sample, got {mode!r}")
        if not isinstance(images, int) or images < 1:
            raise ConfigError(f"attacks.{name}.images must be at least 1, got {images!r}")
        for eps in radii if isinstance(radii, list) else [radii]:
            overrides = [f"{key}={value}" for key, value in options.items()]
            ((_, attack),) = build_attack(name, eps, norm, overrides).attacks
            planned.append((AttackPlan(name, repr(attack), images, mode), attack))
    return planned


def attack_run(
    run: Run,
    attacks: Sequence[tuple[AttackPlan, Attack]],
    progress: Progress | None = None,
) -> list[MemberAttack]:
    """Attack every trained model of a run; what is stored is read and not repeated.

    Args:
        run: whose models are attacked, on the device of its configuration.
        attacks: from `plan_attacks`.
        progress: where progress is shown.

    Raises:
        ConfigError: for data without images.
        StoreError: for a run that is not finished, or that another process writes to.
    """
    if not attacks:
        return []
    members = run.members()
    if not run.splits.test.image:
        raise ConfigError(f"{run.config.data_name} has no images in [0, 1] that could be attacked")
    progress = progress or Progress()
    with locked_folder(run.path):
        places = [_file(run.path / plan.folder, m) for plan, _ in attacks for m in members]
        finished = all(place.exists() for place in places)
        record_environment(run.path, run.config.device, progress, finished=finished)
        for plan, attack in attacks:
            folder = make_folder(run.path / plan.folder)
            pending = {member for member in members if not _file(folder, member).exists()}
            label = f"{plan.name}{'' if (e := getattr(attack, 'eps', None)) is None else f' {e:g}'}"
            with progress.bar(f"{run.path.name}: {label}", len(members)) as bar:
                bar.show(len(members) - len(pending), "")
                for done in _attack_stacks(run, plan, attack, pending):
                    write_json(_file(folder, done.member), _KIND, done)
                    bar.advance()
    return read_attacks(run, [plan for plan, _ in attacks])


def read_attacks(run: Run, plans: Sequence[AttackPlan]) -> list[MemberAttack]:
    """What `attack_run` has stored.

    Raises:
        StoreError: for a missing or damaged file.
    """
    return [
        read_json(_file(run.path / plan.folder, member), _KIND, MemberAttack)
        for plan in plans
        for member in run.members()
    ]


def _attack_stacks(
    run: Run, plan: AttackPlan, attack: Attack, pending: Set[Member]
) -> Iterator[MemberAttack]:
    """Attack the pending models, in the stacks that all models of the run form."""
    x, y = (part.to(run.config.device) for part in run.splits.test.batch(slice(0, plan.images)))

    def at_once(first: Member) -> int:
        return models_at_once(run.model(first).to(x.device), x) if run.config.stack else 1

    for stack in stacks_of(run.members(), at_once) if pending else ():
        if not pending.isdisjoint(stack):
            done = _attack_together(run, plan, attack, stack, x, y)
            yield from (each for each in done if each.member in pending)


def _attack_together(
    run: Run, plan: AttackPlan, attack: Attack, stack: Sequence[Member], x: Tensor, y: Tensor
) -> list[MemberAttack]:
    models = [run.model(member).to(x.device) for member in stack]
    first = models[0]
    mode = "sample" if resting_mode(first)[0] == "sample" or plan.mode == "sample" else "mean"
    samples = run.config.evaluate.samples if mode == "sample" else None
    victims = [as_classifier(model, samples, mode) for model in models]
    done = []
    for member, result in zip(stack, attack_many(victims, attack, x, y), strict=True):
        distances = result.distance[torch.isfinite(result.distance)]
        eps = getattr(attack, "eps", None)
        record = AttackRecord(
            attack=plan.name,
            norm=attack.norm,
            eps=eps,
            accuracy=None if eps is None else result.robust_accuracy,
            mean_distance=distances.mean().item() if len(distances) else None,
            median_distance=distances.median().item() if len(distances) else None,
            images=len(x),
            mode=mode,
            draws=attack.draws,
            forwards=result.forwards,
            backwards=result.backwards,
        )
        done.append(MemberAttack(plan, member, record))
    return done


def _file(folder: Path, member: Member) -> Path:
    return folder / f"{member.key}.json"
