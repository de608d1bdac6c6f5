"""What happens around a command: terminals, disks, rights, names, devices, models, interrupts.

    python benchmarks/faults/terminal.py [--only disk] [--fast] [--list] [--case NAME]

Each case has the exit codes that are right and a rule in one line. A case that cannot be tried on
this machine, such as one that mounts a disk, is skipped and named. Ends with 1 if a rule is broken.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import cases_models
import cases_streams
import cases_words
import click
import ground as material
import workers
from cases import Case, Place, fault_of

CASES = {
    case.name: case for case in [*cases_streams.CASES, *cases_words.CASES, *cases_models.CASES]
}


def try_case(case: Case, ground: Path, folder: Path) -> dict[str, Any]:
    """Run a case in a new folder; its fault, if it has one."""
    material.clear(folder)
    folder.mkdir()
    began = time.monotonic()
    try:
        material.spread(ground, folder, case.needs)
        ended = case.run(Place(ground, folder))
        result = {"fault": fault_of(case, ended), "code": ended.code, "err": ended.err[-2000:]}
    except NotImplementedError as reason:
        result = {"fault": "", "skipped": str(reason)}
    except Exception:
        result = {"fault": f"harness: {traceback.format_exc()[-800:]}"}
    finally:
        material.clear(folder)
    return {**result, "seconds": time.monotonic() - began}


def chosen(groups: tuple[str, ...], names: tuple[str, ...], fast: bool) -> list[str]:
    """Names of the cases that are asked for; `fast` takes a few of each group and command."""
    listed = [
        name
        for name, case in CASES.items()
        if (not groups or case.group in groups) and (not names or name in names)
    ]
    if not fast:
        return listed
    quick = [name for name in listed if not CASES[name].slow]
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for name in quick:
        key = CASES[name].group, name.split()[0]
        seen[key] += 1
        if seen[key] % 8 == 1:
            kept.append(name)
    return kept


@click.command()
@click.option("--only", multiple=True, help="A group; repeatable.")
@click.option("--case", "names", multiple=True, help="A case by its name; repeatable.")
@click.option("--fast", is_flag=True, help="A few cases of each group and command, the fast ones.")
@click.option("--list", "listing", is_flag=True, help="Show the cases and their rules.")
@click.option("--workers", "processes", default=2, show_default=True, help="Processes.")
@click.option("--ground", type=click.Path(path_type=Path), help="Material to keep and use again.")
def main(
    only: tuple[str, ...],
    names: tuple[str, ...],
    fast: bool,
    listing: bool,
    processes: int,
    ground: Path | None,
) -> None:
    """Try what happens around a command."""
    listed = chosen(only, names, fast)
    if listing:
        for name in listed:
            case = CASES[name]
            click.echo(f"{case.group}: {name}: {case.codes}: {case.rule}")
        return
    with tempfile.TemporaryDirectory(prefix="narrows-faults-") as top:
        root = Path(top).resolve()
        parts = sorted({"runs", *(need for name in listed for need in CASES[name].needs)})
        ground = material.prepare(root, ground and ground.resolve(), parts)
        os.environ["NARROWS_FAULTS_GROUND"] = str(ground)

        def task(name: str, folder: Path) -> dict[str, Any]:
            return try_case(CASES[name], ground, folder)

        counts: dict[str, Counter[str]] = {}
        for name, result in workers.work(task, listed, root, processes):
            kind = "broken" if result["fault"] else "skipped" if "skipped" in result else "kept"
            counts.setdefault(CASES[name].group, Counter())[kind] += 1
            if kind != "kept" or names:
                reason = result["fault"] or result.get("skipped") or str(result)
                text = f"{kind}: {name}: {reason} ({result.get('seconds', 0):.1f} s)"
                click.echo(text.encode("utf-8", "backslashreplace").decode())
    click.echo("| group | kept | broken | skipped |\n|---|---|---|---|")
    for group, count in sorted(counts.items()):
        click.echo(f"| {group} | {count['kept']} | {count['broken']} | {count['skipped']} |")
    raise SystemExit(any(count["broken"] for count in counts.values()))


if __name__ == "__main__":
    main()
