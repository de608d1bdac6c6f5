"""Reproduce a table: train its runs, measure and attack their models, audit its claims, store.

Everything goes through ordinary runs, so that whatever is finished is kept and a broken attempt
continues. The record is written again after each row.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from narrows.errors import CheckpointError, ConfigError, NarrowsError, StoreError
from narrows.experiments.auditing import audit_target
from narrows.experiments.targets import load_relatives, member_target
from narrows.methods import METHODS
from narrows.reproduction.experiments import EXPERIMENTS, FOLDERS, IMAGES, SETTINGS, Numbers
from narrows.reproduction.measures import MEASURES, Source, check_columns
from narrows.reproduction.records import (
    KIND,
    AuditOutcome,
    Cell,
    ReproductionRecord,
    RunUsed,
    record_path,
)
from narrows.reproduction.tables import Column, PaperRow, PaperRun, PaperTable, Scale
from narrows.runs import Member, Progress, ResolvedConfig, Run, carry_out, load_config
from narrows.runs.environment import current_environment
from narrows.runs.files import locked_folder, make_folder, read_json, write_json
from narrows.runs.summary import chosen_beta

__all__ = ["reproduce", "run_config"]

_PERCENT = 100.0
_AUDITED = {"smoke": 4, "short": 200, "paper": 1000}
_SMOKE_IMAGES = 4
_SMALL = {"mnist"}  # whose networks are audited in seconds
# Smallest sizes with which everything is still done.
_SMOKE = [
    "seeds=1",
    "train_images=40",
    "train.epochs=1",
    "train.batch_size=20",
    "evaluate.attack_images=4",
    "evaluate.pgd_steps=2",
    "evaluate.pgd_restarts=1",
    "evaluate.information_samples=40",
    "evaluate.samples=2",
]


def run_config(run: PaperRun, scale: Scale, device: str = "cpu") -> ResolvedConfig:
    """The configuration of a run of a table at a scale.

    Args:
        run: of the table.
        scale: of the reproduction.
        device: where its models are trained.

    Raises:
        ConfigError: for settings that do not fit.
    """
    name = run.recipes.get(scale, run.recipe)
    recipe = Path(str(files("narrows") / "recipes" / f"{name}.toml"))
    if not recipe.exists():
        raise ConfigError(f"there is no recipe {name}")
    smoke = _SMOKE if scale == "smoke" else []
    overrides = [*run.set, *smoke, *run.scales.get(scale, []), f"device={device}"]
    return load_config(recipe, {}, overrides)


def reproduce(
    table: PaperTable,
    scale: Scale,
    out: Path,
    results: Path,
    progress: Progress,
    *,
    device: str = "cpu",
    use: Mapping[str, Path] | None = None,
) -> ReproductionRecord:
    """Reproduce a table or figure; what an earlier attempt has finished is kept.

    Args:
        table: what the paper printed, and how it is made.
        scale: `"smoke"`, `"short"` or `"paper"`.
        out: folder of the runs.
        results: folder of the record, `<name>-<scale>.json`.
        progress: where progress is shown.
        device: where models are trained and attacked.
        use: finished runs in place of training, by their name in the table.

    Raises:
        NarrowsError: of one kind or another for anything that a user can cause.
    """
    if not table.experiment:
        check_columns(table.columns)
    for name in use or {}:
        if name not in table.runs:
            names = ", ".join(table.runs) or "none"
            raise ConfigError(f"{table.name} has no run {name!r}; it has: {names}")
    with locked_folder(out / "reproduction" / f"{table.name}-{scale}"):
        work = _Reproduction(table, scale, out, results, progress, device)
        return work.carry_out(use or {})


class _Reproduction:
    """One table at one scale, as far as it is done."""

    def __init__(
        self,
        table: PaperTable,
        scale: Scale,
        out: Path,
        results: Path,
        progress: Progress,
        device: str,
    ) -> None:
        self.table, self.out = table, out
        self.scale: Scale = scale
        self.progress, self.device = progress, device
        self.path = record_path(make_folder(results), table.name, scale)
        self.record = ReproductionRecord(table.name, scale)
        if self.path.exists():
            stored = read_json(self.path, KIND, ReproductionRecord)
            self.record = replace(self.record, seconds=stored.seconds)

    def carry_out(self, use: Mapping[str, Path]) -> ReproductionRecord:
        """Do what is not done yet, and store it as it comes."""
        table = self.table
        if table.experiment:
            self._experiment()
        for name, run in table.runs.items():
            began = time.monotonic()
            finished = self._run(name, run, use)
            source = Source(finished, self.device, self._images(), self.progress)
            self._measure(name, source)
            self._audit(name, source)
            self._draw(name, finished.path)
            self._store(seconds=self.record.seconds + time.monotonic() - began)
        self._store(finished=True)
        return self.record

    def _images(self) -> int:
        return _SMOKE_IMAGES if self.scale == "smoke" else 0

    def _claims(self) -> list[PaperRow]:
        """The rows whose robustness is audited; to see that it works, one of a small network."""
        rows = [row for row in self.table.rows if row.audit]
        if self.scale != "smoke":
            return rows
        return rows[:1] if _SMALL.issuperset(self.table.data) else []

    def _store(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)
        write_json(self.path, KIND, self.record)

    def _run(self, name: str, run: PaperRun, use: Mapping[str, Path]) -> Run:
        if name in use:
            finished = Run.open(use[name]).require_complete()
        else:
            config = run_config(run, self.scale, self.device)
            finished = carry_out(config, self.out, self.progress)
        used = RunUsed(
            folder=finished.path.name,
            config=msgspec.to_builtins(finished.config),
            environment=msgspec.to_builtins(finished.environment),
            lost=sum(len(finished.lost(method)) for method in finished.config.methods),
        )
        self._store(runs={**self.record.runs, name: used})
        return finished

    def _measure(self, name: str, source: Source) -> None:
        for row in self.table.rows:
            if row.method and row.run == name:
                cells = [self._cell(row, column, source) for column in self.table.columns]
                self._store(cells=[*self.record.cells, *cells])

    def _cell(self, row: PaperRow, column: Column, source: Source) -> Cell:
        value = row.values[self.table.columns.index(column)]
        cell = _empty(row.name, column, value)
        try:
            members = row_members(row, source.run)
            measure, settings = MEASURES[column.measure], [*column.set, *row.set]
            chosen = replace(column, set=settings)
            measured = [measure(source, member, chosen) for member in members]
        except (StoreError, CheckpointError) as error:
            return replace(cell, note=str(error))
        beta = members[0].beta if members[0].beta else None
        values = [round(each.value, 4) for each in measured]
        return replace(cell, values=values, images=measured[0].images, beta=beta)

    def _audit(self, name: str, source: Source) -> None:
        for row in self._claims():
            if row.run == name:
                try:
                    outcome = self._audited(row, source)
                except (StoreError, CheckpointError) as error:
                    self.progress.note(f"audit of {row.name} left out: {error}")
                    continue
                self._store(audits=[*self.record.audits, outcome])

    def _audited(self, row: PaperRow, source: Source) -> AuditOutcome:
        run, member = source.run, row_members(row, source.run)[0]
        target = member_target(run, member).to(self.device)
        images = _AUDITED[self.scale]
        record, _, _ = audit_target(
            target,
            load_relatives(target).to(self.device),
            eps=row.audit,
            norm="linf",
            budget="standard" if self.scale == "paper" else "fast",
            claimed=None,
            images=images,
            out=run.path / "audits" / f"{member.key}-{row.audit:g}-{images}",
            progress=self.progress,
        )
        verdict = record.verdict
        return AuditOutcome(
            row=row.name,
            eps=row.audit,
            claimed=_PERCENT * verdict.claimed,
            left=_PERCENT * verdict.reached,
            low=_PERCENT * verdict.low,
            high=_PERCENT * verdict.high,
            outcome=verdict.outcome,
            images=verdict.images,
        )

    def _draw(self, name: str, folder: Path) -> None:
        """Draw the figures of a run, or of the experiment, into its folder."""
        from narrows.report.figures import draw_figure

        for drawn in self.table.figures:
            if drawn.run != name:
                continue
            try:
                path, _ = draw_figure(drawn.name, folder, self.progress)
            except NarrowsError as error:
                self.progress.note(f"{drawn.name} left out: {error}")
                continue
            self.progress.note(f"Figure: {path}")

    def _experiment(self) -> None:
        began = time.monotonic()
        numbers: Numbers = EXPERIMENTS[self.table.experiment](
            self.table, self.scale, self.out, self.progress
        )
        images = IMAGES.get(self.table.experiment, 0)
        used = RunUsed(
            folder=self.table.experiment,
            config=msgspec.to_builtins(SETTINGS[self.table.experiment](self.scale)),
            environment=msgspec.to_builtins(current_environment("cpu")),
        )
        cells = []
        for row in self.table.rows:
            for column, value in zip(self.table.columns, row.values, strict=True):
                values = numbers.get((row.name, column.name), [])
                cell = _empty(row.name, column, value)
                note = "" if values else "never, within the epochs of this scale"
                rounded = [round(each, 4) for each in values]
                cells.append(replace(cell, values=rounded, images=images, note=note))
        seconds = self.record.seconds + time.monotonic() - began
        self._store(cells=cells, runs={"experiment": used}, seconds=seconds)
        folder = self.out / FOLDERS[self.table.experiment](self.scale)
        self._draw("experiment", folder)


def row_members(row: PaperRow, run: Run) -> list[Member]:
    """The models of a row, one for each seed.

    Raises:
        StoreError: where the run has no such models, or every one has diverged.
    """
    if row.method not in run.config.methods:
        raise StoreError(f"{run.path.name} has no models of {row.method}")
    if not METHODS[row.method].has_beta:
        return run.require_members([row.method])
    beta = None if isinstance(row.beta, str) else row.beta
    if row.beta == "knee":
        beta = run.summary[row.method].knee.beta
    if beta is None:
        beta = chosen_beta(run.records([row.method]))
    if beta is not None and beta not in run.config.grids[row.method]:
        raise StoreError(f"{run.path.name} has no {row.method} with beta = {beta:g}")
    return run.require_members([row.method], None if beta is None else [beta])


def _empty(row: str, column: Column, value: float) -> Cell:
    paper = value if value == value else None
    return Cell(row, column.name, paper, tolerance=column.tolerance)
