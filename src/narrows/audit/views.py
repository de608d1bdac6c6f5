"""Views of a model that give an attack the gradient that the model hides.

| view               | what the attack sees                                                    |
|--------------------|-------------------------------------------------------------------------|
| plain              | the model; without a graph or with NaN its gradient is zero             |
| float64            | a copy in double precision                                              |
| straight_through   | rounding, signs, detaching and gradient-stopping layers pass gradients  |
| fixed_noise        | the mean over the same few draws at every step: a deterministic model   |
| many_draws         | the same over as many draws as a verdict, though not over the same ones |
| mean               | a draw of the model, with the gradient it has at the mean of its noise  |
| log                | the logarithm of what the model returns, for probabilities              |
| rescaled           | logits in units of their typical gap                                    |
| finite_differences | the same values; gradients from differences as wide as eps / 4          |
| wide_, narrow_     | the same, as wide as eps, or as eps / 16                                |
| votes, wide_votes  | gradients of how often noise of eps, or of 3 eps, changes the class     |
| smoothed, wide_    | the mean gradient over noise of eps / 4, or of eps                      |
| leaky              | inactive units pass a fifth of the gradient on                          |
| borrowed           | the gradient of `together`                                              |
| surrogate          | a network taught to say what the model says                             |
| labels             | a network taught the classes only that the model says                   |
| twin               | the model without its defence, where one was given                      |
| core               | the classifier inside the model, for what the model gives it            |
| inner_1 to inner_4 | the first four of several classifiers inside the model, each by itself  |
| probe              | a linear readout of the model's last features                           |
| retrained          | its architecture, trained anew on true labels, or on its own (_labels)  |
| small              | a small network, trained on true labels, or on the model's (_labels)    |
| together           | all trained networks at once                                            |

Names joined by "+" are applied in that order: "float64+log". Every view keeps what the model says,
except those from `surrogate` on, whose attacks transfer or don't. All attacks are judged on the
model itself.

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420 (BPDA: a backward pass that approximates
what has none; EOT: the mean over draws).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from narrows.audit._backward import Backward, Gradient, borrowed, differences, smoothed, votes
from narrows.audit._claim import Claim, per_pixel
from narrows.audit._guarded import Guarded
from narrows.audit._inside import Core, PassThrough, classifiers_in, core_of, fit_probe
from narrows.audit._leaky import Leaky
from narrows.audit._subject import Subject, held
from narrows.audit.blocking import blocking_modules
from narrows.audit.still import Still
from narrows.audit.surrogate import distil
from narrows.audit.twins import TWINS, Together, train_twin
from narrows.errors import unknown_name
from narrows.models.bottleneck import draw_logits
from narrows.models.noise import forked_rng
from narrows.models.outputs import average_logits, logits_of

__all__ = ["INNER", "VIEWS", "build_view"]

INNER = 4  # classifiers inside a model, at most, that are attacked one by one

View = Callable[[nn.Module, Claim], nn.Module | None]
_PROBED = 2048  # images that a linear readout is fitted to


def build_view(name: str, claim: Claim) -> nn.Module | None:
    """Apply the views that `name` joins, one on the other; None if one of them can't be had.

    Raises:
        ConfigError: for a view that there is not.
    """
    module: nn.Module | None = claim.subject
    for part in name.split("+"):
        if part not in VIEWS:
            raise unknown_name("view", part, VIEWS)
        module = VIEWS[part](module, claim)
        if module is None:
            return None
    return Guarded(module, torch.float64 if "float64" in name.split("+") else None)


def _plain(model: nn.Module, claim: Claim) -> nn.Module:
    return model


def _float64(model: nn.Module, claim: Claim) -> nn.Module | None:
    """A copy in double precision, if the model can be copied and computes in it."""
    try:
        double = copy.deepcopy(claim.model).double().requires_grad_(False)
        with held(double):
            computed = logits_of(double, claim.x[:2].double())
    except (Exception, SystemExit):  # whatever a third-party model raises: there is no such view
        return None
    if computed.dtype != torch.float64:
        return None
    return claim.subject.around(double.eval(), torch.float64)


_STEPS = {
    function
    for name in ("round", "floor", "ceil", "trunc", "sign")
    for function in (getattr(torch, name), getattr(torch.Tensor, name))
}


class _Differentiable(TorchFunctionMode):
    """Steps have the gradient of the identity; nothing is detached."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _STEPS and isinstance(args[0], Tensor):
            return PassThrough.apply(args[0], func(*args, **kwargs))
        if func == torch.Tensor.detach or func == torch.Tensor.data.__get__:  # type: ignore[attr-defined]
            return args[0]
        if func is torch._C._set_grad_enabled and args[0] is False:
            return None
        if func is torch.Tensor.numpy:
            return args[0].detach().numpy(*args[1:], **kwargs)
        return func(*args, **kwargs)


