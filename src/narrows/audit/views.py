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
| finite_differences | the same values; gradients from differences, not from autograd          |
| surrogate          | a network taught to say what the model says                             |
| twin               | the model without its defence, where one was given                      |

Names joined by "+" are applied in that order: "float64+log". Every view keeps what the model says,
except the last two, whose attacks transfer or don't. All attacks are judged on the model itself.

Source: Athalye, Carlini & Wagner (2018), arXiv 1802.00420 (BPDA: a backward pass that approximates
what has none; EOT: the mean over draws).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from narrows.audit.blocking import blocking_modules
from narrows.audit.still import Still
from narrows.audit.surrogate import distil
from narrows.errors import unknown_name
from narrows.models.bottleneck import draw_logits
from narrows.models.outputs import average_logits, logits_of

if TYPE_CHECKING:
    from narrows.audit._base import Case

__all__ = ["VIEWS", "build_view", "differentiated", "guarded"]


def build_view(name: str, case: Case) -> nn.Module | None:
    """Apply the views that `name` joins, one on the other; None if one of them can't be had.

    Raises:
        ConfigError: for a view that there is not.
    """
    module: nn.Module | None = case.model
    for part in name.split("+"):
        if part not in VIEWS:
            raise unknown_name("view", part, VIEWS)
        module = VIEWS[part](module, case)
        if module is None:
            return None
    return _Guarded(module, torch.float64 if "float64" in name.split("+") else None)


def guarded(model: nn.Module) -> nn.Module:
    """The model as it is, for attacks that are to fail, not to stop, where it has no gradient."""
    return _Guarded(model, None)


class _Guarded(nn.Module):
    """Gradients are zero where there is no graph or they are NaN: an attack goes on, and fails.

    Logits are of the images' own precision, whatever the model computes in.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return self._guarded(x, lambda x: logits_of(self.model, x))

    def draw_logits(self, x: Tensor, count: int) -> Tensor:
        return self._guarded(x, lambda x: draw_logits(self.model, x, count))

    def _guarded(self, x: Tensor, look: Callable[[Tensor], Tensor]) -> Tensor:
        if not torch.is_grad_enabled():
            return look(x).to(x.dtype)
        x = x.view_as(x)
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient.nan_to_num(0, 0, 0))
        logits = differentiated(look, x).to(x.dtype)
        return logits if logits.requires_grad else logits + 0 * x.flatten(1).sum(1, keepdim=True)


def differentiated(look: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Logits `look(x)`, without a graph where the model cannot be run with one, as with NumPy."""
    try:
        return look(x)
    except RuntimeError as error:
        if "requires grad" not in str(error):
            raise
        with torch.no_grad():
            return look(x.detach())


def _plain(model: nn.Module, case: Case) -> nn.Module:
    return model


def _float64(model: nn.Module, case: Case) -> nn.Module | None:
    """A copy in double precision, if the model can be copied and computes in it."""
    try:
        double = copy.deepcopy(model).double().requires_grad_(False)
        return double if logits_of(double, case.x[:2].double()).dtype == torch.float64 else None
    except Exception:  # whatever a stranger's model raises: there is no such view
        return None


class _PassThrough(torch.autograd.Function):
    """`value` forward, the identity of `x` backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, None]:
        return gradients[0], None


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
            return _PassThrough.apply(args[0], func(*args, **kwargs))
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
            return _PassThrough.apply(inputs[0], output)

        with ExitStack() as stack:
            for module in self.blocking:
                stack.callback(module.register_forward_hook(skip).remove)
            if torch.is_grad_enabled():
                stack.enter_context(_Differentiable())
            return logits_of(self.model, x)


def _straight_through(model: nn.Module, case: Case) -> nn.Module:
    names = blocking_modules(case.model, case.x[:8])
    modules = dict(model.named_modules())
    return _StraightThrough(model, [modules[name] for name in names if name in modules])


class _FixedNoise(nn.Module):
    def __init__(self, model: nn.Module, draws: int, seed: int) -> None:
        super().__init__()
        self.model = model
        self.draws = draws
        self.seed = seed

    def forward(self, x: Tensor) -> Tensor:
        with torch.random.fork_rng([x.device] if x.is_cuda else []):
            # Far from the seed of the verdict's draws, which must be fresh.
            torch.manual_seed(self.seed + 7919)
            return average_logits(draw_logits(self.model, x, self.draws))


def _fixed_noise(model: nn.Module, case: Case) -> nn.Module | None:
    return _FixedNoise(model, case.budget.draws, case.seed) if case.stochastic else None


def _many_draws(model: nn.Module, case: Case) -> nn.Module | None:
    return _FixedNoise(model, case.budget.verify_draws, case.seed) if case.stochastic else None


def _mean(model: nn.Module, case: Case) -> nn.Module | None:
    return Still(model) if case.stochastic else None


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


def _rescaled(model: nn.Module, case: Case) -> nn.Module:
    top = case.logits.topk(2, 1).values
    gap = (top[:, 0] - top[:, 1]).median().item()
    return _Rescaled(model, gap if gap > 0 else 1.0)


class _Differences(torch.autograd.Function):
    """Gradient of `v . f(x)` as the mean of `u v . (f(x + s u) - f(x - s u)) / 2 s`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, view: _FiniteDifferences) -> Tensor:
        ctx.save_for_backward(x)
        ctx.view = view
        return logits_of(view.model, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        view: _FiniteDifferences = ctx.view
        total = torch.zeros_like(x)
        with torch.no_grad():
            for _ in range(view.directions):
                u = torch.randint(0, 2, x.shape, device=x.device).to(x.dtype).mul_(2).sub_(1)
                both = torch.cat([x + view.width * u, x - view.width * u])
                ahead, behind = logits_of(view.model, both).chunk(2)
                rise = ((ahead - behind) * gradients[0]).sum(1) / (2 * view.width)
                total += u * rise.view(-1, *(1,) * (x.dim() - 1))
        return total / view.directions, None


class _FiniteDifferences(nn.Module):
    def __init__(self, model: nn.Module, directions: int, width: float) -> None:
        super().__init__()
        self.model = model
        self.directions = directions
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return _Differences.apply(x, self)


def _finite_differences(model: nn.Module, case: Case) -> nn.Module:
    # In L2 one pixel moves by eps / sqrt(d) when all of them do.
    per_pixel = case.eps if case.norm == "linf" else case.eps / case.x[0].numel() ** 0.5
    return _FiniteDifferences(model, case.budget.directions, per_pixel / 4)


VIEWS: dict[str, Callable[[nn.Module, Case], nn.Module | None]] = {
    "plain": _plain,
    "float64": _float64,
    "straight_through": _straight_through,
    "fixed_noise": _fixed_noise,
    "many_draws": _many_draws,
    "mean": _mean,
    "log": lambda model, case: _Log(model),
    "rescaled": _rescaled,
    "finite_differences": _finite_differences,
    "surrogate": lambda model, case: distil(case),
    "twin": lambda model, case: case.twin,
}
