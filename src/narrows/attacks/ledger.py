"""The worst that any attack did to each image.

    robust accuracy = mean over images of min over attacks [still correct],  not min of means

A robust accuracy is a claim about every image and every attack tried on it, so attacks are
recorded image by image. `save` and `load` keep a ledger between sessions: a file belongs to one set
of images, labels and weights, whose SHA-256 it holds, and loading it executes no code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from narrows.attacks._base import check_images, is_stochastic
from narrows.attacks._identity import digest
from narrows.attacks._query import Query, frozen
from narrows.attacks.minimal_eps import accuracy_curve
from narrows.errors import CheckpointError, InputError
from narrows.storage import load_tensors, save_tensors
from narrows.types import AttackResult, Norm

__all__ = ["Entry", "Ledger", "wilson"]

_KIND = "ledger"
_FIELDS = ("x_adv", "fooled", "by", "distance", "fooled_rate", "wrong")


@dataclass(frozen=True)
class Entry:
    """One attack of a ledger.

    Attributes:
        name: what the ledger calls it.
        attack: its `repr`: the same attack is not run twice.
        attacked: images that it was shown.
        fooled: how many of them it fooled.
        robust_accuracy: of all images, after this attack and those before it.
        forwards: images sent forward.
        backwards: images whose gradient was taken.
    """

    name: str
    attack: str
    attacked: int
    fooled: int
    robust_accuracy: float
    forwards: int
    backwards: int


class Ledger:
    """The worst attempt at each of `n` images of one model.

    Args:
        x: `[n, ...]` images in [0, 1].
        y: `[n]` labels.
        model: if given, the ledger belongs to its weights too.
        norm: in which every recorded attack measures its perturbations.

    Attributes:
        entries: what was recorded, in order.
        x_adv: `[n, ...]`, the worst attempt at each image.
        fooled: `[n]` bool, whether any attack fooled the model (by expected vote).
        by: `[n]`, number of the entry whose attempt `x_adv` is; -1 before any.
        distance: `[n]`, size of the smallest perturbation that fooled; inf without any, 0 for
            images that are misclassified without an attack.
        fooled_rate: `[n]`, the largest share of single draws that any attempt fooled.
        wrong: `[n]` bool, what the first attack on an image found misclassified without it. Of a
            stochastic model that is one vote; later attacks vote again, and the worst of many votes
            is luck.

    Example:
        >>> model, x, y = torch.nn.Linear(2, 2), torch.rand(8, 2), torch.zeros(8, dtype=torch.int64)
        >>> ledger, attack = Ledger(x, y), PGD(eps=0.1)
        >>> ledger.record("pgd", attack, attack(model, x, y))
        >>> low, high = ledger.interval  # of ledger.robust_accuracy, 95 %
    """

    def __init__(
        self, x: Tensor, y: Tensor, model: nn.Module | None = None, norm: Norm = "linf"
    ) -> None:
        check_images(x, y)
        self.norm = norm
        self.digest = digest(x, y, model)
        self.entries: list[Entry] = []
        self._y = y.detach().to(x.device, torch.int64)
        self.x_adv = x.detach().clone()
        self.fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.by = torch.full((len(x),), -1, device=x.device)
        self.distance = torch.full((len(x),), math.inf, dtype=torch.float64, device=x.device)
        self.fooled_rate = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        self.wrong = torch.zeros_like(self.fooled)

    def __contains__(self, attack: object) -> bool:
        return repr(attack) in (entry.attack for entry in self.entries)

    def record(
        self, name: str, attack: object, result: AttackResult, rows: Tensor | None = None
    ) -> None:
        """Add what an attack did to all images, or to those of `rows: [b]`.

        Raises:
            InputError: if the result is of another number of images, or measured in another norm.
        """
        rows = torch.arange(len(self.fooled), device=self.fooled.device) if rows is None else rows
        if len(result.success) != len(rows):
            raise InputError(
                f"the result of {name!r} is of {len(result.success)} images, expected {len(rows)}; "
                "pass rows= where only some were attacked"
            )
        if (norm := getattr(attack, "norm", self.norm)) != self.norm:
            raise InputError(
                f"{name!r} measures in {norm}, this ledger in {self.norm}: their sizes cannot be "
                "compared; keep a ledger for each"
            )
        distance = result.distance.to(self.distance)
        rate = result.fooled_rate.to(self.fooled_rate)
        self.wrong[rows] |= (self.by[rows] < 0) & result.success & (distance == 0)
        closer = result.success & (distance < self.distance[rows])
        # Where nothing has fooled the model, the attempt that most draws fall for is the worst.
        nearer = ~result.success & ~self.fooled[rows] & (rate > self.fooled_rate[rows])
        worse = closer | nearer | (self.by[rows] < 0)
        taken = rows[worse]
        self.x_adv[taken] = result.x_adv[worse].to(self.x_adv)
        self.by[taken] = len(self.entries)
        self.distance[rows] = torch.minimum(distance, self.distance[rows])
        self.fooled_rate[rows] = torch.maximum(rate, self.fooled_rate[rows])
        self.fooled[rows] |= result.success
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

    @property
    def standing(self) -> Tensor:
        """`[b]`, the images that nothing has fooled yet."""
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
        """95 % Wilson interval of `robust_accuracy` as an estimate for all images of the kind."""
        return wilson(int((~self.fooled).sum()), len(self.fooled))

    def accuracy_at(self, eps: float) -> float:
        """Share of images that nothing of size `eps` or less is known to fool."""
        return accuracy_curve(self.result(), [eps])[0]

    @property
    def mean_distance(self) -> float:
        """Mean over the images of the smallest perturbation that fools; inf if one has none."""
        return self.distance.mean().item()

    @property
    def forwards(self) -> int:
        """Images sent forward, all attacks together."""
        return sum(entry.forwards for entry in self.entries)

    @property
    def backwards(self) -> int:
        """Images whose gradient was taken, all attacks together."""
        return sum(entry.backwards for entry in self.entries)

    def result(self) -> AttackResult:
        """The ledger as if one attack had done it all."""
        return AttackResult(
            self.x_adv.clone(),
            self.fooled.clone(),
            self.distance.to(self.x_adv.dtype),
            self.forwards,
            self.backwards,
            self.fooled_rate.clone(),
        )

    def replay(self, model: nn.Module, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
        """Judge the worst attempts once more, on fresh draws of a stochastic model.

        An attack that is picked because its draws came out badly is flattered by them; these draws
        picked nothing.

        Returns:
            Accuracy of the expected vote, and of a single draw, on `x_adv`.
        """
        rows = torch.arange(len(self._y), device=self._y.device)
        cuda = [rows.device] if rows.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(cuda), frozen(model):
            torch.manual_seed(seed)
            noisy = is_stochastic(model, self.x_adv)
            query = Query(model, self._y, stochastic=noisy, verify_draws=draws)
            verdicts = [query.verdict(self.x_adv[part], part) for part in rows.split(512)]
        fooled = torch.cat([verdict.fooled for verdict in verdicts]).double()
        rate = torch.cat([verdict.fooled_rate for verdict in verdicts])
        return 1 - fooled.mean().item(), 1 - rate.mean().item()

    def save(self, path: Path) -> None:
        """Write the ledger to one safetensors file, complete or not at all.

        Raises:
            StoreError: if it cannot be written.
        """
        header = {
            "kind": _KIND,
            "digest": self.digest,
            "norm": self.norm,
            "entries": [asdict(entry) for entry in self.entries],
        }
        save_tensors(path, {name: getattr(self, name) for name in _FIELDS}, header)

    @classmethod
    def load(cls, path: Path, x: Tensor, y: Tensor, model: nn.Module | None = None) -> Ledger:
        """Read what `save` wrote, for the same images, labels and model.

        Raises:
            CheckpointError: for a file that is missing, damaged, or no ledger.
            InputError: if it belongs to other images, labels or weights.
        """
        tensors, header = load_tensors(path, x.device, _KIND)
        if header.get("kind") != _KIND:
            raise CheckpointError(f"{path} is a file of this library, but not a ledger")
        ledger = cls(x, y, model, header["norm"])
        if header["digest"] != ledger.digest:
            raise InputError(
                f"{path} is the ledger of other images, labels or weights; pass those it was made "
                "with, or write to another file"
            )
        ledger.entries = [Entry(**entry) for entry in header["entries"]]
        # Older files do not say what was wrong at first.
        tensors.setdefault("wrong", tensors["distance"] == 0)
        for name in _FIELDS:
            setattr(ledger, name, tensors[name])
        return ledger

    def to_robustbench(self, *, name: str, eps: float, **known: Any) -> dict[str, Any]:
        """The ledger as an entry of RobustBench's form, extended by what the noise means.

        Args:
            name: of the model.
            eps: radius of the attacks; accuracy is counted at this size.
            known: any of `link`, `authors`, `venue`, `architecture`, `dataset`, `reported`,
                `additional_data`, `number_forward_passes`, `unreliable`, `footnote`; and of the
                extension `draws`, `verify_draws`, `mode` (`"mean"` or `"sample"`).

        Returns:
            What `json.dumps` takes. Accuracies are percentages, as text, as in RobustBench.
            `autoattack_acc` is that of the attacks listed under `attacks`, whatever they are.

        Raises:
            InputError: naming keys that the form does not have.
        """
        form = {**_FORM, **_NOISE}
        if unknown := sorted(set(known) - set(form)):
            raise InputError(f"unknown keys {', '.join(unknown)}; valid: {', '.join(form)}")
        # Without a radius, as a minimal-norm attack has none, whatever fooled the model counts.
        robust = self.accuracy_at(eps) if math.isfinite(eps) else self.robust_accuracy
        low, high = wilson(round(robust * len(self.fooled)), len(self.fooled))
        return {
            "name": name,
            **{key: known.get(key, default) for key, default in _FORM.items()},
            "eps": str(eps),
            "clean_acc": _percent(self.clean_accuracy),
            "autoattack_acc": _percent(robust),
            "norm": self.norm,
            "images": len(self.fooled),
            "median_distance": _finite(self.distance.median().item()),
            "interval_95": [_percent(low), _percent(high)],
            "attacks": [asdict(entry) for entry in self.entries],
            "noise": {
                **{key: known.get(key, default) for key, default in _NOISE.items()},
                "vote_acc": _percent(robust),
                "single_draw_acc": _percent(self.single_draw_accuracy),
            },
        }


_FORM: Mapping[str, Any] = {
    "link": "",
    "authors": "",
    "venue": "",
    "architecture": "",
    "dataset": "",
    "reported": "",
    "additional_data": False,
    "number_forward_passes": "1",
    "unreliable": False,
    "footnote": "",
}
_NOISE: Mapping[str, Any] = {"draws": 1, "verify_draws": 1, "mode": "mean"}


def wilson(successes: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share, of 95 % by default.

    >>> low, high = wilson(0, 100)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.037)
    """
    share = successes / count
    centre = share + z**2 / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z**2 / count
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
