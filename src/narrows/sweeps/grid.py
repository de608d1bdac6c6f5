"""A grid of runs: data sets x networks x methods x betas x seeds, expanded lazily.

    methods = ["cross_entropy", "vib"]
    betas = [0.01, 0.1]
    seeds = 20

    [grid]
    data = ["digits", "twelve-bit"]
    "network.name" = ["mlp", "cnn"]

    [attacks.apgd]
    eps = [0.05, 0.1]

A file holds the keys of a run's configuration. `[grid]` has a list of values for any further key,
and every combination of them is one setting. A run has one setting and one method, all its betas,
and as many seeds as `members_per_run` allows: these train in one vectorised step. A key that has no
effect on a method, such as an option of another one, gives that method no further runs.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from narrows.checks import check_path
from narrows.errors import ConfigError, unknown_name
from narrows.experiments.member_attacks import plan_attacks
from narrows.methods import METHODS
from narrows.runs import ResolvedConfig, RunConfig, load_config
from narrows.runs.loading import read_toml
from narrows.runs.overrides import plain_overrides
from narrows.sweeps.effect import has_effect

__all__ = ["Sweep", "Unit", "check_size", "read_grid"]

_MOST_MEMBERS = 10_000  # without a confirmation
_OUTSIDE = ("methods", "betas", "grids", "seeds", "first_seed")


@dataclass(frozen=True)
class Unit:
    """One run of a sweep, which an engine carries out as a whole.

    Attributes:
        base: keys of the configuration that all runs share.
        setting: the value of each key of the grid, in JSON.
        method: the method of its models.
        first_seed: the first seed, likewise `seeds`, their number.
        members: number of its models.
        attacks: what `plan_attacks` takes.
    """

    base: Mapping[str, Any]
    setting: tuple[tuple[str, str], ...]
    method: str
    first_seed: int
    seeds: int
    members: int
    attacks: Mapping[str, Mapping[str, Any]]

    @property
    def label(self) -> str:
        """What tells it from the others, for people."""
        settings = [f"{key.split('.')[-1]} {json.loads(value)}" for key, value in self.setting]
        last = self.first_seed + self.seeds - 1
        seeds = f"seed {last}" if self.seeds == 1 else f"seeds {self.first_seed} to {last}"
        return ", ".join([*settings, self.method, seeds])

    def config(self) -> ResolvedConfig:
        """The configuration of its run.

        Raises:
            ConfigError: as `load_config`.
        """
        values = {
            **self.base,
            "methods": [self.method],
            "seeds": self.seeds,
            "first_seed": self.first_seed,
        }
        return load_config(values=values, overrides=[f"{k}={v}" for k, v in self.setting])


@dataclass(frozen=True)
class Sweep:
    """A grid of runs.

    Args:
        base: keys of the configuration that all runs share.
        methods: names of methods.
        seeds: number of seeds, counted from `first_seed`.
        first_seed: the first seed.
        axes: values of each key of the grid.
        attacks: arguments of each attack on the finished models, by its name.
        members_per_run: models of one run, at most, unless its betas alone are more.
    """

    base: Mapping[str, Any]
    methods: Sequence[str]
    seeds: int = 3
    first_seed: int = 0
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    attacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    members_per_run: int = 64

    def __post_init__(self) -> None:
        for name, value in (("seeds", self.seeds), ("first_seed", self.first_seed)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ConfigError(f"{name} must be a whole number, got {value!r}")
        if not isinstance(self.members_per_run, int) or self.members_per_run < 1:
            raise ConfigError(f"members_per_run must be at least 1, got {self.members_per_run!r}")
        if not isinstance(self.methods, list):
            raise ConfigError(f"methods must be a list of names, got {self.methods!r}")
        for method in self.methods:
            if method not in METHODS:
                raise unknown_name("method", str(method), METHODS)
        for key, values in {**self.axes, "methods": self.methods}.items():
            _check_axis(key, values)
        self._check_not_empty()
        self._check_effect()
        plan_attacks(self.attacks)

    def _check_not_empty(self) -> None:
        if not self.seeds:
            raise ConfigError("the grid is empty: seeds is 0")
        for method in self.methods:
            if not self._betas(method):
                raise ConfigError(f"the grid is empty: {method} has no betas")

    def _check_effect(self) -> None:
        for key in self.axes:
            if not any(key in self._axes(method) for method in self.methods):
                raise ConfigError(
                    f"{key} has no effect on {', '.join(self.methods)} here, so that all its "
                    "values give the same models; leave it out of the grid"
                )

    @property
    def members(self) -> int:
        """Number of models."""
        each = (self._settings(method) * self._betas(method) for method in self.methods)
        return self.seeds * sum(each)

    @property
    def runs(self) -> int:
        """Number of units."""
        return sum(
            self._settings(method) * -(-self.seeds // self._seeds_per_run(method))
            for method in self.methods
        )

    @property
    def kinds(self) -> int:
        """Number of settings and methods, each with one run or, over the seeds, several."""
        return sum(map(self._settings, self.methods))

    def units(self) -> Iterator[Unit]:
        """One run after another; no more than one of them is held."""
        last = self.first_seed + self.seeds
        for method in self.methods:
            axes = self._axes(method).items()
            named = [[(key, _spelled(value)) for value in axis] for key, axis in axes]
            each, betas = self._seeds_per_run(method), self._betas(method)
            for setting in itertools.product(*named):
                for first in range(self.first_seed, last, each):
                    seeds = min(each, last - first)
                    yield Unit(
                        self.base, setting, method, first, seeds, seeds * betas, self.attacks
                    )

    def _axes(self, method: str) -> dict[str, Sequence[Any]]:
        """Those keys of the grid that have an effect on a method."""
        return {
            key: values
            for key, values in self.axes.items()
            if has_effect(key, method, self.base, self.axes)
        }

    def _settings(self, method: str) -> int:
        """Number of combinations of the values of its keys."""
        return math.prod(len(values) for values in self._axes(method).values())

    def _seeds_per_run(self, method: str) -> int:
        return max(1, self.members_per_run // self._betas(method))

    def _betas(self, method: str) -> int:
        """Number of betas of a method, 1 for one without."""
        if not METHODS[method].has_beta:
            return 1
        grids = self.base.get("grids") or {}
        betas = grids.get(method, self.base.get("betas"))
        betas = METHODS[method].default_betas if betas is None else betas
        if not isinstance(betas, list | tuple):
            raise ConfigError(f"betas must be a list of numbers, got {betas!r}")
        return len(betas)


def read_grid(file: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep from a TOML file; see the head of this module.

    Args:
        file: of the grid.
        overrides: `key=value`, with dots in the key, over the keys of the file.

    Raises:
        ConfigError: for a file that is not TOML, an unknown key of the first run, a list that is
            empty or names a value twice, or an attack that does not exist.
    """
    keys = _merged(read_toml(check_path(file)), plain_overrides(overrides))
    axes, attacks = keys.pop("grid", {}), keys.pop("attacks", {})
    for name, table in (("grid", axes), ("attacks", attacks)):
        if not isinstance(table, Mapping):
            raise ConfigError(f"{name} must be a table, got {table!r}")
    defaults = RunConfig()
    methods = keys.pop("methods", defaults.methods)
    numbers = {
        name: keys.pop(name) for name in ("seeds", "first_seed", "members_per_run") if name in keys
    }
    if attacks:  # they replace those of an ordinary run
        keys["evaluate"] = {"attack": False, **(keys.get("evaluate") or {})}
    sweep = Sweep(keys, methods, axes=_flat(axes), attacks=attacks, **numbers)
    next(sweep.units()).config()
    return sweep


