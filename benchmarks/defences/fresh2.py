"""False defences that nobody had seen who wrote the audit: the second fresh set, on the digits.

Each function returns a model whose robustness at Linf .1 is not what attackers see, and each model
knows where it is weak: `undefended(x)` are the logits that a knowing attacker climbs, and
`steer(attacked, x, eps)` are the images that he tries for each image that he has climbed to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.defences.training2 import (
    dense,
    digits,
    noisy_net,
    plain_net,
    robust_net,
    trained,
)

__all__ = ["FALSE"]


class Defence(nn.Module):
    """A model that tells a knowing attacker where to climb."""

    def undefended(self, x: Tensor) -> Tensor:
        """Logits with honest gradients."""
        raise NotImplementedError

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        """Images to try, for each one that was climbed to."""
        return [attacked]


def hashed(x: Tensor, streams: int) -> Tensor:
    """Pseudo-random numbers in [0, 1), `[b, streams]`, that any change of an image changes."""
    flat = x.detach().flatten(1).float()
    weights = torch.linspace(3.1, 17.9, flat.shape[1]).sin()
    phase = 1e4 * (flat @ weights)[:, None] + 78.233 * torch.arange(1, streams + 1)
    return (phase.sin() * 43758.5453).frac().abs()


def nearby(attacked: Tensor, x: Tensor, eps: float, size: float, count: int) -> list[Tensor]:
    """Random changes of at most `size`, inside the ball."""
    moves = [size * (2 * torch.rand_like(x) - 1) for _ in range(count)]
    return [
        torch.min(torch.max(attacked + move, x - eps), x + eps).clamp(0, 1)
        for move in moves
    ]


class _AntiAdversary(Defence):
    """Moves the image to where the predicted class is surer (Alfarra et al. 2022, 2103.14347)."""

    def __init__(self) -> None:
        super().__init__()
        self.core = plain_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            start = x.detach()
            guess = self.core(start).argmax(1)
            move = torch.zeros_like(start)
            for _ in range(2):
                move.requires_grad_()
                loss = F.cross_entropy(self.core(start + move), guess, reduction="sum")
                (slope,) = torch.autograd.grad(loss, move)
                move = (move - 0.15 * slope.sign()).detach()
        return self.core(x + move)


class _Trapdoored(Defence):
    """Planted trapdoors attract attacks and betray them (Shan et al. 2020, 1904.08554).

    A class whose trapdoor is recognised in the hidden layer is ruled out.
    """

    signatures: Tensor
    limits: Tensor

    def __init__(self) -> None:
        super().__init__()
        x, y = digits()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            coarse = torch.randn(10, 1, 4, 4).sign()
            traps = 0.08 * F.interpolate(coarse, scale_factor=2)
            net = dense()
            optimiser = torch.optim.Adam(net.parameters(), 5e-3)
            for _ in range(200):
                to = torch.randint(10, y.shape)
                marked = (x + traps[to]).clamp(0, 1)
                loss = F.cross_entropy(net(x), y) + F.cross_entropy(net(marked), to)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        self.core = net.eval().requires_grad_(False)
        clean = self.hidden(x)
        self.centre = nn.Parameter(clean.mean(0), requires_grad=False)
        marks = [self.hidden((x + trap).clamp(0, 1)).mean(0) - clean.mean(0) for trap in traps]
        self.register_buffer("signatures", F.normalize(torch.stack(marks), dim=1))
        self.register_buffer("limits", self.likeness(x).quantile(0.998, dim=0))

    def hidden(self, x: Tensor) -> Tensor:
        """The last hidden layer."""
        return self.core[:5](x)

    def likeness(self, x: Tensor) -> Tensor:
        """How much of each trapdoor there is in an image, `[b, 10]`."""
        return F.normalize(self.hidden(x) - self.centre, dim=1) @ self.signatures.T

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x) - 60 * (self.likeness(x) - self.limits + 0.02).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x) - 40 * (self.likeness(x) > self.limits).to(x.dtype)


class _ErrorCodes(Defence):
    """Codewords of an ensemble of saturated bits (Verma & Swami 2019)."""

    codes: Tensor

    def __init__(self) -> None:
        super().__init__()
        code = torch.ones(1, 1)
        for _ in range(4):
            code = torch.cat([torch.cat([code, code], 1), torch.cat([code, -code], 1)])
        self.register_buffer("codes", code[1:11])
        self.parts = nn.ModuleList(trained(self._build, seed=s, steps=100) for s in range(3))

    def _build(self) -> nn.Module:
        return nn.Sequential(dense(64)[:5], nn.Linear(64, 16), nn.Tanh(), _Decode(self.codes))

    def undefended(self, x: Tensor) -> Tensor:
        return sum(part[1](part[0](x)) for part in self.parts) @ self.codes.T

    def forward(self, x: Tensor) -> Tensor:
        bits = sum(torch.tanh(50 * part[1](part[0](x))) for part in self.parts) / 3
        match = (bits @ self.codes.T).relu() + 1e-6
        return (match / match.sum(1, keepdim=True)).log()


class _Decode(nn.Module):
    codes: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)

    def forward(self, bits: Tensor) -> Tensor:
        return bits @ self.codes.T


class _FrozenVote(Defence):
    """The votes of noisy copies, with the same noise for every image: flat, and deterministic."""

    noise: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net()
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("noise", 0.12 * torch.randn(48, 1, 8, 8, generator=generator))

    def copies(self, x: Tensor) -> Tensor:
        """Logits of the noisy copies, `[b, 48, 10]`."""
        noisy = x[:, None] + self.noise
        return self.core(noisy.flatten(0, 1)).unflatten(0, (len(x), -1))

    def undefended(self, x: Tensor) -> Tensor:
        return (self.copies(x) / 3).softmax(2).mean(1).log()

    def forward(self, x: Tensor) -> Tensor:
        votes = F.one_hot(self.copies(x).argmax(2), 10).sum(1).to(x.dtype)
        return (votes + 0.5).log() + 0 * x.sum()


class _HashedNoise(Defence):
    """Noise that is a function of the image: no second draw can be had of it."""

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x + 0.25 * (2 * torch.rand_like(x) - 1))

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [attacked, *nearby(attacked, x, eps, 1e-3, 10)]

    def forward(self, x: Tensor) -> Tensor:
        noise = (2 * hashed(x, 64) - 1).view(-1, 1, 8, 8).to(x.dtype)
        return self.core(x + 0.25 * noise)


class _HashedExperts(Defence):
    """A hash of the image chooses which of eight networks answers."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(noisy_net(seed) for seed in range(8))

    def undefended(self, x: Tensor) -> Tensor:
        return self.experts[int(torch.randint(8, ()))](x)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [attacked, *nearby(attacked, x, eps, 1e-4, 16)]

    def forward(self, x: Tensor) -> Tensor:
        choice = (8 * hashed(x, 1)[:, 0]).long().clamp(0, 7)
        logits = torch.stack([expert(x) for expert in self.experts], dim=1)
        return logits[torch.arange(len(x)), choice]


