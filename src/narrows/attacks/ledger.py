"""The ledger of several attacks: the worst that any of them did to each image."""

from __future__ import annotations

import math
import os
from typing import Any

import torch
from torch import Tensor, nn

from narrows.attacks import norms
from narrows.attacks._attempts import Attempts, Entry, Header, check_form, read_ledger, write_ledger
from narrows.attacks._judge import judge, reproduces
from narrows.attacks._robustbench import (
    ModelCard,
    Outcome,
    RobustBenchEntry,
    robustbench_entry,
    wilson,
)
from narrows.attacks.entrance import check_case, check_norm
from narrows.attacks.identity import Behaviour, digest
from narrows.attacks.minimal_eps import accuracy_curve, within
from narrows.checks import ArrayLike, check_count, check_path
from narrows.errors import InputError
from narrows.types import AttackResult, Norm

__all__ = ["Entry", "Ledger", "RobustBenchEntry", "wilson"]

_FOREIGN = (
    "{source} is the ledger of other images, labels or weights; pass those that it was made with, "
    "or write to another file"
)


class Ledger:
    """The worst attempt of any attack at each of `n` images of one model.

        robust accuracy = mean over images of min over attacks [still correct],  not min of means

    A robust accuracy is a claim about every image and every attack on it. So attacks are recorded
    image by image, each with the size of its perturbation: within another radius, only the
    perturbations inside it count. `save` and `load` keep a ledger between sessions. A file belongs
    to one set of images, labels and weights, whose SHA-256 it holds, and to the logits that the
    model returned then. Loading it executes no code.

    Source: the worst case over attacks is that of Croce & Hein (2020), arXiv 2003.01690, section 6.

    Args:
        x: `[n, ...]` images in [0, 1].
        y: `[n]` labels.
        model: if given, the ledger belongs to its weights and to its logits too.
        norm: in which every recorded attack measures its perturbations.
        target: `[n]` classes to reach, where the attacks are targeted.
        eps: radius within which a perturbation counts; `None` for any.

    Attributes:
        entries: what was recorded, in order.
        eps: as above; it may be changed at any time.
        wrong: `[n]` bool, the images that were misclassified without an attack, as judged by the
            first attack on each. For a stochastic model that is one vote; later attacks vote again,
            and the worst of many votes would be luck.

    Example:
        >>> import torch
        >>> from narrows.attacks import PGD
        >>> model, x, y = torch.nn.Linear(2, 2), torch.rand(8, 2), torch.zeros(8, dtype=torch.int64)
        >>> ledger, attack = Ledger(x, y), PGD(eps=0.1)
        >>> ledger.record("pgd", attack, attack(model, x, y))
        >>> low, high = ledger.interval  # of ledger.robust_accuracy, 95 %
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        model: nn.Module | None = None,
        norm: Norm = "linf",
        *,
        target: ArrayLike | None = None,
        eps: float | None = None,
    ) -> None:
        x, y, target = check_case(x, y, target, model)
        check_norm(norm)
        self.norm: Norm = norm
        self.eps = eps
        self.digest = digest(x, y, model, target)
        self.entries: list[Entry] = []
        self._x, self._targeted = x.clone(), target is not None
        self._labels = (y if target is None else target).clone()
        self._hits, self._misses = Attempts.none_at(x), Attempts.none_at(x)
        self.wrong = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self._behaviour = None if model is None else Behaviour.of(model, x)

    @property
    def fooled(self) -> Tensor:
        """`[n]` bool, whether any attack fooled the model within `eps` (by expected vote)."""
        return self._inside(self._hits)

    def _inside(self, attempts: Attempts) -> Tensor:
        return within(attempts.size, math.inf if self.eps is None else self.eps)

    @property
    def x_adv(self) -> Tensor:
        """`[n, ...]`, the worst attempt at each image within `eps`; the image itself without any.

        That is the nearest attempt that fooled the model, or else the one that fooled most draws.
        """
        x_adv = self._x.clone()
        for attempts in (self._misses, self._hits):
            inside = self._inside(attempts)
            x_adv[inside] = attempts.x[inside]
        return x_adv

    @property
    def by(self) -> Tensor:
        """`[n]`, number of the entry whose attempt `x_adv` is; -1 without any."""
        missed = self._misses.by.where(self._inside(self._misses), -1)
        return self._hits.by.where(self.fooled, missed)

    @property
    def distance(self) -> Tensor:
        """`[n]`, size of the smallest perturbation that fooled, whatever `eps`; inf without any.

        It is 0 for images that are misclassified without an attack.
        """
        return self._hits.size.clone()

    @property
    def fooled_rate(self) -> Tensor:
        """`[n]`, the largest share of single draws that any attempt within `eps` fooled."""
        hit, missed = (
            attempts.rate.where(self._inside(attempts), 0)
            for attempts in (self._hits, self._misses)
        )
        return torch.maximum(hit, missed)

    def __contains__(self, attack: object) -> bool:
        return repr(attack) in (entry.attack for entry in self.entries)

    def record(
        self, name: str, attack: object, result: AttackResult, rows: Tensor | None = None
    ) -> None:
        """Add the result of an attack.

        Args:
            name: what the ledger calls the attack.
            attack: whose `repr` is recorded.
            result: of the attack.
            rows: `[b]`, the images that were attacked; `None` for all.

        Raises:
            InputError: if the result is of another number of images, or measured in another norm.
        """
        rows = torch.arange(len(self.wrong), device=self.wrong.device) if rows is None else rows
        if len(result.success) != len(rows):
            raise InputError(
                f"the result of {name!r} is of {len(result.success)} images, expected {len(rows)}; "
                "pass rows= if only some were attacked"
            )
        self.check_norm(getattr(attack, "norm", self.norm), name)
        first = (self._hits.by[rows] < 0) & (self._misses.by[rows] < 0)
        self.wrong[rows] |= first & result.success & (result.distance == 0)
        rate, x_adv = result.fooled_rate.double(), result.x_adv.to(self._x)
        number = len(self.entries)
        # The worst success is the nearest; the worst failure is the one that fooled most draws.
        self._hits.offer(
            *(rows, x_adv, result.distance.double(), rate, number),
            better=result.success & (result.distance < self._hits.size[rows]),
            among=result.success,
        )
        self._misses.offer(
            *(rows, x_adv, norms.size(x_adv - self._x[rows], self.norm).double(), rate, number),
            better=~result.success
            & ((rate > self._misses.rate[rows]) | (self._misses.by[rows] < 0)),
            among=~result.success,
        )
        self.entries.append(
            Entry(
                name=name,
                attack=repr(attack),
                attacked=len(rows),
                fooled=int(result.success.sum()),
                robust_accuracy=self.robust_accuracy,
                forwards=result.forwards,
                backwards=result.backwards,
            )
        )

    def check_norm(self, norm: Norm, name: str) -> None:
        """Refuse an attack, called `name`, that measures in another norm than the ledger.

        Raises:
            InputError: naming both norms.
        """
        if norm != self.norm:
            raise InputError(
                f"{name!r} measures in {norm} and this ledger in {self.norm}, so their sizes "
                "cannot be compared; use one ledger for each norm"
            )

    @property
    def standing(self) -> Tensor:
        """`[b]`, the numbers of the images that no attack has fooled yet."""
        return (~self.fooled).nonzero().squeeze(1)

    @property
    def clean_accuracy(self) -> float:
        """Share of images that were right without an attack; of a stochastic model by one vote."""
        return 1 - self.wrong.double().mean().item()

    @property
    def robust_accuracy(self) -> float:
        """Share of images that no attack fooled; of a stochastic model by expected vote."""
        return 1 - self.fooled.double().mean().item()

    @property
    def single_draw_accuracy(self) -> float:
        """Expected share of correct single draws, each image at its most fooled attempt."""
        return 1 - self.fooled_rate.mean().item()

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of `robust_accuracy`, if the images are a sample of many more."""
        return wilson(int((~self.fooled).sum()), len(self.fooled))

    def accuracy_at(self, eps: float) -> float:
        """Share of images that no recorded perturbation of size `eps` or less fools."""
        return accuracy_curve(self._hits.size, [eps])[0]

    @property
    def mean_distance(self) -> float:
        """Mean size of the smallest perturbation that fools; inf if an image has none."""
        return self._hits.size.mean().item()

    @property
    def forwards(self) -> int:
        """Images sent forward by all attacks, and to record the model's logits."""
        looked = self._behaviour.forwards if self._behaviour else 0
        return looked + sum(entry.forwards for entry in self.entries)

    @property
    def backwards(self) -> int:
        """Images whose gradient was taken, by all attacks."""
        return sum(entry.backwards for entry in self.entries)

    def result(self) -> AttackResult:
        """The worst case within `eps`, in the form of the result of a single attack."""
        distance = self._hits.size.where(self.fooled, math.inf).to(norms.exact(self._x.dtype))
        counts = self.forwards, self.backwards
        return AttackResult(self.x_adv, self.fooled, distance, *counts, self.fooled_rate)

    def replay(self, model: nn.Module, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
        """Re-evaluate the worst attempts on independent draws of a stochastic model.

        The worst of several attacks was selected by the draws that it was judged on, which makes it
        look stronger than it is; these draws have selected nothing.

        Args:
            model: that was attacked.
            draws: of its noise; a deterministic model takes one.
            seed: of the draws.

        Returns:
            Accuracy of the expected vote, and of a single draw, on `x_adv`.
        """
        given = {"targeted": self._targeted, "draws": check_count(draws, "draws"), "seed": seed}
        again = judge(model, self.x_adv, self._labels, **given)
        return 1 - again.fooled.double().mean().item(), 1 - again.fooled_rate.mean().item()

    def require(
        self,
        model: nn.Module | None,
        x: Tensor,
        y: Tensor,
        target: Tensor | None = None,
        source: str = "this",
    ) -> None:
        """Refuse images, labels, weights or code that the ledger was not measured on.

        The model's logits are compared with those that were recorded, and the worst attempts are
        judged again.

        Args:
            model: to be attacked; a ledger that was made without a model accepts any.
            x: `[n, ...]` images.
            y: `[n]` labels.
            target: `[n]` classes to reach, where there are any.
            source: how errors call the ledger.

        Raises:
            InputError: saying what differs.
        """
        known = None if self._behaviour is None else model
        if self.digest != digest(x, y, known, target):
            raise InputError(_FOREIGN.format(source=source))
        if known is not None:
            self._require_behaviour(known, x, source)

    def _require_behaviour(self, model: nn.Module, x: Tensor, source: str) -> None:
        same = self._behaviour and self._behaviour.is_that_of(model, x)
        if same is False or not self._reproduces(model, noise_held=same is True):
            raise InputError(
                f"{source} is the ledger of a model with the same weights and other logits "
                "(another temperature, quantisation or mode, or other code); write to another file"
            )

    def _reproduces(self, model: nn.Module, *, noise_held: bool) -> bool:
        """Whether the model gives the recorded verdicts on the attempts, whatever their size."""
        hit, tried = torch.isfinite(self._hits.size), self._misses.by >= 0
        rows = (hit | tried).nonzero().squeeze(1)
        hit = hit[rows]
        worst = self._misses.x[rows].where(norms.per_image(~hit, self._x), self._hits.x[rows])
        rate = self._misses.rate[rows].where(~hit, self._hits.rate[rows])
        given = {"targeted": self._targeted, "noise_held": noise_held}
        return not len(rows) or reproduces(model, worst, self._labels[rows], hit, rate, **given)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ledger to one safetensors file, complete or not at all.

        Raises:
            StoreError: if it cannot be written.
        """
        looked = self._behaviour.forwards if self._behaviour else 0
        header = Header(self.digest, self.norm, self.eps, looked, self.entries)
        write_ledger(check_path(path), self._tensors(), header)

    def _tensors(self) -> dict[str, Tensor]:
        seen = {"behaviour": self._behaviour.logits} if self._behaviour else {}
        kept = self._hits.named("hit") | self._misses.named("miss")
        return kept | {"wrong": self.wrong} | seen

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        x: ArrayLike,
        y: ArrayLike,
        model: nn.Module | None = None,
        *,
        target: ArrayLike | None = None,
    ) -> Ledger:
        """Read what `save` wrote, for the same images, labels and model.

        Args:
            path: of the file.
            x: `[n, ...]` images.
            y: `[n]` labels.
            model: that was attacked, if the ledger was made with it.
            target: `[n]` classes to reach, where there are any.

        Raises:
            CheckpointError: for a file that is missing, damaged, or no ledger.
            InputError: if it belongs to other images, labels, weights or code.
        """
        path = check_path(path)
        x, y, target = check_case(x, y, target, model)
        tensors, header = read_ledger(path, x.device)
        if header.digest != digest(x, y, model, target):
            raise InputError(_FOREIGN.format(source=path))
        ledger = cls(x, y, None, header.norm, target=target, eps=header.eps)
        ledger.digest, ledger.entries = header.digest, header.entries
        check_form(path, tensors, ledger._tensors())
        ledger._hits, ledger._misses = (Attempts.of(tensors, kind) for kind in ("hit", "miss"))
        ledger.wrong = tensors["wrong"]
        if "behaviour" in tensors:
            ledger._behaviour = Behaviour(tensors["behaviour"], header.looked)
        if model is not None:
            ledger._require_behaviour(model, x, str(path))
        return ledger

    def to_robustbench(self, *, name: str, eps: float, **known: Any) -> RobustBenchEntry:
        """The ledger as an entry in the form of RobustBench, extended by what noise means.

        Args:
            name: of the model.
            eps: radius of the attacks; accuracy is counted at this size.
            known: any of `link`, `authors`, `venue`, `architecture`, `dataset`, `reported`,
                `additional_data`, `number_forward_passes`, `unreliable`, `footnote`; and of the
                extension `draws`, `verify_draws`, `mode` (`"mean"` or `"sample"`).

        Returns:
            Accuracies as percentages in text, as in RobustBench; `asdict` makes it JSON.
            `autoattack_acc` is that of the attacks listed under `attacks`, whatever they are.

        Raises:
            InputError: naming keys that the form does not have.
        """
        outcome = Outcome(
            eps=eps,
            norm=self.norm,
            clean=self.clean_accuracy,
            # Without a radius, as a minimal-norm attack has none, any success counts.
            robust=self.accuracy_at(eps) if math.isfinite(eps) else self.robust_accuracy,
            single_draw=self.single_draw_accuracy,
            distance=self.distance,
            attacks=self.entries,
        )
        return robustbench_entry(name, ModelCard.of(**known), outcome)
