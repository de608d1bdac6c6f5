"""The models of a run: a single one here, a stack in `stacked.py`, a loop in `looped.py`.

A member's order of the data and its noise depend only on its seed, whether it is trained alone or
with others. Members of one seed share them, so that a sweep over beta is a paired comparison.
Layers that draw from torch's global generator, such as `torch.nn.Dropout`, are an exception: in a
stack all members get the same draw.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from narrows.data import Dataset
from narrows.errors import ConfigError
from narrows.models.noise import SeededNoise, noise_from
from narrows.training.objective import Objective
from narrows.training.state import copy_tensors

__all__ = ["Members", "Solo", "accuracies", "check_seeds", "map_tensors", "tensors_of"]


# Added to a seed, so that augmentation and noise use different random numbers.
_AUGMENT = 2**32


class Members(ABC):
    """One or many objectives, trained together.

    Attributes:
        seeds: one seed per member.
        generators: one noise generator for each distinct seed, in order of first appearance.
        order_generators: likewise, for the order of the data.
        augment_generators: likewise, for augmentation.
        seed_index: `[members]`, index of each member's seed among the distinct ones.
        stacked: whether the first axis of the parameters is that of members.
    """

    stacked: ClassVar[bool] = False

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.seeds = list(seeds)
        distinct = list(dict.fromkeys(self.seeds))
        self.seed_index = torch.tensor([distinct.index(seed) for seed in self.seeds], device=device)
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in distinct]
        self.order_generators = [torch.Generator().manual_seed(seed) for seed in distinct]
        self.augment_generators = [torch.Generator().manual_seed(s + _AUGMENT) for s in distinct]
        self.device = device

    def __len__(self) -> int:
        return len(self.seeds)

    def parts(self) -> list[Members]:
        """The members in groups that are run together, in order; one group unless overridden."""
        return [self]

    @abstractmethod
    def run(self, stage: str, *args: Any, shared: bool = False) -> Any:
        """Run a stage for every member: arguments and results carry a leading members axis.

        Args:
            stage: name of a stage of `Objective`.
            args: tensors or dicts of tensors `[members, ...]`.
            shared: whether the arguments are the same for all members, without a members axis.
        """

    @abstractmethod
    def named_tensors(self) -> dict[str, Tensor]:
        """Every parameter and buffer by name, `[members, ...]`; copies in several parts only."""

    @abstractmethod
    def member(self, index: int) -> Objective:
        """A copy of one member as an ordinary module."""

    @abstractmethod
    def parameters(self, *, critic: bool) -> list[nn.Parameter]:
        """The parameters of the critic's optimiser, or those of the model's."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy values of `named_tensors` of an equal run into the members.

        Raises:
            CheckpointError: naming the first tensor that is missing or has another shape.
        """
        copy_tensors(self.named_tensors(), tensors)


class Solo(Members):
    """One model of any kind, trained by plain calls."""

    def __init__(self, objective: Objective, seed: int, device: torch.device | str = "cpu") -> None:
        super().__init__([seed], torch.device(device))
        self._objective = objective.to(device)
        self._noise = SeededNoise(self.generators[0])
        self._critic = {id(parameter) for parameter in objective.method.critic_parameters()}

    def run(self, stage: str, *args: Any, shared: bool = False) -> Any:
        """Call the stage without the members axis, and add that axis to its result."""
        if not shared:
            # The gradient of `tensor[0]` would be copied into a tensor of zeros.
            args = tuple(map_tensors(lambda tensor: tensor.squeeze(0), arg) for arg in args)
        with noise_from(self._noise):
            return map_tensors(lambda tensor: tensor.unsqueeze(0), self._objective(stage, *args))

    def named_tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers, each viewed as `[1, ...]`."""
        return {k: v.detach().unsqueeze(0) for k, v in tensors_of(self._objective).items()}

    def member(self, index: int) -> Objective:
        """A copy of the one member."""
        return copy.deepcopy(self._objective)

    def parameters(self, *, critic: bool) -> list[nn.Parameter]:
        """Trainable parameters of the critic, or all others."""
        return [
            p
            for p in self._objective.parameters()
            if p.requires_grad and critic == (id(p) in self._critic)
        ]


def check_seeds(objectives: Sequence[Objective], seeds: Sequence[int]) -> None:
    """Refuse another number of seeds than of objectives, or none.

    Raises:
        ConfigError: saying how many there are.
    """
    if len(objectives) != len(seeds) or not objectives:
        raise ConfigError(f"{len(objectives)} models need as many seeds, got {len(seeds)}")


def map_tensors(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Change a tensor, or every tensor of a dict."""
    if isinstance(value, dict):
        return {name: change(tensor) for name, tensor in value.items()}
    return change(value)


def tensors_of(objective: Objective) -> dict[str, Tensor]:
    """Every parameter and buffer of one member by name, not copied; shared ones once."""
    return {**dict(objective.named_parameters()), **dict(objective.named_buffers())}


def accuracies(members: Members, data: Dataset, block: int = 2048) -> Tensor:
    """Accuracy of every member at the latent's mean: `[members]`, float64.

    Args:
        members: the models.
        data: inputs and labels, on the members' device.
        block: inputs that are predicted at once.
    """
    correct = torch.zeros(len(members), dtype=torch.float64)
    for start in range(0, len(data), block):
        batch = data.batch(slice(start, start + block))
        predicted = members.run("predict", batch.x, shared=True).argmax(-1)
        correct += (predicted == batch.y).sum(1).cpu()
    return correct / len(data)
