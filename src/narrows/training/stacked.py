"""Many models of one architecture, which differ in seed and beta, trained in one vectorised step.

Their parameters are stacked to `[members, ...]`, and `torch.func.vmap` runs the code of one model
on all of them. The sum of the losses is minimised, so that the gradients of members are
independent.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from narrows.errors import ConfigError
from narrows.models.noise import noise_from
from narrows.models.stack import check_alike
from narrows.training.members import Members, check_seeds, tensors_of
from narrows.training.objective import Objective

__all__ = ["Stacked"]


class Stacked(Members):
    """Many objectives of one architecture, trained in one vectorised step.

    Args:
        objectives: may differ only in the values of their parameters and buffers.
        seeds: one seed each.
        device: where they are trained.

    Raises:
        ConfigError: if the objectives differ in their layers, shapes or plain settings, or if a
            layer keeps running statistics or draws trees in chunks, which cannot be vectorised.
    """

    stacked: ClassVar[bool] = True

    def __init__(
        self,
        objectives: Sequence[Objective],
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(seeds, torch.device(device))
        check_seeds(objectives, seeds)
        _check_stackable(objectives)
        first = objectives[0]
        listed = [tensors_of(objective) for objective in objectives]
        stacked = {
            name: torch.stack([tensors[name].detach() for tensors in listed]).to(device)
            for name in listed[0]
        }
        self._params = {
            name: nn.Parameter(stacked[name], requires_grad=parameter.requires_grad)
            for name, parameter in first.named_parameters()
        }
        self._buffers = {name: stacked[name] for name, _ in first.named_buffers()}
        critic = {id(parameter) for parameter in first.method.critic_parameters()}
        self._critic = {name for name, p in first.named_parameters() if id(p) in critic}
        self._template = copy.deepcopy(first)

    def run(self, stage: str, *args: Any, shared: bool = False) -> Any:
        """Run the stage for all members at once."""

        def run_member(
            params: Mapping[str, Tensor], buffers: Mapping[str, Tensor], index: Tensor, args: tuple
        ) -> Any:
            with noise_from(_MemberNoise(self.generators, index)):
                return functional_call(self._template, {**params, **buffers}, (stage, *args))

        vectorised = vmap(run_member, in_dims=(0, 0, 0, None if shared else 0), randomness="same")
        return vectorised(self._params, self._buffers, self.seed_index, args)

    def named_tensors(self) -> dict[str, Tensor]:
        """The stacked parameters and buffers."""
        return {**{k: p.detach() for k, p in self._params.items()}, **self._buffers}

    def member(self, index: int) -> Objective:
        """A copy of member `index`."""
        objective = copy.deepcopy(self._template).to(self.device)
        stacked = self.named_tensors()
        with torch.no_grad():
            for name, tensor in tensors_of(objective).items():
                tensor.copy_(stacked[name][index])
        return objective

    def parameters(self, *, critic: bool) -> list[nn.Parameter]:
        """Stacked trainable parameters of the critics, or all others."""
        return [
            p
            for name, p in self._params.items()
            if p.requires_grad and critic == (name in self._critic)
        ]


class _MemberNoise:
    """Gives each member of a vectorised step the noise that its seed would draw alone."""

    def __init__(self, generators: Sequence[torch.Generator], index: Tensor) -> None:
        self._generators = generators
        self._index = index

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        drawn = [
            torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=like.device)
            for generator in self._generators
        ]
        # The batched index makes the result differ between members.
        return drawn[0] if len(drawn) == 1 else torch.stack(drawn)[self._index]


def _check_stackable(objectives: Sequence[Objective]) -> None:
    for name, module in objectives[0].named_modules():
        if getattr(module, "track_running_stats", False):
            raise ConfigError(
                f"layer {name!r} keeps running statistics and cannot be stacked; "
                "train such models with Looped, or one at a time"
            )
    if any(getattr(module, "chunk", None) for module in objectives[0].method.modules()):
        raise ConfigError(
            "trees in chunks cannot be drawn in a stack; set chunk=None, or train such models "
            "with Looped, or one at a time"
        )
    check_alike(objectives)
