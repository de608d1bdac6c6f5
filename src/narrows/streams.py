"""Standard output that cannot end a command: a training is worth more than its last line.

A closed pipe (`| head -1`), a full disk behind `>` and a terminal whose encoding lacks a character
must not stop a command that has results to store. What cannot be written is dropped, and the first
error is kept, so that the command line can report it at the end.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

__all__ = ["TolerantStream", "tolerant_output"]


class TolerantStream(io.TextIOBase):
    """A text stream that drops what its target refuses.

    Attributes:
        error: the first error of the target; `None` while there was none.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self.error: OSError | ValueError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the target, which decides what rich and click print."""
        return getattr(self._target, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write, with a substitute for each character that the encoding lacks."""
        if self.error is None:
            try:
                self._target.write(text)
            except UnicodeEncodeError:
                known = text.encode(self.encoding, "replace").decode(self.encoding)
                return self.write(known)
            except (OSError, ValueError) as error:  # ValueError: the stream is closed
                self.error = error
        return len(text)

    def flush(self) -> None:
        """Flush, likewise."""
        if self.error is None:
            try:
                self._target.flush()
            except (OSError, ValueError) as error:
                self.error = error

    def isatty(self) -> bool:
        """Whether the target is a terminal."""
        return self.error is None and not self._target.closed and self._target.isatty()

    def fileno(self) -> int:
        """That of the target."""
        return self._target.fileno()

    def writable(self) -> bool:
        """Always."""
        return True


@contextlib.contextmanager
def tolerant_output() -> Iterator[TolerantStream]:
    """Make `sys.stdout` and `sys.stderr` tolerant while the block runs; yields the former."""
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:  # for a process that was started without streams
        streams = [TolerantStream(nowhere if stream is None else stream) for stream in before]
        sys.stdout, sys.stderr = streams
        try:
            yield streams[0]
        finally:
            for stream in streams:
                stream.flush()
            sys.stdout, sys.stderr = before
            _discard_rest(before, streams, nowhere)


def _discard_rest(
    before: tuple[TextIO, TextIO], streams: list[TolerantStream], nowhere: TextIO
) -> None:
    """Send what a broken stream still buffers to nowhere, where the interpreter flushes it."""
    for original, stream in zip(before, streams, strict=True):
        if stream.error is not None and original is not None and not original.closed:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(nowhere.fileno(), original.fileno())
