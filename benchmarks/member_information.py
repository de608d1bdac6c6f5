"""Time a member's pairwise bounds in one pass against one call for each axis.

    python benchmarks/member_information.py [--repeats 5] [--out member_information.json]

The members are those of `narrows run --data twelve-bit --methods vib --betas 0.1 --epochs 1`, and
the codes are those of their training and test data. CPU time is compared, of one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from _timing import save

from narrows.information import kde_bounds, kde_information, kde_relevance
from narrows.runs import Progress, Run, carry_out, load_config
from narrows.runs.evaluate import encode

SETTINGS = {
    "twelve-bit": {"data": "twelve-bit", "methods": ["vib"], "betas": [0.1], "seeds": 3},
    "digits": {"data": "digits", "methods": ["vib"], "betas": [0.01], "seeds": 3},
}


def members(settings: dict, epochs: int, folder: str) -> Run:
    values = {**settings, "train": {"epochs": epochs}, "evaluate": {"attack": False}}
    return carry_out(load_config(values=values), Path(folder), Progress())


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def compare(run: Run, repeats: int) -> dict[str, float]:
    """The median ratio over repeats and members, and the largest difference in nats."""
    codes = []
    for member in run.members():
        model = run.model(member)
        for data in (run.splits.train, run.splits.test):
            batch = data.take(slice(0, run.config.evaluate.information_samples)).all()
            latent = encode(model, batch.x)
            assert latent is not None
            assert latent.scale is not None
            codes.append((latent.mean, latent.scale, batch.y))

    def one_call_each(mean, scale, y):
        return [*kde_bounds(mean, scale), *kde_relevance(mean, scale, y)]

    apart = max(
        abs(a.nats - b.nats)
        for code in codes
        for a, b in zip(one_call_each(*code), kde_information(*code), strict=True)
    )
    ratios, seconds = [], []
    for _ in range(repeats):
        before = cpu_seconds(lambda: [one_call_each(*code) for code in codes])
        now = cpu_seconds(lambda: [kde_information(*code) for code in codes])
        ratios.append(before / now)
        seconds.append(now / len(run.members()))
    return {
        "times_faster": median(ratios),
        "cpu_seconds_per_member": median(seconds),
        "difference_nats": apart,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name, settings in SETTINGS.items():
        for epochs in (1, 20):
            with tempfile.TemporaryDirectory() as folder:
                row = compare(members(settings, epochs, folder), given.repeats)
            results[f"{name}, {epochs} epochs"] = row
            print(
                f"{name}, {epochs} epochs: {row['times_faster']:.1f} times faster, "
                f"{1e3 * row['cpu_seconds_per_member']:.0f} CPU-ms per member, apart "
                f"{row['difference_nats']:.1e} nats"
            )
    save(given.out, results)


if __name__ == "__main__":
    main()
