"""The models of a run: built from its configuration, and read back from its folder.

model = load_member("runs/digits-9f28b25dec", "vib", beta=0.1, seed=0)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from narrows.data import Splits, load
from narrows.errors import ConfigError, StoreError
from narrows.experiments.config import RunConfig, load_config
from narrows.experiments.store import read_json
from narrows.experiments.summary import chosen_beta
from narrows.methods import METHODS, Sizes
from narrows.methods.adversarial import WRAPPERS
from narrows.models import BinaryStochasticNet
from narrows.models.networks import build_network
from narrows.storage import load_tensors
from narrows.training import Looped, Members, Objective, Solo, Stacked

__all__ = [
    "Member",
    "build_members",
    "build_model",
    "build_objective",
    "find_member",
    "finished",
    "grid_of",
    "list_members",
    "load_member",
]


_MODELS = "models.safetensors"


class Member(NamedTuple):
    """What tells the models of one method apart."""

    beta: float
    seed: int


def grid_of(config: RunConfig, method: str) -> list[Member]:
    """Every beta with every seed, beta by beta."""
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    return [Member(beta, seed) for beta in config.grid(method) for seed in seeds]


def build_model(config: RunConfig, method: str, shape: Sequence[int], classes: int) -> nn.Module:
    """The network that suits a method, from torch's global generator.

    Raises:
        ConfigError: where the configured one doesn't have what the method needs.
    """
    if config.network is None:
        raise ConfigError("the configuration has no network; call config.resolve()")
    return build_network(config.network, shape, classes, METHODS[method].latent)


def build_objective(
    config: RunConfig, method: str, member: Member, shape: Sequence[int], classes: int
) -> Objective:
    """One network with its method, for inputs of `shape`, on the CPU.

    It is made from the generator of its seed alone: the same weights on every device.
    """
    kind = METHODS[method]
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(member.seed)
        model = build_model(config, method, shape, classes)
        hidden = tuple(width for part in model.modules() for width in _binary_widths(part))
        latent = max(1, config.network.bottleneck if config.network else 1)
        sizes = Sizes(math.prod(shape), latent, classes, hidden)
        built = kind.build(member.beta, sizes, **config.options.get(method, {}))
    if config.adversarial is not None:
        options = config.options.get(config.adversarial, {})
        built = WRAPPERS[config.adversarial].wrap(built, **options)
    return Objective(model, built)


def _binary_widths(module: nn.Module) -> tuple[int, ...]:
    return module.hidden if isinstance(module, BinaryStochasticNet) else ()


def build_members(config: RunConfig, method: str, splits: Splits) -> Members:
    """All members of one method: in a stack where they can be, else one after another."""
    config = config.resolve()
    shape, classes = splits.train.shape, splits.train.classes
    grid = grid_of(config, method)
    objectives = [build_objective(config, method, member, shape, classes) for member in grid]
    seeds = [member.seed for member in grid]
    mixed = config.train is not None and config.train.precision != "float32"
    if config.stack and not mixed:
        try:
            return Stacked(objectives, seeds, config.device)
        except ConfigError:  # what cannot be vectorised: nothing else can differ here
            pass
    return Looped(objectives, seeds, config.device)


def list_members(
    folder: str | Path, methods: Sequence[str] | None = None, betas: Sequence[float] | None = None
) -> list[tuple[str, float, int]]:
    """Method, beta and seed of every trained model in the folder of a run.

    Args:
        folder: of the run.
        methods: which of its methods; `None` for all.
        betas: which betas, of those methods that have them; `None` for all.

    Raises:
        StoreError: for a folder that is no run, or a method that has not been trained to the end.
        ConfigError: for a method that the run does not have, or a beta that no method has.
    """
    folder = Path(folder)
    there = read_json(folder / "config.json")["methods"]
    found = []
    for method in there if methods is None else methods:
        members, _ = _stored(folder, _one_of("method", method, there))
        found += [(method, *member) for member in members]
    own = sorted({beta for _, beta, _ in found})
    wanted = own if betas is None else [_one_of("beta", beta, own) for beta in betas]
    return [one for one in found if one[1] in wanted]


def finished(folder: str | Path) -> list[str]:
    """The methods of a run that have been trained to the end.

    Raises:
        StoreError: for a folder that is no run.
    """
    folder = Path(folder)
    there = read_json(folder / "config.json")["methods"]
    return [method for method in there if (folder / method / "done.json").exists()]


def find_member(
    folder: str | Path,
    method: str | None = None,
    beta: float | None = None,
    seed: int | None = None,
) -> tuple[str, Member]:
    """Which model `load_member` means by the same arguments: method and member.

    Raises:
        StoreError: for a folder that is no run, or a method that has not been trained to the end.
        ConfigError: for a method, beta or seed that the run does not have, naming those it has.
    """
    folder = Path(folder)
    there = read_json(folder / "config.json")["methods"]
    name: str = _one_of("method", method, there)
    members, _ = _stored(folder, name)
    if beta is None:
        beta = chosen_beta(read_json(folder / name / "results.json"))
    _one_of("beta", beta, list(dict.fromkeys(member.beta for member in members)))
    seeds = [member.seed for member in members if member.beta == beta]
    return name, Member(beta, _one_of("seed", seeds[0] if seed is None else seed, seeds))


def load_member(
    folder: str | Path,
    method: str | None = None,
    beta: float | None = None,
    seed: int | None = None,
) -> nn.Module:
    """Rebuild a trained model from the folder of a run, in evaluation mode on the CPU.

    Args:
        folder: of the run, as `narrows run` or `narrows train` names it when it ends.
        method: which method's; `None` where there is only one.
        beta: `None` for the one chosen on validation data.
        seed: `None` for the first there is.

    Returns:
        The network without its method, with the weights of its best epoch.

    Raises:
        StoreError: for a folder that is no run, or a method that has not been trained to the end.
        ConfigError: for a method, beta or seed that the run does not have, naming those it has.
        CheckpointError: for weights that are damaged.
    """
    folder = Path(folder)
    name, own = find_member(folder, method, beta, seed)
    config = load_config(values=read_json(folder / "config.json"))
    members, header = _stored(folder, name)
    if "shape" not in header:  # written before it was stored
        train = load(config.data, validation_share=config.validation_share).train
        header |= {"shape": train.shape, "classes": train.classes}
    objective = build_objective(config, name, own, header["shape"], header["classes"])
    index, tensors = members.index(own), load_tensors(folder / name / _MODELS)[0]
    Solo(objective, own.seed).load({k: v[index : index + 1] for k, v in tensors.items()})
    return objective.model.eval()


def _stored(folder: Path, method: str) -> tuple[list[Member], dict[str, Any]]:
    """Which members are in a finished method's file of weights, and its header."""
    if not (folder / method / "done.json").exists():
        raise StoreError(
            f"{folder} has no finished {method}; run the command that began it again to go on"
        )
    header = load_tensors(folder / method / _MODELS)[1]
    return [Member(**member) for member in header["members"]], header


def _one_of(kind: str, given: Any, there: Sequence[Any]) -> Any:
    """The given one, or the only one."""
    if given is None and len(there) == 1:
        return there[0]
    if given not in there:
        asked = "has to be named" if given is None else f"{given} is not in this run"
        raise ConfigError(f"{kind} {asked}; there is {', '.join(map(str, there))}")
    return given
