"""The models that one training run trains: a single one, or a stack in one vectorised step.

N small models that differ in seed and in the numbers of their method (beta) have the same shape, so
their parameters stack to `[N, ...]` and `torch.func.vmap` runs one model's code on all of them.
What a member would draw alone it draws in the stack too: its order of the data and its noise depend
only on its seed, and members of one seed share them, which makes a sweep over beta a paired
comparison. Gradients of one member never see another: the sum of the losses is descended.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from narrows.errors import CheckpointError, ConfigError
from narrows.models.noise import noise_from
from narrows.training.objective import Objective

__all__ = ["Members", "Solo", "Stacked"]


class Members(ABC):
    """One or many objectives, trained together.

    Attributes:
        seeds: one seed a member.
        generators: one noise generator for each distinct seed, in order of first appearance.
        seed_index: `[N]`, which of them each member uses.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.seeds = list(seeds)
        distinct = list(dict.fromkeys(self.seeds))
        self.seed_index = torch.tensor([distinct.index(seed) for seed in self.seeds], device=device)
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in distinct]
        self.order_generators = [torch.Generator().manual_seed(seed) for seed in distinct]
        self.device = device

    def __len__(self) -> int:
        return len(self.seeds)

    @abstractmethod
    def run(self, stage: str, *args: Any, shared: bool = False) -> Any:
        """Run a stage for every member: arguments and results carry a leading members axis.

        Args:
            stage: name of a stage of `Objective`.
            args: tensors or dicts of tensors `[members, ...]`.
            shared: whether the arguments are the same for all members and carry no such axis.
        """

    @abstractmethod
    def named_tensors(self) -> dict[str, Tensor]:
        """Every parameter and buffer by name, `[members, ...]`, live."""

    @abstractmethod
    def member(self, index: int) -> Objective:
        """A copy of one member as an ordinary module."""

    @abstractmethod
    def parameters(self, *, critic: bool) -> list[nn.Parameter]:
        """What the critic's optimiser owns, or what the model's does."""

    @contextmanager
    def critic_held(self) -> Iterator[None]:
        """Keep the critic's weights out of the graph: the model's step doesn't train them."""
        held = self.parameters(critic=True)
        for parameter in held:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in held:
                parameter.requires_grad_(True)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy the values of `named_tensors` of an equal run back in.

        Raises:
            CheckpointError: naming the first tensor that is missing or has another shape.
        """
        own = self.named_tensors()
        if missing := sorted(own.keys() ^ tensors.keys()):
            raise CheckpointError(f"checkpoint and model differ in tensor {missing[0]!r}")
        with torch.no_grad():
            for name, tensor in own.items():
                if tensor.shape != tensors[name].shape:
                    raise CheckpointError(
                        f"tensor {name!r} has shape {tuple(tensors[name].shape)} in the "
                        f"checkpoint and {tuple(tensor.shape)} in the model"
                    )
                tensor.copy_(tensors[name])


class Solo(Members):
    """One model of any kind, trained by plain calls."""

    def __init__(self, objective: Objective, seed: int, device: torch.device | str = "cpu") -> None:
        super().__init__([seed], torch.device(device))
        self._objective = objective.to(device)
        self._noise = _MemberNoise(self.generators, torch.zeros((), dtype=torch.long))
        self._critic = {id(parameter) for parameter in objective.method.critic_parameters()}

    def run(self, stage: str, *args: Any, shared: bool = False) -> Any:
        """Call the stage; the members axis comes off its arguments and goes onto its result."""
        if not shared:
            args = tuple(_map(lambda tensor: tensor[0], arg) for arg in args)
        with noise_from(self._noise):
            return _map(lambda tensor: tensor.unsqueeze(0), self._objective(stage, *args))

    def named_tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers, each viewed as `[1, ...]`."""
        return {k: v.detach().unsqueeze(0) for k, v in self._objective.state_dict().items()}

    def member(self, index: int) -> Objective:
        """A copy of the one member."""
        return copy.deepcopy(self._objective)

    def parameters(self, *, critic: bool) -> list[nn.Parameter]:
        """Trainable parameters of the critic, or all others."""
        trained = [p for p in self._objective.parameters() if id(p) in self._critic or not critic]
        return [p for p in trained if critic == (id(p) in self._critic)]


