"""`narrows plane`: where the layers of trained models lie in the information plane."""

from __future__ import annotations

from pathlib import Path

import click

from narrows.commands._options import ANY_FILE, json_option, names, numbers, print_json

__all__ = ["command"]


@click.command("plane")
@click.argument("sources", type=ANY_FILE, nargs=-1, required=True)
@click.option("--methods", callback=names, help="Comma-separated methods of a run.  [default: all]")
@click.option("--betas", callback=numbers, help="Comma-separated betas.  [default: all]")
@click.option("--layers", callback=names, help="Comma-separated layers.  [default: all]")
@click.option(
    "--measure",
    type=click.Choice(["pairwise", "binned", "exact"]),
    default="pairwise",
    show_default=True,
    help="Pairwise bounds with added noise, binning, or exact enumeration of binary layers.",
)
@click.option(
    "--noise", default=1.0, show_default=True, help="Standard deviation of the noise, for pairwise."
)
@click.option("--bins", default=30, show_default=True, help="Bins per coordinate, for binned.")
@click.option("--samples", default=1000, show_default=True, help="Largest number of inputs.")
@json_option
@click.option(
    "--out",
    type=ANY_FILE,
    help="HTML page to write.  [default: plane.html beside SOURCES]",
)
def command(
    sources: tuple[Path, ...],
    methods: list[str] | None,
    betas: list[float] | None,
    layers: list[str] | None,
    measure: str,
    noise: float,
    bins: int,
    samples: int,
    as_json: bool,
    out: Path | None,
) -> None:
    """Draw the information plane of a run's folder, or of recorded planes.

    SOURCES is the folder of a run, whose stored models are measured on its training data, or files
    that a PlaneRecorder has saved, one per seed.
    """
    from rich.console import Console

    from narrows.errors import ConfigError
    from narrows.experiments.planes import measure_layers, read_planes
    from narrows.report.planes import plane_table, write_plane
    from narrows.report.tables import markdown
    from narrows.runs import Run

    folders = [source for source in sources if source.is_dir()]
    if folders and list(sources) != folders[:1]:
        raise ConfigError("expected one run's folder, or files that a PlaneRecorder has saved")
    if sources[0].is_dir():
        options = {"pairwise": {"noise_std": noise}, "binned": {"bins": bins}, "exact": {}}[measure]
        run = Run.open(sources[0])
        rows = measure_layers(run, methods, betas, layers, measure, samples, options)
    else:
        rows = read_planes(sources)
    if as_json:
        if out is not None:
            write_plane(rows, out)
        print_json(rows)
        return
    text = markdown(plane_table(rows))
    Console().print(text, soft_wrap=True, highlight=False, markup=False)
    beside = sources[0] if sources[0].is_dir() else sources[0].parent
    click.echo(f"Page: {write_plane(rows, out or beside / 'plane.html')}")
