"""The model that a user wants to attack or audit, from how the command line names it.

    runs/digits-1a2b3c4d5e                           the folder of a run, with a method, beta, seed
    runs/digits-1a2b3c4d5e/vib/models.safetensors    the same, of that method
    defence.py:net                                   a function that returns any torch.nn.Module

The last form runs the file: it is the user's own code, not a stored model.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from torch import nn

from narrows.checks import check_path
from narrows.data import Dataset, load
from narrows.errors import ConfigError, NarrowsError
from narrows.runs import Member, Run
from narrows.runs.engine import check_device

__all__ = ["Relatives", "Target", "load_relatives", "load_target"]

_TWIN = "cross_entropy"


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
    """

    model: nn.Module
    name: str
    test: Dataset
    train: Dataset
    run: Run | None = None
    member: Member | None = None
    source: str = ""

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
) -> Target:
    """Load the model that `target` names, and its test set.

    Args:
        target: a run's folder, a `models.safetensors` in one, or `file.py:function`.
        data: name of a data set; by default the run's own.
        method: of the run; its only one needs no name.
        beta: of the method; by default the one chosen on validation data.
        seed: of the run; by default the first.

    Raises:
        ConfigError: for a target that is none of these, a function without a data set, data
            without images, or a method, beta or seed that the run does not have.
        StoreError: for a folder that is not a run's.
    """
    if ".py:" in target:
        return _load_function(target, data)
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
    splits = load(data) if data is not None and data != run.config.data else run.splits
    name = f"{member}, of {path.name}"
    return Target(run.model(member), name, _images(splits.test), splits.train, run, member)


def load_relatives(target: Target, twin: str | None = None) -> Relatives:
    """The run's plain network of the same seed, or what `twin` names; and its other seeds.

    Raises:
        ConfigError: for a twin that cannot be loaded.
    """
    plain = load_target(twin, target.test.name).model if twin else None
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


def _load_function(target: str, data: str | None) -> Target:
    if data is None:
        raise ConfigError(f"{target} does not say on which images; name a data set with --data")
    file, _, function = target.rpartition(":")
    path = check_path(file, "TARGET")
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    try:
        source = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    splits = load(data)
    return Target(_call(path, function), target, _images(splits.test), splits.train, source=source)


def _images(test: Dataset) -> Dataset:
    if not test.image:
        raise ConfigError(f"{test.name} has no images in [0, 1] that could be attacked")
    return test


def _call(path: Path, function: str) -> nn.Module:
    """Run a file as a module of its own and call one of its functions."""
    spec = spec_from_file_location(f"_target_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    # So that its own neighbours can be imported, as when it is run.
    sys.path.insert(0, home := str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
        build = getattr(module, function, None)
        if not callable(build):
            raise ConfigError(f"{path} has no function {function!r}")
        model = build()
    except NarrowsError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's file raises
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path}:{function} failed{_line(error, path)} with {type(error).__name__}: {reason}; "
            "correct it, or run the file with python for the whole traceback"
        ) from error
    finally:
        if home in sys.path:
            sys.path.remove(home)
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"{path}:{function} returned {type(model).__name__}, expected a torch.nn.Module"
        )
    return model


def _line(error: BaseException, path: Path) -> str:
    """Where in the file it failed: the last line of it that was running."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.resolve()]
    return f" in line {lines[-1]}" if lines else ""