class Stacked(Members):
    """Many objectives of one architecture, trained in one vectorised step.

    Raises:
        ConfigError: if the objectives don't have the same parameters and shapes, or if a layer
            keeps running statistics, which can't be vectorised.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(seeds, torch.device(device))
        if len(objectives) != len(seeds) or not objectives:
            raise ConfigError(f"{len(objectives)} models need as many seeds, got {len(seeds)}")
        _check_stackable(objectives)
        self._params = {
            name: nn.Parameter(torch.stack(tensors).to(device))
            for name, tensors in _gather(objectives, "named_parameters").items()
        }
        self._buffers = {
            name: torch.stack(tensors).to(device)
            for name, tensors in _gather(objectives, "named_buffers").items()
        }
        first = objectives[0]
        critic = {id(parameter) for parameter in first.method.critic_parameters()}
        self._critic = {name for name, p in first.named_parameters() if id(p) in critic}
        self._skeleton = copy.deepcopy(first).to("meta")
        self._original = first

    def run(self, stage: str, *args: Any, shared: bool = False) -> Any:
        """Run the stage for all members at once."""

        def one(
            params: Mapping[str, Tensor], buffers: Mapping[str, Tensor], index: Tensor, args: tuple
        ) -> Any:
            with noise_from(_MemberNoise(self.generators, index)):
                return functional_call(self._skeleton, {**params, **buffers}, (stage, *args))

        vectorised = vmap(one, in_dims=(0, 0, 0, None if shared else 0), randomness="same")
        return vectorised(self._params, self._buffers, self.seed_index, args)

    def named_tensors(self) -> dict[str, Tensor]:
        """The stacked parameters and buffers."""
        return {**{k: p.detach() for k, p in self._params.items()}, **self._buffers}

    def member(self, index: int) -> Objective:
        """Member `index`, cut out of the stack."""
        objective = copy.deepcopy(self._original).to(self.device)
        values = {name: tensor[index].clone() for name, tensor in self.named_tensors().items()}
        objective.load_state_dict(values, strict=True)
        return objective

    def parameters(self, *, critic: bool) -> list[nn.Parameter]:
        """Stacked parameters of the critics, or all others."""
        return [p for name, p in self._params.items() if critic == (name in self._critic)]


class _MemberNoise:
    """Hands each member of a vectorised step the numbers that its seed alone would draw."""

    def __init__(self, generators: Sequence[torch.Generator], index: Tensor) -> None:
        self._generators = generators
        self._index = index

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        drawn = [
            torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=like.device)
            for generator in self._generators
        ]
        # Indexing a plain tensor by a batched index is what makes the result differ by member.
        return drawn[0] if len(drawn) == 1 else torch.stack(drawn)[self._index]


def _map(change: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: change(tensor) for name, tensor in value.items()}
    return change(value)


def _gather(objectives: Sequence[Objective], which: str) -> dict[str, list[Tensor]]:
    listed = [dict(getattr(objective, which)()) for objective in objectives]
    return {name: [tensors[name].detach() for tensors in listed] for name in listed[0]}


def _check_stackable(objectives: Sequence[Objective]) -> None:
    for name, module in objectives[0].named_modules():
        if getattr(module, "track_running_stats", False):
            raise ConfigError(
                f"layer {name!r} keeps running statistics and cannot be stacked; "
                "train such models one at a time"
            )
    shapes = [
        {name: tensor.shape for name, tensor in objective.state_dict().items()}
        for objective in objectives
    ]
    for index, other in enumerate(shapes):
        if other != shapes[0]:
            differing = sorted(
                k for k in other.keys() | shapes[0].keys() if other.get(k) != shapes[0].get(k)
            )
            raise ConfigError(
                f"members 0 and {index} differ in {differing[0]!r}; only models of one "
                "architecture can be stacked"
            )
