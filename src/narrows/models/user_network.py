"""A network of the user's own, from a function in a file, with a latent inserted where it has none.

    def build(shape, classes):                  # net.py; the run names it net.py:build
        return torchvision.models.resnet18(num_classes=classes)

| the function returns                              | what is trained                              |
|---------------------------------------------------|----------------------------------------------|
| a `Bottleneck`, or a model with a latent          | the model as it is                           |
| any other classifier, and `network.at` is a layer | the same with a latent after that layer      |
| any other classifier                              | the same, by methods that need no latent     |

A function with a parameter `latent` is given the kind of latent that the method trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from narrows.errors import ConfigError, InputError, NarrowsError
from narrows.models.binary_stochastic import BinaryStochasticNet
from narrows.models.bottleneck import Bottleneck
from narrows.models.evaluating import evaluating
from narrows.models.gaussian import NetworkLatent
from narrows.models.inserted import insert_bottleneck
from narrows.models.outputs import as_output
from narrows.types import ModelOutput
from narrows.user_code import UserFunction

__all__ = ["absolute_function", "build_user_network", "first_output", "short_function"]


def absolute_function(name: str) -> str:
    """The same `file.py:function` from anywhere.

    Args:
        name: with a path that may be relative.
    """
    path, _, function = name.rpartition(":")
    return f"{Path(path).expanduser().absolute()}:{function}"


def short_function(name: str) -> str:
    """The same `file.py:function` without the folder.

    >>> short_function("/home/ada/net.py:build")
    'net.py:build'
    """
    path, _, function = name.rpartition(":")
    return f"{Path(path).name}:{function}"


def build_user_network(
    name: str,
    source: str,
    shape: Sequence[int],
    classes: int,
    latent: NetworkLatent,
    at: str = "",
    width: int = 64,
) -> nn.Module:
    """Call the user's function and insert a latent where one is wanted.

    Args:
        name: `file.py:function`.
        source: SHA-256 that the file must have; empty for any.
        shape: of one input.
        classes: number of classes.
        latent: the kind that the method trains.
        at: the layer after which the latent is inserted; empty for none.
        width: number of its units.

    Raises:
        ConfigError: for a file that is missing, has changed or fails, a function that returns no
            classifier of such inputs, or a method that needs a latent where there is none.
    """
    path = Path(name.rpartition(":")[0])
    if source and not path.is_file():
        raise ConfigError(
            f"the network was built by {path}, which is not there; put the file back, or name it "
            "with --network where it is now"
        )
    function = UserFunction.parse(name, "network.name")
    if source and function.source != source:
        raise ConfigError(
            f"{function.path} has changed since the run that it built the network of: its SHA-256 "
            f"is {function.source[:12]}, expected {source[:12]}; restore it, or name it with "
            "--network to begin another run"
        )
    model = function(tuple(shape), classes, latent=latent)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{name} returned {type(model).__name__}, expected a torch.nn.Module")
    if at and _has_latent(model):
        raise ConfigError(f"{name} returns a model with a latent; leave network.at out")
    if at:
        model = _inserted(name, model, at, width, latent, shape)
    output = first_output(model, shape, name)
    if (got := output.logits.shape[-1]) != classes:
        raise ConfigError(f"{name} returned a network of {got} classes, expected {classes}")
    if latent == "binary" and not any(isinstance(p, BinaryStochasticNet) for p in model.modules()):
        raise ConfigError(f"the method needs a BinaryStochasticNet, and {name} returns none")
    if latent != "deterministic" and output.latent is None:
        layers = [layer for layer, _ in model.named_children()]
        raise ConfigError(
            f"the method trains a {latent} latent, and the network of {name} has none; name the "
            f"layer that it comes after, like --set network.at={(['layer', *layers])[-2:][0]} "
            f"(layers: {', '.join(layers[:12])})"
        )
    return model


def _has_latent(model: nn.Module) -> bool:
    return any(isinstance(part, (Bottleneck, BinaryStochasticNet)) for part in model.modules())


def _inserted(
    name: str, model: nn.Module, at: str, width: int, latent: NetworkLatent, shape: Sequence[int]
) -> nn.Module:
    if latent == "binary":
        raise ConfigError(
            f"the method needs binary stochastic layers, which cannot be inserted into {name}; let "
            "it return a BinaryStochasticNet"
        )
    inserted = insert_bottleneck(model, at, width, latent)
    first_output(inserted, shape, name)  # which gives its linear maps their widths
    return inserted


def first_output(model: nn.Module, shape: Sequence[int], name: str) -> ModelOutput:
    """What a network returns for two inputs of zeros.

    Args:
        model: any classifier.
        shape: of one input.
        name: of the network, in errors.

    Raises:
        ConfigError: if it cannot be run on them, or returns no logits.
    """
    inputs = torch.zeros(2, *shape)
    try:
        with torch.no_grad(), evaluating(model):
            return as_output(model(inputs))
    except InputError as error:
        raise ConfigError(f"{name}: {error}") from error
    except NarrowsError:
        raise
    except Exception as error:  # whatever a third-party network raises
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{name}: the network cannot be run on inputs {list(inputs.shape)} "
            f"({type(error).__name__}: {reason})"
        ) from error
