"""Thousands of mutations of everything that `narrows` reads, each of which has to end well.

    python benchmarks/faults/mutate.py [--count 10000] [--seed 0] [--only record] [--workers 2]
    python benchmarks/faults/mutate.py --replay record-17

What a command may do is in `judge.py`, what is changed in `in_words.py`, `in_files.py` and
`in_inputs.py`. A mutation is its name and the seed: `--replay` shows one again, with the command
line, all that it printed and the traceback. Ends with 1 if there is a fault.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: workers are forked

import json
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

import click
import ground as material
import in_files
import in_inputs
import in_words
import workers
from mutation import Mutation, carry_out
from seals import unknown_seals

KINDS = {**in_words.KINDS, **in_files.KINDS, **in_inputs.KINDS}
SHARES = {
    **{"set": 20, "toml": 10, "option": 12, "huge": 2},
    **{"record": 20, "sealed": 12, "tensor": 6, "resigned": 6, "place": 3},
    **{"data": 2, "reader": 3, "images": 3, "model": 1},
}


def names(count: int, only: str | None) -> list[str]:
    """Names of mutations: so many of each kind as its share says, at least one."""
    if only is not None:
        return [f"{only}-{index}" for index in range(count)]
    total = sum(SHARES.values())
    listed = [
        f"{kind}-{index}"
        for kind, share in SHARES.items()
        for index in range(max(1, round(count * share / total)))
    ]
    Random(0).shuffle(listed)  # what is slow is spread over the workers
    return listed


def make(name: str, seed: int, ground: Path) -> Mutation:
    """The mutation of that name."""
    kind, _, _ = name.rpartition("-")
    return KINDS[kind](Random(f"{seed}/{name}"), ground)


def try_one(name: str, seed: int, ground: Path, folder: Path) -> dict[str, Any]:
    """Carry one mutation out; what is needed to show it."""
    started = time.monotonic()
    try:
        mutation = make(name, seed, ground)
        verdict = carry_out(mutation, ground, folder)
    except Exception:
        return {"fault": "harness: could not be made", "text": traceback.format_exc()[-1500:]}
    return {
        "fault": verdict.fault,
        "command": mutation.command,
        "line": mutation.shown(),
        "text": mutation.text.encode("utf-8", "backslashreplace").decode(),
        "seconds": time.monotonic() - started,
        "outcome": verdict.outcome.plain(),
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Mutations and faults by kind and command."""
    cells: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for name, result in results.items():
        kind = name.rpartition("-")[0]
        code = result.get("outcome", {}).get("code")
        end = {0: "done", 2: "refused", 130: "interrupted", "NarrowsError": "refused"}
        for command in (result.get("command", "?"), "all"):
            cells[kind, command][result["fault"].partition(":")[0] or end.get(code, "done")] += 1
    ends = ["done", "refused", "interrupted"]
    faults = sorted({key for counts in cells.values() for key in counts} - {*ends})
    columns = [*ends, *faults]
    lines = ["| kind | command | " + " | ".join(columns) + " |", "|---" * (2 + len(columns)) + "|"]
    for kind, command in sorted(cells):
        row = [str(cells[kind, command][column] or "") for column in columns]
        lines.append(f"| {kind} | {command} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def faults_of(results: dict[str, dict[str, Any]]) -> str:
    """Every kind of fault once, the most frequent first, with mutations to replay."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, result in sorted(results.items()):
        if result["fault"]:
            groups[result["fault"]].append(name)
    lines = []
    for fault, listed in sorted(groups.items(), key=lambda item: -len(item[1])):
        first = results[listed[0]]
        error = first.get("outcome", {}).get("error", "")
        lines.append(f"{len(listed):5}  {fault}")
        if error:
            lines.append(f"       {error.splitlines()[0][:200]}")
        lines.append(f"       {first.get('text', '')[:200]!r}")
        lines.append(f"       --replay {' '.join(listed[:5])}")
    return "\n".join(lines)


def replay(name: str, seed: int, ground: Path, folder: Path) -> bool:
    """Show one mutation and all that came of it; whether it ended well."""
    result = try_one(name, seed, ground, folder)
    outcome = result.pop("outcome")
    for key, value in result.items():
        click.echo(f"{key}: {value}")
    for key in ("code", "error", "memory", "out", "err", "trace"):
        click.echo(f"--- {key}\n{str(outcome[key]).encode('utf-8', 'backslashreplace').decode()}")
    return not result["fault"]


@click.command()
@click.option("--count", default=10_000, show_default=True, help="Mutations.")
@click.option("--seed", default=0, show_default=True, help="Of all of them.")
@click.option("--only", type=click.Choice(list(KINDS)), help="One kind.")
@click.option("--workers", "processes", default=2, show_default=True, help="Processes.")
@click.option("--replay", "again", multiple=True, metavar="NAME", help="Show one; repeatable.")
@click.option("--fast", is_flag=True, help="Without the material that takes long to make.")
@click.option("--ground", type=click.Path(path_type=Path), help="Material to keep and use again.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON of every mutation.")
def main(
    count: int,
    seed: int,
    only: str | None,
    processes: int,
    again: tuple[str, ...],
    fast: bool,
    ground: Path | None,
    out: Path | None,
) -> None:
    """Mutate what narrows reads and report what does not end well."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="narrows-faults-") as top:
        root = Path(top).resolve()
        ground = material.prepare(root, ground and ground.resolve(), material.FAST if fast else ())
        if again:
            good = [replay(name, seed, ground, root / "here") for name in again]
            raise SystemExit(0 if all(good) else 1)
        commands, missing = in_words.covered()
        click.echo(f"commands: {', '.join(commands)}; not covered: {', '.join(missing) or 'none'}")
        if unknown := unknown_seals(ground):
            click.echo(f"{len(unknown)} checksums of a form that seals.py lacks, as {unknown[0]}")

        def task(name: str, folder: Path) -> dict[str, Any]:
            return try_one(name, seed, ground, folder)

        listed = names(count, only)
        results = {}
        with click.progressbar(length=len(listed), label="mutations") as bar:
            for done in workers.work(task, listed, root, processes):
                results[done.name] = done.result
                bar.update(1)
    seconds = time.monotonic() - started
    if out is not None:
        out.write_text(json.dumps(results, indent=1))
    click.echo(table(results))
    click.echo(faults_of(results))
    bad = sum(bool(result["fault"]) for result in results.values())
    click.echo(f"{len(results)} mutations in {seconds:.0f} s, {bad} faults")
    raise SystemExit(1 if bad or missing else 0)


if __name__ == "__main__":
    main()
