"""How much an audit may spend."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from narrows.checks import check_count
from narrows.errors import ConfigError, unknown_name

__all__ = ["BUDGETS", "Budget", "resolve_budget"]

_SWITCHES = ("twins", "thorough")


@dataclass(frozen=True)
class Budget:
    """How much an audit may spend.

    Args:
        images: how many of the given images are attacked, the first ones.
        steps: gradient steps of one attack.
        restarts: of the attacks that restart.
        queries: of an attack without gradients, per image.
        draws: of a stochastic model's noise, per gradient.
        verify_draws: fresh ones on which success is judged.
        directions: in which finite differences are taken, per step.
        twins: whether networks are trained to transfer from also where no check failed.
        thorough: whether every remedy is tried, also where no check failed.

    Raises:
        ConfigError: for a number below 1, or one that is not whole.

    Example:
        >>> BUDGETS["fast"].with_images(20).images
        20
    """

    images: int
    steps: int
    restarts: int
    queries: int
    draws: int
    verify_draws: int
    directions: int
    twins: bool = False
    thorough: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name not in _SWITCHES:
                object.__setattr__(self, name, check_count(value, f"a budget's {name}"))

    def with_images(self, images: int) -> Budget:
        """The same for another number of images."""
        return replace(self, images=images)


BUDGETS: dict[str, Budget] = {
    "fast": Budget(100, 20, 3, 500, 8, 50, 32),
    "standard": Budget(1000, 40, 5, 2000, 16, 100, 64, twins=True),
    "full": Budget(10_000, 100, 20, 5000, 32, 200, 128, twins=True, thorough=True),
}


def resolve_budget(budget: str | Budget) -> Budget:
    """Return a budget, or one of `BUDGETS` by name.

    Raises:
        ConfigError: listing the valid names.
    """
    if isinstance(budget, Budget):
        return budget
    if not isinstance(budget, str):
        names = ", ".join(BUDGETS)
        raise ConfigError(f"budget must be a Budget or one of {names}, got {budget!r}")
    if budget not in BUDGETS:
        raise unknown_name("budget", budget, BUDGETS)
    return BUDGETS[budget]
