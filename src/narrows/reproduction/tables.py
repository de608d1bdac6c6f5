"""What a paper printed, and how it is made again: one TOML file for each table or figure.

    paper = "Zhai & Zhang 2021, arXiv 2103.00381"
    place = "Table 1, MNIST"
    title = "Accuracy under FGS and TGS"

    [runs.mnist]
    recipe = "aib-curves"
    scales.paper = ["train.epochs=300", "train.patience=20"]

    [[columns]]
    name = "FGS .05"
    measure = "fgsm"
    eps = 0.05

    [[rows]]
    name = "NIB"
    method = "nib"
    beta = "knee"
    values = [72.1]

A table is reproduced at one of three scales: `smoke` shows in seconds that everything works,
`short` is what two cores do in hours, `paper` is the paper's own length.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

import msgspec

from narrows.errors import ConfigError, unknown_name

__all__ = [
    "SCALES",
    "Column",
    "Drawn",
    "PaperRow",
    "PaperRun",
    "PaperTable",
    "Reason",
    "Scale",
    "find_tables",
    "load_table",
    "table_names",
]

Scale = Literal["smoke", "short", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)

# Where the tables of one paper stand in the queue; the order within a paper is the file's name's.
_ORDER = ("vib", "reevaluation", "aib", "imb", "ib-rar")


@dataclass(frozen=True)
class PaperRun:
    """An ordinary run that numbers are read from.

    Attributes:
        recipe: name of a run's configuration in `narrows/recipes`.
        recipes: another one at some scale.
        set: settings over the recipe, at every scale, as `key=value`.
        scales: further settings by scale; a scale that is missing is the recipe as it is.
        cpu_hours: measured or estimated hours of one core by scale.
        gpu_minutes: of the paper's scale on a data-centre GPU; 0 where it needs none.
        memory: in GiB.
    """

    recipe: str
    recipes: dict[Scale, str] = field(default_factory=dict)
    set: list[str] = field(default_factory=list)
    scales: dict[Scale, list[str]] = field(default_factory=dict)
    cpu_hours: dict[Scale, float] = field(default_factory=dict)
    gpu_minutes: float = 0.0
    memory: float = 1.0


@dataclass(frozen=True)
class Column:
    """One measured quantity.

    Attributes:
        name: as the paper heads it.
        measure: a name in `narrows.reproduction.measures.MEASURES`.
        eps: radius of an attack.
        radius: within which a perturbation counts, for attacks that look for the smallest one.
        attack: name of the attack, for `measure = "attack"` and `"distance"`.
        norm: of that attack; empty for its own.
        set: further arguments of the attack or the measure, as `key=value`.
        towards: a class to reach, `next`, `random` or `least_likely`; empty for any wrong class.
        images: how many test images are attacked; 0 for all.
        mode: whether a stochastic code is drawn or decoded at its mean.
        unit: of the number.
        whole: what all images together give, in that unit, where the number is a share of them.
        tolerance: how far ours may be from the paper's, in that unit, to count as reproduced.
    """

    name: str
    measure: str
    eps: float | None = None
    radius: float | None = None
    attack: str = ""
    norm: str = ""
    set: list[str] = field(default_factory=list)
    towards: str = ""
    images: int = 1000
    mode: Literal["mean", "sample"] = "mean"
    unit: str = "%"
    whole: float = field(default=100.0, repr=False)  # no part of what names a stored attack
    tolerance: float = 1.0


@dataclass(frozen=True)
class PaperRow:
    """One model of the paper's.

    Attributes:
        name: as the paper calls it.
        method: of ours; empty for a row of an experiment.
        values: what the paper printed, one for each column; NaN where it printed nothing.
        spreads: the standard deviations that it printed beside them; empty for none.
        run: which of the table's runs it is in.
        beta: a number, `"chosen"` on validation data, or `"knee"` of the IB curve, which falls back
            to `"chosen"` where the curve has no clear knee.
        set: further arguments of its columns, as `key=value`.
        audit: Linf radius at which the row's claim of robustness is audited; 0 for none.
    """

    name: str
    method: str = ""
    values: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    run: str = "main"
    beta: float | Literal["chosen", "knee"] = "chosen"
    set: list[str] = field(default_factory=list)
    audit: float = 0.0


@dataclass(frozen=True)
class Drawn:
    """A figure that is drawn from a run, or from the experiment, whose name here is `experiment`.

    Attributes:
        name: one of `narrows figure`.
        run: of the table.
    """

    name: str
    run: str = "main"


@dataclass(frozen=True)
class Reason:
    """Why numbers differ from the paper's, and what shows it.

    Attributes:
        because: one sentence.
        experiment: the command, file or page in the repository that demonstrates it.
        rows: names of rows; empty for all.
        columns: names of columns; empty for all.
    """

    because: str
    experiment: str
    rows: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PaperTable:
    """A table or figure of a paper.

    Attributes:
        name: of its file.
        paper: authors, year and arXiv number.
        place: where it stands there.
        title: what it shows.
        data: names of the data sets that it needs.
        runs: by name.
        columns: of the table, likewise `rows`.
        experiment: name in `narrows.reproduction.experiments.EXPERIMENTS`, for what is no run.
        reevaluate: runs whose models are attacked with growing numbers of restarts.
        figures: that are drawn.
        reasons: why numbers differ.
        notes: what a reader must know: what the paper leaves open, what differs here.
        cpu_hours: of the experiment, by scale.
    """

    name: str
    paper: str
    place: str
    title: str
    data: list[str]
    runs: dict[str, PaperRun] = field(default_factory=dict)
    columns: list[Column] = field(default_factory=list)
    rows: list[PaperRow] = field(default_factory=list)
    experiment: str = ""
    reevaluate: list[str] = field(default_factory=list)
    figures: list[Drawn] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    notes: str = ""
    cpu_hours: dict[Scale, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.rows:
            for kind, numbers in (("values", row.values), ("spreads", row.spreads or row.values)):
                if len(numbers) != len(self.columns):
                    raise ConfigError(
                        f"{self.name}: row {row.name} has {len(numbers)} {kind} for "
                        f"{len(self.columns)} columns"
                    )
            if row.method and row.run not in self.runs:
                raise unknown_name(f"run of {self.name}", row.run, self.runs)
        known = {"row": [row.name for row in self.rows], "column": self.column_names}
        for reason in self.reasons:
            for kind, names in (("row", reason.rows), ("column", reason.columns)):
                for name in names:
                    if name not in known[kind]:
                        raise unknown_name(f"{kind} of {self.name}", name, known[kind])

    @property
    def column_names(self) -> list[str]:
        """The heads of its columns."""
        return [column.name for column in self.columns]

    @property
    def cells(self) -> Iterator[tuple[PaperRow, Column, float | None]]:
        """Every cell, with the number that the paper printed there, if it did."""
        for row in self.rows:
            for column, value in zip(self.columns, row.values, strict=True):
                yield row, column, value if value == value else None

    @property
    def spreads(self) -> dict[tuple[str, str], float]:
        """The standard deviations that the paper printed, by the names of row and column."""
        return {
            (row.name, column.name): spread
            for row in self.rows
            if row.spreads
            for column, spread in zip(self.columns, row.spreads, strict=True)
        }

    @property
    def printed(self) -> int:
        """How many numbers the paper printed."""
        return sum(value is not None for *_, value in self.cells)

    def hours(self, scale: Scale) -> float:
        """Hours of one core, of all its runs together."""
        runs = sum(run.cpu_hours.get(scale, 0.0) for run in self.runs.values())
        return runs + self.cpu_hours.get(scale, 0.0)

    def reason(self, row: str, column: str) -> Reason | None:
        """Why this cell differs, where that is known."""
        for reason in self.reasons:
            if row in (reason.rows or [row]) and column in (reason.columns or [column]):
                return reason
        return None


def table_names() -> list[str]:
    """The names of all tables and figures, in the order of the queue."""
    folder = files("narrows.reproduction") / "tables"
    names = [path.name.removesuffix(".toml") for path in folder.iterdir()]
    return sorted(names, key=lambda name: (_paper(name), name))


def find_tables(name: str) -> list[PaperTable]:
    """The table of that name, or all that begin with it: `aib-table1`, `aib` or `ib-rar-table4`.

    Raises:
        ConfigError: for a name that none has.
    """
    names = table_names()
    matching = [each for each in names if each == name or each.startswith(f"{name}-")]
    if not matching:
        raise unknown_name("table or figure", name, names)
    return [load_table(each) for each in matching]


@cache
def load_table(name: str) -> PaperTable:
    """Read a table of the package.

    Raises:
        ConfigError: for a name that is none of them, or a file that does not fit.
    """
    if name not in table_names():
        raise unknown_name("table or figure", name, table_names())
    path = files("narrows.reproduction") / "tables" / f"{name}.toml"
    content: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    try:
        return msgspec.convert({"name": name, **content}, PaperTable)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error


def _paper(name: str) -> int:
    return next(i for i, paper in enumerate(_ORDER) if name.startswith(paper + "-"))
