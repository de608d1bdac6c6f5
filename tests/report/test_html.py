"""The page of a run: everything that it shows, and nothing from outside."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from narrows.errors import StoreError
from narrows.report import show_markdown, show_table, write_figures, write_report
from narrows.report.html import _charts, _gallery
from narrows.runs import Run
from narrows.runs.files import write_json
from scenarios_records import FakeRun, record
from scenarios_runs import copied, poison, tiny_run


@pytest.fixture(scope="module")
def page(small_run, tmp_path_factory) -> str:
    run = copied(small_run, tmp_path_factory.mktemp("page"))
    path = write_report(run)
    assert path == run.path / "report.html"
    return path.read_text()


def test_the_page_needs_nothing_from_outside(page):
    loaded = re.findall(r"""(?:src|href)=["']?(?!data:)([^"'\s>]+)""", page)
    assert [address for address in loaded if "//" in address] == []
    assert "vegaEmbed" in page


def test_the_page_has_charts_table_images_and_how_to_get_them_again(page, small_run):
    for name in ("curves", "eps", "beta", "projection"):
        assert f'id="{name}"' in page
    assert page.count("data:image/png;base64,") == 2 * 3 * 8
    tables = page.rpartition("<body>")[2].split("<table ")
    # What was chosen, images of two methods, and every model; each with its head or three rows.
    assert [part.count("<tr>") for part in tables[2:]] == [3, 3, 1 + 4]
    assert tables[1].count("<tr>") >= 1 + 2
    assert small_run.config.data_sha256 in page
    assert "no robustness may be claimed yet" in page
    assert "PGD at eps = 0.1 (Linf)" in page


def test_the_gallery_marks_what_is_wrong(small_run):
    gallery = _gallery(small_run)
    assert [part["method"] for part in gallery] == ["cross_entropy", "vib"]
    assert gallery[1]["beta"] == small_run.summary["vib"].chosen_beta
    for part in gallery:
        pictures = small_run.pictures(part["method"])
        assert [row["name"] for row in part["rows"]] == ["clean", "pgd", "deepfool"]
        for row in part["rows"]:
            predicted = pictures[f"{row['name']}_predicted"]
            assert [cell["says"] for cell in row["cells"]] == predicted.tolist()
            right = (predicted == pictures["label"]).tolist()
            assert [cell["right"] for cell in row["cells"]] == right


def test_the_charts_are_those_that_there_are_numbers_for(small_run):
    assert set(_charts(small_run)) == {"curves", "projection", "eps", "beta"}
    left = {0.1: (0.5, 0.4)}
    assert set(_charts(FakeRun([record(0.1, place=None, left=left)]))) == {"eps"}
    assert _charts(FakeRun([record(0.1, place=None)])) == {}


def test_a_run_without_a_latent_says_that_nothing_was_measured(tmp_path):
    quick = {"methods": ["cross_entropy"], "seeds": 1, "train": {"epochs": 1}}
    run = tiny_run(tmp_path, **quick, network={"bottleneck": 0})
    page = write_report(run).read_text()
    assert "These networks have no latent, so I(X;Z) is not measured" in page
    assert 'id="curves"' not in page


def test_methods_that_diverged_are_named_and_the_others_are_drawn(tmp_path, monkeypatch):
    poison(monkeypatch, lambda beta: beta > 0)
    quick = {"methods": ["vib", "cross_entropy"], "betas": [0.1], "seeds": 1}
    run = tiny_run(tmp_path, **quick, train={"epochs": 1})
    page = write_report(run).read_text()
    assert "vib: 1 of 1 models diverged and are in no result (the loss of member 0" in page
    assert '<th scope="row">cross_entropy</th>' in page
    assert '<th scope="row">vib</th>' not in page


def test_names_cannot_break_the_page(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    environment = run.path / "environment.json"
    named = replace(run.environment, command="narrows </script><b>run</b>")
    write_json(environment, "environment", named)
    page = write_report(Run.open(run.path)).read_text()
    assert "<b>run</b>" not in page
    assert "&lt;b&gt;run&lt;/b&gt;" in page


def test_a_run_that_is_not_finished_has_no_page(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    run.files(run.config.methods[0]).done.unlink()
    with pytest.raises(StoreError, match="is not finished"):
        write_report(run)


def test_a_page_that_cannot_be_written_is_named(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    (run.path / "report.html").mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*report\.html"):
        write_report(run)


def test_tables_are_shown_on_a_console(small_run):
    for show, expected in (
        (show_table, "mean ± std over seeds (2)"),
        (show_markdown, "| method |"),
    ):
        console = Console(file=(file := io.StringIO()), width=80)
        show(small_run, console)
        assert expected in file.getvalue()


def test_the_configuration_on_the_page_is_the_runs(page, small_run):
    body = page.rpartition("<body>")[2]
    (text,) = re.findall(r"<pre>(.*?)</pre>", body, flags=re.DOTALL)
    plain = json.loads(text.replace("&#34;", '"'))
    assert plain["grids"] == small_run.config.grids


def test_headings_of_tables_and_charts_are_named_for_those_who_hear_the_page(page):
    body = page.rpartition("<body>")[2].partition("<script>")[0]
    assert re.findall(r"<th(?=[ >])(?! scope=)", body) == []
    assert '<th scope="col" class="words"><button type="button">method</button></th>' in body
    for tag in re.findall(r"<div class=\"(?:chart|wide)\"[^>]*>", body):
        assert "aria-label=" in tag
    assert [tag for tag in re.findall(r"<img [^>]*>", body) if "alt=" not in tag] == []
    assert '<html lang="en">' in page


def test_no_page_names_a_folder_of_the_machine(tmp_path):
    data = tmp_path / "mine.npz"
    np.savez(data, x=np.random.default_rng(0).random((40, 4, 4)), y=np.arange(40) % 2)
    run = tiny_run(tmp_path / "runs", data=str(data), methods=["vib"], betas=[0.1], seeds=1)
    command = f"narrows run --data {data} --out={tmp_path}/runs 'a b/{tmp_path.name}'"
    write_json(run.path / "environment.json", "environment",
               replace(run.environment, command=command))  # fmt: skip
    page = write_report(Run.open(run.path)).read_text().rpartition("<body>")[2]
    assert str(tmp_path) not in page
    assert "narrows run --data mine.npz --out=runs" in page


def test_every_chart_is_written_as_a_picture(small_run, tmp_path):
    paths = write_figures(small_run, tmp_path / "new", "pdf")
    stems = [f"{small_run.path.name}-{name}" for name in _charts(small_run)]
    assert [path.name for path in paths] == [f"{stem}.pdf" for stem in stems]
    assert all(path.read_bytes().startswith(b"%PDF") for path in paths)


def test_a_run_that_is_not_finished_has_no_pictures(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    run.files(run.config.methods[0]).done.unlink()
    with pytest.raises(StoreError, match="is not finished"):
        write_figures(run, tmp_path, "png")
    assert list(tmp_path.glob("*.png")) == []
