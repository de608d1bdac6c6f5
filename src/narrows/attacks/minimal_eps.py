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
        """In which the attack measures."""
        return self.attack.norm

    @property
    def grid(self) -> list[float]:
        """The radii that are tried, smallest first."""
        count = 2**self.levels
        return [self.attack.eps * k / count for k in range(1, count + 1)]

    def __call__(
        self, model: nn.Module, x: ArrayLike, y: ArrayLike, target: ArrayLike | None = None
    ) -> AttackResult:
        """Attack `model`; `distance` is the smallest size found, inf if even `eps` fails.

        Of a stochastic model a success counts that fresh draws confirm. Args and errors are those
        of the attack.
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
        high, low = self._above(distance), torch.zeros_like(success, dtype=torch.int64)
        while len(rows := (success & (high - low > 1)).nonzero().squeeze(1)):
            middle = (low[rows] + high[rows]) // 2
            for number in middle.unique().tolist():
                here = rows[middle == number]
                goal = None if target is None else target[here]
                some = self._at(number, model, x[here], y[here], goal)
                forwards, backwards = forwards + some.forwards, backwards + some.backwards
                hit, missed = here[some.success], here[~some.success]
                low[missed] = number
                x_adv[hit], rate[hit] = some.x_adv[some.success], some.fooled_rate[some.success]
                distance[hit] = some.distance[some.success]
                # No later than the radius tried, though rounding may have made the size larger.
                high[hit] = self._above(distance[hit]).clamp_max(number)
        return AttackResult(x_adv, success, distance, forwards, backwards, rate)

    def _at(
        self, number: int, model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None
    ) -> AttackResult:
        """The attack at a radius of the grid, counted from 1; 0 is the largest, tried first."""
        attack = replace(self.attack, eps=self.grid[number - 1])
        return confirmed(
            model,
            attack(model, x, y, target),
            y if target is None else target,
            targeted=target is not None,
            verify_draws=attack.verify_draws,
            seed=attack.seed + 1 + number,
        )

    def _above(self, distance: Tensor) -> Tensor:
        """Number of the first radius that is no smaller than each distance."""
        count = 2**self.levels
        number = (distance.double() / self.attack.eps * count).ceil()
        return number.nan_to_num(posinf=count).clamp(0, count).long()


def accuracy_curve(result: AttackResult | Tensor, eps: Sequence[float]) -> list[float]:
    """Share of images that no perturbation found of size `eps` or less fools, at each `eps`.

    Of any attack that looks for small perturbations: `MinimalEps`, `DeepFool`, `FAB`, ....

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
    """Whether perturbations of sizes `distance: [n]` lie within `eps`; of size inf there are none.

    Rounding of `x_adv - x` puts none outside.
    """
    inside = distance.double() <= eps * (1 + _RELATIVE) + _ABSOLUTE
    return inside & torch.isfinite(distance)
