"""What the checks of an audit share: the case, and every attack result, made once.

A check asks `case.run(attack, view)`. The attack sees the model through a view (in float64, with
rounding made differentiable, ...); success is judged on the model itself, by the expected vote of
fresh draws where it is stochastic. Whatever fools the model within the radius counts for good:
`case.ledger` holds the worst case over all attacks, image by image.

Every random number follows from the audit's seed and from what it is for, none from how much came
before: an audit that was broken off and goes on finds what an unbroken one does.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from narrows.attacks import Attack, FixedEps, Ledger
from narrows.attacks import norms as geometry
from narrows.audit._budget import Budget
from narrows.audit._claim import Claim, Judged
from narrows.audit._door import spread_rows
from narrows.audit.views import build_view
from narrows.checks import ArrayLike
from narrows.errors import InputError
from narrows.types import AttackResult, Norm

__all__ = ["Case", "attack_name"]

# Fields of an attack that say where and in what it works, not how.
_SETTING = ("norm", "eps", "draws", "verify_draws", "common_noise", "chunk", "seed")

_LOOKED_AT = 1024  # attempts at which noise is looked for


class Case(Claim):
    """A claim to be examined: this model, these images, this radius.

    Args:
        model: any classifier of images in [0, 1] that returns logits; left as it was found.
        x: `[n, ...]` images in [0, 1].
        y: `[n]` integer labels.
        eps: radius in units of the [0, 1] range.
        norm: `"linf"`, `"l2"`, `"l1"` or `"l0"`.
        budget: one of `BUDGETS`, or one's own.
        twin: the same model without the defence, if there is one: attacks on it are transferred.
        siblings: the same model trained from other seeds.
        training: images and labels to train other networks on; by default the audited ones.
        seed: of every attack.

    Attributes:
        ledger: the worst attempt at each image.
        seen: share of the images at which an attack on a view fooled that view.
        wavering: `[n]` bool, images at which a deterministic model was fooled at one look and not
            at the next.
        late_noise: whether noise was seen only where attacks had led.

    Raises:
        ConfigError: for an unknown budget or norm, or an eps that means 0-255 images.
        InputError: for images or labels that don't fit each other or the model, or a model that
            returns NaN for all images.
    """

    def __init__(
        self,
        model: nn.Module,
        x: ArrayLike,
        y: ArrayLike,
        *,
        eps: float,
        norm: Norm = "linf",
        budget: str | Budget = "standard",
        twin: nn.Module | None = None,
        siblings: Sequence[nn.Module] = (),
        training: tuple[ArrayLike, ArrayLike] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            *(model, x, y),
            **{"eps": eps, "norm": norm, "budget": budget, "seed": seed},
            twin=twin,
            siblings=siblings,
            training=training,
        )
        self.ledger = Ledger(self.x, self.y, self.model, norm)
        self.seen: dict[tuple[Attack, str], float] = {}
        self.entered: set[str] = set()
        self.wavering = torch.zeros_like(self.clean)
        self.late_noise = False
        self._views: dict[str, nn.Module | None] = {}
        self._results: dict[tuple[Attack, str], AttackResult] = {}
        self._enter("no attack", None, self.x, self.verdict, self._everyone())

    def _everyone(self) -> Tensor:
        return torch.arange(len(self.x), device=self.x.device)

    def settle_noise(self) -> bool:
        """Whether a model taken for deterministic turns out to draw noise where attacks have led.

        It is then judged by votes from here on, and the attempts so far are judged anew.
        """
        if self.stochastic:
            return False
        rows = spread_rows(len(self.x), _LOOKED_AT, self.x.device)
        if not self._varies([self.ledger.x_adv[rows]]):
            return False
        self._become_stochastic()
        return True

    def _become_stochastic(self) -> None:
        earlier = self.ledger.x_adv
        self.stochastic = self.late_noise = True
        self.verdict = self.judge(self.x, self.y)
        self.logits, self.clean = self.verdict.logits, ~self.verdict.fooled
        self.ledger = Ledger(self.x, self.y, self.model, self.norm)
        for cache in (self._views, self._results, self.seen, self.entered):
            cache.clear()
        self._enter("no attack", None, self.x, self.verdict, self._everyone())
        self.offer("attacks before noise was seen", earlier, self._everyone())

    def witnessed(self) -> dict[str, Any]:
        """What was seen of the model by the way, for an audit that goes on later."""
        return {
            "stateful": self.stateful,
            "late_noise": self.late_noise,
            "undefined": self.subject.undefined.tolist(),
            "wavering": self.wavering.tolist(),
        }

    def witness(self, seen: Mapping[str, Any]) -> None:
        """Take over what another session has seen; see `witnessed`."""
        self.stateful = bool(seen["stateful"])
        if seen["late_noise"]:
            self._become_stochastic()
        for name, images in (("undefined", self.subject.undefined), ("wavering", self.wavering)):
            images |= torch.tensor(seen[name], device=images.device).view_as(images)

    @property
    def survivors(self) -> Tensor:
        """Rows of the images that nothing has fooled yet."""
        return self.ledger.standing

    def view(self, name: str) -> nn.Module | None:
        """The model as a view shows it, or None where that view cannot be had."""
        if name not in self._views:
            with self.quiet():
                self._views[name] = build_view(name, self)
        return self._views[name]

    def run(self, attack: Attack, view: str = "plain") -> AttackResult | None:
        """Attack every image through a view, or recall the result; None without the view.

        Returns:
            A result judged on the model itself; a minimal-norm attack has succeeded only within
            the radius.
        """
        if (attack, view) not in self._results:
            result = self._attack(attack, view, self._everyone(), f"{attack!r} on {view}")
            if result is None:
                return None
            self._results[attack, view] = result
        return self._results[attack, view]

    def plain(self, attack: Attack) -> AttackResult:
        """`run` on the model as it is."""
        result = self.run(attack)
        if result is None:  # the plain view always exists
            raise InputError("the model cannot be attacked")
        return result

    def escalate(self, attack: Attack, view: str = "plain") -> int:
        """Attack only the images that nothing has fooled yet; how many that fooled."""
        before = len(self.survivors)
        if before:
            self._attack(attack, view, self.survivors)
        return before - len(self.survivors)

    def offer(
        self, name: str, x_adv: Tensor, rows: Tensor, forwards: int = 0, backwards: int = 0
    ) -> Tensor:
        """Judge images that any search has made at those of `rows`; what fools counts for good.

        Args:
            name: of the search.
            x_adv: `[b, ...]`; brought back into the ball and the box first.
            rows: `[b]`, the image that each is at.
            forwards: images that the search has sent forward.
            backwards: images whose gradient it took.

        Returns:
            `[b]` bool, whether the model is fooled.
        """
        return self._offer(name, None, x_adv, rows, spent=(forwards, backwards)).success

    def _attack(
        self, attack: Attack, view: str, rows: Tensor, key: str = ""
    ) -> AttackResult | None:
        victim = self.view(view)
        if victim is None:
            return None
        x, dtype = self.x[rows], getattr(victim, "dtype", None)
        with self.restored():
            result = attack(victim, x.to(dtype or x.dtype), self.y[rows])
        self.seen[attack, view] = result.success.double().mean().item()
        name = attack_name(attack) + ("" if view == "plain" else f" on {view}")
        if isinstance(attack, FixedEps) and attack.eps > self.eps:
            return result  # another radius: nothing that the claim is about
        if view == "plain" and isinstance(attack, FixedEps):
            return self._confirm(name, attack, result, rows, key)
        spent = (result.forwards, result.backwards)
        return self._offer(name, attack, result.x_adv, rows, spent, key)

    def _offer(
        self,
        name: str,
        attack: Attack | None,
        x_adv: Tensor,
        rows: Tensor,
        spent: tuple[int, int] = (0, 0),
        key: str = "",
    ) -> AttackResult:
        x = self.x[rows]
        delta = geometry.project(x_adv.to(x.dtype) - x, self.norm, self.eps)
        x_adv = (x + delta).clamp(0, 1)
        judged = self.judge(x_adv, self.y[rows])
        return self._enter(name, attack, x_adv, judged, rows, spent, key)

    def _enter(
        self,
        name: str,
        attack: Attack | None,
        x_adv: Tensor,
        judged: Judged,
        rows: Tensor,
        spent: tuple[int, int] = (0, 0),
        key: str = "",
    ) -> AttackResult:
        success = judged.fooled | ~self.clean[rows]
        size = geometry.size(x_adv - self.x[rows], self.norm).masked_fill(~success, math.inf)
        draws = self.budget.verify_draws if self.stochastic else 1
        result = AttackResult(
            x_adv,
            success,
            size.masked_fill(~self.clean[rows], 0),
            len(rows) * draws + spent[0],
            spent[1],
            judged.fooled_rate,
        )
        return self._confirm(name, attack or name, result, rows, key)

    def _confirm(
        self, name: str, attack: object, result: AttackResult, rows: Tensor, key: str = ""
    ) -> AttackResult:
        """Enter a result after another look at whatever fooled the model, as it was at first.

        The best of many attempts is selected, so that one verdict of a stochastic model would count
        luck; and what a model said during an attack may depend on what it was asked before. What
        `run` made has a `key`: made again, after an audit was broken off, it is not entered again.
        Anything else is known by its name and by how often that has been entered.
        """
        known = key or f"{name} {sum(entry.name == name for entry in self.ledger.entries)}"
        fooled = (result.success & self.clean[rows]).nonzero().squeeze(1)
        if len(fooled):
            seed = self.seed + _number(known)
            again = self.judge(result.x_adv[fooled], self.y[rows[fooled]], seed)
            lost = fooled[~again.fooled]
            result.success[lost] = False
            result.distance[lost] = math.inf
            self.wavering[rows[lost]] |= not self.stochastic
        if key not in self.entered:
            self.ledger.record(name, attack, result, rows)
        if key:
            self.entered.add(key)
        return result


def _number(name: str) -> int:
    """A seed that no other name has."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


def attack_name(attack: Attack) -> str:
    """What a reader calls an attack: its class, and the settings that are not its defaults.

    >>> from narrows.attacks import PGD
    >>> attack_name(PGD(eps=0.1, steps=10, restarts=2, loss="margin", draws=3))
    'PGD(steps=10, restarts=2, loss=margin, draws=3)'
    """
    shown = [
        f"{field.name}={value}"
        for field in fields(attack)
        if field.name not in _SETTING
        and isinstance(value := getattr(attack, field.name), str | int | float)
        and value != field.default
    ]
    draws = [f"draws={attack.draws}"] if attack.draws > 1 else []
    return f"{type(attack).__name__}({', '.join(shown + draws)})"
