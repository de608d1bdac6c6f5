"""What a training run must remember beside its weights: Adam's moments and every random state.

A run that goes on from a checkpoint gives the numbers of one that was never broken, to the last
bit. Everything here is a flat dict of named tensors, which `checkpoint.py` writes and reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from narrows.errors import CheckpointError

__all__ = [
    "adam_state",
    "below",
    "copy_tensors",
    "load_adam",
    "load_random_states",
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


def copy_tensors(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Copy saved values into live tensors of the same names and shapes.

    Raises:
        CheckpointError: naming the first tensor that is missing or has another shape; then nothing
            has been copied.
    """
    if differing := sorted(own.keys() ^ saved.keys()):
        where = "model" if differing[0] in saved else "checkpoint"
        raise CheckpointError(f"tensor {differing[0]!r} is missing in the {where}")
    for name, tensor in own.items():
        if tensor.shape != saved[name].shape:
            raise CheckpointError(
                f"tensor {name!r} has shape {tuple(saved[name].shape)} in the checkpoint and "
                f"{tuple(tensor.shape)} in the model"
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])


def adam_state(optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    """Step and moments of every parameter, by its place in the optimiser."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{key}": value for i, slot in state.items() for key, value in slot.items()}


def load_adam(optimiser: torch.optim.Adam, saved: Mapping[str, Tensor]) -> None:
    """Give a fresh optimiser of the same parameters the state of `adam_state`.

    Raises:
        CheckpointError: naming the first parameter that the state doesn't fit.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in saved.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    parameters = optimiser.param_groups[0]["params"]
    for index, slot in state.items():
        shape = parameters[index].shape
        expected = {"step": torch.Size(), "exp_avg": shape, "exp_avg_sq": shape}
        if {key: tensor.shape for key, tensor in slot.items()} != expected:
            raise CheckpointError(f"the state of Adam does not fit parameter {index}, {shape}")
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def random_states(
    generators: Mapping[str, Sequence[torch.Generator]], device: torch.device
) -> dict[str, Tensor]:
    """States of the run's own generators and of torch's global ones, which a user's model may use.

    Args:
        generators: lists of generators, by what they are for.
        device: whose global generator matters beside the CPU's.
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
    """Put the states of `random_states` back.

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
