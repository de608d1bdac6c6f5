"""`narrows audit`: whether the robustness of a model is real."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from narrows.commands._options import (
    ANY_FILE,
    json_option,
    normalisation,
    print_json,
    target_options,
)

__all__ = ["command"]


@click.command("audit")
@target_options
@click.option(
    "--eps", type=float, required=True, help="Radius, in units of the [0, 1] range; pixels in L0."
)
@click.option(
    "--norm", type=click.Choice(["linf", "l2", "l1", "l0"]), default="linf", show_default=True
)
@click.option("--budget", default="standard", show_default=True, help="fast, standard or full.")
@click.option(
    "--twin",
    metavar="TARGET",
    help="The same model without its defence.  [default: a run's cross_entropy of the same seed]",
)
@click.option(
    "--claimed", type=float, help="Robust accuracy that is claimed for the model, in [0, 1]."
)
@click.option(
    "--images",
    type=click.IntRange(1),
    help="Number of test images.  [default: the budget's]",
)
@click.option(
    "--out",
    type=ANY_FILE,
    help="Folder of the audit; an interrupted one continues there.  [default: in audits/]",
)
@json_option
def command(
    target: str,
    data: str | None,
    method: str | None,
    beta: float | None,
    seed: int | None,
    device: str,
    mean: list[float] | None,
    std: list[float] | None,
    eps: float,
    norm: Literal["linf", "l2", "l1", "l0"],
    budget: str,
    twin: str | None,
    claimed: float | None,
    images: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Find out what robust accuracy may be claimed for a model.

    TARGET is a run's folder (with --method, --beta and --seed where it has several), a
    models.safetensors in one, or file.py:function, which returns any torch.nn.Module that takes
    images in [0, 1] and returns logits (with --data). First come checks for gradient obfuscation,
    then remedies, which are the stronger attacks that a failed check calls for. The success of
    every attack is judged on the model itself.
    """
    from rich.console import Console

    from narrows.experiments.auditing import audit_target
    from narrows.experiments.targets import load_relatives, load_target
    from narrows.report.audit import write_audit
    from narrows.runs import Progress

    model = load_target(target, data, method, beta, seed, normalisation(mean, std)).to(device)
    relatives = load_relatives(model, twin).to(device)
    console = Console(quiet=as_json)
    record, surfaces, folder = audit_target(
        model,
        relatives,
        eps=eps,
        norm=norm,
        budget=budget,
        claimed=claimed,
        images=images,
        out=out,
        progress=Progress(console),
    )
    page = write_audit(folder / "audit.html", record, surfaces)
    if as_json:
        print_json(record, folder=folder, report=page)
        return
    for finding in record.findings:
        if not finding.passed:
            text = f"{finding.check}: {finding.evidence}"
            console.print(text, highlight=False, markup=False)
    console.print(record.verdict.sentence, highlight=False, markup=False, style="bold")
    verdict = record.verdict
    certain = "none" if verdict.certified is None else f"{verdict.certified:.1%}"
    console.print(
        f"claimed {verdict.claimed:.1%}, left {verdict.reached:.1%}, certified {certain}",
        highlight=False,
    )
    click.echo(f"Report: {page}")
