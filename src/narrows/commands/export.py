"""`narrows export`: a model of a run in formats that other programs read."""

from __future__ import annotations

from pathlib import Path

import click

from narrows.commands._options import ANY_FILE, json_option, listed, names, print_json

__all__ = ["command"]

_FILES = {
    "README.md": "Model card",
    "model.safetensors": "Weights",
    "model.json": "Network",
    "model.onnx": "ONNX",
    "model.pt2": "Program",
}


@click.command("export")
@click.argument("folder", type=ANY_FILE)
@click.option("--method", help="Which method of the run; its only one needs no name.")
@click.option("--beta", type=float, help="Which beta.  [default: validation's choice]")
@click.option("--seed", type=int, help="Which seed of the run.  [default: its first]")
@click.option(
    "--formats",
    callback=names,
    default="safetensors",
    show_default=True,
    help=f"Comma-separated: {listed('narrows.runs.exporting', 'FORMATS')}.",
)
@click.option(
    "--out", type=ANY_FILE, help="Folder to write into.  [default: below the run's exports/]"
)
@json_option
def command(
    folder: Path,
    method: str | None,
    beta: float | None,
    seed: int | None,
    formats: list[str],
    out: Path | None,
    as_json: bool,
) -> None:
    """Write a model of a run's FOLDER as safetensors, ONNX or a program of torch.export.

    A model card, README.md, says what the model is and what was measured. ONNX (which needs pip
    install 'narrows[onnx]') and torch map images to logits at the mean of the code.
    """
    from narrows.runs import Run
    from narrows.runs.exporting import export_member

    run = Run.open(folder)
    member = run.member(method, beta, seed)
    written = export_member(run, member, formats, out)
    files = [name for name in _FILES if (written / name).is_file()]
    if as_json:
        print_json({"member": member, "files": files}, folder=written)
        return
    for name in files:
        click.echo(f"{_FILES[name]}: {written / name}")
