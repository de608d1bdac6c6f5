"""Every kind of page in Chromium, with axe-core: what `scripts/browser_checks.py` looks for.

Skipped where Chromium, playwright or axe-playwright-python is not installed.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from narrows.experiments.auditing import SurfacePoint
from narrows.report import write_report
from narrows.report.audit import write_audit
from narrows.report.comparison import compared_runs, write_comparison
from narrows.report.figures import draw_figure
from narrows.report.reevaluation import write_reevaluation
from narrows.runs import Progress
from report.test_audit import RECORD
from report.test_reevaluation import RESULT
from scenarios_runs import copied

SCRIPT = Path(__file__).parents[2] / "scripts" / "browser_checks.py"


def script():
    spec = importlib.util.spec_from_file_location("browser_checks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECKS = script()
MISSING = CHECKS.missing()
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)} is missing: {CHECKS.INSTALL}"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    with CHECKS.browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(small_run, tmp_path_factory) -> dict[str, Path]:
    """One page of each kind."""
    home = tmp_path_factory.mktemp("pages")
    run, other = copied(small_run, home), copied(small_run, home / "other")
    surface = [SurfacePoint(0, a, b, a + b, a < 1) for a in (-1.0, 0.0, 1.0) for b in (0.0, 1.0)]
    return {
        "run": write_report(run),
        "comparison": write_comparison(home / "comparison.html", compared_runs([run, other])),
        "audit": write_audit(home / "audit.html", RECORD, surface),
        "reevaluation": write_reevaluation(home / "reevaluation.html", RESULT),
        **{name: draw_figure(name, run.path, Progress())[0] for name in ("aib-4", "aib-6")},
    }


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (420, "dark")])
@pytest.mark.parametrize("kind", ["run", "comparison", "audit", "reevaluation", "aib-4", "aib-6"])
def test_a_page_has_no_fault(chromium, pages, kind, width, scheme):
    assert pages[kind].stat().st_size < CHECKS.LARGEST
    with CHECKS.opened(chromium, pages[kind], width, scheme) as (page, faults):
        assert [*faults, *CHECKS.faults_of(page)] == []


def faint(page, chart: str) -> int:
    """How many marks of a chart are faint because another model is picked."""
    marks = f"#{chart} .mark-symbol.role-mark path"
    return page.evaluate(
        f"[...document.querySelectorAll('{marks}')]"
        ".filter(mark => Number(mark.getAttribute('opacity')) < 0.13).length"
    )


def picked(page) -> list[object]:
    return page.evaluate("[picked.method, picked.beta]")


@pytest.fixture
def run_page(chromium, pages):
    with CHECKS.opened(chromium, pages["run"], 1400, "light") as (page, faults):
        yield page
        assert faults == []


CHARTS = ("curves", "eps", "beta", "projection")


def test_a_model_that_is_picked_in_the_lists_is_highlighted_everywhere(run_page):
    assert [faint(run_page, chart) for chart in CHARTS] == [0, 0, 0, 0]
    methods, betas = run_page.locator("#pick select").all()
    methods.select_option("vib")
    betas.select_option("0.1")
    run_page.wait_for_function("document.querySelectorAll('tr.picked').length > 0")
    run_page.wait_for_timeout(200)
    assert all(faint(run_page, chart) for chart in ("curves", "eps", "projection"))
    assert "clean %: " in run_page.locator("#pick output").inner_text()
    for row in run_page.locator("tr.picked").all():
        assert row.locator("th, td").all_inner_texts()[:2] == ["vib", "0.1"]
    run_page.locator("#pick button").click()
    run_page.wait_for_timeout(200)
    assert [faint(run_page, chart) for chart in CHARTS] == [0, 0, 0, 0]


def test_a_click_on_a_point_or_a_legend_picks_and_a_second_one_clears(run_page):
    point = run_page.locator("#beta .mark-symbol.role-mark path").first
    point.dispatch_event("click")
    method, beta = picked(run_page)
    assert (method, beta) == ("vib", 0.01)
    point.dispatch_event("click")
    assert picked(run_page) == [None, None]
    name = run_page.locator("#curves .role-legend-label text", has_text="vib").first
    name.dispatch_event("click")
    assert picked(run_page) == ["vib", None]


def test_the_arrow_keys_of_a_chart_pick_a_model(run_page):
    run_page.focus("#curves")
    steps = {
        "ArrowRight": ["vib", 0.01],
        "ArrowLeft": ["vib", 1],
        "ArrowDown": ["cross_entropy", None],
        "Escape": [None, None],
    }
    for key, expected in steps.items():
        run_page.keyboard.press(key)
        assert picked(run_page) == expected


def test_tables_sort_and_can_be_copied(run_page):
    table = run_page.locator("table.results").last
    heading = table.locator("thead th").nth(1)
    for order in ("ascending", "descending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
    betas = [float(text) for text in table.locator("tbody tr td:nth-child(2)").all_inner_texts()]
    assert betas == sorted(betas, reverse=True)
    texts = run_page.evaluate("[csv, latex].map(write => write(rowsOf(resultTables.at(-1))))")
    assert texts[0].startswith("method,beta,chosen by")
    assert texts[1].startswith("\\begin{tabular}{lrr")
    assert "$\\pm$" in texts[1]
