"""Trained models of one architecture whose forward passes run together, by `torch.func.vmap`.

The parameters of all models are stacked to `[models, ...]`, as `narrows.training.Stacked` does for
training. This saves time where the tensors of one model are small, as most of the time goes then to
starting operations.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from narrows.errors import ConfigError, NarrowsError
from narrows.models.evaluating import evaluating
from narrows.models.noise import forked_rng
from narrows.models.outputs import as_output, average_logits, logits_of

__all__ = ["ModelStack", "architecture", "check_alike", "models_at_once", "stack_models"]

# Numbers of the largest activation at once; many more than fit the cache make nothing faster.
_AT_ONCE = {"cpu": 2**20, "cuda": 2**28}
_ROUNDING = 1e-3  # of the spread of the logits, between a model in a stack and alone


class ModelStack:
    """Models of one architecture, in evaluation mode, whose forward passes run together.

    Args:
        models: may differ only in the values of their parameters and buffers.

    Raises:
        ConfigError: if they differ in their layers, shapes or plain settings.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        check_alike(models)
        self._template = copy.deepcopy(models[0]).eval()
        listed = [dict(_tensors(model)) for model in models]
        self._tensors = {
            name: torch.stack([tensors[name].detach() for tensors in listed]) for name in listed[0]
        }
        self._count = len(models)
        self._parts: dict[tuple[int, ...], dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return self._count

    def logits(
        self, x: Tensor, members: Sequence[int] | None = None, *, shared: bool = False
    ) -> Tensor:
        """Logits `[models, n, C]`, averaged in probability where a model returns several draws.

        Args:
            x: `[models, n, ...]`, or `[n, ...]` for all models where it is `shared`.
            members: which models, rising; `None` for all.
            shared: whether all models get the same inputs.
        """

        def run(tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
            result = functional_call(self._template, dict(tensors), (x,))
            return average_logits(as_output(result).logits)

        vectorised = vmap(run, in_dims=(0, None if shared else 0), randomness="same")
        return vectorised(self._of(members), x)

    def _of(self, members: Sequence[int] | None) -> dict[str, Tensor]:
        if members is None or len(members) == self._count:
            return self._tensors
        key = tuple(members)
        if key not in self._parts:
            self._parts.clear()  # one selection at a time: each is a copy of the weights
            index = torch.tensor(key, device=next(iter(self._tensors.values())).device)
            self._parts[key] = {name: tensor[index] for name, tensor in self._tensors.items()}
        return self._parts[key]


def stack_models(models: Sequence[nn.Module], x: Tensor) -> ModelStack | None:
    """The models as a stack, or `None` where they have to be run one after another.

    The stack is tried on a few inputs, and its logits are compared with those of each model.

    Args:
        models: in any mode.
        x: `[n, ...]` inputs.
    """
    inputs = x[:2]
    try:
        with torch.no_grad():
            stack = ModelStack(models)
            with forked_rng(x.device, 0):
                together = stack.logits(inputs.expand(len(models), *inputs.shape))
            for model, logits in zip(models, together, strict=True):
                with evaluating(model), forked_rng(x.device, 0):
                    alone = logits_of(model, inputs)
                spread = (alone.amax() - alone.amin()).item()
                if not (logits - alone).abs().max().item() <= _ROUNDING * spread:
                    return None
    except NarrowsError:
        return None
    except (RuntimeError, ValueError, TypeError, NotImplementedError):  # what vmap refuses
        return None
    return stack


def models_at_once(model: nn.Module, x: Tensor) -> int:
    """How many models run together on inputs `x: [n, ...]` in the memory that makes it faster.

    Args:
        model: one of them.
        x: the inputs of one model.
    """
    largest = x[:1].numel()

    def note(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.numel())

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with torch.no_grad(), forked_rng(x.device), evaluating(model):
            model(x[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return max(1, _AT_ONCE.get(x.device.type, _AT_ONCE["cpu"]) // (largest * max(1, len(x))))


def check_alike(models: Sequence[nn.Module]) -> None:
    """Refuse models that differ in more than the values of their tensors.

    Raises:
        ConfigError: naming the first difference.
    """
    if not models:
        raise ConfigError("a stack needs at least one model")
    first = architecture(models[0])
    for index, model in enumerate(models):
        other = architecture(model)
        differing = sorted(key for key in other.keys() | first if other.get(key) != first.get(key))
        if differing:
            key = differing[0]
            raise ConfigError(
                f"members 0 and {index} differ in {key!r}: {first.get(key)} and {other.get(key)}; "
                "only models of one architecture can be stacked"
            )


def architecture(module: nn.Module) -> dict[str, str]:
    """Everything but values of tensors that the code of a module may depend on."""
    settings = {
        name: f"{tuple(tensor.shape)} {tensor.dtype}, trained: {tensor.requires_grad}"
        for name, tensor in _tensors(module)
    }
    for name, part in module.named_modules():
        settings[name] = type(part).__name__
        for key, value in vars(part).items():
            if value is None or isinstance(value, (bool, int, float, str, tuple)):
                settings[f"{name}.{key}"] = repr(value)
    return settings


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]
