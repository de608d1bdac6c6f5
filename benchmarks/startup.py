"""How much longer `narrows --help` takes than a bare Python.

python benchmarks/startup.py [--repeats 15] [--out startup.json]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median

from _timing import in_turn, save


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    commands = {"help": ["-m", "narrows.cli", "--help"], "bare": ["-c", "pass"]}

    def call(arguments: list[str]) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    seconds = in_turn(
        {name: lambda words=words: call(words) for name, words in commands.items()}, given.repeats
    )
    extra = median(a - b for a, b in zip(seconds["help"], seconds["bare"], strict=True))
    print(f"narrows --help takes {extra:.3f} s longer than python -c pass (wanted: at most 0.3 s)")
    save(given.out, {"extra_seconds": extra, "wanted": 0.3})


if __name__ == "__main__":
    main()
