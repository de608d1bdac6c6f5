"""Mean, spread and what was chosen, as text."""

import io

from rich.console import Console

from narrows.report.tables import (
    ResultTable,
    chosen_table,
    console_table,
    full_table,
    markdown,
    result_table,
)
from narrows.runs import EvaluateConfig
from scenarios_records import FakeRun, record

CURVE = {1.0: (0.2, 0.5, 0.5), 0.1: (0.95, 2.5, 2.5), 0.01: (0.97, 4.5, 2.7), 1e-3: (0.9, 6.5, 2.8)}


def records(seeds=(0, 1), method="vib", images=True):
    return [
        record(
            beta, seed, method=method, validation=validation, place=(rate + 0.1 * seed, relevance),
            left={0.1: (0.5 - 0.01 * seed, 0.4 - 0.01 * seed), 0.2: (0.3, 0.2)} if images else None,
        )
        for beta, (validation, rate, relevance) in CURVE.items()
        for seed in seeds
    ]  # fmt: skip


def a_run(**options):
    return FakeRun(records(**options), evaluate=EvaluateConfig(eps=[0.2, 0.1]))


def test_the_short_table_shows_what_was_chosen_and_by_what():
    table = result_table(a_run())
    columns = ["method", "beta", "by", "I(X;Z)", "I(Z;Y)", "clean", "FGSM", "PGD", "L2"]
    assert table.columns == columns
    # In bits: (4.5 + 4.6) / 2 and 2.7; attacks at the middle radius.
    assert table.rows == [
        ["vib", "0.01", "val.", "6.6", "3.9", "91.0±1.4", "49.5±0.7", "39.5±0.7", "0.50±0.14"],
        ["vib", "0.1", "knee", "3.7", "3.6", "91.0±1.4", "49.5±0.7", "39.5±0.7", "0.50±0.14"],
    ]


def test_one_beta_that_both_have_chosen_is_one_row():
    best = [
        record(beta, validation=0.99 if beta == 0.1 else 0.5, place=CURVE[beta][1:])
        for beta in CURVE
    ]
    assert [row[:3] for row in result_table(FakeRun(best)).rows] == [["vib", "0.1", "both"]]
    long = {row[1]: row[2] for row in full_table(FakeRun(best)).rows}
    assert long == {"0.001": "", "0.01": "", "0.1": "validation, knee", "1": ""}


def test_the_long_table_shows_every_beta_and_radius():
    table = full_table(a_run())
    assert table.columns == [
        "method", "beta", "chosen by", "I(X;Z) bits", "I(Z;Y) bits", "clean %",
        "FGSM 0.2 %", "PGD 0.2 %", "FGSM 0.1 %", "PGD 0.1 %", "DeepFool median L2",
    ]  # fmt: skip
    assert [row[1] for row in table.rows] == ["0.001", "0.01", "0.1", "1"]
    assert table.rows[1] == [
        "vib", "0.01", "validation", "6.56 ± 0.10", "3.90 ± 0.00", "91.0 ± 1.4",
        "30.0 ± 0.0", "20.0 ± 0.0", "49.5 ± 0.7", "39.5 ± 0.7", "0.50 ± 0.14",
    ]  # fmt: skip
    assert table.rows[2][2] == "knee"
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_the_chosen_models_stand_alone_at_one_radius():
    table = chosen_table(a_run(), [0.1], images=True)
    assert table.columns[5:] == ["clean %", "FGSM 0.1 %", "PGD 0.1 %", "DeepFool median L2"]
    assert [row[1:3] for row in table.rows] == [["0.01", "validation"], ["0.1", "knee"]]
    assert chosen_table(a_run(), [], images=False).columns[-1] == "clean %"


def test_columns_of_words_are_told_from_columns_of_numbers():
    table = ResultTable(["a", "b", "c"], [["vib", "1.0 ± 0.1", ""], ["1", "-", "knee"]])
    assert table.words() == [True, False, True]
    assert ResultTable(["a", "b"], []).words() == [False, False]


def test_one_seed_has_no_spread():
    text = "".join(cell for row in full_table(a_run(seeds=(0,))).rows for cell in row)
    assert "±" not in text


def test_what_was_not_measured_is_a_dash():
    run = FakeRun([record(0.1, place=None, left={0.1: (0.5, 0.4)})])
    (row,) = full_table(run).rows  # the run's radii are others
    assert row[3:6] == ["-", "-", "90.0"]
    assert row[-1] == "0.40"
    assert set(row[6:-1]) <= {"-", "50.0", "40.0"}


def test_without_images_there_are_no_columns_of_attacks():
    run = a_run(images=False)
    assert result_table(run).columns == ["method", "beta", "by", "I(X;Z)", "I(Z;Y)", "clean"]
    assert full_table(run).columns[-1] == "clean %"
    assert len(full_table(run).rows[0]) == 6


def printed(run, width=80) -> str:
    console = Console(width=width, file=(file := io.StringIO()))
    console_table(run, console)
    return file.getvalue()


def test_the_short_table_fits_a_terminal_of_80_columns():
    text = printed(a_run(method="cross_entropy"))
    assert "…" not in text
    assert "digits, test data, mean ± std over seeds (2)" in text
    flat = " ".join(text.split())
    assert "I in bits, accuracy in %, FGSM and PGD at eps = 0.1, L2: DeepFool's median" in flat
    assert "FGSM" not in printed(a_run(images=False))
    lines = text.splitlines()
    # Words begin below their titles, numbers end below them.
    head, row = lines[1], next(line for line in lines if "val." in line)
    assert row.index("cross_entropy") == head.index("method") == 0
    assert row.index("val.") == head.index("by")
    assert row.index("0.01") + 4 == head.index("beta") + 4
    assert row.index("6.6") + 3 == head.index("I(X;Z)") + 6


def test_markdown_has_a_line_a_row_and_a_rule():
    table = ResultTable(["a", "b"], [["1", "x ± y"], ["2", ""]])
    assert markdown(table) == "| a | b |\n| --- | --- |\n| 1 | x ± y |\n| 2 |  |"