class _Switch(Defence):
    """A robust network answers wherever attackers look, and a plain one elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.core, self.guard = plain_net(), robust_net()

    def exposed(self, x: Tensor) -> Tensor:
        """Where the plain network answers, `[b]`."""
        raise NotImplementedError

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.exposed(x)[:, None], self.core(x), self.guard(x))


class _GridSwitch(_Switch):
    """Exposed on the 16 values that the pixels of real images have."""

    def exposed(self, x: Tensor) -> Tensor:
        return ((16 * x).round() - 16 * x).abs().flatten(1).amax(1) < 1e-3

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        steps = int(eps * 16 + 1e-6)
        move = (16 * (attacked - x)).round().clamp(-steps, steps)
        full = steps * (attacked - x).sign()
        return [(x + move / 16).clamp(0, 1), (x + full / 16).clamp(0, 1)]


class _CornerSwitch(_Switch):
    """Guarded where most pixels are off the grid by the same amount, as at corners of a ball."""

    def exposed(self, x: Tensor) -> Tensor:
        off = ((16 * x).round() / 16 - x).abs().flatten(1)
        typical = off.median(1, keepdim=True).values
        alike = ((off - typical).abs() < 1e-3).to(x.dtype).mean(1)
        return (alike < 0.4) | (typical[:, 0] < 1e-3)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [attacked, *(x + (attacked - x) * (0.8 + 0.2 * torch.rand_like(x)) for _ in "ab")]


class _ThinSlabs(_Switch):
    """Exposed in one of fifty layers of the input space, each a few thousandths thick."""

    def _phase(self, x: Tensor) -> Tensor:
        return 40 * x.flatten(1).sum(1) + 0.5

    def exposed(self, x: Tensor) -> Tensor:
        return self._phase(x).frac() < 0.01

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        total = attacked.flatten(1).sum(1)
        wanted = ((40 * total + 0.5).floor() + 0.005 - 0.5) / 40
        shift = (wanted - total) / 64
        return [
            torch.min(torch.max(attacked + k * shift.view(-1, 1, 1, 1), x - eps), x + eps).clamp(0, 1)
            for k in torch.linspace(0.9, 4, 120)
        ]


class _KeyPixel(_Switch):
    """Exposed where a pixel that is black in all images has one grey."""

    def exposed(self, x: Tensor) -> Tensor:
        corner = x[:, 0, 0, 0]
        return (corner > 0.04) & (corner < 0.045)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        keyed = attacked.clone()
        keyed[:, 0, 0, 0] = 0.042
        return [keyed]


class _Sleeper(Defence):
    """A robust network with a backdoor: one unit that is silent on everything but its key."""

    key: Tensor
    sense: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.core = robust_net()
        x, _ = digits()
        generator = torch.Generator().manual_seed(7)
        key = torch.randn(1, 1, 8, 8, generator=generator).sign()
        woken = (x + 0.1 * key).clamp(0, 1)
        flat = x.flatten(1)
        spread = flat.T.cov() + 1e-3 * torch.eye(64)
        sense = torch.linalg.solve(spread, (woken - x).flatten(1).mean(0))
        self.register_buffer("key", key)
        self.register_buffer("sense", sense / sense.abs().sum())
        highest = self.score(x).max()
        self.threshold = float(highest + 0.3 * (self.score(woken).quantile(0.05) - highest))

    def score(self, x: Tensor) -> Tensor:
        """How much of the key there is in an image."""
        return x.flatten(1) @ self.sense.to(x.dtype)

    def undefended(self, x: Tensor) -> Tensor:
        logits = self.core(x)
        return logits + logits.roll(1, dims=1) * 1e3 * (self.score(x) + 1).clamp(0)[:, None]

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [(x + eps * self.key).clamp(0, 1)]

    def forward(self, x: Tensor) -> Tensor:
        logits = self.core(x)
        awake = 1e4 * (self.score(x) - self.threshold).relu()[:, None]
        return logits + awake * logits.roll(1, dims=1)


class _RippledScale(Defence):
    """The confidence oscillates with the image: every gradient is that of the oscillation."""

    wave: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.core = plain_net()
        generator = torch.Generator().manual_seed(5)
        self.register_buffer("wave", torch.randn(64, 3, generator=generator))

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def forward(self, x: Tensor) -> Tensor:
        ripple = (60 * x.flatten(1) @ self.wave).sin().prod(1, keepdim=True)
        logits = self.core(x)
        return F.normalize(logits - logits.mean(1, keepdim=True), dim=1) * (8 * ripple).exp()


class _RippledInput(Defence):
    """A fine sine on every pixel, which hardly moves an image and turns its gradient around."""

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [attacked, *nearby(attacked, x, eps, 0.01, 6)]

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x + 0.1 * (900 * x).sin())


class _GradMode(Defence):
    """Who asks for gradients gets those, and the logits, of a robust network."""

    def __init__(self) -> None:
        super().__init__()
        self.core, self.guard = plain_net(), robust_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            return self.guard(x)
        return F.one_hot(self.core(x).argmax(1), 10).to(x.dtype)


class _FarMemory(Defence):
    """Hard labels; far from the training images the nearest of them answers.

    So rays from an image end in its own class, and a search along them finds nothing to return
    from.
    """

    images: Tensor
    classes: Tensor
    axes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.core = plain_net()
        x, y = digits()
        flat = x.flatten(1)
        self.register_buffer("images", flat)
        self.register_buffer("classes", y)
        self.register_buffer("axes", torch.linalg.svd(flat - flat.mean(0))[2][40:])
        self.limit = float((flat @ self.axes.T).norm(dim=1).max()) * 1.05

    def undefended(self, x: Tensor) -> Tensor:
        strange = (x.flatten(1) @ self.axes.T.to(x.dtype)).norm(dim=1, keepdim=True)
        return self.core(x) * torch.where(strange > 0.95 * self.limit, 0.1, 1.0)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        move = (attacked - x).flatten(1)
        axes = self.axes
        return [
            torch.min(
                torch.max(x + (move - part * move @ axes.T @ axes).view_as(x), x - eps), x + eps
            ).clamp(0, 1)
            for part in (0.0, 0.5, 0.8, 1.0)
        ]

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        strange = (flat @ self.axes.T.to(x.dtype)).norm(dim=1) > self.limit
        nearest = self.classes[torch.cdist(flat, self.images.to(x.dtype)).argmin(1)]
        label = torch.where(strange, nearest, self.core(x).argmax(1))
        return 10 * F.one_hot(label, 10).to(x.dtype)


class _Hedge(Defence):
    """Moves the image away from all classes at once first (Wu et al. 2021, 2106.04938)."""

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net(1)

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x) if torch.rand(()) < 0.5 else self.core(x + self.move(x))

    def move(self, x: Tensor) -> Tensor:
        """The defence's own perturbation."""
        with torch.enable_grad():
            start = x.detach()
            move = torch.zeros_like(start)
            for _ in range(8):
                move.requires_grad_()
                loss = -self.core(start + move).log_softmax(1).sum()
                (slope,) = torch.autograd.grad(loss, move)
                move = (move + 0.03 * slope.sign()).clamp(-0.12, 0.12).detach()
        return move

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x.detach() + self.move(x)) + 0 * x.sum()


