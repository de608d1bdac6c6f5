"""Measure every estimator of information where the truth is known: bias, spread, time.

    python benchmarks/estimators/bench.py [--quick] [--out estimators.json] [--page estimators.html]

Writes JSON and one HTML page, and prints the table "which estimator when". An estimate is believed
here where it is within 10 % of the truth (0.05 nats below half a nat) in the mean over seeds, with
a spread no larger.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import altair as alt
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from _timing import save
from samplers import LABELLED, PAIRS, Draw, Sampler, gaussian

from narrows.information import CRITIC_BOUNDS, ESTIMATORS
from narrows.report.page import Section, write_page
from narrows.report.tables import ResultTable, markdown
from narrows.types import Estimate

_SHARE, _LEAST = 0.1, 0.05
_SLOW = 5000
# A critic takes seconds where others take hundredths.
_WITH_CRITICS = {gaussian(d, nats).name for d, nats in ((1, 1.4), (10, 1.4), (10, 5.0))}


@dataclass(frozen=True)
class Way:
    """One way to use an estimator: with settings, and one of the two estimates that it returns.

    `choose` takes all estimates of a call.
    """

    estimator: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    choose: Callable[..., Estimate] = lambda estimate, *_: estimate

    def __call__(self, draw: Draw) -> Estimate:
        """The estimate from one draw of samples."""
        entry = ESTIMATORS[self.estimator]
        result = entry(*(getattr(draw, name) for name in entry.inputs), **self.settings)
        return self.choose(*result) if isinstance(result, tuple) else self.choose(result)

    def applies(self, sampler: Sampler) -> bool:
        """Whether the samples have all inputs of the estimator, and the quantity it measures."""
        entry, draw = ESTIMATORS[self.estimator], sampler.sample(2, 0)
        wanted = "I(X;Z)" if draw.y is None else "I(Z;Y)"
        has_inputs = all(getattr(draw, name, None) is not None for name in entry.inputs)
        return has_inputs and wanted in entry.measures


def same_distance(_: Estimate, upper: Estimate) -> Estimate:
    """What information planes are drawn from: the difference of two bounds of one kind."""
    return Estimate(upper.diagnostics["same_distance"], upper.std_error, upper.n)


# Estimators that are measured in several ways, or by one of their two estimates. Every other one
# of the registry is measured as it is.
SEVERAL: dict[str, dict[str, Way]] = {
    "ksg": {"ksg": Way("ksg"), "ksg, variant 2": Way("ksg", {"variant": 2})},
    "fit_critic": {bound: Way("fit_critic", {"bound": bound}) for bound in CRITIC_BOUNDS},
    "kde_bounds": {
        "kde_bounds, lower": Way("kde_bounds", choose=lambda lower, upper: lower),
        "kde_bounds, upper": Way("kde_bounds", choose=lambda lower, upper: upper),
    },
    "kde_relevance": {"kde_relevance, same": Way("kde_relevance", choose=same_distance)},
    "posterior_information": {
        "posterior_information": Way(
            "posterior_information", choose=lambda rate, relevance: relevance
        )
    },
}
WAYS = {
    label: way
    for name in ESTIMATORS
    for label, way in SEVERAL.get(name, {name: Way(name)}).items()
    if any(way.applies(sampler) for sampler in (*PAIRS, *LABELLED))
}


def cases(quick: bool) -> Iterator[tuple[str, Sampler, int, int]]:
    """Every estimator with every sampler it can take, at every size, and how many seeds."""
    for name, way in WAYS.items():
        trained = way.estimator == "fit_critic"
        sizes = [100, 500, 2000, 10_000, 20_000]
        if quick:
            sizes = [1000] if trained else [100, 1000]
        for sampler in filter(way.applies, (*PAIRS, *LABELLED)):
            if quick and trained and sampler.name not in _WITH_CRITICS:
                continue
            for n in sizes:
                yield name, sampler, n, (1 if trained else 2) if quick or n > _SLOW else 5


def measure(name: str, sampler: Sampler, n: int, seeds: int) -> dict[str, Any]:
    """One row: what an estimator says of `seeds` draws of `n` samples."""
    began = time.perf_counter()
    estimates = [WAYS[name](sampler.sample(n, seed)) for seed in range(seeds)]
    seconds = (time.perf_counter() - began) / seeds
    values = [estimate.nats for estimate in estimates]
    truth = sampler.information
    bias, spread = fmean(values) - truth, pstdev(values)
    stated = fmean(estimate.std_error for estimate in estimates)
    warned = [
        bool(estimate.diagnostics.get("warning") or estimate.diagnostics.get("saturated"))
        for estimate in estimates
    ]
    return {
        "estimator": name,
        "sampler": sampler.name,
        "kind": sampler.kind,
        "dimension": sampler.dimension,
        "n": n,
        "truth": truth,
        "mean": fmean(values),
        "bias": bias,
        "relative_bias": bias / truth,
        "spread": spread,
        # None where an estimator has no error: JSON has no NaN.
        "stated_error": stated if math.isfinite(stated) else None,
        "warned": fmean(warned),
        "seconds": seconds,
        "believed": max(abs(bias), spread) <= max(_SHARE * truth, _LEAST),
    }


def which_when(rows: list[dict[str, Any]]) -> ResultTable:
    """For each estimator: how often it can be believed, where it cannot, and if it warns there."""
    columns = ["estimator", "believed", "from n", "not to be believed", "warned there", "s at most"]
    table = []
    for name in dict.fromkeys(row["estimator"] for row in rows):
        rows_of = [row for row in rows if row["estimator"] == name]
        largest = max(row["n"] for row in rows_of)
        last = [row for row in rows_of if row["n"] == largest]
        wrong = [row for row in last if not row["believed"]]
        good = [row["n"] for row in rows_of if row["believed"]]
        where = "; ".join(f"{row['sampler']} ({row['relative_bias']:+.0%})" for row in wrong)
        warned = f"{fmean(row['warned'] for row in wrong):.0%}" if wrong else "-"
        table.append(
            [
                name,
                f"{len(last) - len(wrong)} of {len(last)} at n = {largest}",
                str(min(good, default="-")),
                where or "-",
                warned,
                f"{max(row['seconds'] for row in rows_of):.2g}",
            ]
        )
    return ResultTable(columns, table)


def chart(rows: list[dict[str, Any]]) -> alt.ConcatChart:
    """Relative bias: one panel per estimator, one cell per sampler and number of samples."""
    names = dict.fromkeys(row["estimator"] for row in rows)
    panels = [_panel(name, [row for row in rows if row["estimator"] == name]) for name in names]
    return alt.concat(*panels, columns=2, spacing=30)


def _panel(name: str, rows: list[dict[str, Any]]) -> alt.LayerChart:
    tooltips = [f"{field}:{kind}" for field, kind in (("sampler", "N"), ("n", "O"))]
    tooltips += [
        alt.Tooltip(f"{field}:Q", format=".3~f") for field in ("truth", "mean", "spread", "seconds")
    ]
    samplers = list(dict.fromkeys(row["sampler"] for row in rows))
    base = alt.Chart(alt.Data(values=rows)).encode(
        alt.X("n:O", title="samples", axis=alt.Axis(labelAngle=0)),
        alt.Y("sampler:N", title=None, sort=samplers, axis=alt.Axis(labelLimit=300)),
        tooltip=tooltips,
    )
    # Orange is too low, blue too high: both readable by the colour-blind.
    colours = ["#D55E00", "#ffffff", "#0072B2"]
    scale = alt.Scale(domain=[-0.5, 0, 0.5], range=colours, clamp=True, interpolate="rgb")
    legend = alt.Legend(title="bias / truth", format="+.0%")
    cells = base.mark_rect(stroke="#dddddd").encode(
        alt.Color("relative_bias:Q", scale=scale, legend=legend)
    )
    strong = "abs(datum.relative_bias) > 0.35"
    text = base.mark_text(fontSize=10).encode(
        alt.Text("relative_bias:Q", format="+.0%"),
        color=alt.condition(strong, alt.value("white"), alt.value("black")),
    )
    sizes = len({row["n"] for row in rows})
    return alt.layer(cells, text, title=name).properties(
        width=52 * sizes, height=18 * len(samplers)
    )


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes, two seeds, few critics")
    parser.add_argument("--only", help="a part of the names of estimators to run")
    parser.add_argument("--threads", type=int, help="threads of torch; default: its own choice")
    parser.add_argument("--out", type=Path, default=Path("estimators.json"))
    parser.add_argument("--page", type=Path, default=Path("estimators.html"))
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    began, rows = time.perf_counter(), []
    for name, sampler, n, seeds in cases(given.quick):
        if given.only and given.only not in name:
            continue
        rows.append(measure(name, sampler, n, seeds))
        print(json.dumps(rows[-1]), file=sys.stderr)
    table = which_when(rows)
    print(markdown(table))
    lead = (
        "Every estimator where the truth is known. Believed: within 10 % of it (0.05 nats below "
        "half a nat) in the mean over seeds, and in their spread."
    )
    sections = [
        Section("Which estimator when", table=table, wordy=True),
        Section(
            "Bias",
            ["Mean over seeds less the truth, as a share of it: orange is too low, blue too high."],
            chart=chart(rows),
        ),
    ]
    write_page(given.page, "Bench of estimators", lead, sections)
    save(given.out, {"quick": given.quick, "rows": rows})
    print(f"{len(rows)} rows in {time.perf_counter() - began:.0f} s: {given.out}, {given.page}")


if __name__ == "__main__":
    main()
