"""What was reproduced, as it is stored, and how a number compares with the paper's.

A cell is *reproduced* if it lies within its column's tolerance (one percentage point, less for
errors of a few percent) or within two standard errors of the paper's number. The standard error is
that of our mean over seeds; with one seed it is that of a share of the test images. Where the paper
prints its own spread over seeds, the standard error is that of the difference of both means. The
paper's number of seeds, which no paper states, is taken to be ours. Otherwise the cell *differs*,
and counts as explained where an experiment in the repository demonstrates why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

import msgspec

from narrows.errors import StoreError
from narrows.reproduction.tables import PaperTable, Reason, Scale

__all__ = [
    "KIND",
    "AuditOutcome",
    "Cell",
    "Comparison",
    "ReproductionRecord",
    "RunUsed",
    "State",
    "compared",
    "read_record",
    "record_path",
]

KIND = "reproduction"
State = Literal["reproduced", "explained", "differs", "measured", "not run"]
_ERRORS = 2.0


@dataclass(frozen=True)
class Cell:
    """What was measured for one number of a paper.

    Attributes:
        row: of the table, likewise `column`.
        paper: the number that is printed there; `None` for a point of a plot.
        values: ours, one for each seed.
        images: that a share was counted on; 0 for a number that is no share.
        beta: of the models; `None` for a method without, or an experiment.
        note: why there is no number, where there is none.
        tolerance: how far ours may be from the paper's to count as reproduced.
        paper_spread: the standard deviation over seeds that the paper printed; 0 for none.
        whole: what all images together give, where the number is a share of them.
    """

    row: str
    column: str
    paper: float | None
    values: list[float] = field(default_factory=list)
    images: int = 0
    beta: float | None = None
    note: str = ""
    tolerance: float = 1.0
    paper_spread: float = 0.0
    whole: float = 100.0

    @property
    def mean(self) -> float:
        """Over seeds; NaN without any."""
        return fmean(self.values) if self.values else math.nan

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; `None` with fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def std_error(self) -> float | None:
        """Of the difference to the paper's number; `None` where neither side has a spread.

        Ours is that of the mean over seeds, or with one seed that of a share of images. The
        paper's is its spread over as many seeds as we have.
        """
        ours = self._own_error()
        if not self.values or (ours is None and not self.paper_spread):
            return None
        return math.hypot(ours or 0.0, self.paper_spread / math.sqrt(len(self.values)))

    @property
    def difference(self) -> float:
        """Ours minus the paper's; NaN where one of them is missing."""
        return self.mean - (math.nan if self.paper is None else self.paper)

    @property
    def errors_apart(self) -> float | None:
        """The difference in standard errors; `None` where there is no such error."""
        error = self.std_error
        return self.difference / error if error else None

    @property
    def agrees(self) -> bool:
        """Whether it is within the tolerance or two standard errors of the paper's."""
        if not self.values:
            return False
        apart = self.errors_apart
        within = abs(self.difference) <= self.tolerance
        return within or (apart is not None and abs(apart) <= _ERRORS)

    def _own_error(self) -> float | None:
        if self.spread is not None:
            return self.spread / math.sqrt(len(self.values))
        if self.values and self.images:
            share = min(max(self.mean / self.whole, 0.0), 1.0)
            return self.whole * math.sqrt(share * (1 - share) / self.images)
        return None


@dataclass(frozen=True)
class AuditOutcome:
    """What the audit says of the robustness that a row claims.

    Attributes:
        row: of the table.
        eps: Linf radius.
        claimed: what PGD leaves, in percent.
        left: what nothing fooled, in percent, with its interval of 95 %, `low` to `high`.
        outcome: the verdict.
        images: number of test images.
    """

    row: str
    eps: float
    claimed: float
    left: float
    low: float
    high: float
    outcome: str
    images: int


@dataclass(frozen=True)
class RunUsed:
    """A run that numbers were read from, with what is needed to repeat it.

    Attributes:
        folder: name of its folder.
        config: every setting.
        environment: versions, hardware and commit.
        lost: models that have diverged.
    """

    folder: str
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    lost: int = 0


@dataclass(frozen=True)
class ReproductionRecord:
    """A table or figure as it was reproduced.

    Attributes:
        name: of the table, likewise `scale`.
        cells: one for each number of the paper.
        audits: of the rows that claim robustness.
        runs: that were used, by their name in the table.
        finished: whether nothing is left to do.
        seconds: of computing, all attempts together.
    """

    name: str
    scale: Scale
    cells: list[Cell] = field(default_factory=list)
    audits: list[AuditOutcome] = field(default_factory=list)
    runs: dict[str, RunUsed] = field(default_factory=dict)
    finished: bool = False
    seconds: float = 0.0

    @property
    def measured(self) -> int:
        """Number of cells that have a number of ours."""
        return sum(bool(cell.values) for cell in self.cells)

    @property
    def seeds(self) -> int:
        """Most seeds of a cell."""
        return max((len(cell.values) for cell in self.cells), default=0)


@dataclass(frozen=True)
class Comparison:
    """A cell beside the paper's number, its state, and the reason where it differs for one."""

    cell: Cell
    state: State
    reason: Reason | None = None


def compared(table: PaperTable, record: ReproductionRecord | None) -> Iterator[Comparison]:
    """Every cell of a table with ours; without a record they are all not run.

    A cell for which the paper prints no number is at most *measured*.
    """
    cells = {(cell.row, cell.column): cell for cell in record.cells} if record else {}
    spreads = table.spreads
    for row, column, value in table.cells:
        place = (row.name, column.name)
        cell = cells.get(place) or Cell(*place, value)
        spread = spreads.get(place, 0.0)
        cell = replace(cell, paper=value, paper_spread=spread, whole=column.whole)
        reason = None
        # A note without a number says what came of a measurement that was made.
        if not (cell.values or cell.note):
            state: State = "not run"
        elif cell.paper is None:
            state = "measured"
        elif cell.agrees:
            state = "reproduced"
        else:
            reason = table.reason(row.name, column.name)
            state = "explained" if reason else "differs"
        yield Comparison(cell, state, reason)


def record_path(folder: Path, name: str, scale: Scale) -> Path:
    """Where the record of a table lies.

    Args:
        folder: of the records.
        name: of the table.
        scale: of the reproduction.
    """
    return folder / f"{name}-{scale}.json"


def read_record(folder: Path, name: str, scale: Scale) -> ReproductionRecord | None:
    """Read a record; `None` if there is none.

    Args:
        folder: of the records.
        name: of the table.
        scale: of the reproduction.

    The checksum is compared when the work continues, not here: a list must be shown at once.

    Raises:
        StoreError: for a file that is no record.
    """
    path = record_path(folder, name, scale)
    if not path.exists():
        return None
    try:
        content = msgspec.json.decode(path.read_bytes())["content"]
        return msgspec.convert(content, ReproductionRecord)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is no record of a reproduction ({error}); delete it, and the command "
            "continues with what its runs have stored"
        ) from error
