"""Several attacks one after another, each on the images that are still standing.

`standard` is AutoAttack: Croce & Hein (2020), arXiv 2003.01690, section 6: APGD on the
cross-entropy, APGD and FAB each towards 9 targets, Square with 5,000 queries.
`reevaluation` is that of Korshunova et al. (2021), arXiv 2107.05712: APGD on the cross-entropy and
on DLR, 5 restarts of 100 steps each, and MultiTargeted, 10 restarts of 200.

Deviation: with fewer than 10 classes there are fewer targets, and with fewer than the DLR losses
need (3, targeted 4) they are the margin; the log says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from narrows.attacks._base import Attack
from narrows.attacks.apgd import APGD
from narrows.attacks.fab import FAB
from narrows.attacks.ledger import Ledger
from narrows.attacks.multi_targeted import MultiTargeted
from narrows.attacks.square import Square
from narrows.errors import ConfigError
from narrows.types import AttackResult, Norm

__all__ = ["Ensemble", "Progress", "reevaluation", "standard"]

Progress = Callable[[str, int, int], None]
"""Told the name of each attack, how many are done, and of how many, before each and at the end."""


@dataclass(frozen=True)
class Ensemble:
    """The worst of several attacks, itself called like one.

    Args:
        attacks: `(name, attack)` in the order of their turns, cheap ones first. All measure in one
            norm.

    Example:
        >>> model, x, y = torch.nn.Linear(4, 3), torch.rand(8, 4), torch.zeros(8, dtype=torch.int64)
        >>> result = Ensemble([("pgd", PGD(eps=0.1)), ("square", Square(eps=0.1))])(model, x, y)
    """

    attacks: Sequence[tuple[str, Attack]]

    def __post_init__(self) -> None:
        if not self.attacks:
            raise ConfigError("an ensemble needs at least one attack, got none")
        names = [name for name, _ in self.attacks]
        if len(set(names)) < len(names):
            raise ConfigError(f"the attacks of an ensemble need different names, got {names}")
        if len(norms := {attack.norm for _, attack in self.attacks}) > 1:
            raise ConfigError(f"attacks of one ensemble measure in one norm, got {sorted(norms)}")

    @property
    def norm(self) -> Norm:
        """In which all of them measure."""
        return self.attacks[0][1].norm

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        ledger: Ledger | None = None,
        path: Path | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Attack `model` at images `x` of classes `y`; see `run` for the ledger itself."""
        return self.run(model, x, y, ledger=ledger, path=path, progress=progress).result()

    def run(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        ledger: Ledger | None = None,
        path: Path | None = None,
        progress: Progress | None = None,
    ) -> Ledger:
        """Fill a ledger; an attack that is in it already is not run again.

        Args:
            model: returns logits or a `ModelOutput`; normalises its own input.
            x: `[n, ...]` floating point images in [0, 1].
            y: `[n]` integer labels.
            ledger: to go on with, as it is changed; a new one otherwise.
            path: of a file that is gone on with if it exists, and written after each attack.
            progress: told of each attack.

        Raises:
            InputError: for images or labels that mean nothing, or a file that belongs to others.
            CheckpointError: for a damaged file.
        """
        if ledger is None:
            if path and path.exists():
                ledger = Ledger.load(path, x, y, model)
            else:
                ledger = Ledger(x, y, model, self.norm)
        for done, (name, attack) in enumerate(self.attacks):
            if progress:
                progress(name, done, len(self.attacks))
            rows = ledger.standing
            if attack in ledger or not len(rows):
                continue
            ledger.record(name, attack, attack(model, x[rows], y.to(x.device)[rows]), rows)
            if path:
                ledger.save(path)
        if progress:
            progress("", len(self.attacks), len(self.attacks))
        return ledger


def standard(norm: Norm = "linf", *, eps: float, seed: int = 0, **settings: Any) -> Ensemble:
    """AutoAttack's standard ensemble; `settings` (`draws`, `chunk`, ...) are those of every attack.

    Example:
        >>> model, x, y = torch.nn.Linear(4, 3), torch.rand(8, 4), torch.zeros(8, dtype=torch.int64)
        >>> result = standard(eps=0.1)(model, x, y)
    """
    shared: dict[str, Any] = {"norm": norm, "eps": eps, "seed": seed, **settings}
    return Ensemble(
        (
            ("apgd-ce", APGD(restarts=1, **shared)),
            ("apgd-t", APGD(restarts=1, loss="targeted_dlr", **shared)),
            ("fab-t", FAB(restarts=1, targets=9, **shared)),
            ("square", Square(queries=5000, **shared)),
        )
    )


def reevaluation(norm: Norm = "linf", *, eps: float, seed: int = 0, **settings: Any) -> Ensemble:
    """The ensemble of the re-evaluation of IB methods; `settings` are those of every attack."""
    shared: dict[str, Any] = {"norm": norm, "eps": eps, "seed": seed, **settings}
    return Ensemble(
        (
            ("apgd-ce", APGD(restarts=5, **shared)),
            ("apgd-dlr", APGD(restarts=5, loss="dlr", **shared)),
            ("multi-targeted", MultiTargeted(steps=200, restarts=10, **shared)),
        )
    )
