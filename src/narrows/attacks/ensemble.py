"""Ensembles of attacks: each attacks the images that no earlier one has fooled."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from narrows.attacks._base import Attack
from narrows.attacks._judge import confirmed
from narrows.attacks.apgd import APGD
from narrows.attacks.entrance import check_case
from narrows.attacks.fab import FAB
from narrows.attacks.ledger import Ledger
from narrows.attacks.multi_targeted import MultiTargeted
from narrows.attacks.pgd import PGD
from narrows.attacks.sparse_rs import SparseRS
from narrows.attacks.square import Square
from narrows.checks import ArrayLike, check_path
from narrows.errors import ConfigError
from narrows.types import AttackResult, Norm

__all__ = ["Ensemble", "Progress", "reevaluation", "standard"]

Progress = Callable[[str, int, int], None]
"""Called before each attack and at the end with its name, the number done, and the total."""


@dataclass(frozen=True)
class Ensemble:
    """The worst case over several attacks, itself called like an attack.

        an image is robust  =  every attack fails on it

    Each attack is run only on the images that no earlier one has fooled. `run` returns the `Ledger`
    with the worst attempt at each image; a call returns that as one `AttackResult`.

    Source: Croce & Hein (2020), arXiv 2003.01690, section 6. `standard` and `reevaluation` are the
    ensembles of papers.

    Args:
        attacks: `(name, attack)` in the order in which they run, cheap ones first. All measure in
            one norm.

    Example:
        >>> import torch
        >>> from narrows.attacks import PGD
        >>> model, x, y = torch.nn.Linear(4, 3), torch.rand(8, 4), torch.zeros(8, dtype=torch.int64)
        >>> result = Ensemble([("pgd", PGD(eps=0.1)), ("square", Square(eps=0.1))])(model, x, y)
    """

    attacks: Sequence[tuple[str, Attack]]

    def __post_init__(self) -> None:
        for item in self.attacks:
            if not (isinstance(item, Sequence) and len(item) == 2 and isinstance(item[1], Attack)):
                raise ConfigError(f"an ensemble takes pairs of a name and an attack, got {item!r}")
        if not self.attacks:
            raise ConfigError("an ensemble needs at least one attack, got none")
        names = [name for name, _ in self.attacks]
        if len(set(names)) < len(names):
            raise ConfigError(f"the attacks of an ensemble need different names, got {names}")
        if len(norms := {attack.norm for _, attack in self.attacks}) > 1:
            raise ConfigError(
                f"the attacks of an ensemble must measure in the same norm, got {sorted(norms)}"
            )

    @property
    def norm(self) -> Norm:
        """The norm that all attacks measure in."""
        return self.attacks[0][1].norm

    @property
    def eps(self) -> float | None:
        """Radius within which a success counts: the largest of the attacks; `None` if none has one.

        It also applies to the successes of attacks that have no radius.
        """
        radii = [getattr(attack, "eps", None) for _, attack in self.attacks]
        return max((eps for eps in radii if eps is not None), default=None)

    def __call__(
        self,
        model: nn.Module,
        x: ArrayLike,
        y: ArrayLike,
        target: ArrayLike | None = None,
        *,
        ledger: Ledger | None = None,
        path: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Attack `model` at images `x` of classes `y`; see `run` for the ledger itself.

        Args:
            model: as in `run`, like the other arguments.
            x: `[n, ...]` floating point images in [0, 1].
            y: `[n]` integer labels.
            target: `[n]` classes to reach; success then means just that.
            ledger: to continue.
            path: of the ledger's file.
            progress: called before each attack.
        """
        return self.run(model, x, y, target, ledger=ledger, path=path, progress=progress).result()

    def run(
        self,
        model: nn.Module,
        x: ArrayLike,
        y: ArrayLike,
        target: ArrayLike | None = None,
        *,
        ledger: Ledger | None = None,
        path: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> Ledger:
        """Fill a ledger; an attack that is in it already is not run again.

        A success against a stochastic model counts only if ten times as many fresh draws as it was
        judged on confirm it, because the worst of several attacks may be a matter of luck.

        Args:
            model: returns logits or a `ModelOutput`; normalises its own input.
            x: `[n, ...]` floating point images in [0, 1].
            y: `[n]` integer labels.
            target: `[n]` classes to reach; success then means just that.
            ledger: to continue, which changes it; `None` for a new one.
            path: of a file, which is continued if it exists, and written after each attack.
            progress: called before each attack.

        Returns:
            The ledger with the verdicts within this ensemble's radius. Attempts that it holds from
            larger radii count only if they lie within it.

        Raises:
            InputError: for images or labels that do not fit, or a ledger that belongs to others.
            CheckpointError: for a damaged file.
        """
        file = None if path is None else check_path(path)
        x, y, target = check_case(x, y, target, model)
        ledger = self._ledger(ledger, file, model, x, y, target)
        ledger.check_norm(self.norm, self.attacks[0][0])
        ledger.eps = self.eps
        for done, (name, attack) in enumerate(self.attacks):
            if progress:
                progress(name, done, len(self.attacks))
            rows = ledger.standing
            if attack in ledger or not len(rows):
                continue
            goal = None if target is None else target[rows]
            result = confirmed(
                model,
                attack(model, x[rows], y[rows], goal),
                y[rows] if goal is None else goal,
                targeted=goal is not None,
                verify_draws=attack.verify_draws,
                seed=attack.seed + 1 + len(ledger.entries),
            )
            ledger.record(name, attack, result, rows)
            if file:
                ledger.save(file)
        if progress:
            progress("", len(self.attacks), len(self.attacks))
        return ledger

    def _ledger(
        self,
        ledger: Ledger | None,
        file: Path | None,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        target: Tensor | None,
    ) -> Ledger:
        """The ledger to continue, if it belongs to the model and the images, or a new one."""
        if ledger is not None:
            ledger.require(model, x, y, target, "the ledger that was passed")
            return ledger
        if file and file.exists():
            return Ledger.load(file, x, y, model, target=target)
        return Ledger(x, y, model, self.norm, target=target)


def standard(norm: Norm = "linf", *, eps: float, seed: int = 0, **settings: Any) -> Ensemble:
    """AutoAttack's standard ensemble of four attacks.

        APGD on the cross-entropy -> APGD towards 9 targets -> FAB towards 9 targets -> Square

    APGD and FAB take 100 steps of one restart, Square 5,000 queries. With L1 APGD takes 5 restarts
    on the cross-entropy, and heads for 5 targets. AutoAttack has no ensemble for L0. There it is

        PGD on the cross-entropy -> MultiTargeted -> Sparse-RS

    with 100 steps of 5 restarts, 100 steps of one restart, and 5,000 queries.

    Source: Croce & Hein (2020), arXiv 2003.01690, section 6; for L1 Croce & Hein (2021), arXiv
    2103.01208, section 5.

    Deviations: with fewer than 10 classes there are fewer targets. With fewer than 4 the targeted
    DLR loss is the margin, which is logged as a warning. The searches are not `patient`, and all
    attacks stop early where they are hopeless (`benchmarks/giving_up.py`).

    Args:
        norm: `"linf"`, `"l2"`, `"l1"` or `"l0"`.
        eps: radius, in units of the [0, 1] image range; with L0 a number of pixels.
        seed: of every attack.
        settings: further settings that every attack has: `draws`, `chunk`, ....

    Raises:
        ConfigError: for a setting out of its range.

    Example:
        >>> import torch
        >>> model, x, y = torch.nn.Linear(4, 5), torch.rand(8, 4), torch.zeros(8, dtype=torch.int64)
        >>> result = standard(eps=0.1)(model, x, y)
    """
    shared: dict[str, Any] = {"norm": norm, "eps": eps, "seed": seed, **settings}
    if norm == "l0":
        return Ensemble(
            (
                ("pgd-ce", PGD(steps=100, restarts=5, **shared)),
                ("multi-targeted", MultiTargeted(steps=100, restarts=1, **shared)),
                ("sparse-rs", SparseRS(queries=5000, patient=False, **shared)),
            )
        )
    restarts, targets = (5, 5) if norm == "l1" else (1, 9)
    return Ensemble(
        (
            ("apgd-ce", APGD(restarts=restarts, **shared)),
            ("apgd-t", APGD(restarts=1, loss="targeted_dlr", targets=targets, **shared)),
            ("fab-t", FAB(restarts=1, targets=9, **shared)),
            ("square", Square(queries=5000, patient=False, **shared)),
        )
    )


def reevaluation(norm: Norm = "linf", *, eps: float, seed: int = 0, **settings: Any) -> Ensemble:
    """The ensemble of the re-evaluation of information-bottleneck methods.

        APGD on the cross-entropy -> APGD on DLR -> MultiTargeted

    APGD takes 5 restarts of 100 steps with each loss, MultiTargeted 10 restarts of 200 steps.

    Source: Korshunova et al. (2021), arXiv 2107.05712.

    Deviations: with fewer than 3 classes the DLR loss is the margin, which is logged as a warning.

    Args:
        norm: `"linf"` or `"l2"`.
        eps: radius, in units of the [0, 1] image range.
        seed: of every attack.
        settings: further settings that every attack has: `draws`, `chunk`, ....

    Raises:
        ConfigError: for a setting out of its range.

    Example:
        >>> import torch
        >>> model, x, y = torch.nn.Linear(4, 5), torch.rand(8, 4), torch.zeros(8, dtype=torch.int64)
        >>> result = reevaluation(eps=0.1)(model, x, y)
    """
    shared: dict[str, Any] = {"norm": norm, "eps": eps, "seed": seed, **settings}
    return Ensemble(
        (
            ("apgd-ce", APGD(restarts=5, **shared)),
            ("apgd-dlr", APGD(restarts=5, loss="dlr", **shared)),
            ("multi-targeted", MultiTargeted(steps=200, restarts=10, **shared)),
        )
    )
