"""Models with known answers for attacks, shared by the tests of several of them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from narrows.types import Norm


class Linear(nn.Module):
    """A linear classifier of images."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))

    def scale(self, factor: float) -> None:
        self.layer.weight.data *= factor
        self.layer.bias.data *= factor


class Curved(nn.Module):
    """A smooth classifier of 16 pixels into 5 classes, unlike in training."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 32)
        self.norm = nn.BatchNorm1d(32)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.dropout(self.norm(self.first(x.flatten(1))).tanh()))


def linear_case(
    classes: int, count: int = 200, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Linear, Tensor, Tensor]:
    """A linear classifier, and images so far from the box that only its boundaries matter.

    The exact radii spread from next to nothing to about .05 (Linf) and .2 (L2).
    """
    generator = torch.Generator().manual_seed(seed)
    model = Linear(20, classes).to(dtype)
    model.layer.weight.data = torch.randn(classes, 20, dtype=dtype, generator=generator)
    x = 0.25 + 0.5 * torch.rand(count, 1, 4, 5, dtype=dtype, generator=generator)
    with torch.no_grad():
        model.layer.bias.data -= model(x).mean(0)
        y = model(x).argmax(1)
    return model, x, y


def exact_radius(model: Linear, x: Tensor, y: Tensor, norm: Norm) -> Tensor:
    """Distance to the nearest boundary of a `linear_case`: min_k (f_y - f_k) / ||w_k - w_y||_*."""
    with torch.no_grad():
        logits = model(x)
        gap = logits.gather(1, y[:, None]) - logits
        weight = model.layer.weight
        normal = weight[None] - weight[y][:, None]
        order = {"linf": 1, "l2": 2, "l1": float("inf")}[norm]
        dual = torch.linalg.vector_norm(normal, order, dim=-1)
        distance = (gap / dual).masked_fill(dual == 0, float("inf"))
    return distance.amin(1)


def sparse_radius(model: Linear, x: Tensor, norm: Norm) -> Tensor:
    """Exact L1 or L0 distance to the boundary of a linear classifier of two classes, in [0, 1].

    Pixels change in the order of what each unit of distance gains, until the lead is gone; with L1
    that is its weight, with L0 its weight times its way to the end of [0, 1].
    """
    with torch.no_grad():
        lead = model(x)[:, 0] - model(x)[:, 1]
        weight = (model.layer.weight[1] - model.layer.weight[0]) * lead.sign()[:, None]
    flat = x.flatten(1)
    room = torch.where(weight > 0, 1 - flat, flat)
    gain = weight.abs() * room
    order = (weight.abs() if norm == "l1" else gain).argsort(1, descending=True)
    gain, room, weight = (part.gather(1, order) for part in (gain, room, weight.abs()))
    before = gain.cumsum(1) - gain
    missing = (lead.abs()[:, None] - before).clamp_min(0)
    if norm == "l1":
        return (missing / weight).minimum(room).sum(1)
    return (missing > 0).sum(1).to(x.dtype)


def curved_case(
    count: int = 40, dtype: torch.dtype = torch.float32
) -> tuple[Curved, Tensor, Tensor]:
    """A smooth random classifier of 5 classes, left in training mode; one label in 8 is wrong."""
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        model = Curved().to(dtype)
        x = torch.rand(count, 1, 4, 4, dtype=dtype)
    model.last.weight.data *= 5
    with torch.no_grad():
        y = model.eval()(x).argmax(1)
    y[::8] = (y[::8] + 1) % 5
    return model.train(), x, y


class NoisyInput(nn.Module):
    """Any classifier behind Gaussian noise on its input, drawn from torch's global generator."""

    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self.model = model
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x + self.scale * torch.randn_like(x))


class Lucky(nn.Module):
    """Says class 0 whatever it sees, except in a share of its draws, image by image."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        lucky = torch.rand(len(x)) < self.share
        score = 2.0 * lucky - 1 + 0 * x.flatten(1).sum(1)
        return torch.stack([-score, score], 1)


class Labels(nn.Module):
    """The label of another model as one-hot logits, without a gradient."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            logits = self.model(x)
        return nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(x.dtype)


class Counting(nn.Module):
    """Counts the images that pass forward, and those whose gradient comes back."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.forwards = 0
        self.backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        logits = self.model(x)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@dataclass(frozen=True)
class SignStep:
    """One step of the fast gradient sign method, as a library that knows nothing of ours."""

    eps: float

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        loss = nn.functional.cross_entropy(model(x), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        return (x + self.eps * gradient.sign()).clamp(0, 1).detach()
