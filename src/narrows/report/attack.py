"""What one attack left of a model, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

__all__ = ["attack_table"]


def attack_table(name: str, record: Mapping[str, Any]) -> Table:
    """One row an attack: how many images it saw and fooled, what is left, what it cost.

    Args:
        name: of the model.
        record: of `Ledger.to_robustbench`, and `replayed`, what the worst images leave on draws
            that did not pick them.
    """
    low, high = record["interval_95"]
    size = record["median_distance"]
    within = record["eps"] if size is None else f"{record['eps']}, median size {size:.4g}"
    table = Table(
        title=f"{name}: {record['clean_acc']} % clean, {record['autoattack_acc']} % left "
        f"({low} to {high}, 95 %) on {record['images']} images",
        caption=f"{record['norm']}, eps = {within}; by the vote of "
        f"{record['noise']['verify_draws']} fresh draws where the model is stochastic, "
        f"single draws {record['noise']['single_draw_acc']} %; judged once more, on draws that "
        f"picked nothing, {100 * record['replayed']['vote']:.2f} % and "
        f"{100 * record['replayed']['single_draw']:.2f} %",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("attack")
    for title in ("images", "fooled", "left, %", "forwards", "backwards"):
        table.add_column(title, justify="right")
    for entry in record["attacks"]:
        table.add_row(
            entry["name"],
            f"{entry['attacked']:,}",
            f"{entry['fooled']:,}",
            f"{100 * entry['robust_accuracy']:.1f}",
            f"{entry['forwards']:,}",
            f"{entry['backwards']:,}",
        )
    return table
