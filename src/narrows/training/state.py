"""The state of a training run other than its weights: optimisers and random generators.

A run that continues from a checkpoint gives the numbers of an uninterrupted one, bit for bit. Every
state is a flat dict of named tensors, which `narrows.storage` writes and reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from narrows.errors import CheckpointError

__all__ = [
    "below",
    "check_tensors",
    "copy_tensors",
    "load_optimiser",
    "load_random_states",
    "optimiser_state",
    "prefixed",
    "random_states",
]


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put `prefix/` before every name."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of `prefixed`: the tensors whose names begin with `prefix/`, without it."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def check_tensors(live: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Refuse saved values that do not fit live tensors.

    Raises:
        CheckpointError: naming the first tensor that is missing or has another shape or type.
    """
    if differing := sorted(live.keys() ^ saved.keys()):
        where = "model" if differing[0] in saved else "checkpoint"
        raise CheckpointError(f"tensor {differing[0]!r} is missing in the {where}")
    for name, tensor in live.items():
        if tensor.shape != saved[name].shape:
            raise CheckpointError(
                f"tensor {name!r} has shape {tuple(saved[name].shape)} in the checkpoint and "
                f"{tuple(tensor.shape)} in the model"
            )
        if tensor.dtype != saved[name].dtype:
            raise CheckpointError(
                f"tensor {name!r} is {saved[name].dtype} in the checkpoint and {tensor.dtype} in "
                "the model"
            )


def copy_tensors(live: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Copy saved values into live tensors of the same names and shapes.

    Raises:
        CheckpointError: as `check_tensors`; then nothing has been copied.
    """
    check_tensors(live, saved)
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(saved[name])


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state of every parameter (step, moments), by the parameter's index."""
    state = optimiser.state_dict()["state"]
    return {
        f"{i}.{key}": value
        for i, slot in state.items()
        for key, value in slot.items()
        if isinstance(value, Tensor)
    }


def load_optimiser(optimiser: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> None:
    """Give a fresh optimiser of the same parameters the state of `optimiser_state`.

    Raises:
        CheckpointError: naming the first parameter that the state does not fit.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in saved.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    parameters, kind = optimiser.param_groups[0]["params"], type(optimiser).__name__
    for index, slot in state.items():
        parameter, shape = parameters[index], parameters[index].shape
        expected = {key: torch.Size() if key == "step" else shape for key in _SLOTS[kind]}
        if {key: tensor.shape for key, tensor in slot.items()} != expected:
            raise CheckpointError(f"the state of {kind} does not fit parameter {index}, {shape}")
        # A fused step reads memory in order, so state and parameter must have one layout.
        state[index] = {
            key: tensor if key == "step" else torch.empty_like(parameter).copy_(tensor)
            for key, tensor in slot.items()
        }
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


_SLOTS = {
    "Adam": ("step", "exp_avg", "exp_avg_sq"),
    "Adamax": ("step", "exp_avg", "exp_inf"),
    "Adadelta": ("step", "square_avg", "acc_delta"),
    "Adagrad": ("step", "sum"),
    "SGD": ("momentum_buffer",),
}


def random_states(
    generators: Mapping[str, Sequence[torch.Generator]], device: torch.device
) -> dict[str, Tensor]:
    """States of the run's generators and of torch's global ones, which a user's model may use.

    Args:
        generators: lists of generators by purpose.
        device: whose global generator is saved too, beside the CPU's.
    """
    states = {
        f"{name}/{index}": generator.get_state()
        for name, listed in generators.items()
        for index, generator in enumerate(listed)
    }
    states["global/cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        states["global/cuda"] = torch.cuda.get_rng_state(device)
    return states


def load_random_states(
    generators: Mapping[str, Sequence[torch.Generator]],
    device: torch.device,
    saved: Mapping[str, Tensor],
) -> None:
    """Restore the states of `random_states`.

    Args:
        generators: lists of generators by purpose.
        device: whose global generator is restored too, beside the CPU's.
        saved: the states.

    Raises:
        CheckpointError: naming the first state that is missing or left over.
    """
    if differing := sorted(random_states(generators, device).keys() ^ saved.keys()):
        raise CheckpointError(f"random state {differing[0]!r} does not fit this run")
    for name, listed in generators.items():
        for index, generator in enumerate(listed):
            generator.set_state(saved[f"{name}/{index}"])
    torch.set_rng_state(saved["global/cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(saved["global/cuda"], device)