class _StraightThrough(nn.Module):
    def __init__(self, model: nn.Module, blocking: list[nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.blocking = blocking

    def forward(self, x: Tensor) -> Tensor:
        def skip(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            return PassThrough.apply(inputs[0], output)

        with ExitStack() as stack:
            for module in self.blocking:
                stack.callback(module.register_forward_hook(skip).remove)
            if torch.is_grad_enabled():
                stack.enter_context(_Differentiable())
            return logits_of(self.model, x)


def _straight_through(model: nn.Module, claim: Claim) -> nn.Module:
    with claim.quiet():
        names = blocking_modules(claim.model, claim.x[:8].to(claim.subject.takes))
    seen = model.model if isinstance(model, Subject) else model
    modules = dict(seen.named_modules())
    return _StraightThrough(model, [modules[name] for name in names if name in modules])


class _FixedNoise(nn.Module):
    def __init__(self, model: nn.Module, draws: int, seed: int) -> None:
        super().__init__()
        self.model = model
        self.draws = draws
        self.seed = seed

    def forward(self, x: Tensor) -> Tensor:
        # Far from the seed of the verdict's draws, which must be fresh.
        with forked_rng(x.device, self.seed + 7919):
            return average_logits(draw_logits(self.model, x, self.draws))


def _fixed_noise(model: nn.Module, claim: Claim) -> nn.Module | None:
    return _FixedNoise(model, claim.budget.draws, claim.seed) if claim.stochastic else None


def _many_draws(model: nn.Module, claim: Claim) -> nn.Module | None:
    return _FixedNoise(model, claim.budget.verify_draws, claim.seed) if claim.stochastic else None


def _mean(model: nn.Module, claim: Claim) -> nn.Module | None:
    return Still(model) if claim.stochastic else None


class _Log(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        probabilities = logits_of(self.model, x)
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


class _Rescaled(nn.Module):
    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self.model = model
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return logits_of(self.model, x) / self.scale


def _rescaled(model: nn.Module, claim: Claim) -> nn.Module:
    top = claim.logits.topk(2, 1).values
    gap = (top[:, 0] - top[:, 1]).median().item()
    return _Rescaled(model, gap if gap > 0 else 1.0)


def _estimated(kind: Callable[[int, float], Gradient], share: float) -> View:
    """A view whose gradient is estimated from points as far away as a share of the radius."""

    def view(model: nn.Module, claim: Claim) -> nn.Module:
        return Backward(model, kind(claim.budget.directions, share * per_pixel(claim)))

    return view


def _borrowed(model: nn.Module, claim: Claim) -> nn.Module | None:
    other = claim.view("together")
    return None if other is None else Backward(model, borrowed(other))


def _core(model: nn.Module, claim: Claim) -> nn.Module | None:
    sample = claim.x[:4].to(claim.subject.takes)
    try:
        core = core_of(claim.model, sample, claim.classes)
        if core is None or _same(claim.model, core, sample):
            return None  # nothing lies around it
    except Exception:  # whatever a third-party model raises: there is no such view
        return None
    return claim.subject.around(Core(claim.model, core), claim.subject.takes)


def _inner(number: int) -> View:
    """A view of one classifier of several inside the model; None where there is only one."""

    def view(model: nn.Module, claim: Claim) -> nn.Module | None:
        sample = claim.x[:2].to(claim.subject.takes)
        classifiers = classifiers_in(claim.model, sample, claim.classes)
        if len(classifiers) < 2 or number >= len(classifiers):
            return None
        return claim.subject.around(Core(claim.model, classifiers[number]), claim.subject.takes)

    return view


def _same(model: nn.Module, core: nn.Module, x: Tensor) -> bool:
    """Whether two networks have the same logits and the same gradients at `x: [n, ...]`."""
    looks = []
    for network in (model, core):
        with torch.enable_grad():
            at = x.clone().requires_grad_()
            logits = logits_of(network, at)
            score = logits.square().sum()
            if not score.requires_grad:
                return False
            looks += [logits.detach(), *torch.autograd.grad(score, at, materialize_grads=True)]
    return torch.allclose(looks[0], looks[2]) and torch.allclose(looks[1], looks[3])


def _probe(model: nn.Module, claim: Claim) -> nn.Module | None:
    x, y = claim.training or (claim.x, claim.y)
    x, y = x[:_PROBED].to(claim.subject.takes), y[:_PROBED]
    try:
        return fit_probe(claim.model, x, y, claim.classes)
    except Exception:  # whatever a third-party model raises: there is no such view
        return None


def _together(model: nn.Module, claim: Claim) -> nn.Module | None:
    """All networks that there are to transfer from; those that were trained before are recalled."""
    built = {name: claim.view(name) for name in ("twin", *TWINS, "labels")}
    networks = [network for network in built.values() if network is not None]
    return Together(networks, claim.x) if networks else None


VIEWS: dict[str, View] = {
    "plain": _plain,
    "float64": _float64,
    "straight_through": _straight_through,
    "fixed_noise": _fixed_noise,
    "many_draws": _many_draws,
    "mean": _mean,
    "log": lambda model, claim: _Log(model),
    "rescaled": _rescaled,
    "leaky": lambda model, claim: Leaky(model),
    "narrow_differences": _estimated(differences, 1 / 16),
    "finite_differences": _estimated(differences, 1 / 4),
    "wide_differences": _estimated(differences, 1.0),
    "votes": _estimated(votes, 1.0),
    "wide_votes": _estimated(votes, 3.0),
    "smoothed": _estimated(smoothed, 1 / 4),
    "wide_smoothed": _estimated(smoothed, 1.0),
    "borrowed": _borrowed,
    "surrogate": lambda model, claim: distil(claim),
    "labels": lambda model, claim: distil(claim, labels_only=True),
    "twin": lambda model, claim: claim.twin,
    "core": _core,
    **{f"inner_{number + 1}": _inner(number) for number in range(INNER)},
    "probe": _probe,
    "retrained": lambda model, claim: train_twin(claim, same=True, model_labels=False),
    "retrained_labels": lambda model, claim: train_twin(claim, same=True, model_labels=True),
    "small": lambda model, claim: train_twin(claim, same=False, model_labels=False),
    "small_labels": lambda model, claim: train_twin(claim, same=False, model_labels=True),
    "together": _together,
}
