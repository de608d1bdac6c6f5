"""The models of a run, built from its configuration."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import nn

from narrows.errors import ConfigError, NarrowsError
from narrows.methods import METHODS, Method, Sizes
from narrows.methods.adversarial import WRAPPERS
from narrows.models import BinaryStochasticNet
from narrows.models.networks import build_network
from narrows.models.noise import forked_rng
from narrows.models.user_network import first_output
from narrows.runs.config import ResolvedConfig
from narrows.runs.records import Member
from narrows.training import Looped, Members, Objective, Stacked
from narrows.types import Batch

__all__ = ["build_members", "build_model", "build_objective", "try_method"]

_TRIAL_IMAGES = 4
_MEMORY_SHARE = 0.9  # of the machine's memory that models may take
_COPIES = 4  # of each weight: itself, its gradient, and the two moments of Adam


def build_model(
    config: ResolvedConfig, method: str, shape: Sequence[int], classes: int
) -> nn.Module:
    """The network of a method, initialised from torch's global generator.

    Args:
        config: of the run.
        method: name of one of its methods.
        shape: of one input.
        classes: number of classes.

    Raises:
        ConfigError: where the configured network lacks what the method needs.
    """
    return build_network(config.networks[method], shape, classes, METHODS[method].latent)


def build_objective(
    config: ResolvedConfig, member: Member, shape: Sequence[int], classes: int
) -> Objective:
    """One network with its method, for inputs of `shape`, on the CPU.

    It is made from the generator of its seed alone: the same weights on every device.

    Args:
        config: of the run.
        member: which of its models.
        shape: of one input.
        classes: number of classes.
    """
    with forked_rng(seed=member.seed):
        model = build_model(config, member.method, shape, classes)
        sizes = _sizes(config, member.method, model, shape, classes)
        method = _build_method(config, member, sizes)
    return Objective(model, method)


def build_members(
    config: ResolvedConfig, method: str, shape: Sequence[int], classes: int
) -> Members:
    """All models of one method: in a stack where they can be, else one after another.

    Args:
        config: of the run.
        method: name of one of its methods.
        shape: of one input.
        classes: number of classes.
    """
    members = config.members(method)
    objectives = [build_objective(config, member, shape, classes) for member in members]
    seeds = [member.seed for member in members]
    if config.stack and config.train.stackable:
        try:
            stacked = Stacked(objectives, seeds, config.device)
            if config.networks[method].is_own:
                _try_stacked(stacked, shape)
            return stacked
        except ConfigError:  # what cannot be vectorised: nothing else can differ here
            pass
    return Looped(objectives, seeds, config.device)


def _try_stacked(members: Stacked, shape: Sequence[int]) -> None:
    """Run a stack of networks of the user's own once, whose code may not be vectorisable.

    Raises:
        ConfigError: if it is not.
    """
    try:
        with forked_rng(), torch.no_grad():
            members.run("predict", torch.zeros(len(members), 2, *shape, device=members.device))
    except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise ConfigError(f"cannot be vectorised: {error}") from error


def try_method(config: ResolvedConfig, method: str, shape: Sequence[int], classes: int) -> None:
    """Refuse what cannot be trained, before anything is: network, options, every beta, memory.

    The network is sized on the meta device, where tensors have shapes and no numbers. If it fits
    the memory, the terms of the loss are computed once, on a few random inputs.

    Args:
        config: of the run.
        method: name of one of its methods.
        shape: of one input.
        classes: number of classes.

    Raises:
        ConfigError: saying why.
    """
    images = min(_TRIAL_IMAGES, config.train.batch_size)
    members = config.members(method)
    # Adversarial training changes no shape. Its options are tried with every method below.
    plain = replace(config, adversarial=None)
    is_own = config.networks[method].is_own  # the code of a user's may need numbers
    try:
        with nullcontext() if is_own else torch.device("meta"), forked_rng():
            sized = build_objective(plain, members[0], shape, classes)
            sizes = _sizes(config, method, sized.model, shape, classes)
            for beta in config.grids[method]:
                _build_method(config, replace(members[0], beta=beta), sizes)
        _check_memory(method, sized, len(members))
        _compute_terms(build_objective(plain, members[0], shape, classes), images, shape, classes)
    except NarrowsError:
        raise
    except (ValueError, TypeError, RuntimeError, MemoryError, OverflowError) as error:
        # Batch normalisation of a single number per channel, say, or widths beyond any memory.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{method} cannot be trained in batches of {images}: {reason}") from error


def _compute_terms(objective: Objective, images: int, shape: Sequence[int], classes: int) -> None:
    with forked_rng(), torch.no_grad():
        batch = Batch(torch.rand(images, *shape), torch.arange(images) % classes)
    with forked_rng():
        objective.method.terms(objective.method.observe(objective.model, batch), batch)


def _build_method(config: ResolvedConfig, member: Member, sizes: Sizes) -> Method:
    options = config.options.get(member.method, {})
    method = METHODS[member.method].build(member.beta, sizes, **options)
    if config.adversarial is None:
        return method
    return WRAPPERS[config.adversarial].wrap(method, **config.options.get(config.adversarial, {}))


def _sizes(
    config: ResolvedConfig, method: str, model: nn.Module, shape: Sequence[int], classes: int
) -> Sizes:
    hidden = tuple(
        width
        for part in model.modules()
        if isinstance(part, BinaryStochasticNet)
        for width in part.hidden
    )
    network = config.networks[method]
    width = network.bottleneck
    if network.is_own:
        latent = first_output(model, shape, network.name).latent
        width = 0 if latent is None else latent.z.shape[-1]
    return Sizes(math.prod(shape), max(1, width), classes, hidden)


def _check_memory(method: str, objective: Objective, members: int) -> None:
    sizes = (part.numel() * part.element_size() for part in objective.parameters())
    needed, present = members * _COPIES * sum(sizes), _memory()
    if present and needed > _MEMORY_SHARE * present:
        raise ConfigError(
            f"the {members} models of {method} need about {needed / 2**30:,.0f} GiB with their "
            f"gradients, and this machine has {present / 2**30:,.0f} GiB; take a smaller network, "
            "or fewer betas or seeds at once"
        )


def _memory() -> int | None:
    """Bytes of memory of the machine, where the operating system says so."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
