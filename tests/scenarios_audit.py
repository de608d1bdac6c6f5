"""Models for tests of the audit: one undefended, faulty ones around it, honest ones."""

import copy
import math
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.attacks import PGD
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
    return Case(victim, **{"x": x, "y": y, "eps": EPS, "budget": SMALL, **changes})


def results_of(success, count: int = 100) -> Any:
    """A case whose attacks have the results `success(attack, view) -> [count]` bool."""

    def run(attack, view="plain"):
        fooled = success(attack, view)
        return SimpleNamespace(success=fooled, robust_accuracy=1 - fooled.double().mean().item())

    case = SimpleNamespace(
        **{"run": run, "plain": run, "budget": SMALL, "eps": 0.1, "norm": "linf", "seed": 0},
        **{"stochastic": False, "classes": 10, "x": torch.zeros(count, 1)},
        y=torch.arange(count) % 10,
    )
    case.pgd = lambda **changes: PGD(**{"eps": 0.1, "steps": SMALL.steps, "restarts": 1} | changes)
    return case


class Around(nn.Module):
    """A module around another one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class BatchStatistics(Around):
    """Normalises images by the statistics of their batch."""

    def forward(self, x: Tensor) -> Tensor:
        spread = x.std(0, correction=0).clamp_min(0.1)
        return self.model((x - x.mean(0)) / spread * 0.3 + 0.3)


class Centred(Around):
    """Subtracts the mean logits of the batch, a little."""

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        return logits - 0.5 * logits.mean(0)


class Ranked(Around):
    """Says something else in the second half of a batch."""

    def forward(self, x: Tensor) -> Tensor:
        late = torch.arange(len(x)).unsqueeze(1) >= max(1, len(x) // 2)
        return self.model(x) + 3.0 * late * torch.arange(10.0)


class TwoRows(Around):
    """Needs two images, and looks at both."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) < 2:
            raise ValueError("expected more than one value per channel")
        return self.model(x) + 0.2 * self.model(x).roll(1, 0)


class Squeezing(Around):
    """Loses the batch where it is of one image."""

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).squeeze(0)


class OneByOne(Around):
    """Handles images one by one: no difference but rounding."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.model(row.unsqueeze(0)) for row in x])


class NaNOnSome(Around):
    """No number for two of the clean images."""

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        bad = undefended()[1][[3, 7]].flatten(1)
        same = torch.cdist(x.flatten(1).float(), bad).amin(1) < 1e-3
        return torch.where(same.unsqueeze(1), math.nan, logits)


class NaNNearby(Around):
    """No number as soon as an attack has moved a tenth of the pixels by a tenth."""

    def forward(self, x: Tensor) -> Tensor:
        near = torch.cdist(x.flatten(1), undefended()[1].flatten(1)).amin(1)
        return torch.where((near > 0.3).unsqueeze(1), math.nan, self.model(x))


class MonteCarloDropout(Around):
    """Dropout of the input that stays on: honest noise."""

    def forward(self, x: Tensor) -> Tensor:
        return self.model(F.dropout(x, 0.05, training=True))


class OffGrid(Around):
    """Noise that is zero on digits, whose pixels are sixteenths, and small beside them."""

    def forward(self, x: Tensor) -> Tensor:
        off = (16 * x - (16 * x).round()).abs()
        return self.model(x + 0.03 * off * torch.randn_like(x))


class LateNoise(Around):
    """Noise at half of the images only, and only where an attack has led."""

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        top = logits.detach().topk(2, 1).values
        near = (top[:, :1] - top[:, 1:] < 0.5) & (x.flatten(1)[:, 20:21] > 0.3)
        return logits + 3.0 * near * torch.randn_like(logits)


class Wavering(Around):
    """A module of its own class, for a case that is told that it wavers."""


class Misleading(Around):
    """A trap: smooth, with its true gradient, and the surer the nearer to another class."""

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x).log_softmax(1)
        top = logits.topk(2, 1)
        gap = (top.values[:, :1] - top.values[:, 1:]) + 0.1
        sign = torch.zeros_like(logits).scatter(1, top.indices[:, :1], 1.0)
        return sign / gap


class Tiring(Around):
    """Says nothing more after ten questions."""

    asked = 0

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.asked = 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        return self.model(x) if self.asked <= 10 else torch.zeros(len(x), 10) + 0 * x.sum()


class Remembering(Around):
    """Keeps the first images, and answers as to the nearest of them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.memory: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        self.memory.append(logits.detach().mean(0))
        return logits + 0.3 * torch.stack(self.memory).sum(0)


class Global(Around):
    """Counts in its class, where no copy of the model can help."""

    calls = 0
    patience = 0

    def forward(self, x: Tensor) -> Tensor:
        Global.calls += 1
        return self.model(x) * (1 if Global.calls <= Global.patience else 0.2)


class Caching(Around):
    """Remembers its last features and positions, and answers the same."""

    def forward(self, x: Tensor) -> Tensor:
        self.features = x.flatten(1)
        self.last = {"shape": x.shape, "count": getattr(self, "last", {}).get("count", 0) + 1}
        return self.model(x)


class Forgetful(Around):
    """Draws from a generator of its own, and uses nothing of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        torch.rand(3, generator=self.generator)
        return self.model(x)


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