def check_size(sweep: Sweep, *, yes: bool) -> None:
    """Refuse a sweep of very many models, unless that was confirmed.

    Args:
        sweep: the grid.
        yes: whether it was.

    Raises:
        ConfigError: saying how many there are.
    """
    if sweep.members > _MOST_MEMBERS and not yes:
        raise ConfigError(
            f"the grid has {sweep.members:,} models in {sweep.runs:,} runs; look at it with "
            "--dry-run, and give --yes to carry it out"
        )


def _merged(keys: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables, of which the later ones go over the others key by key."""
    merged = dict(keys)
    for key, value in later.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(before, value)
        else:
            merged[key] = value
    return merged


def _flat(axes: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Tables in the grid as keys with dots: `network.name` is written either way."""
    flat: dict[str, Any] = {}
    for name, value in axes.items():
        key = f"{prefix}{name}"
        flat |= _flat(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return flat


def _check_axis(key: str, values: Any) -> None:
    if key in _OUTSIDE and key != "methods":
        raise ConfigError(f"{key} stands outside of [grid]; a run takes all of them at once")
    if not isinstance(values, list):
        raise ConfigError(f"{key} must be a list of values, got {values!r}")
    if not values:
        raise ConfigError(f"the grid is empty: {key} has no values")
    spelled = [_spelled(value) for value in values]
    if twice := next((value for value in spelled if spelled.count(value) > 1), None):
        raise ConfigError(f"{key} has the value {twice} twice")


def _spelled(value: Any) -> str:
    """A value as `key=value` spells it; `"none"` stands for none at all, which TOML lacks."""
    try:
        return json.dumps(None if value == "none" else value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"a value of the grid must be plain, got {value!r}") from error
