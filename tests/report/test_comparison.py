"""Several runs side by side: what differs, what came out, and what must not be concluded."""

from pathlib import Path

import pytest

from narrows.errors import InputError, StoreError
from narrows.report.comparison import (
    compared_runs,
    comparison_sections,
    comparison_table,
    write_comparison,
)
from narrows.runs import EvaluateConfig
from scenarios_records import FakeRun, record
from scenarios_runs import copied

EPS = EvaluateConfig(eps=[0.1, 0.3])
CURVE = {0.001: 0.9, 0.01: 0.95, 0.1: 0.8}


def swept(left, method="vib", seeds=(0, 1), **settings):
    """A run whose models are 2 points apart and keep `left` under PGD at eps = 0.1."""
    attacks = None if left is None else {0.1: (0.6, left), 0.3: (0.2, 0.1)}
    records = [
        record(beta, seed, method=method, validation=validation, left=attacks)
        for beta, validation in CURVE.items()
        for seed in seeds
    ]
    return FakeRun(records, **{"evaluate": EPS, **settings})


def text_of(**runs) -> str:
    return " ".join(comparison_sections(runs)[0].text)


def test_sentences_name_what_differs_and_the_extremes():
    text = text_of(first=swept(0.5), second=swept(0.4, seeds=(0, 1, 2)))
    assert text.startswith("The runs differ in seeds.")
    assert (
        "Accuracy on test data, vib: highest in second (92.0 ± 2.0 %), lowest in first "
        "(91.0 ± 1.4 %). The difference of 1.0 points is within both standard deviations together."
    ) in text
    assert "Accuracy under PGD at eps = 0.3 (Linf), vib: highest in " in text
    assert "Only an audit (narrows audit) can tell" in text


def test_a_difference_beyond_the_spreads_is_said_to_be():
    near = EvaluateConfig(eps=[0.1])
    text = text_of(first=swept(0.5, evaluate=near), second=swept(0.4, evaluate=near))
    assert "The difference of 10.0 points is more than both standard deviations together." in text
    assert text.startswith("All settings of these runs are the same.")


def test_different_data_and_different_methods_are_not_compared():
    text = text_of(first=swept(0.5), second=swept(0.4, method="aib", data_sha256="0" * 64))
    assert "The data differ as well" in text
    assert "highest in" not in text


def test_without_attacks_there_is_no_chart_of_them():
    titles = [
        [section.title for section in comparison_sections({"a": swept(0.5), "b": other})]
        for other in (swept(0.4), swept(None))
    ]
    everything = ["", "The chosen models on test data", "IB curves", "Accuracy against eps"]
    assert titles[0] == [*everything, "Accuracy against beta", "Settings that differ"]
    assert titles[1] == [*everything[:3], "Accuracy against beta", "Settings that differ"]
    table = comparison_table({"a": swept(0.5), "b": swept(None)})
    assert table.columns[-1] == "clean %"


def test_the_table_has_the_chosen_models_of_each_run():
    table = comparison_table({"first": swept(0.5), "second": swept(0.4)})
    assert table.columns == [
        "run", "method", "beta", "chosen by", "I(X;Z) bits", "I(Z;Y) bits", "clean %",
        "FGSM 0.3 %", "PGD 0.3 %", "DeepFool median L2",
    ]  # fmt: skip
    assert [row[:4] for row in table.rows if row[3] == "validation"] == [
        ["first", "vib", "0.01", "validation"],
        ["second", "vib", "0.01", "validation"],
    ]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_settings_of_a_method_count_only_where_all_runs_have_it():
    grid = swept(0.5)
    grid.config.grids["vib"].append(0.5)
    runs = {"a": grid, "b": swept(0.4), "c": swept(0.4)}
    (*_, section) = comparison_sections(runs)
    assert section.table is not None
    assert [row[0] for row in section.table.rows] == ["grids.vib"]
    assert section.table.rows[0][1:3] == ["0.001, 0.01, 0.1, 0.5", "0.001, 0.01, 0.1"]
    (*_, section) = comparison_sections({**runs, "d": swept(0.4, method="aib")})
    assert section.table is not None
    assert [row[0] for row in section.table.rows] == ["methods"]


def test_runs_of_one_name_are_told_apart_by_their_folders(small_run, tmp_path):
    places = [tmp_path / name for name in ("one", "two")]
    runs = [copied(small_run, place) for place in places]
    names = list(compared_runs(runs))
    assert names == [f"{place.name}/{small_run.path.name}" for place in places]
    page = write_comparison(tmp_path / "page.html", compared_runs(runs)).read_text()
    assert "<h1>Comparison of 2 runs</h1>" in page
    assert str(tmp_path) not in page


def test_fewer_than_two_runs_are_no_comparison(small_run, tmp_path):
    with pytest.raises(InputError, match="expected 2 to 16 runs to compare, got 1"):
        compared_runs([small_run])
    with pytest.raises(InputError, match="got 17"):
        compared_runs([small_run] * 17)
    with pytest.raises(InputError, match="got the same folder twice"):
        compared_runs([small_run, small_run])
    run = copied(small_run, tmp_path)
    (Path(run.path) / "vib" / "done.json").unlink()
    with pytest.raises(StoreError, match="is not finished"):
        compared_runs([small_run, run])