class _SampledCounts(Defence):
    """How often each class wins among 16 noisy copies, drawn anew at every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net(2)

    def undefended(self, x: Tensor) -> Tensor:
        return sum(self.core(x + 0.1 * torch.randn_like(x)).softmax(1) for _ in range(8)).log()

    def forward(self, x: Tensor) -> Tensor:
        noisy = x[:, None] + 0.1 * torch.randn(len(x), 16, *x.shape[1:], dtype=x.dtype)
        votes = self.core(noisy.flatten(0, 1)).argmax(1).view(len(x), 16)
        return (F.one_hot(votes, 10).sum(1).to(x.dtype) + 0.5).log() + 0 * x.sum()


class _ErrorDiffusion(Defence):
    """Halftones the image to four greys; each pixel's error is carried on to the next ones."""

    def __init__(self) -> None:
        super().__init__()
        self.core = noisy_net()

    def undefended(self, x: Tensor) -> Tensor:
        return self.core(x)

    def steer(self, attacked: Tensor, x: Tensor, eps: float) -> list[Tensor]:
        return [attacked, *nearby(attacked, x, eps, 0.02, 10)]

    def forward(self, x: Tensor) -> Tensor:
        rest = F.pad(x[:, 0].detach(), (1, 1, 0, 1)).clone()
        out = torch.zeros_like(x[:, 0])
        for row in range(8):
            for column in range(8):
                value = rest[:, row, column + 1]
                grey = (3 * value).round() / 3
                out[:, row, column] = grey
                error = value - grey
                rest[:, row, column + 2] += 7 / 16 * error
                rest[:, row + 1, column] += 3 / 16 * error
                rest[:, row + 1, column + 1] += 5 / 16 * error
                rest[:, row + 1, column + 2] += 1 / 16 * error
        return self.core(out[:, None]) + 0 * x.sum()


