"""One attack or an ensemble on one model, with a ledger from which a broken one continues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_type_hints

import torch
from torch import Tensor, nn

from narrows.attacks import (
    ATTACKS,
    Adaptive,
    Attack,
    Ensemble,
    FixedEps,
    Ledger,
    TrainingLoss,
    reevaluation,
    standard,
    target_classes,
)
from narrows.attacks.entrance import first_look
from narrows.attacks.identity import digest as fingerprint
from narrows.attacks.ledger import Entry, RobustBenchEntry
from narrows.attacks.query import frozen
from narrows.attacks.suspicions import warn_of_suspicions
from narrows.checks import check_logits
from narrows.errors import ConfigError, unknown_name
from narrows.experiments.folders import request_folder
from narrows.experiments.targets import Target
from narrows.models.bottleneck import as_classifier, latent_mode
from narrows.models.noise import forked_rng
from narrows.runs import Progress
from narrows.runs.files import write_json
from narrows.runs.options import check_values
from narrows.runs.overrides import plain_overrides, refuse_repeated
from narrows.storage import json_finite

__all__ = ["ENSEMBLES", "LEDGER", "AttackReport", "AttackRequest", "attack_target", "build_attack"]

ENSEMBLES = {"standard": standard, "reevaluation": reevaluation}
_SHARED = {"norm", "eps", "seed", "draws", "verify_draws", "chunk", "common_noise"}
_REPORT = "record.json"
LEDGER = "ledger.safetensors"
"""Name of the file of all attempts in the folder of an attack."""
_FIRST_IMAGES = 8
_METHOD = "method"
_FOOTNOTE = "targeted ({}): accuracies are shares of images that do not reach their target"


@dataclass(frozen=True)
class AttackRequest:
    """Everything that the result of `narrows attack` depends on.

    Attributes:
        name: of the model.
        data: name of the data set.
        attack: as it was named.
        settings: each attack with its arguments.
        mode: whether a stochastic code was drawn or decoded at its mean.
        images: number of images.
        device: where it was computed.
        source: SHA-256 of the file that a user's model came from.
        weights: SHA-256 of images, labels and weights.
        towards: how the classes to reach were chosen; empty where any wrong class counts.
    """

    name: str
    data: str
    attack: str
    settings: list[str]
    mode: str
    images: int
    device: str
    source: str
    weights: str
    towards: str = ""


@dataclass(frozen=True)
class AttackReport:
    """The worst case over the attacks of a request.

    Towards target classes every accuracy is a share of images that do not have their target's
    label: without an attack, or under the worst.

    Attributes:
        request: what was attacked, and how.
        norm: in which `eps` is measured.
        eps: radius; `None` where the smallest perturbation was looked for.
        clean_accuracy: without an attack.
        robust_accuracy: what is left; for a stochastic model by the vote of `verify_draws` draws.
        interval: of 95 %, of that share as an estimate for all images of the kind.
        single_draw_accuracy: expected accuracy of one draw.
        replayed_vote: robust accuracy once more, on new draws that did not select the images.
        replayed_single_draw: likewise, of one draw.
        verify_draws: number of draws that decide on success.
        median_distance: of the perturbations; `None` if fewer than half of the images were fooled.
        attacks: one entry for each attack.
        robustbench: the same in the form of RobustBench, extended by what the noise means.
    """

    request: AttackRequest
    norm: str
    eps: float | None
    clean_accuracy: float
    robust_accuracy: float
    interval: tuple[float, float]
    single_draw_accuracy: float
    replayed_vote: float
    replayed_single_draw: float
    verify_draws: int
    median_distance: float | None
    attacks: list[Entry]
    robustbench: RobustBenchEntry


def build_attack(
    name: str, eps: float | None, norm: str | None, overrides: Sequence[str] = ()
) -> Ensemble:
    """An ensemble by its name, or one attack as an ensemble of its own.

    Args:
        name: `standard`, `reevaluation`, or one in `ATTACKS`.
        eps: radius, for those that have one.
        norm: `None` for the attack's own.
        overrides: further arguments, as `key=value`.

    Raises:
        ConfigError: for an unknown name or argument, a value of another type or out of range, or a
            radius that is missing.
    """
    single = {name: kind for name, kind in ATTACKS.items() if name != "backend"}
    if name not in {**ENSEMBLES, **single}:
        raise unknown_name("attack", name, {**ENSEMBLES, **single})
    options = plain_overrides(overrides)
    given = {key: value for key, value in {"eps": eps, "norm": norm}.items() if value is not None}
    refuse_repeated(given, options)
    options |= given
    eps = options.get("eps")
    fixed = name in ENSEMBLES or issubclass(single[name], FixedEps)
    if fixed and eps is None:
        raise ConfigError(f"{name} searches within a radius; give it with --eps, like --eps 0.1")
    if name in ENSEMBLES:
        hints = {key: hint for key, hint in get_type_hints(FixedEps).items() if key in _SHARED}
        check_values(name, hints, options)
        return ENSEMBLES[name](**options)
    declared = {field.name for field in fields(single[name])}
    hints = {key: hint for key, hint in get_type_hints(single[name]).items() if key in declared}
    check_values(name, hints, options)
    return Ensemble([(name, single[name](**options))])


def attack_target(
    target: Target,
    name: str,
    attack: Ensemble,
    mode: Literal["mean", "sample"],
    images: int,
    out: Path | None,
    progress: Progress,
    towards: str = "",
) -> tuple[AttackReport, Path]:
    """Attack a model on its first test images; what a broken attempt has finished is kept.

    Args:
        target: the model and its test set.
        name: of the attack, for the request and the folder.
        attack: one attack, or several.
        mode: whether a stochastic code is drawn or decoded at its mean.
        images: number of test images, the first ones.
        out: folder of the result; `None` for one below `attacks/`.
        progress: where progress is shown.
        towards: a class to reach, or how it is chosen; see `target_classes`. Images of the class
            itself are left out. Empty where any wrong class counts.

    Returns:
        The report, and the folder that holds it and the ledger.
    """
    attack = _with_training_loss(attack, target)
    x, y = target.test.batch(slice(0, images))
    x, y, goal = _with_targets(target, x, y, mode, towards, attack.attacks[0][1])
    request = AttackRequest(
        name=target.name,
        data=target.test.name,
        attack=name,
        settings=[repr(part) for _, part in attack.attacks],
        mode=mode,
        images=len(x),
        device=str(x.device),
        source=target.source,
        weights=fingerprint(x, y, target.model, goal),
        towards=towards,
    )
    # An adaptive attack needs the latent, which a plain classifier does not return.
    adaptive = any(isinstance(part, Adaptive) for _, part in attack.attacks)
    model = target.model if adaptive else as_classifier(target.model, mode=mode)
    first = attack.attacks[0][1]
    eps: float | None = getattr(first, "eps", None)
    check_classifier(model, x)
    warn_of_suspicions(model, x, y, eps, attack.norm)
    prefix = f"attacks/{target.test.name}-{name}"
    with request_folder(request, out, prefix, request.device, _REPORT, progress) as folder:
        with (
            progress.bar(name, len(attack.attacks)) as bar,
            forked_rng(x.device),
            latent_mode(target.model, mode),
        ):
            ledger = attack.run(
                model,
                x,
                y,
                goal,
                path=folder / LEDGER,
                progress=lambda which, done, total: bar.show(done, which),
            )
        # Draws of a stochastic model may have selected the worst images; new ones have not.
        with latent_mode(target.model, mode):
            replayed = ledger.replay(model, first.verify_draws, first.seed + 1)
        report = _report(request, ledger, attack, eps, replayed)
        write_json(folder / _REPORT, "report of an attack", report)
    return report, folder


def _with_targets(
    target: Target,
    x: Tensor,
    y: Tensor,
    mode: Literal["mean", "sample"],
    towards: str,
    first: Attack,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The images that can be attacked, their labels, and the classes to reach if there are any."""
    if not towards:
        return x, y, None
    choice = int(towards) if towards.isdecimal() else towards
    others = y != choice if isinstance(choice, int) else torch.ones_like(y, dtype=torch.bool)
    if not others.any():
        raise ConfigError(f"all {len(y)} images are of class {towards} already")
    x, y = x[others], y[others]
    model = as_classifier(target.model, mode=mode)
    with latent_mode(target.model, mode):
        goal = target_classes(model, x, y, choice, draws=first.verify_draws, seed=first.seed)
    return x, y, goal


