"""A function in a user's own Python file, named `file.py:function`, as commands take it.

Such a file is the user's own code and is run. Files that are only read as data, such as weights or
arrays, are never executed.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from narrows.checks import check_path
from narrows.errors import ConfigError, NarrowsError

__all__ = ["UserFunction", "is_user_function"]

_MARK = ".py:"


def is_user_function(text: str) -> bool:
    """Whether a text names a function in a file.

    >>> is_user_function("folder/data.py:load"), is_user_function("digits")
    (True, False)
    """
    return _MARK in text


@dataclass(frozen=True)
class UserFunction:
    """A function in a file; nothing is run before it is called.

    Attributes:
        path: of the file.
        name: of the function.
    """

    path: Path
    name: str

    @classmethod
    def parse(cls, text: str, kind: str) -> UserFunction:
        """Read `file.py:function`.

        Args:
            text: what the user typed.
            kind: how errors call it, as in `"--data"`.

        Raises:
            ConfigError: if there is no such file.
        """
        file, _, name = text.rpartition(":")
        path = check_path(file, kind).expanduser()
        if not path.is_file():
            raise ConfigError(f"there is no file {path}")
        return cls(path, name)

    @property
    def source(self) -> str:
        """SHA-256 of the file.

        Raises:
            ConfigError: if it cannot be read.
        """
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError as error:
            raise ConfigError(f"cannot read {self.path}: {error.strerror}") from error

    def __call__(self, *arguments: Any, **offered: Any) -> Any:
        """Run the file as a module of its own and call the function.

        Args:
            arguments: that the function must take.
            offered: passed on where the function has a parameter of that name.

        Raises:
            ConfigError: if the file has no such function, or either of them fails, with the line.
        """
        # So that the file's own neighbours can be imported, as when it is run.
        sys.path.insert(0, home := str(self.path.parent.resolve()))
        try:
            function = self._function()
            parameters = inspect.signature(function).parameters if offered else {}
            taken = {name: value for name, value in offered.items() if name in parameters}
            return function(*arguments, **taken)
        except NarrowsError:
            raise
        except (Exception, SystemExit) as error:  # whatever the user's file raises
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"{self.path}:{self.name} failed{_line(error, self.path)} with "
                f"{type(error).__name__}: {reason}; "
                "correct it, or run the file with python for the whole traceback"
            ) from error
        finally:
            if home in sys.path:
                sys.path.remove(home)

    def _function(self) -> Any:
        spec = spec_from_file_location(f"_user_{self.path.stem}", self.path)
        if spec is None or spec.loader is None or not self.path.is_file():
            raise ConfigError(f"{self.path} is not a Python file")
        module = module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        function = getattr(module, self.name, None)
        if not callable(function):
            raise ConfigError(f"{self.path} has no function {self.name!r}")
        return function


def _line(error: BaseException, path: Path) -> str:
    """Where in the file it failed: the last line of it that was running."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.resolve()]
    return f" in line {lines[-1]}" if lines else ""
