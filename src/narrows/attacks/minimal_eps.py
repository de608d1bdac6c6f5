"""The smallest radius at which an attack of fixed radius fools each image, by bisection.

Every image bisects the same grid of radii, so that images which are at the same radius are attacked
together. An image fooled by a perturbation of size d counts as fooled at every radius from d on:
what was found is used again, and the size is reported as it is, not rounded up to the grid.

The accuracy at a radius is the share of images that nothing so small is known to fool. A search
that fails at a radius is taken to fail at smaller ones too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from narrows.attacks._base import FixedEps
from narrows.errors import ConfigError
from narrows.types import AttackResult, Norm

__all__ = ["MinimalEps", "accuracy_curve"]


@dataclass(frozen=True, kw_only=True)
class MinimalEps:
    """Turns an attack of fixed radius into one that looks for the smallest.

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
        if self.levels < 1:
            raise ConfigError(f"levels must be at least 1, got {self.levels}")
        if self.attack.eps == 0:
            raise ConfigError("the attack's eps is the largest radius tried and must not be 0")

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
        self, model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None = None
    ) -> AttackResult:
        """Attack `model`; `distance` is the smallest size found, inf if even `eps` fails.

        Args and errors are those of the attack.
        """
        found = self.attack(model, x, y, target)
        x_adv, success, rate = (
            part.clone() for part in (found.x_adv, found.success, found.fooled_rate)
        )
        distance, forwards, backwards = found.distance.clone(), found.forwards, found.backwards
        # Number of the smallest radius known to fool, and of the largest known not to, from 1.
        high, low = self._above(distance), torch.zeros_like(success, dtype=torch.int64)
        while len(rows := (success & (high - low > 1)).nonzero().squeeze(1)):
            middle = (low[rows] + high[rows]) // 2
            for number in middle.unique().tolist():
                here = rows[middle == number]
                at = replace(self.attack, eps=self.grid[number - 1])
                some = at(
                    model,
                    x[here],
                    y.to(x.device)[here],
                    None if target is None else target.to(x.device)[here],
                )
                forwards, backwards = forwards + some.forwards, backwards + some.backwards
                hit, missed = here[some.success], here[~some.success]
                low[missed] = number
                x_adv[hit], rate[hit] = some.x_adv[some.success], some.fooled_rate[some.success]
                distance[hit] = some.distance[some.success]
                # No later than the radius tried, though rounding may have made the size larger.
                high[hit] = self._above(distance[hit]).clamp_max(number)
        return AttackResult(x_adv, success, distance, forwards, backwards, rate)

    def _above(self, distance: Tensor) -> Tensor:
        """Number of the first radius that is no smaller than each distance."""
        count = 2**self.levels
        number = (distance.double() / self.attack.eps * count).ceil()
        return number.nan_to_num(posinf=count).clamp(0, count).long()


def accuracy_curve(result: AttackResult, eps: Sequence[float]) -> list[float]:
    """Share of images that no perturbation found of size `eps` or less fools, at each `eps`.

    Of any attack that looks for small perturbations: `MinimalEps`, `DeepFool`, `FAB`, ....

    Raises:
        ConfigError: if a radius is negative or NaN.
    """
    if any(math.isnan(radius) or radius < 0 for radius in eps):
        raise ConfigError(f"radii must not be negative, got {list(eps)}")
    radii = torch.tensor(eps, dtype=torch.float64, device=result.distance.device)
    # Rounding of x_adv - x is no reason to count an image at its own radius as robust.
    beyond = result.distance.double()[:, None] > radii * (1 + 1e-5)
    return beyond.double().mean(0).tolist()
