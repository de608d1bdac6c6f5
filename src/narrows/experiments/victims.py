"""What is to be attacked, from how a user names it: a run, its weights, or a function of hers.

    runs/digits-1a2b3c4d5e                     a run's folder (with a method, a beta, a seed)
    runs/digits-1a2b3c4d5e/vib/models.safetensors    the same, of that method
    defence.py:net                             a function that returns any torch.nn.Module

The last one runs that file: it is the user's own code, not a stored model.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import NamedTuple

from torch import nn

from narrows.data import Dataset, load
from narrows.errors import ConfigError, NarrowsError
from narrows.experiments.engine import check_device
from narrows.experiments.members import find_member, finished, list_members, load_member
from narrows.experiments.store import read_json

__all__ = ["Relatives", "Victim", "load_relatives", "load_victim"]

_TWIN = "cross_entropy"


class Victim(NamedTuple):
    """A model under attack, what to call it, and the test images it is attacked on.

    Attributes:
        model: as it was trained or built.
        name: for readers.
        test: its test set.
        member: the run's folder, and which of its models it is; `None` for a foreign model.
        source: SHA-256 of the file that a foreign model came from: editing it makes another one.
    """

    model: nn.Module
    name: str
    test: Dataset
    member: tuple[Path, str, float, int] | None = None
    source: str = ""

    def to(self, device: str) -> Victim:
        """The same on another device."""
        check_device(device)
        return self._replace(model=self.model.to(device), test=self.test.to(device))


class Relatives(NamedTuple):
    """Models that an audit compares its victim with: one undefended, others of other seeds."""

    twin: nn.Module | None
    siblings: tuple[nn.Module, ...]

    def to(self, device: str) -> Relatives:
        """The same on another device."""
        twin = self.twin and self.twin.to(device)
        return Relatives(twin, tuple(model.to(device) for model in self.siblings))


def load_victim(
    target: str,
    data: str | None = None,
    method: str | None = None,
    beta: float | None = None,
    seed: int | None = None,
) -> Victim:
    """Find the model that `target` names, and its test set.

    Args:
        target: a run's folder, a `models.safetensors` in one, or `file.py:function`.
        data: name of a data set; by default the run's own.
        method: of the run; its only one needs no name.
        beta: of the method; by default the one chosen on validation data.
        seed: of the run; by default the first.

    Raises:
        ConfigError: for a target that is none of these, a function without a data set, or a
            method, beta or seed that the run does not have.
        StoreError: for a folder that is not a run's.
    """
    if ".py:" in target:
        if data is None:
            raise ConfigError(f"{target} does not say on which images; name some with --data")
        test, model = load(data).test, _call(target)
        source = hashlib.sha256(Path(target.rpartition(":")[0]).read_bytes()).hexdigest()
        return Victim(model, target, test, source=source)
    path = Path(target)
    if path.suffix == ".safetensors":
        path, method = path.parent.parent, path.parent.name
    if not path.is_dir():
        raise ConfigError(
            f"there is no folder {path}; expected a run's folder, its models.safetensors, or "
            "file.py:function"
        )
    name, own = find_member(path, method, beta, seed)
    config = read_json(path / "config.json")
    test = load(data or config["data"], validation_share=config["validation_share"]).test
    said = f"{name}, beta = {own.beta:g}, seed {own.seed}, of {path.name}"
    return Victim(load_member(path, name, *own), said, test, (path, name, own.beta, own.seed))


def load_relatives(victim: Victim, twin: str | None = None) -> Relatives:
    """The run's plain network of the same seed, or what `twin` names; and its other seeds.

    Raises:
        ConfigError: for a twin that cannot be found.
    """
    given = load_victim(twin, victim.test.name).model if twin else None
    if victim.member is None:
        return Relatives(given, ())
    folder, method, beta, seed = victim.member
    trained = list_members(folder, finished(folder))
    siblings = tuple(
        load_member(folder, *other)
        for other in trained
        if other[:2] == (method, beta) and other[2] != seed
    )
    if given is None and method != _TWIN and (_TWIN, 0.0, seed) in trained:
        given = load_member(folder, _TWIN, 0.0, seed)
    return Relatives(given, siblings)


def _call(target: str) -> nn.Module:
    """Run `file.py` as a module of its own and call its function."""
    file, _, function = target.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
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
    except (Exception, SystemExit) as error:  # whatever a stranger's file raises
        raise ConfigError(
            f"{target} failed{_line(error, path)} with {type(error).__name__}: {error}; mend it, "
            "or run the file with python for the whole traceback"
        ) from error
    finally:
        sys.path.remove(home)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{target} returned {type(model).__name__}, expected a torch.nn.Module")
    return model


def _line(error: BaseException, path: Path) -> str:
    """Where in the file it failed: the last line of it that was running."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.resolve()]
    return f" in line {lines[-1]}" if lines else ""
