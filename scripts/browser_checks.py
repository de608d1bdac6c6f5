"""Open pages in Chromium and look for what a reader would stumble over.

    pip install playwright axe-playwright-python && apt-get install chromium
    python scripts/browser_checks.py runs/*/report.html --shots shots

Each page is opened 1,400 and 420 pixels wide, light and dark. A fault is a serious or critical
violation of axe-core, a page wider than its window, a request, a message on the console, a chart
that is not drawn, more than 5 MB, or more than a second until every chart is drawn.
`tests/report/test_browser.py` looks for the same faults, except for the time.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

INSTALL = "pip install playwright axe-playwright-python && apt-get install chromium"
VIEWS = [(width, scheme) for width in (1400, 420) for scheme in ("light", "dark")]
LARGEST, LONGEST = 5_000_000, 1.0  # bytes, seconds
HEIGHT = 900
DRAWN = "[...document.querySelectorAll('.chart')].every(chart => chart.querySelector('svg.marks'))"


def missing() -> list[str]:
    """What has to be installed first."""
    absent = [] if _chromium() else ["chromium"]
    for module, package in (
        ("playwright.sync_api", "playwright"),
        ("axe_playwright_python", "axe-playwright-python"),
    ):
        try:
            importlib.import_module(module)
        except ImportError:
            absent.append(package)
    return absent


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    with importlib.import_module("playwright.sync_api").sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def opened(chromium: Any, path: Path, width: int, scheme: str) -> Iterator[tuple[Any, list[str]]]:
    """A page whose charts are drawn, and the list that its faults are added to.

    Args:
        chromium: from `browser`.
        path: of the HTML file.
        width: of the window, in pixels.
        scheme: `"light"` or `"dark"`.
    """
    faults: list[str] = []
    address = path.resolve().as_uri()
    page = chromium.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
    page.on("console", lambda message: faults.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("request", lambda request: _add_request(faults, request.url, address))
    page.goto(address)
    try:
        page.wait_for_function(DRAWN, timeout=20_000)
    except importlib.import_module("playwright.sync_api").TimeoutError:
        faults.append("a chart is not drawn")
    yield page, faults
    page.close()


def faults_of(page: Any) -> list[str]:
    """What is wrong with a page that is open: its width, and what axe-core calls serious."""
    faults = []
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    if widths[0] > widths[1]:
        faults.append(f"{widths[0]} pixels wide in a window of {widths[1]}")
    axe = importlib.import_module("axe_playwright_python.sync_playwright").Axe()
    for violation in axe.run(page).response["violations"]:
        if violation["impact"] in ("serious", "critical"):
            place = violation["nodes"][0]["target"]
            faults.append(f"{violation['id']}: {violation['help']}, {place}")
    return faults


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


def _add_request(faults: list[str], url: str, address: str) -> None:
    if url != address and not url.startswith(("data:", "blob:")):
        faults.append(f"request: {url}")


def _examined(chromium: Any, path: Path, shots: Path | None) -> list[str]:
    """Every fault of one page in every view, and its pictures."""
    lines = []
    if path.stat().st_size > LARGEST:
        lines.append(f"{path}: {path.stat().st_size:,} bytes")
    for width, scheme in VIEWS:
        with opened(chromium, path, width, scheme) as (page, faults):
            seconds = page.evaluate("performance.now()") / 1000
            if seconds > LONGEST:
                faults.append(f"drawn after {seconds:.1f} s")
            faults += faults_of(page)
            if shots is not None:
                stem = "-".join([*path.parts[-3:-1], path.stem]).strip("/")
                page.screenshot(path=shots / f"{stem}-{width}-{scheme}.png", full_page=True)
        lines += [f"{path}, {width} pixels, {scheme}: {fault}" for fault in faults]
    return lines


@click.command()
@click.argument("pages", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@click.option("--shots", type=click.Path(path_type=Path), help="Folder for a picture of each view.")
def main(pages: tuple[Path, ...], shots: Path | None) -> None:
    """Open PAGES in Chromium and print their faults."""
    if absent := missing():
        raise click.ClickException(f"{', '.join(absent)} is missing: {INSTALL}")
    if shots is not None:
        shots.mkdir(parents=True, exist_ok=True)
    with browser() as chromium:
        lines = [line for path in pages for line in _examined(chromium, path, shots)]
    for line in lines:
        click.echo(line)
    click.echo(f"{len(lines)} faults in {len(pages)} pages")
    raise SystemExit(bool(lines))


if __name__ == "__main__":
    main()