def _with_training_loss(attack: Ensemble, target: Target) -> Ensemble:
    """Give adaptive attacks on the training loss the method that the model was trained with."""
    if not any(getattr(part, "objective", None) == _METHOD for _, part in attack.attacks):
        return attack
    if target.run is None or target.member is None:
        raise ConfigError(
            "objective=method is the training loss of a model in a run, and this one is not"
        )
    loss = TrainingLoss(target.run.method(target.member).to(target.test.x.device))
    parts = [
        (name, replace(part, objective=loss))
        if isinstance(part, Adaptive) and part.objective == _METHOD
        else (name, part)
        for name, part in attack.attacks
    ]
    return replace(attack, attacks=parts)


def check_classifier(model: nn.Module, x: Tensor) -> None:
    """Refuse a model that does not return logits for each of a few images.

    Raises:
        InputError: saying what it returned.
    """
    images = x[:_FIRST_IMAGES]
    with torch.no_grad(), forked_rng(x.device), frozen(model):
        check_logits(first_look(model, images.clone()), len(images))


def _report(
    request: AttackRequest,
    ledger: Ledger,
    attack: Ensemble,
    eps: float | None,
    replayed: tuple[float, float],
) -> AttackReport:
    first = attack.attacks[0][1]
    robustbench = ledger.to_robustbench(
        name=request.name,
        eps=float("inf") if eps is None else eps,
        dataset=request.data,
        draws=first.draws,
        verify_draws=first.verify_draws,
        mode=request.mode,
        footnote=_FOOTNOTE.format(request.towards) if request.towards else "",
    )
    return AttackReport(
        request=request,
        norm=attack.norm,
        eps=eps,
        clean_accuracy=ledger.clean_accuracy,
        robust_accuracy=ledger.robust_accuracy if eps is None else ledger.accuracy_at(eps),
        interval=ledger.interval,
        single_draw_accuracy=ledger.single_draw_accuracy,
        replayed_vote=replayed[0],
        replayed_single_draw=replayed[1],
        verify_draws=first.verify_draws,
        median_distance=json_finite(ledger.distance.median().item()),
        attacks=list(ledger.entries),
        robustbench=robustbench,
    )
