"""The smallest radius at which an attack of fixed radius fools each image, and accuracy curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from narrows.attacks._base import FixedEps
from narrows.attacks._judge import confirmed
from narrows.attacks.entrance import check_case
from narrows.checks import ArrayLike, check_count, check_number
from narrows.errors import ConfigError
from narrows.types import AttackResult, Norm

__all__ = ["MinimalEps", "accuracy_curve", "within"]

_RELATIVE, _ABSOLUTE = 1e-5, 1e-7  # by which rounding may make a perturbation larger


@dataclass(frozen=True, kw_only=True)
class MinimalEps:
    """Bisect the radius of an attack down to the smallest at which it fools each image.

        eps_k = eps * k / 2^levels,  k = 1 ... 2^levels        the radii that are tried
        distance = |x_adv - x|                                 of the smallest success

    All images bisect the same grid of radii, so that images at the same radius are attacked
    together. An image fooled by a perturbation of size d counts as fooled at every radius from d
    on, so a success may skip several radii. The size is reported as it is, not rounded up to the
    grid. An attack that fails at a radius is taken to fail at smaller ones too.

    Source: Rauber, Brendel & Bethge (2017), arXiv 1707.04131, whose library tunes the radius of an
    attack to the smallest that succeeds; the grid shared by all images is ours.

    Against a stochastic model a success counts if fresh draws confirm it.

    Args:
        attack: whose `eps` is the largest radius that is tried.
        levels: bisections; the grid has `2**levels` radii from `eps / 2**levels` to `eps`.

    Example:
        >>> import torch
        >>> from narrows.attacks import PGD
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
        >>> result = MinimalEps(attack=PGD(eps=0.4))(model, x, y)
        >>> bool((result.distance > 0.1) & (result.distance < 0.11))
        True
    """

    attack: FixedEps
    levels: int = 6

    def __post_init__(self) -> None:
        check_count(self.levels, "levels")
        if not isinstance(self.attack, FixedEps):
            raise ConfigError(
                f"attack must have a radius eps, like PGD(eps=0.1), got {self.attack!r}"
            )

    @property
    def norm(self) -> Norm:
        """The norm that the attack measures in."""
        return self.attack.norm

    @property
    def grid(self) -> list[float]:
        """The radii that are tried, smallest first; with L0 whole numbers of pixels."""
        count = 2**self.levels
        radii = [self.attack.eps * k / count for k in range(1, count + 1)]
        return [float(math.floor(radius)) for radius in radii] if self.norm == "l0" else radii

    def __call__(
        self, model: nn.Module, x: ArrayLike, y: ArrayLike, target: ArrayLike | None = None
    ) -> AttackResult:
        """Attack `model`; `distance` is the smallest size that fooled it, inf if even `eps` fails.

        Args:
            model: returns logits `[n, classes]` or a `ModelOutput`; normalises its own input.
            x: `[n, ...]` floating point images in [0, 1].
            y: `[n]` integer labels.
            target: `[n]` classes to reach; success then means just that.

        Raises:
            InputError: as the attack does.
        """
        x, y, target = check_case(x, y, target, model)
        widest = self._at(0, model, x, y, target)
        x_adv, success, rate = (
            part.clone() for part in (widest.x_adv, widest.success, widest.fooled_rate)
        )
        distance, forwards, backwards = widest.distance.clone(), widest.forwards, widest.backwards
        if self.attack.eps == 0:
            return widest
        # Number of the smallest radius known to fool, and of the largest known not to, from 1.
        high, low = self._first_around(distance), torch.zeros_like(success, dtype=torch.int64)
        while len(rows := (success & (high - low > 1)).nonzero().squeeze(1)):
            middle = (low[rows] + high[rows]) // 2
            for number in middle.unique().tolist():
                tried = rows[middle == number]
                goal = None if target is None else target[tried]
                result = self._at(number, model, x[tried], y[tried], goal)
                forwards, backwards = forwards + result.forwards, backwards + result.backwards
                hit, missed = tried[result.success], tried[~result.success]
                low[missed] = number
                x_adv[hit], rate[hit] = (
                    part[result.success] for part in (result.x_adv, result.fooled_rate)
                )
                distance[hit] = result.distance[result.success]
                # The radius that was tried has fooled, whatever rounding says of the size.
                high[hit] = self._first_around(distance[hit]).clamp_max(number)
        return AttackResult(x_adv, success, distance, forwards, backwards, rate)

    def _at(
        self, number: int, model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None
    ) -> AttackResult:
        """The attack at a radius of the grid, numbered from 1; 0 stands for the largest."""
        attack = replace(self.attack, eps=self.grid[number - 1])
        return confirmed(
            model,
            attack(model, x, y, target),
            y if target is None else target,
            targeted=target is not None,
            verify_draws=attack.verify_draws,
            seed=attack.seed + 1 + number,
        )

    def _first_around(self, distance: Tensor) -> Tensor:
        """Number, from 1, of the smallest radius that perturbations `[n]` lie within; 0 for size 0.

        Sizes are compared with the radii themselves, as `within` does it: the quotient of a size
        and the width of the grid can round to just above a whole number.
        """
        limits = [0.0, *(_limit(radius) for radius in self.grid)]
        numbers = torch.searchsorted(
            distance.new_tensor(limits, dtype=torch.float64), distance.double()
        )
        return numbers.clamp_max(2**self.levels)


def accuracy_curve(result: AttackResult | Tensor, eps: Sequence[float]) -> list[float]:
    """Share of images that no recorded perturbation of size `eps` or less fools, at each `eps`.

    The result may be that of any attack for small perturbations: `MinimalEps`, `DeepFool`, `FAB`.

    Args:
        result: of the attack, or its distances `[n]`, inf where it failed.
        eps: the radii.

    Raises:
        ConfigError: if a radius is negative or no number.
    """
    distance = result if isinstance(result, Tensor) else result.distance
    radii = [radius if radius == math.inf else check_number(radius, "eps", 0) for radius in eps]
    return [1 - within(distance, radius).double().mean().item() for radius in radii]


def within(distance: Tensor, eps: float) -> Tensor:
    """Whether perturbations of sizes `distance: [n]` lie within `eps`; one of size inf never does.

    A size that only the rounding of `x_adv - x` has made larger than `eps` lies within.
    """
    return (distance.double() <= _limit(eps)) & torch.isfinite(distance)


def _limit(eps: float) -> float:
    """The largest size that counts as within `eps`."""
    return eps * (1 + _RELATIVE) + _ABSOLUTE
