"""What an audit examines: a model, images and a radius, a budget, and verdicts of the model.

Verdicts are made quietly: in evaluation mode, from one seed, and with the model, its state and the
random generators left as they were found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from narrows.attacks import PGD, Query
from narrows.attacks.entrance import check_case, check_reach, is_stochastic
from narrows.attacks.query import Verdict, frozen
from narrows.attacks.suspicions import are_probabilities, drift
from narrows.errors import ConfigError, unknown_name
from narrows.models.outputs import logits_of
from narrows.types import Norm

__all__ = ["BUDGETS", "Budget", "Claim", "gray_radius", "resolve_budget"]

_BLOCK = 1024
_PROBE = 64


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
        thorough: whether every remedy is tried, also where no check failed.

    Raises:
        ConfigError: for a number below 1.
    """

    images: int
    steps: int
    restarts: int
    queries: int
    draws: int
    verify_draws: int
    directions: int
    thorough: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1 and name != "thorough":
                raise ConfigError(f"a budget's {name} must be at least 1, got {value}")

    def with_images(self, images: int) -> Budget:
        """The same for another number of images."""
        return replace(self, images=images)


BUDGETS: dict[str, Budget] = {
    "fast": Budget(100, 20, 3, 500, 8, 50, 32),
    "standard": Budget(1000, 40, 5, 2000, 16, 100, 64),
    "full": Budget(10_000, 100, 20, 5000, 32, 200, 128, thorough=True),
}


def resolve_budget(budget: str | Budget) -> Budget:
    """A budget of one's own, or one of `BUDGETS` by name.

    Raises:
        ConfigError: listing the valid names.
    """
    if isinstance(budget, Budget):
        return budget
    if budget not in BUDGETS:
        raise unknown_name("budget", budget, BUDGETS)
    return BUDGETS[budget]


class Claim:
    """A model said to be robust at these images within this radius; `Case` finds what is against.

    Attributes:
        drift: names of the tensors that the model changes in use.
        stochastic: whether two passes over the same images differ.
        verdict: of the model, on the images as they are.
        clean: `[n]` bool, whether they are classified correctly.
        probabilities: whether the model returns probabilities, not logits.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        eps: float,
        norm: Norm,
        budget: str | Budget,
        seed: int,
    ) -> None:
        self.budget = resolve_budget(budget)
        PGD(norm=norm, eps=eps)  # refuses a norm or an eps that there is not
        if eps == 0:
            raise ConfigError("eps must be positive: nothing can be attacked within eps = 0")
        x, labels, _ = check_case(x, y, model=model)
        check_reach(eps, norm, x)
        self.model, self.eps, self.seed = model, eps, seed
        self.norm: Norm = norm
        # Copies, because a tensor made in inference mode can have no gradient.
        with torch.inference_mode(False):
            self.x = x[: self.budget.images].detach().clone()
            self.y = labels[: self.budget.images].clone()
        self.drift: list[str] = []
        with self.quiet():
            self.drift = drift(model, self.x)
        with self.quiet():
            self.stochastic = is_stochastic(model, self.x)
        self.verdict = self._judge(self.x, self.y)
        self.logits, self.clean = self.verdict.logits, ~self.verdict.fooled
        self.classes = self.logits.shape[1]
        with self.quiet():
            self.probabilities = are_probabilities(logits_of(model, self.x[:_PROBE]))

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Evaluation mode, no gradients, one seed; model, modes and generators left as found."""
        devices = [self.x.device] if self.x.is_cuda else []
        with (
            torch.inference_mode(False),
            torch.random.fork_rng(devices),
            frozen(self.model),
            torch.no_grad(),
            self.restored(),
        ):
            torch.manual_seed(self.seed)
            yield

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Put parameters and buffers back afterwards, of a model that changes them in use."""
        if not self.drift:
            yield
            return
        now = self.model.state_dict()
        before = {name: now[name].clone() for name in self.drift}
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in before.items():
                    now[name].copy_(value)

    def pgd(self, **changes: object) -> PGD:
        """The attack of the usual report, which checks compare others with, and changes to it.

        Cross-entropy in the model's own precision, one restart, one draw a step.
        """
        usual = PGD(
            norm=self.norm,
            eps=self.eps,
            steps=self.budget.steps,
            restarts=1,
            verify_draws=self.budget.verify_draws,
            seed=self.seed,
        )
        return replace(usual, **changes)

    def wrong(self, x: Tensor, rows: Tensor) -> Tensor:
        """Whether the model is wrong about `x: [b, ...]`, at any radius; nothing is entered."""
        return self._judge(x, self.y[rows]).fooled

    def generator(self) -> torch.Generator:
        """A generator of its own for a search, on the device of the images."""
        return torch.Generator(self.x.device).manual_seed(self.seed)

    def _judge(self, x: Tensor, y: Tensor, seed: int | None = None) -> Verdict:
        """What the model makes of `x: [b, ...]`, on fresh draws where it varies."""
        parts = []
        with self.quiet():
            torch.manual_seed(self.seed if seed is None else seed)
            for part, labels in zip(x.split(_BLOCK), y.split(_BLOCK), strict=True):
                query = Query(
                    self.model,
                    labels,
                    stochastic=self.stochastic,
                    verify_draws=self.budget.verify_draws,
                )
                parts.append(query.verdict(part, torch.arange(len(part), device=x.device)))
        return Verdict(*(torch.cat(column) for column in zip(*parts, strict=True)))


def gray_radius(claim: Claim) -> float:
    """The radius within which every image can be made uniformly gray."""
    return 0.5 if claim.norm == "linf" else 0.5 * math.sqrt(claim.x[0].numel())
