"""False defences written after the remedies were finished, which were not changed for them.

They are taken from the literature of broken defences, by Athalye, Carlini & Wagner (2018), arXiv
1802.00420; Tramer, Carlini, Brendel & Madry (2020), arXiv 2002.08347; and Croce et al. (2022),
arXiv 2202.13711. Half of them have no undefended classifier inside that could be attacked instead.

Each is made from an undefended network and the data, and comes with what a knowing attacker would
differentiate in its place.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.audit.planted import Planted
from narrows.data import Splits
from narrows.models.mlp import mlp
from narrows.models.outputs import logits_of

Fit = Callable[[nn.Module], nn.Module]


class Defended(NamedTuple):
    """A defended model, and what a knowing attacker differentiates."""

    model: nn.Module
    known: nn.Module


class Codes(nn.Module):
    """Each pixel as the thresholds that it is above, soft where a gradient is wanted."""

    def __init__(self, soft: bool) -> None:
        super().__init__()
        self.soft = soft

    def forward(self, x: Tensor) -> Tensor:
        """`[n, 10 * pixels]` of zeros and ones."""
        levels = torch.arange(10, dtype=x.dtype, device=x.device) / 10
        apart = x.flatten(1).unsqueeze(-1) - levels
        codes = (10 * apart).clamp(0, 1) if self.soft else (apart > 0).to(x.dtype)
        return codes.flatten(1)


def thermometer(base: nn.Module, splits: Splits, fit: Fit) -> Defended:
    """A network trained on thermometer codes (Buckman et al., 2018)."""
    pixels = splits.train.x[0].numel()
    layers = mlp([10 * pixels, 128, 10])
    model = fit(nn.Sequential(Codes(soft=False), *layers))
    return Defended(model, nn.Sequential(Codes(soft=True), *layers))


class Winners(nn.Module):
    """Keeps the largest tenth of the units of a layer (k-WTA; Xiao et al., 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        """`[n, units]`, mostly zeros."""
        least = x.topk(max(1, x.shape[1] // 10), 1).values[:, -1:]
        return x * (x >= least)


def winners(base: nn.Module, splits: Splits, fit: Fit) -> Defended:
    """A network whose activation is discontinuous nearly everywhere."""
    pixels = splits.train.x[0].numel()
    model = nn.Sequential(
        *(nn.Flatten(), nn.Linear(pixels, 256), Winners()),
        *(nn.Linear(256, 256), Winners(), nn.Linear(256, 10)),
    )
    model = fit(model)
    return Defended(model, model)


class Pruned(nn.Module):
    """Layers with random units dropped, the smaller the likelier (Dhillon et al., 2018)."""

    def __init__(self, layers: nn.Sequential, noisy: bool) -> None:
        super().__init__()
        self.layers, self.noisy = layers, noisy

    def forward(self, x: Tensor) -> Tensor:
        """Logits of one random network."""
        for layer in self.layers:
            x = layer(x)
            if self.noisy and isinstance(layer, nn.ReLU):
                share = x / x.sum(1, keepdim=True).clamp_min(1e-9)
                keep = 1 - (1 - share).pow(x.shape[1])
                mask = (torch.rand_like(x) < keep).to(x.dtype)
                x = (x * mask / keep.clamp_min(1e-3)).detach() + 0 * x
        return x


def pruned(base: nn.Module, splits: Splits, fit: Fit) -> Defended:
    """Stochastic activation pruning of the undefended network's own layers."""
    layers = nn.Sequential(*(m for m in base.modules() if not isinstance(m, nn.Sequential)))
    return Defended(Pruned(layers, noisy=True), Pruned(layers, noisy=False))


class Quantised(nn.Module):
    """The hidden layer of a network replaced, in groups of four, by the nearest of 64 centres."""

    def __init__(self, layers: nn.Sequential, x: Tensor) -> None:
        super().__init__()
        self.layers = layers
        with torch.no_grad():
            hidden = layers[:3](x).unflatten(1, (-1, 4))
            self.register_buffer("centres", hidden[:64].transpose(0, 1).clone())

    def forward(self, x: Tensor) -> Tensor:
        """Logits from looked-up features."""
        hidden = self.layers[:3](x).unflatten(1, (-1, 4)).transpose(0, 1)
        centres = self.get_buffer("centres")
        nearest = torch.cdist(hidden, centres).argmin(-1)
        chosen = torch.stack([group[rows] for group, rows in zip(centres, nearest, strict=True)])
        return self.layers[3:](chosen.transpose(0, 1).flatten(1))


def quantised(base: nn.Module, splits: Splits, fit: Fit) -> Defended:
    """A discretised latent: a look-up in a table of features of training images."""
    layers = nn.Sequential(*(m for m in base.modules() if not isinstance(m, nn.Sequential)))
    return Defended(Quantised(layers, splits.train.x[:64]), base)


class Deflected(Planted):
    """Swaps a few random pixels with neighbours, then takes a median (pixel deflection)."""

    def before(self, x: Tensor) -> Tensor:
        """A purified image, outside of the graph."""
        side = x.shape[-1]
        moved = x.detach().clone()
        rows = torch.randint(side, (4,))
        columns = torch.randint(side - 1, (4,))
        moved[..., rows, columns] = moved[..., rows, columns + 1]
        around = F.unfold(F.pad(moved, (1, 1, 1, 1), mode="replicate"), 3)
        median = around.unflatten(1, (x.shape[1], 9)).median(2).values.view_as(x)
        return 0.7 * moved + 0.3 * median


class Resized(Planted):
    """Random resizing and padding (Xie et al., 2018), by a generator that PyTorch does not know."""

    def before(self, x: Tensor) -> Tensor:
        """A copy that is a little larger, cut at a random place."""
        side = x.shape[-1]
        larger = F.interpolate(x, size=side + random.randint(0, 1), mode="bilinear")
        top, left = (random.randint(0, larger.shape[-1] - side) for _ in range(2))
        return larger[..., top : top + side, left : left + side]


class Honeypot(Planted):
    """A steep bait of ripples on the classes that do not lead, taken out before one decides."""

    def __init__(self, model: nn.Module, inputs: int) -> None:
        super().__init__(model)
        generator = torch.Generator().manual_seed(9)
        baits = torch.randn(10, inputs, generator=generator)
        self.register_buffer("baits", F.normalize(baits, dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, raised by the baits up to the point at which they would decide."""
        logits = logits_of(self.model, x)
        found = 40 * (x.flatten(1) @ self.get_buffer("baits").T.to(x))
        return logits + 3 * torch.sin(found) * (logits.max(1, keepdim=True).values - logits > 0.5)


class Switching(nn.Module):
    """One of three networks answers, chosen by a checksum of the image's pixels."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.third = networks

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the network that is chosen."""
        chosen = (255 * x).round().flatten(1).sum(1).long() % 3
        scores = torch.stack([self.first(x), self.second(x), self.third(x)], 1)
        return scores[torch.arange(len(x)), chosen] * torch.tensor([1.0, 30.0, 0.05])[chosen, None]


class Mean(nn.Module):
    """The mean log-probabilities of three networks."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Scores `[n, 10]`."""
        return torch.stack([network(x).log_softmax(1) for network in self.networks]).mean(0)


def switching(base: nn.Module, splits: Splits, fit: Fit) -> Defended:
    """A discontinuous ensemble (Tramer et al. break several of its kind)."""
    pixels = splits.train.x[0].numel()
    networks = [fit(nn.Sequential(nn.Flatten(), *mlp([pixels, 96, 10]))) for _ in range(3)]
    return Defended(Switching(*networks), Mean(*networks))


class OutputCodes(nn.Module):
    """Scores are the agreement with a code of 32 bits (Verma & Swami, 2019)."""

    def __init__(self, inputs: int, gain: float, floor: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), *mlp([inputs, 128, 32]))
        bits = torch.randint(0, 2, (10, 32), generator=torch.Generator().manual_seed(4))
        self.register_buffer("codes", 2.0 * bits - 1)
        self.gain, self.floor = gain, floor

    def forward(self, x: Tensor) -> Tensor:
        """Log of the clamped agreement."""
        bits = torch.tanh(self.gain * self.body(x))
        agreement = bits @ self.get_buffer("codes").T.to(x) / 32
        return agreement.clamp_min(self.floor).log() if self.floor > 0 else 10 * agreement


def output_codes(base: nn.Module, splits: Splits, fit: Fit) -> Defended:
    """Saturated bits and a floor under the agreement."""
    torch.manual_seed(7)
    known = fit(OutputCodes(splits.train.x[0].numel(), 1.0, 0.0))
    model = OutputCodes(splits.train.x[0].numel(), 25.0, 1e-3)
    model.load_state_dict(known.state_dict())
    return Defended(model, known)


class Neighbours(Planted):
    """Half of the image is the mean of its three nearest training images (a purifier)."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        super().__init__(model)
        self.register_buffer("memory", x.clone())

    def before(self, x: Tensor) -> Tensor:
        """A projection towards the training images."""
        memory = self.get_buffer("memory").to(x)
        near = torch.cdist(x.flatten(1), memory.flatten(1)).topk(3, largest=False).indices
        return 0.5 * x.detach() + 0.5 * memory[near].mean(1)


class QueryMemory(Planted):
    """Answers an image as it answered the first one like it (Blacklight and its kind)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.images: Tensor | None = None
        self.answers: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Logits, or those of an earlier image nearby."""
        logits = logits_of(self.model, x)
        if self.images is None or self.answers is None:
            self.images, self.answers = x.detach()[:512], logits.detach()[:512]
            return logits
        apart = torch.cdist(x.flatten(1), self.images.to(x).flatten(1))
        distance, nearest = apart.min(1)
        like = (distance < 0.12 * x[0].numel() ** 0.5) & (distance > 0)
        old = self.answers.to(x)[nearest]
        if len(self.images) < 2048:
            self.images = torch.cat([self.images, x.detach()[~like][:64].to(self.images)])
            self.answers = torch.cat([self.answers, logits.detach()[~like][:64].to(self.answers)])
        return torch.where(like.unsqueeze(1), old, logits)


class Shuffled(Planted):
    """The leading score is a constant, the others are exchanged at random by the image."""

    def after(self, logits: Tensor) -> Tensor:
        """Scores that only tell the class."""
        order = torch.sin(1e4 * logits.detach()).argsort(1)
        others = logits.gather(1, order)
        top = logits.argmax(1, keepdim=True)
        return (others - others.amax(1, keepdim=True)).clamp(-5, -0.5).scatter(1, top, 0.0)


class Step(torch.autograd.Function):
    """One where positive, else zero; the gradient is that of a hard sigmoid while training."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """Zeros and ones."""
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        """The gradient where the unit is near its threshold."""
        (x,) = ctx.saved_tensors
        return gradients[0] * (x.abs() < 2)


class Binary(nn.Module):
    """Binary activations, trained with a gradient and used without one."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros and ones."""
        return Step.apply(x) if self.training else (x > 0).to(x.dtype)


class SoftBinary(nn.Module):
    """The same with a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros and ones."""
        return Step.apply(x)


def binary_activations(base: nn.Module, splits: Splits, fit: Fit) -> Defended:
    """Hidden units of one bit each."""
    pixels = splits.train.x[0].numel()
    first, last = nn.Linear(pixels, 256), nn.Linear(256, 10)
    model = fit(nn.Sequential(nn.Flatten(), first, Binary(), last))
    return Defended(model, nn.Sequential(nn.Flatten(), first, SoftBinary(), last))


FRESH: dict[str, Callable[[nn.Module, Splits, Fit], Defended]] = {
    "thermometer": thermometer,
    "k_winners": winners,
    "activation_pruning": pruned,
    "vector_quantised": quantised,
    "pixel_deflection": lambda base, splits, fit: Defended(Deflected(base), base),
    "random_resizing": lambda base, splits, fit: Defended(Resized(base), base),
    "honeypot": lambda base, splits, fit: Defended(Honeypot(base, splits.train.x[0].numel()), base),
    "switching": switching,
    "output_codes": output_codes,
    "neighbours": lambda base, splits, fit: Defended(Neighbours(base, splits.train.x), base),
    "query_memory": lambda base, splits, fit: Defended(QueryMemory(base), base),
    "shuffled_scores": lambda base, splits, fit: Defended(Shuffled(base), base),
    "binary_activations": binary_activations,
}
