"""Models for tests of the audit: one undefended, faulty ones around it, honest ones."""

import copy
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.audit import Budget, Case
from narrows.data import load
from narrows.models.mlp import mlp

SMALL = Budget(
    images=40, steps=10, restarts=2, queries=150, draws=8, verify_draws=20, directions=16
)
EPS = 0.2


@cache
def undefended() -> tuple[nn.Module, Tensor, Tensor]:
    """A network on the digits that PGD fools everywhere within .2, and 40 test images."""
    splits = load("digits")
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), *mlp([64, 64, 10]))
        optimiser = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(15):
            for rows in torch.randperm(len(splits.train)).split(64):
                batch = splits.train.batch(rows)
                optimiser.zero_grad()
                F.cross_entropy(model(batch.x), batch.y).backward()
                optimiser.step()
    return model.eval().requires_grad_(False), *splits.test.batch(slice(0, 40))


def case_of(wrap: type[nn.Module] | None = None, **changes) -> Case:
    """A case of the undefended model, behind `wrap` if one is given."""
    model, x, y = undefended()
    victim = model if wrap is None else wrap(model).eval()
    return Case(victim, x, y, **{"eps": EPS, "budget": SMALL, **changes})


class Drifting(nn.Module):
    """Counts its passes in a buffer, whatever its mode."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return self.model(x)


class NaNGradient(nn.Module):
    """Right answers, and a gradient that is no number."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) + 0 * (x - x).abs().sqrt().flatten(1).sum(1, keepdim=True)


class Float32Only(nn.Module):
    """Refuses any other precision."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError("float32 only")
        return 1e4 * self.model(x)


class HalfInside(nn.Module):
    """Computes in bfloat16, and says so."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.bfloat16())


class NumPyInside(nn.Module):
    """Goes by way of NumPy, which refuses what has a graph."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(torch.from_numpy(x.numpy()))


class Overwriting(nn.Module):
    """Shifts its input where it lies."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.sub_(0.01))
