"""Time `narrows runs` on a folder of many runs, without an index and with one.

    python benchmarks/stored_runs.py [--runs 10000] [--out stored_runs.json]

The runs are copies of the configuration and results of one small run under other names. Wall-clock
time of the whole command is measured, in a process of its own.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _timing import save

from narrows.runs import Progress, carry_out, load_config

SMALL = {
    "methods": ["cross_entropy", "vib"],
    "betas": [0.01, 0.1],
    "seeds": 2,
    "train": {"epochs": 1},
    "evaluate": {"attack": False, "information_samples": 50},
}


def seconds(folder: Path) -> float:
    """Of one call of the command."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "narrows.cli", "runs", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run = carry_out(load_config(values=SMALL), Path(place) / "made", Progress())
        many = Path(place) / "many"
        for number in range(given.runs):
            folder = many / f"digits-{number:010x}"
            folder.mkdir(parents=True)
            for name in ("config.json", "done.json", "summary.json"):
                shutil.copyfile(run.path / name, folder / name)
        results = {"first": seconds(many), "with_index": min(seconds(many) for _ in range(3))}
    print(
        f"{given.runs} runs: {results['first']:.2f} s without an index, "
        f"{results['with_index']:.2f} s with one"
    )
    save(given.out, results)


if __name__ == "__main__":
    main()
