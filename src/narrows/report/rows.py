"""From the files of a run folder to the rows that tables and charts are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narrows.errors import StoreError
from narrows.experiments.store import read_json
from narrows.experiments.summary import curve_point, has_latent
from narrows.storage import load_tensors

__all__ = ["CHOSEN", "KNEE", "Run", "load_run"]

CHOSEN = "chosen on validation data"
KNEE = "knee of the IB curve"

_SPLITS = {"train": "training data", "test": "test data"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A finished run, read back."""

    path: Path
    config: Row
    environment: Row
    summary: dict[str, Row]
    records: dict[str, list[Row]]
    pictures: dict[str, dict[str, Any]]
    classes: int

    @property
    def attacked(self) -> bool:
        """Whether the data are images, which attacks were run on."""
        return all("attacks" in record for records in self.records.values() for record in records)

    def row_of(self, method: str, beta: float) -> Row:
        """The summary row of one beta.

        Raises:
            StoreError: if there is none, because the files of the run do not belong together.
        """
        for row in self.summary[method]["rows"]:
            if row["beta"] == beta:
                return row
        raise StoreError(f"{self.path / 'summary.json'} has no {method} at beta = {beta:g}")

    def choices(self, method: str) -> dict[str, float]:
        """The betas that the report speaks of: chosen on validation data, and the knee."""
        summary = self.summary[method]
        found = {CHOSEN: summary["chosen_beta"]}
        if summary["knee"]["beta"] is not None:
            found[KNEE] = summary["knee"]["beta"]
        return found

    def members(self) -> list[Row]:
        """Each member's place in the information plane, in bits."""
        return [
            {"method": method, "beta": record["beta"], "seed": record["seed"], "split": name}
            | dict(zip(("rate", "relevance"), _bits(curve_point(record, split)), strict=True))
            for method, records in self.records.items()
            for record in records
            if has_latent(record)
            for split, name in _SPLITS.items()
        ]

    def knees(self) -> list[Row]:
        """The knee of each method, on the mean curves."""
        rows = []
        for method, summary in self.summary.items():
            beta = summary["knee"]["beta"]
            if beta is None:
                continue
            for split, name in _SPLITS.items():
                rate, relevance = self.row_of(method, beta)["information_bits"][split]
                place = {"rate": rate["mean"], "relevance": relevance["mean"]}
                rows.append({"method": method, "beta": beta, "split": name, **place})
        return rows

    def against_eps(self) -> list[Row]:
        """Accuracy of each method at its chosen and its knee beta, eps = 0 being clean."""
        rows = []
        for method in self.summary:
            own = self.choices(method)
            for choice in (CHOSEN, KNEE):
                beta = own.get(choice, own[CHOSEN])
                row = self.row_of(method, beta)
                for attack in ("fgsm", "pgd"):
                    about = {"method": method, "beta": beta, "choice": choice, "attack": attack}
                    rows.append(about | {"eps": 0.0} | _band(row["accuracy"]["test"]))
                    rows += [
                        about | {"eps": found["eps"]} | _band(found["accuracy"])
                        for found in row["attacks"]
                        if found["attack"] == attack
                    ]
        return rows

    def against_beta(self) -> list[Row]:
        """Accuracy at every beta of the methods that have several, clean and attacked."""
        rows = []
        for method, summary in self.summary.items():
            if len(summary["rows"]) < 2:
                continue
            for row in summary["rows"]:
                about = {"method": method, "beta": row["beta"]}
                clean = {"attack": "clean", "eps": None} | _band(row["accuracy"]["test"])
                rows.append(about | clean)
                rows += [
                    about
                    | {"attack": found["attack"], "eps": found["eps"]}
                    | _band(found["accuracy"])
                    for found in row["attacks"]
                    if found["eps"] is not None
                ]
        return rows

    def projection(self, count: int = 300) -> list[Row]:
        """Points of the latent's projection for the first seed at every beta."""
        rows = []
        for method, summary in self.summary.items():
            betas = [row["beta"] for row in summary["rows"]]
            for rank, beta in enumerate(betas):
                pictures = self.pictures[method]
                if f"{beta:g}/projection" not in pictures:
                    continue
                points = pictures[f"{beta:g}/projection"][:count].tolist()
                labels = pictures[f"{beta:g}/projection_label"][:count].tolist()
                about = {"method": method, "beta": beta, "rank": rank, "only": len(betas) == 1}
                rows += [
                    about | {"x": round(x, 4), "y": round(y, 4), "label": label}
                    for (x, y), label in zip(points, labels, strict=True)
                ]
        return rows


def load_run(path: Path) -> Run:
    """Read a run folder.

    Raises:
        StoreError: if it is not one, or not finished.
    """
    if not path.is_dir():
        raise StoreError(f"there is no folder {path}")
    config = read_json(path / "config.json")
    if not (path / "summary.json").exists():
        raise StoreError(f"{path} is not finished; run the same command again to go on")
    methods = config["methods"]
    return Run(
        path=path,
        config=config,
        environment=read_json(path / "environment.json"),
        summary=read_json(path / "summary.json"),
        records={method: read_json(path / method / "results.json") for method in methods},
        classes=read_json(path / "done.json")["classes"],
        pictures={
            method: load_tensors(path / method / "pictures.safetensors")[0] for method in methods
        },
    )


def _bits(nats: tuple[float, float]) -> tuple[float, float]:
    return nats[0] / math.log(2), nats[1] / math.log(2)


def _band(spread: Row) -> Row:
    std = spread["std"] or 0.0
    mean = spread["mean"]
    return {"mean": mean, "low": max(0.0, mean - std), "high": min(1.0, mean + std)}