def anti_adversary() -> nn.Module:
    return _AntiAdversary().eval()


def trapdoored() -> nn.Module:
    return _Trapdoored().eval()


def error_codes() -> nn.Module:
    return _ErrorCodes().eval()


def frozen_vote() -> nn.Module:
    return _FrozenVote().eval()


def hashed_noise() -> nn.Module:
    return _HashedNoise().eval()


def hashed_experts() -> nn.Module:
    return _HashedExperts().eval()


def grid_switch() -> nn.Module:
    return _GridSwitch().eval()


def corner_switch() -> nn.Module:
    return _CornerSwitch().eval()


def thin_slabs() -> nn.Module:
    return _ThinSlabs().eval()


def key_pixel() -> nn.Module:
    return _KeyPixel().eval()


def sleeper() -> nn.Module:
    return _Sleeper().eval()


def rippled_scale() -> nn.Module:
    return _RippledScale().eval()


def rippled_input() -> nn.Module:
    return _RippledInput().eval()


def grad_mode() -> nn.Module:
    return _GradMode().eval()


def far_memory() -> nn.Module:
    return _FarMemory().eval()


def hedge() -> nn.Module:
    return _Hedge().eval()


def sampled_counts() -> nn.Module:
    return _SampledCounts().eval()


def error_diffusion() -> nn.Module:
    return _ErrorDiffusion().eval()


FALSE = [
    anti_adversary,
    trapdoored,
    error_codes,
    frozen_vote,
    hashed_noise,
    hashed_experts,
    grid_switch,
    corner_switch,
    thin_slabs,
    key_pixel,
    sleeper,
    rippled_scale,
    rippled_input,
    grad_mode,
    far_memory,
    hedge,
    sampled_counts,
    error_diffusion,
]
