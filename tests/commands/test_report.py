"""`narrows report`: the page of a run, written again."""

import json
import shutil

from narrows.report.tables import full_table, markdown
from scenarios_runs import copied, narrows, refused, snapshot


def test_the_report_can_be_written_again(small_run, tmp_path, capsys):
    run = copied(small_run, tmp_path)
    before = snapshot(run.path)
    code, out, err = narrows(capsys, "report", run.path)
    assert (code, err) == (0, "")
    page = run.path / "report.html"
    assert out.splitlines()[-1] == f"Report: {page}"
    assert "digits, test data, mean ± std over seeds (2)" in out
    assert "<h1>Information bottlenecks on digits</h1>" in page.read_text()
    page.unlink()
    assert {name for name, state in snapshot(run.path).items() if before[name] != state} <= {"."}


def test_the_long_table_in_markdown_writes_nothing(small_run, capsys):
    before = snapshot(small_run.path)
    code, out, _ = narrows(capsys, "report", small_run.path, "--markdown")
    assert code == 0
    assert out == markdown(full_table(small_run)) + "\n"
    assert snapshot(small_run.path) == before


def test_a_run_that_is_not_finished_has_no_report(small_run, tmp_path, capsys):
    run = copied(small_run, tmp_path)
    (run.path / "vib" / "done.json").unlink()
    assert "is not finished; repeat the command that started it" in refused(
        capsys, "report", run.path
    )


def test_every_figure_is_written_where_asked(small_run, tmp_path, capsys):
    run = copied(small_run, tmp_path)
    code, out, _ = narrows(capsys, "report", run.path, "--png", tmp_path / "png", "--json")
    assert code == 0
    pictures = sorted((tmp_path / "png").glob("*.png"))
    assert sorted(json.loads(out)["pictures"]) == [str(path) for path in pictures]
    assert len(pictures) == 4
    message = refused(capsys, "report", run.path, "--markdown", "--pdf", tmp_path)
    assert "--markdown writes nothing; leave out --png, --pdf and --out" in message
    message = refused(capsys, "report", run.path, "--out", tmp_path / "page.html")
    assert "--out is for the page of several runs" in message


def test_several_runs_are_compared_on_one_page(small_run, tmp_path, capsys):
    first, second = (copied(small_run, tmp_path / name) for name in ("one", "two"))
    code, out, err = narrows(capsys, "report", first.path, second.path, "--pdf", tmp_path / "pdf")
    assert (code, err) == (0, "")
    page = first.path.parent / "comparison.html"
    assert out.splitlines()[-1] == f"Report: {page}"
    assert out.count("| one/digits-") == out.count("| two/digits-") > 0
    assert "<h1>Comparison of 2 runs</h1>" in page.read_text()
    assert {path.name for path in (tmp_path / "pdf").iterdir()} == {
        f"comparison-{number}.pdf" for number in (1, 2, 3)
    }
    page.unlink()
    code, out, _ = narrows(capsys, "report", first.path, second.path, "--markdown")
    assert (code, page.exists()) == (0, False)


def test_a_folder_of_runs_stands_for_the_finished_ones(small_run, tmp_path, capsys):
    names = ("a", "b", "c")
    runs = [shutil.copytree(small_run.path, tmp_path / "runs" / name) for name in names]
    (runs[2] / "done.json").unlink()
    out = tmp_path / "page.html"
    code, text, _ = narrows(capsys, "report", tmp_path / "runs", "--out", out, "--json")
    assert code == 0
    assert list(json.loads(text)["summaries"]) == ["a", "b"]
    assert out.exists()
    (tmp_path / "empty").mkdir()
    assert "is not the folder of a run" in refused(capsys, "report", tmp_path / "empty")
    assert "there is no folder" in refused(capsys, "report", tmp_path / "nowhere")
