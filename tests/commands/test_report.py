"""`narrows report`: the page of a run, written again."""

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
