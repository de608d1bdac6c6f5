"""The model that a user wants to attack or audit, from how the command line names it.

    runs/digits-1a2b3c4d5e                           the folder of a run, with a method, beta, seed
    runs/digits-1a2b3c4d5e/vib/models.safetensors    the same, of that method
    defence.py:net                                   a function that returns any torch.nn.Module

The last form runs the file: it is the user's own code, not a stored model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from narrows.checks import check_path
from narrows.data import Dataset, absolute_name, load
from narrows.errors import ConfigError
from narrows.models import adapt
from narrows.runs import Member, Run
from narrows.runs.engine import check_device
from narrows.user_code import UserFunction, is_user_function

__all__ = ["Relatives", "Target", "load_relatives", "load_target", "member_target"]

_TWIN = "cross_entropy"
Normalisation = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation, a number for each channel or a single one."""


@dataclass(frozen=True)
class Target:
    """A model, what to call it, and the test images that it is attacked on.

    Attributes:
        model: as it was trained or built.
        name: for readers.
        test: its test set.
        train: its training set.
        run: the run that it was trained in; `None` for a model from a user's file.
        member: which of the run's models it is.
        source: SHA-256 of the file that a model was built by: another file, another model.
        data: what the test set was loaded by, as `narrows.data.load` takes it.
        normalisation: that a model of a user's file expects, a part of `model` now.
    """

    model: nn.Module
    name: str
    test: Dataset
    train: Dataset
    run: Run | None = None
    member: Member | None = None
    source: str = ""
    data: str | None = None
    normalisation: Normalisation | None = None

    def to(self, device: str) -> Target:
        """The same on another device."""
        check_device(device)
        return replace(
            self,
            model=self.model.to(device),
            test=self.test.to(device),
            train=self.train.to(device),
        )


@dataclass(frozen=True)
class Relatives:
    """Models that an audit compares its target with: one undefended, others of other seeds."""

    twin: nn.Module | None
    siblings: tuple[nn.Module, ...]

    def to(self, device: str) -> Relatives:
        """The same on another device."""
        twin = None if self.twin is None else self.twin.to(device)
        return Relatives(twin, tuple(model.to(device) for model in self.siblings))


def load_target(
    target: str,
    data: str | None = None,
    method: str | None = None,
    beta: float | None = None,
    seed: int | None = None,
    normalisation: Normalisation | None = None,
) -> Target:
    """Load the model that `target` names, and its test set.

    Args:
        target: a run's folder, a `models.safetensors` in one, or `file.py:function`.
        data: a data set, as `narrows.data.load` takes it; by default the run's own.
        method: of the run; its only one needs no name.
        beta: of the method; by default the one chosen on validation data.
        seed: of the run; by default the first.
        normalisation: mean and standard deviation that the model of `file.py:function` expects
            its images to be normalised by.

    Raises:
        ConfigError: for a target that is none of these, a function without a data set, data
            without images, or a method, beta or seed that the run does not have.
        StoreError: for a folder that is not a run's.
    """
    if is_user_function(target):
        return _load_function(target, data, normalisation)
    if normalisation is not None:
        raise ConfigError(
            "--mean and --std are for a model of file.py:function; a model of a run normalises its "
            "images itself, so leave them out"
        )
    path = check_path(target, "TARGET")
    if path.suffix == ".safetensors":
        if method not in (None, path.parent.name):
            raise ConfigError(f"{path} holds the models of {path.parent.name}, not of {method}")
        path, method = path.parent.parent, path.parent.name
    if not path.is_dir():
        raise ConfigError(
            f"there is no folder {path}; expected a run's folder, its models.safetensors, or "
            "file.py:function"
        )
    run = Run.open(path)
    member = run.member(method, beta, seed)
    return member_target(run, member, data)


def member_target(run: Run, member: Member, data: str | None = None) -> Target:
    """A trained model of a run, with the images of the run or of another data set.

    Args:
        run: of the model.
        member: which of its models.
        data: name of another data set; `None` for the run's own.

    Raises:
        ConfigError: for data without images.
    """
    data = run.config.data if data is None else absolute_name(data)
    splits = run.splits if data == run.config.data else load(data)
    name, model = f"{member}, of {run.path.name}", run.model(member)
    return Target(model, name, _images(splits.test), splits.train, run, member, data=data)


def load_relatives(target: Target, twin: str | None = None) -> Relatives:
    """The run's plain network of the same seed, or what `twin` names; and its other seeds.

    Raises:
        ConfigError: for a twin that cannot be loaded.
    """
    plain = None
    if twin:
        normalisation = target.normalisation if is_user_function(twin) else None
        plain = load_target(twin, target.data, normalisation=normalisation).model
    run, member = target.run, target.member
    if run is None or member is None:
        return Relatives(plain, ())
    members = run.members(run.finished_methods)
    siblings = [
        run.model(other)
        for other in members
        if (other.method, other.beta) == (member.method, member.beta) and other.seed != member.seed
    ]
    undefended = Member(_TWIN, 0.0, member.seed)
    if plain is None and member.method != _TWIN and undefended in members:
        plain = run.model(undefended)
    return Relatives(plain, tuple(siblings))


def _load_function(target: str, data: str | None, normalisation: Normalisation | None) -> Target:
    if data is None:
        raise ConfigError(f"{target} does not say on which images; name a data set with --data")
    function = UserFunction.parse(target, "TARGET")
    source = function.source
    splits = load(data)
    test = _images(splits.test)
    model = function()
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{target} returned {type(model).__name__}, expected a torch.nn.Module")
    if normalisation is not None:
        mean, std = normalisation
        model = adapt(model, mean=mean, std=std)
    return Target(
        model, target, test, splits.train, source=source, data=data, normalisation=normalisation
    )


def _images(test: Dataset) -> Dataset:
    if not test.image:
        raise ConfigError(f"{test.name} has no images in [0, 1] that could be attacked")
    return test
