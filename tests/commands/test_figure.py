"""`narrows figure`: from a run's folder to the page."""

import html

import pytest

from narrows.commands.figure import _NAMES
from narrows.report.figures import FIGURES
from scenarios_runs import copied, narrows, refused


def test_pictures_are_written_beside_the_page(small_run, tmp_path, capsys):
    run = copied(small_run, tmp_path)
    code, out, err = narrows(capsys, "figure", "aib-5", run.path, "--png", "--quiet")
    assert (code, err) == (0, "")
    picture, page = run.path / "figures" / "aib-5-1.png", run.path / "figures" / "aib-5.html"
    assert out.splitlines() == [f"Picture: {picture}", f"Report: {page}"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert html.escape(FIGURES["aib-5"].source) in page.read_text()


def test_the_command_lists_the_figures_that_there_are(capsys):
    assert list(FIGURES) == _NAMES
    _, out, _ = narrows(capsys, "figure", "--help")
    assert all(f"{name}:" in out for name in FIGURES)
    code, _, err = narrows(capsys, "figure", "vib-9", "somewhere")
    assert code == 2
    assert all(name in err for name in FIGURES)


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("imb-1", "run", "has no plane.json; expected a folder of `python -m narrows.papers.imb`"),
        ("aib-4", "nowhere", "there is no folder"),
        ("aib-4", "empty", "it has no config.json"),
        ("imb-1", "nowhere", "has no plane.json"),
        ("ib-rar-3", "nowhere", "there is no folder"),
        ("ib-rar-5", "run", "has no dependence.json"),
        ("reevaluation-5", "run", "has no toy1.json"),
        ("reevaluation-7", "nowhere", "has no toy2.json"),
    ],
)
def test_a_figure_of_another_kind_of_run_is_refused(
    small_run, tmp_path, capsys, name, folder, message
):
    (tmp_path / "empty").mkdir()
    path = small_run.path if folder == "run" else tmp_path / folder
    assert message in refused(capsys, "figure", name, path, "--quiet")
    assert not (tmp_path / "nowhere").exists()


def test_a_run_that_is_not_finished_has_no_figure(small_run, tmp_path, capsys):
    run = copied(small_run, tmp_path)
    (run.path / "vib" / "done.json").unlink()
    for name in ("vib-1", "vib-2", "aib-4", "aib-5", "aib-6", "ib-rar-3"):
        assert "is not finished" in refused(capsys, "figure", name, run.path, "--quiet")
