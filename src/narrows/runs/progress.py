"""Progress of long work: a live bar on a terminal, a line now and then where there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as LiveBars

__all__ = ["Bar", "Progress"]

_SECONDS_BETWEEN_LINES = 10.0


class Bar:
    """One piece of work with a known number of steps."""

    def __init__(self, console: Console, label: str, total: int, live: LiveBars | None) -> None:
        self._console, self._label, self._total, self._live = console, label, total, live
        self._done = 0
        self._text = ""
        self._started = self._printed = time.monotonic()
        self._first = 0
        self._task = live.add_task(label, total=total, text="") if live else None

    def advance(self) -> None:
        """One step is done."""
        self.show(self._done + 1, self._text)

    def show(self, done: int, text: str) -> None:
        """So many steps are done; `text` says how it stands."""
        if done > self._done + 1:  # resumed: earlier steps cost no time now
            self._first = done
        self._done, self._text = done, text
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=done, text=text)
        elif time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
            self._print()

    def finish(self) -> None:
        """The work is done: off a terminal, its last line."""
        if self._live is None:
            self._print()

    def _print(self) -> None:
        self._printed = time.monotonic()
        self._console.print(self._line(), highlight=False, soft_wrap=True, markup=False)

    def _line(self) -> str:
        rate = (self._done - self._first) / max(1e-9, time.monotonic() - self._started)
        left = self._total - self._done
        eta = f", {left / rate:.0f} s left" if left and rate else ""
        return (
            f"{self._label}: {self._done}/{self._total}, {rate:.1f}/s{eta}  {self._text}".rstrip()
        )


class Progress:
    """Where progress is shown.

    Args:
        console: of rich; a quiet one shows nothing.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(quiet=True)

    def note(self, text: str) -> None:
        """One line."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        """Show one piece of work while the block runs."""
        if not self.console.is_terminal:
            bar = Bar(self.console, label, total, None)
            yield bar
            bar.finish()
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", style="dim", markup=False),
        )
        with LiveBars(*columns, console=self.console) as live:
            yield Bar(self.console, label, total, live)
