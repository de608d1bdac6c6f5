"""What one attack left of a model, on the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from narrows.experiments.attacking import AttackReport

__all__ = ["attack_table"]


def attack_table(report: AttackReport) -> Table:
    """One row for each attack: images, how many it fooled, what is left, what it cost."""
    low, high = report.interval
    radius = "no radius" if report.eps is None else f"eps = {report.eps:g}"
    if report.median_distance is not None:
        radius += f", median size {report.median_distance:.4g}"
    share = f"{report.clean_accuracy:.2%} clean, {report.robust_accuracy:.2%} left"
    if report.request.towards:
        share = (
            f"towards {report.request.towards}, {report.clean_accuracy:.2%} off their target "
            f"without an attack, {report.robust_accuracy:.2%} left"
        )
    table = Table(
        title=Text(
            f"{report.request.name}: {share} (95 % interval {low:.2%} to {high:.2%}) on "
            f"{report.request.images} images"
        ),
        caption=Text(
            f"{report.norm}, {radius}; a stochastic model by the vote of {report.verify_draws} "
            f"draws, a single draw {report.single_draw_accuracy:.2%}; re-evaluated on independent "
            f"draws {report.replayed_vote:.2%}, a single one {report.replayed_single_draw:.2%}"
        ),
        box=box.SIMPLE_HEAD,
    )
    table.add_column("attack")
    for title in ("images", "fooled", "left, %", "forwards", "backwards"):
        table.add_column(title, justify="right")
    for entry in report.attacks:
        table.add_row(
            Text(entry.name),
            f"{entry.attacked:,}",
            f"{entry.fooled:,}",
            f"{100 * entry.robust_accuracy:.1f}",
            f"{entry.forwards:,}",
            f"{entry.backwards:,}",
        )
    return table
