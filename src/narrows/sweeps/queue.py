"""The units of a sweep that are left, in the order in which they are handed out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from narrows.sweeps.grid import Unit

__all__ = ["UnitQueue"]


class UnitQueue(Iterator[Unit]):
    """Units from an iterator, and after them those that were put back.

    Args:
        units: taken one at a time; no list of all is built.
    """

    def __init__(self, units: Iterator[Unit]) -> None:
        self._units = units
        self._back: deque[Unit] = deque()

    def put_back(self, unit: Unit) -> None:
        """Hand this unit out once more, after all others."""
        self._back.append(unit)

    def __next__(self) -> Unit:
        if (unit := next(self._units, None)) is not None:
            return unit
        if not self._back:
            raise StopIteration
        return self._back.popleft()
