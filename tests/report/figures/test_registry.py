"""Each figure from the folder of a run to a page with its charts."""

import html

import pytest

from narrows.experiments.auditing import AuditRecord
from narrows.papers.imb import PlaneConfig, PlanePoint, Reached, TrainingPlane
from narrows.report.figures import FIGURES, draw_figure
from narrows.report.page import write_page
from narrows.runs import Member, Progress
from narrows.runs.files import make_folder, write_json
from scenarios_records import audit
from scenarios_runs import copied, tiny_run


@pytest.fixture(scope="module")
def digits(small_run, tmp_path_factory):
    return copied(small_run, tmp_path_factory.mktemp("figures"))


@pytest.fixture(scope="module")
def twelve_bit(tmp_path_factory):
    settings = {"data": "twelve-bit", "betas": [0.01, 0.3, 3.0], "seeds": 1}
    return tiny_run(tmp_path_factory.mktemp("twelve"), **settings)


@pytest.fixture
def maps(digits, monkeypatch):
    pytest.importorskip("sklearn", reason="t-SNE is scikit-learn's")
    monkeypatch.setattr("narrows.papers.ib_rar_figures._MAPPED", 60)
    return digits


@pytest.mark.parametrize(
    ("name", "of", "charts"),
    [
        ("vib-1", "digits", 2),
        ("vib-2", "digits", 1),
        ("aib-4", "twelve_bit", 1),
        ("aib-4", "digits", 1),
        ("aib-5", "digits", 1),
        ("aib-6", "digits", 5),
        ("ib-rar-3", "maps", 1),
    ],
)
def test_a_figure_is_a_page_with_its_charts(name, of, charts, request, tmp_path):
    run, figure = request.getfixturevalue(of), FIGURES[name]
    sections = figure.make(run.path, Progress())
    page = write_page(tmp_path / "page.html", figure.title, figure.source, sections).read_text()
    body = page.rpartition("<body>")[2]
    assert body.count('class="chart"') == charts
    assert html.escape(figure.source) in body
    assert ("exact bound" in body) is (of == "twelve_bit")


def test_audits_in_the_folder_of_the_run_are_drawn(digits):
    ours = digits.config.identity()
    for place, record in (
        ("a", audit(ours, Member("vib", 0.1, 1))),
        ("b", audit(ours, Member("vib", 0.1, 1), norm="l2")),
        ("c", audit("another", Member("vib", 0.1, 1))),
    ):
        assert isinstance(record, AuditRecord)
        folder = make_folder(digits.path / "audits" / place)
        write_json(folder / "record.json", "record of an audit", record)
    sections = FIGURES["aib-6"].make(digits.path, Progress())
    (section,) = [section for section in sections if section.title == "Accuracy at eps = 0.1"]
    rows = section.chart.to_dict()["data"]["values"]
    drawn = [row for row in rows if row.get("attack") == "audit"]
    assert [(row["beta"], row["seed"], row["value"]) for row in drawn] == [(0.1, 1, 0.125)]


def test_the_dynamics_are_drawn_from_a_plane(tmp_path):
    points = [PlanePoint(epoch, [[2.0, 1.0]], [[0.5, 0.2]]) for epoch in (0, 1, 10)]
    reached = {"sfnn": Reached(0.1, [0.1, 0.1], [0.5, 0.2])}
    plane = TrainingPlane(PlaneConfig(methods=["sfnn"], seeds=1), {"sfnn": points}, reached)
    write_json(tmp_path / "plane.json", "information plane of a training", plane)
    sections = FIGURES["imb-1"].make(tmp_path, Progress())
    assert sections[2].table is not None
    assert sections[2].table.rows[0][1] == "10.00% of SFNN's epochs"


def test_a_figure_is_drawn_into_the_folder_that_it_is_drawn_from(digits):
    path, sections = draw_figure("aib-4", digits.path, Progress())
    assert path == digits.path / "figures" / "aib-4.html"
    assert [section.title for section in sections] == ["IB curves"]
    assert "pairwise distances" in sections[0].text[0]
    body = path.read_text().rpartition("<body>")[2]
    assert html.escape(f"After {FIGURES['aib-4'].source}. {digits.path.name}") in body
