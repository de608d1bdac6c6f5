"""One attack or an ensemble on one model, with a ledger that a broken one goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_type_hints

import torch

from narrows.attacks import ATTACKS, Adaptive, Ensemble, FixedEps, Ledger, reevaluation, standard
from narrows.attacks._identity import digest as fingerprint
from narrows.attacks._suspicions import warn_of_suspicions
from narrows.errors import ConfigError, unknown_name
from narrows.experiments.identity import identity_of
from narrows.experiments.options import check_values
from narrows.experiments.overrides import parse_overrides
from narrows.experiments.progress import Progress
from narrows.experiments.store import open_run
from narrows.experiments.victims import Victim
from narrows.models.bottleneck import as_classifier, latent_mode

__all__ = ["Attacked", "attack_victim", "build_attack"]

_ENSEMBLES = {"standard": standard, "reevaluation": reevaluation}


class Attacked(NamedTuple):
    """The worst case over the attacks, and the record of it, in RobustBench's form and more."""

    ledger: Ledger
    record: dict[str, Any]
    folder: Path


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
    if name not in {**_ENSEMBLES, **single}:
        raise unknown_name("attack", name, {**_ENSEMBLES, **single})
    options: dict[str, Any] = dict(parse_overrides(overrides))
    options |= {} if norm is None else {"norm": norm}
    fixed = name in _ENSEMBLES or issubclass(single[name], FixedEps)
    if fixed and eps is None:
        raise ConfigError(f"{name} searches within a radius; give it with --eps, like --eps 0.1")
    if eps is not None:
        options["eps"] = eps
    if name in _ENSEMBLES:
        allowed = {"norm", "eps", "seed", "draws", "verify_draws", "chunk", "common_noise"}
        hints = {k: v for k, v in get_type_hints(FixedEps).items() if k in allowed}
        check_values(name, hints, options)
        return _ENSEMBLES[name](**options)
    own = {field.name for field in fields(single[name])}
    hints = {key: hint for key, hint in get_type_hints(single[name]).items() if key in own}
    check_values(name, hints, options)
    return Ensemble([(name, single[name](**options))])


def attack_victim(
    victim: Victim,
    name: str,
    attack: Ensemble,
    mode: Literal["mean", "sample"],
    images: int,
    out: Path | None,
    progress: Progress,
) -> Attacked:
    """Attack a model on its first test images; what a broken attempt has finished is kept."""
    x, y = victim.test.batch(slice(0, images))
    asked = {
        "name": victim.name,
        "data": victim.test.name,
        "attack": name,
        "settings": [repr(one) for _, one in attack.attacks],
        "mode": mode,
        "images": len(x),
        "device": str(x.device),
        "source": victim.source,
        "weights": fingerprint(x, y, victim.model),
    }
    path = out or Path("attacks") / f"{victim.test.name}-{name}-{identity_of(asked)}"
    # An adaptive attack looks for the latent, which a plain classifier does not return.
    adaptive = any(isinstance(one, Adaptive) for _, one in attack.attacks)
    model = victim.model if adaptive else as_classifier(victim.model, mode=mode)
    eps = getattr(attack.attacks[0][1], "eps", None)
    warn_of_suspicions(model, x, y, eps, attack.norm)
    devices = [x.device] if x.is_cuda else []
    with open_run(path, asked) as folder, progress.bar(name, len(attack.attacks)) as bar:
        with torch.random.fork_rng(devices), latent_mode(victim.model, mode):
            ledger = attack.run(
                model,
                x,
                y,
                path=folder.file("ledger.safetensors"),
                progress=lambda which, done, total: bar.show(done, which),
            )
        first = attack.attacks[0][1]
        record = ledger.to_robustbench(
            name=victim.name,
            eps=float("inf") if eps is None else eps,
            dataset=victim.test.name,
            draws=first.draws,
            verify_draws=first.verify_draws,
            mode=mode,
        )
        # The worst of many looks at a stochastic model is luck too; these draws picked nothing.
        with latent_mode(victim.model, mode):
            vote, single = ledger.replay(model, first.verify_draws, first.seed + 1)
        record["replayed"] = {"vote": vote, "single_draw": single}
        folder.write("record.json", {**record, "asked": asked})
    return Attacked(ledger, record, path)
