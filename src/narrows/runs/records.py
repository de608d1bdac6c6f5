"""The records of a run: one for each trained model, and what is said of the models together.

Each is a frozen dataclass and is stored as JSON with the same names. Information is in nats, and a
number that is not finite is stored as null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from narrows.errors import ConfigError, StoreError

__all__ = [
    "Accuracy",
    "AttackRecord",
    "EstimateRecord",
    "LostMember",
    "Measurements",
    "Member",
    "MemberRecord",
    "stacks_of",
]


@dataclass(frozen=True, order=True)
class Member:
    """One model of a run.

    Args:
        method: name of its training method.
        beta: weight of its compression; 0 for a method without.
        seed: of its weights, noise and order of the data.

    Example:
        >>> Member("vib", 0.1, 0).key
        'vib-0.1-0'
        >>> str(Member("vib", 0.1, 0))
        'vib, beta = 0.1, seed 0'
    """

    method: str
    beta: float
    seed: int

    def __post_init__(self) -> None:
        if not (0 <= self.beta < math.inf and self.seed >= 0):
            raise ConfigError(f"expected a beta and a seed of at least 0, got {self}")
        object.__setattr__(self, "beta", float(self.beta) + 0.0)  # which makes 0.0 of -0.0

    @property
    def key(self) -> str:
        """Names the model's files; betas that differ in their last bit have different keys."""
        return f"{self.method}-{self.beta!r}-{self.seed}"

    def __str__(self) -> str:
        return f"{self.method}, beta = {self.beta:.10g}, seed {self.seed}"


def stacks_of(
    members: Sequence[Member], at_once: Callable[[Member], int]
) -> Iterator[list[Member]]:
    """The members that are measured together: neighbours of one method, at most `at_once` of them.

    Products of matrices are rounded differently in stacks of different sizes. So that a process
    that was killed goes on to the same numbers, pass all members, also those measured already.

    Args:
        members: of one run.
        at_once: of the first member of a stack, how many fit into one.
    """
    left = list(members)
    while left:
        alike = [member for member in left if member.method == left[0].method]
        stack = alike[: at_once(left[0])]
        yield stack
        left = [member for member in left if member not in stack]


@dataclass(frozen=True)
class Accuracy:
    """Share of inputs that are classified correctly, on each part of the data."""

    train: float
    validation: float
    test: float


@dataclass(frozen=True)
class EstimateRecord:
    """An `Estimate`, as it is stored."""

    nats: float | None
    std_error: float | None
    n: int
    ceiling: float | None
    diagnostics: dict[str, object] = field(default_factory=dict)

    @property
    def bits(self) -> float | None:
        """The estimate in bits, for reports."""
        return None if self.nats is None else self.nats / math.log(2)


@dataclass(frozen=True)
class AttackRecord:
    """What one attack of `narrows run` left of one model.

    Attributes:
        attack: its name.
        norm: in which `eps` and distances are measured.
        eps: radius; `None` for an attack that looks for the smallest perturbation.
        accuracy: share of images that are still classified correctly; `None` without a radius.
        mean_distance: of the perturbations that fooled the model, likewise `median_distance`.
        images: number of images.
        mode: `"mean"` or `"sample"` for a stochastic model, else `"deterministic"`.
        draws: of the noise, averaged in each gradient.
        forwards: images sent forward, likewise `backwards`.
    """

    attack: str
    norm: str
    eps: float | None
    accuracy: float | None
    mean_distance: float | None
    median_distance: float | None
    images: int
    mode: str
    draws: int
    forwards: int
    backwards: int


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What is measured on one trained model.

    Attributes:
        accuracy: at the mean of a stochastic code, where the mean is a model of its own.
        information: estimates by name, for `"train"` and `"test"`.
        sampled_test_accuracy: of the average of several draws; `None` for a deterministic model.
        attacks: `None` where nothing was attacked.
    """

    accuracy: Accuracy
    information: dict[str, dict[str, EstimateRecord]] = field(default_factory=dict)
    sampled_test_accuracy: float | None = None
    attacks: list[AttackRecord] | None = None

    @property
    def has_latent(self) -> bool:
        """Whether I(X;Z) and I(Z;Y) were measured, which needs a latent."""
        return "kde_upper" in self.information.get("train", {})

    def curve_point(self, split: str) -> tuple[float, float]:
        """I(X;Z) and I(Z;Y) in nats, as they are drawn in the information plane.

        Both are by the same pairwise distance (Kullback-Leibler), whose biases partly cancel.

        Raises:
            StoreError: for a model without a latent, or a record without these numbers.
        """
        estimates = self.information.get(split, {})
        rate, relevance = estimates.get("kde_upper"), estimates.get("kde_relevance_upper")
        same_distance = relevance and relevance.diagnostics.get("same_distance")
        if rate is None or rate.nats is None or not isinstance(same_distance, int | float):
            raise StoreError(
                f"I(X;Z) was not measured on the {split} data: the model has no latent, or one of "
                "full covariance"
            )
        return rate.nats, float(same_distance)


@dataclass(frozen=True, kw_only=True)
class MemberRecord(Measurements):
    """What is known of one trained model.

    Attributes:
        method: of the model, likewise `beta` and `seed`.
        best_epoch: the epoch whose weights were kept, chosen on validation data, from 0.
        adversarial: the adversarial training around the method; `None` for none.
    """

    method: str
    beta: float
    seed: int
    best_epoch: int
    adversarial: str | None = None

    @property
    def member(self) -> Member:
        """Which model it is."""
        return Member(self.method, self.beta, self.seed)


@dataclass(frozen=True)
class LostMember:
    """A model whose loss or weights became infinite, and where; it is in no result."""

    beta: float
    seed: int
    error: str
