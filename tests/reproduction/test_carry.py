"""From a table to its record: runs, cells, audits, and what continues."""

import sys
from dataclasses import replace

import pytest

from narrows.errors import ConfigError, StoreError
from narrows.reproduction import carry
from narrows.reproduction.carry import reproduce, row_members, run_config
from narrows.reproduction.records import read_record
from narrows.reproduction.tables import Column, Drawn, PaperRow, PaperRun, PaperTable
from narrows.runs import Progress
from narrows.runs.knees import CurvePoint, KneeRecord
from narrows.storage import load_tensors, save_tensors
from scenarios_runs import Notes, copied

NAN = float("nan")


CLEAN = Column("clean", "accuracy")


def table(rows, columns=(CLEAN,), **more):
    runs = {"main": PaperRun("vib-table1")}
    return PaperTable("t", "P 2000", "Table 1", "T", ["digits"], runs, list(columns), rows, **more)


def done(small_run, tmp_path, rows, **more):
    run = copied(small_run, tmp_path)
    use = {"main": run.path}
    results = tmp_path / "results"
    given = table(rows, **more)
    record = reproduce(given, "short", tmp_path / "out", results, Progress(), use=use)
    assert read_record(results, "t", "short") == record
    return run, record


def test_a_record_has_values_beta_run_and_configuration(small_run, tmp_path):
    rows = [
        PaperRow("CE", "cross_entropy", [90.0]),
        PaperRow("VIB", "vib", [NAN], beta=0.1),
    ]
    run, record = done(small_run, tmp_path, rows)
    plain, vib = record.cells
    accuracies = [100 * r.accuracy.test for r in run.records(["cross_entropy"])]
    assert plain.values == pytest.approx(accuracies, abs=1e-3)
    assert (plain.paper, plain.beta, vib.paper, vib.beta) == (90.0, None, None, 0.1)
    assert record.finished
    assert record.runs["main"].folder == run.path.name
    assert record.runs["main"].config["data"] == "digits"
    assert record.runs["main"].environment["torch"]


def test_what_cannot_be_measured_has_a_note(small_run, tmp_path):
    columns = [Column("clean", "accuracy"), Column("FGSM", "fgsm", eps=0.77)]
    _, record = done(
        small_run, tmp_path, [PaperRow("CE", "cross_entropy", [90.0, 3.0])], columns=columns
    )
    assert record.cells[0].values
    assert (record.cells[1].values, record.finished) == ([], True)
    assert "no record of fgsm at eps = 0.77" in record.cells[1].note


def test_rows_say_which_models(small_run, monkeypatch):
    def betas(row):
        return {(m.method, m.beta) for m in row_members(row, small_run)}

    chosen = small_run.summary["vib"].chosen_beta
    assert betas(PaperRow("r", "vib", beta=0.1)) == {("vib", 0.1)}
    assert betas(PaperRow("r", "vib")) == {("vib", chosen)}
    assert betas(PaperRow("r", "cross_entropy", beta="knee")) == {("cross_entropy", 0.0)}
    other = next(beta for beta in small_run.config.grids["vib"] if beta != chosen)
    for beta, expected in ((other, other), (None, chosen)):
        summary = small_run.summary["vib"]
        point = None if beta is None else CurvePoint(beta, 1.0, 1.0)
        knee = KneeRecord(point, why="")
        monkeypatch.setitem(small_run.summary, "vib", replace(summary, knee=knee))
        assert betas(PaperRow("r", "vib", beta="knee")) == {("vib", expected)}


def test_models_that_a_run_does_not_have_are_named(small_run):
    for row, message in (
        (PaperRow("r", "nib", beta=0.1), "has no models of nib"),
        (PaperRow("r", "vib", beta=0.77), r"has no vib with beta = 0\.77"),
    ):
        with pytest.raises(StoreError, match=message):
            row_members(row, small_run)


def test_the_audit_of_a_claim_is_stored(small_run, tmp_path, monkeypatch):
    monkeypatch.setitem(carry._AUDITED, "short", 8)
    _, record = done(small_run, tmp_path, [PaperRow("VIB", "vib", [90.0], beta=0.1, audit=0.1)])
    (audit,) = record.audits
    assert (audit.row, audit.eps, audit.images) == ("VIB", 0.1, 8)
    assert 0 <= audit.low <= audit.left <= audit.high <= 100
    assert audit.left <= audit.claimed
    assert audit.outcome


def test_where_weights_are_not_kept_records_are_read_and_nothing_is_attacked(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    path = run.files("vib").models
    _, header = load_tensors(path)
    save_tensors(path, {}, header)
    columns = [CLEAN, Column("TGS", "attack", attack="tgs", eps=0.1)]
    rows = [PaperRow("VIB", "vib", [90.0, 1.0], audit=0.1)]
    use = {"main": run.path}
    given = table(rows, columns)
    record = reproduce(given, "short", tmp_path, tmp_path / "r", Progress(), use=use)
    assert record.cells[0].values
    assert (record.cells[1].values, record.audits) == ([], [])
    assert record.cells[1].note


def test_a_figure_that_cannot_be_drawn_is_noted_and_the_rest_is_done(
    small_run, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    run, notes = copied(small_run, tmp_path), Notes()
    figures = [Drawn("ib-rar-3"), Drawn("aib-5")]
    given = table([PaperRow("CE", "cross_entropy", [90.0])], figures=figures)
    use = {"main": run.path}
    record = reproduce(given, "short", tmp_path, tmp_path / "r", notes, use=use)
    assert record.finished
    assert record.cells[0].values
    page = run.path / "figures" / "aib-5.html"
    assert page.exists()
    assert notes.notes == [
        "ib-rar-3 left out: t-SNE is scikit-learn's; pip install scikit-learn",
        f"Figure: {page}",
    ]


def test_a_table_that_is_wrong_is_refused_before_anything_is_done(tmp_path):
    wrong = table([PaperRow("CE", "cross_entropy", [1.0])], columns=[Column("x", "nothing")])
    with pytest.raises(ConfigError, match="there is no measure 'nothing'"):
        reproduce(wrong, "short", tmp_path, tmp_path / "r", Progress())
    right = table([PaperRow("CE", "cross_entropy", [1.0])])
    with pytest.raises(ConfigError, match="t has no run 'other'; it has: main"):
        reproduce(right, "short", tmp_path, tmp_path / "r", Progress(), use={"other": tmp_path})
    with pytest.raises(StoreError, match="there is no folder"):
        reproduce(
            right, "short", tmp_path, tmp_path / "r", Progress(), use={"main": tmp_path / "x"}
        )


def test_scales_are_settings_over_the_recipe():
    run = PaperRun(
        "vib-table1",
        set=["train.batch_size=50"],
        scales={"paper": ["train.epochs=200"], "smoke": ["network.encoder=[8]"]},
        recipes={"smoke": "vib-figure1"},
    )
    short, paper, smoke = (run_config(run, scale) for scale in ("short", "paper", "smoke"))
    assert (short.train.epochs, paper.train.epochs, smoke.train.epochs) == (20, 200, 1)
    assert {short.train.batch_size, paper.train.batch_size} == {50}
    assert (smoke.train_images, short.train_images) == (40, 0)
    assert (smoke.methods, smoke.networks["vib"].encoder) == (["vib"], [8])
    with pytest.raises(ConfigError, match="there is no recipe nothing"):
        run_config(PaperRun("nothing"), "short")
