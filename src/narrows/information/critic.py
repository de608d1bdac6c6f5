"""Train a critic on samples of (x, z) and report its bound of I(X;Z) on samples it never saw."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.checks import ArrayLike, check_count, check_number, check_samples
from narrows.errors import InputError, unknown_name
from narrows.information._checks import (
    check_pair,
    check_seed,
    constant_columns,
    full_precision,
)
from narrows.information._scaling import column_units
from narrows.information.neural import CRITIC_BOUNDS, BoundName, critic_bound
from narrows.types import Estimate

__all__ = ["CriticConfig", "fit_critic"]

_FEWEST = 50
_MOST_SCORED = 4000
_LOOK_EVERY = 50
_SHARES = (0.6, 0.2)


@dataclass(frozen=True)
class CriticConfig:
    """How a critic is built and trained.

    Attributes:
        hidden: width of both layers of a perceptron.
        embedding: number of outputs of f and g.
        steps: the largest number of steps of AdamW.
        patience: stop after this many steps without a gain on the validation part.
        batch_size: samples per step, of which all pairs are scored.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
    """

    hidden: int = 64
    embedding: int = 32
    steps: int = 3000
    patience: int = 400
    batch_size: int = 256
    learning_rate: float = 5e-4
    weight_decay: float = 0.3

    def __post_init__(self) -> None:
        for name in ("hidden", "embedding", "steps", "patience", "batch_size"):
            check_count(getattr(self, name), name, error=InputError)
        check_number(self.learning_rate, "learning_rate", above=0, error=InputError)
        check_number(self.weight_decay, "weight_decay", 0, error=InputError)
        if self.batch_size < 2:
            raise InputError("batch_size must be at least 2: a bound compares pairs of samples")


def fit_critic(
    x: ArrayLike,
    z: ArrayLike,
    bound: BoundName = "infonce",
    config: CriticConfig | None = None,
    seed: int = 0,
) -> Estimate:
    """Lower bound of I(X;Z) from a critic that is trained on a part of the samples.

        T(x, z) = f(x) . g(z) / sqrt(E) + a(x) + b(z)
        f, g = linear + perceptron,   a, b = quadratic + perceptron
        infonce:  I(X;Z) >= mean_i ( T_ii - log 1/n sum_j exp T_ij ),   T_ij = T(x_i, z_j)

    The other bounds are those of `CRITIC_BOUNDS`. 60 % of the samples train the critic, 20 % pick
    the best step, and the estimate is that of the last 20 %. A critic can score its own training
    samples at any value (McAllester & Stratos 2020, arXiv 1811.04251): estimates from them are far
    too high. The linear and quadratic parts alone contain the best critic of jointly Gaussian x and
    z; the perceptrons add what is not Gaussian.

    Source: the critic, which scores all n^2 pairs of a batch at the price of 2n, is that of Poole
    et al. (2019), arXiv 1905.06922, section 2; the sources of the bounds are with each of them.
    Deviations: linear and quadratic parts, without which ten correlated pairs lose a tenth of 1.4
    nats more at n = 10,000; all pairs of a batch off the diagonal serve as independent ones, so
    that the gradient of Donsker-Varadhan needs no moving average as in MINE; the critic of SMILE is
    trained to minimise E softplus(-T) + E softplus(T), the Jensen-Shannon objective of its authors.

    Args:
        x: `[n, D]`; columns are brought to mean 0 and variance 1.
        z: `[n, K]` likewise; labels as one-hot vectors.
        bound: one of `CRITIC_BOUNDS`.
        config: None for a critic that suits a few thousand samples of about ten dimensions.
        seed: of the split, the initial weights and the batches.

    Returns:
        Estimate in nats, that of `critic_bound` on the last part, with its `n` (at most 4,000 are
        scored). Further diagnostics: `train_nats` and `validation_nats`, the same bound on the
        other two parts, `step` that was picked, `steps` made, `constant_columns` of x and z
        together, and `warning`, where x or z is constant as a whole, else None.

    Raises:
        InputError: for NaN, wrong shapes, unequal lengths or fewer than 50 samples.
        ConfigError: for an unknown bound.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> x, noise = torch.randn(2, 1000, 1, generator=draw)
        >>> 0.2 < fit_critic(x, x + noise, config=CriticConfig(steps=200)).nats < 0.45
        True
    """
    if str(bound) not in CRITIC_BOUNDS:
        raise unknown_name("critic bound", str(bound), CRITIC_BOUNDS)
    x, z = check_pair(check_samples(x, "x"), check_samples(z, "z"))
    if len(x) < _FEWEST:
        raise InputError(f"a critic needs at least {_FEWEST} samples, got {len(x)}")
    draw = torch.Generator().manual_seed(check_seed(seed))
    train, validation, held_out = _split(x, z, draw)
    config = config or CriticConfig()
    critic = _Critic(x.shape[1], z.shape[1], config, draw).to(x.device)
    with full_precision(x.device):
        with torch.enable_grad():
            step, steps = _train(critic, train, validation, bound, config, draw)
        parts = [critic.score(part) for part in (held_out, train, validation)]
    estimate, of_train, of_validation = (critic_bound(scores, bound) for scores in parts)
    flat = [name for name, part in (("x", x), ("z", z)) if (part == part[0]).all()]
    details = {
        "train_nats": of_train.nats,
        "validation_nats": of_validation.nats,
        "step": step,
        "steps": steps,
        "constant_columns": constant_columns(x) + constant_columns(z),
        "warning": f"{' and '.join(flat)} is constant and carries nothing" if flat else None,
    }
    return replace(estimate, diagnostics={**estimate.diagnostics, **details})


class _Pairs(NamedTuple):
    x: Tensor
    z: Tensor

    def take(self, rows: Tensor | slice) -> _Pairs:
        return _Pairs(self.x[rows], self.z[rows])


class _Tower(nn.Module):
    """One side of the critic: `[n, D]` to f, `[n, E]`, and a, `[n, 1]`."""

    def __init__(self, d: int, config: CriticConfig, draw: torch.Generator) -> None:
        super().__init__()
        sizes = [d, config.hidden, config.hidden, config.embedding + 1]
        layers = [_linear(a, b, draw) for a, b in itertools.pairwise(sizes)]
        self.perceptron = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
        self.linear = _linear(d, config.embedding, draw)
        self.quadratic = nn.Parameter(torch.zeros(d, d))
        with torch.no_grad():
            # A small perceptron at the start keeps it from fitting noise first.
            layers[2].weight.mul_(0.1)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        nonlinear = self.perceptron(points)
        square = ((points @ self.quadratic) * points).sum(1, keepdim=True)
        return self.linear(points) + nonlinear[:, 1:], square + nonlinear[:, :1]


class _Critic(nn.Module):
    """Scores of all pairs: `[n, D]` and `[n, K]` to `[n, n]`."""

    def __init__(self, d: int, k: int, config: CriticConfig, draw: torch.Generator) -> None:
        super().__init__()
        self.of_x, self.of_z = _Tower(d, config, draw), _Tower(k, config, draw)

    def forward(self, pairs: _Pairs) -> Tensor:
        (f, a), (g, b) = self.of_x(pairs.x), self.of_z(pairs.z)
        return f @ g.T / math.sqrt(f.shape[1]) + a + b.T

    @torch.no_grad()
    def score(self, pairs: _Pairs) -> Tensor:
        return self(pairs.take(slice(_MOST_SCORED)))


def _linear(inputs: int, outputs: int, draw: torch.Generator) -> nn.Linear:
    # Built empty and filled from a generator of its own, so that the global one is not used.
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=draw)
    nn.init.zeros_(layer.bias)
    return layer


def _split(x: Tensor, z: Tensor, draw: torch.Generator) -> list[_Pairs]:
    """Training, validation and held-out part, standardised as the first is."""
    n = len(x)
    order = torch.randperm(n, generator=draw).to(x.device)
    sizes = [int(share * n) for share in _SHARES]
    rows = order.split([*sizes, n - sum(sizes)])
    columns = []
    for part in (x, z):
        train = part[rows[0]]
        columns.append(((part - train.mean(0)) / column_units(train)).float())
    return [_Pairs(*columns).take(part_rows) for part_rows in rows]


def _train(
    critic: _Critic,
    train: _Pairs,
    validation: _Pairs,
    bound: BoundName,
    config: CriticConfig,
    draw: torch.Generator,
) -> tuple[int, int]:
    """Train the critic to its best step on the validation part: that step, and the steps made."""
    loss = _LOSSES.get(bound, lambda scores: -CRITIC_BOUNDS[bound](scores))
    optimiser = torch.optim.AdamW(
        critic.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    best, kept, step, weights = -math.inf, 0, 0, critic.state_dict()
    for step, rows in enumerate(_batches(len(train.x), config, draw), start=1):
        optimiser.zero_grad()
        loss(critic(train.take(rows))).backward()
        optimiser.step()
        if step % _LOOK_EVERY and step < config.steps:
            continue
        value = -loss(critic.score(validation)).item()
        if value > best:
            best, kept = value, step
            weights = {name: part.clone() for name, part in critic.state_dict().items()}
        if step >= config.steps or step - kept >= config.patience:
            break
    critic.load_state_dict(weights)
    return kept, step


def _batches(n: int, config: CriticConfig, draw: torch.Generator) -> Iterator[Tensor]:
    size = min(config.batch_size, n)
    while True:
        for rows in torch.randperm(n, generator=draw).split(size):
            if len(rows) == size:
                yield rows


def _jensen_shannon(scores: Tensor) -> Tensor:
    n = len(scores)
    diagonal = torch.eye(n, dtype=torch.bool, device=scores.device)
    elsewhere = F.softplus(scores).masked_fill(diagonal, 0).sum() / (n * (n - 1))
    return F.softplus(-scores.diagonal()).mean() + elsewhere


_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {"smile": _jensen_shannon}
