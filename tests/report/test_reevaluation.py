"""The page of a re-evaluation: both charts and all numbers."""

import vl_convert

from narrows.experiments.reevaluation import MemberRow, Reevaluated, Row
from narrows.report.reevaluation import reevaluation_sections, write_reevaluation
from narrows.runs import Member

RESULT = Reevaluated(
    [
        MemberRow(member, row)
        for member in (
            Member("cross_entropy", 0.0, 0), Member("vib", 0.1, 0), Member("vib", 0.1, 1),
        )
        for mode in (["deterministic"] if member.beta == 0 else ["mean", "sample"])
        for row in (
            Row(mode, "fgsm", 0.0, None, 0.9),
            Row(mode, "fgsm", 0.2, None, 0.5 + 0.1 * member.seed),
            Row(mode, "pgd", 0.2, 1, 0.25),
            *([Row(mode, "pgd", 0.2, 5, 0.125)] if mode != "sample" else []),
        )
    ],
    "digits",
    20,
)  # fmt: skip


def test_the_table_has_means_over_seeds_and_a_dash_for_what_is_not_there():
    table = reevaluation_sections(RESULT)[-1].table
    assert table is not None
    assert table.columns == [
        "method", "beta", "mode", "clean %", "FGSM 0.2 %", "PGD 0.2 x 1 %", "PGD 0.2 x 5 %",
    ]  # fmt: skip
    assert table.rows == [
        ["cross_entropy", "0", "deterministic", "90.0", "50.0", "25.0", "12.5"],
        ["vib", "0.1", "mean", "90.0 ± 0.0", "55.0 ± 7.1", "25.0 ± 0.0", "12.5 ± 0.0"],
        ["vib", "0.1", "sample", "90.0 ± 0.0", "55.0 ± 7.1", "25.0 ± 0.0", "-"],
    ]


def test_each_chart_has_the_rows_of_its_attack():
    one_step, restarts, _ = (section.chart for section in reevaluation_sections(RESULT))
    spec = one_step.to_dict()
    assert {row["attack"] for row in spec["data"]["values"]} == {"fgsm"}
    assert len(spec["data"]["values"]) == 10
    rows = restarts.to_dict()["data"]["values"]
    assert {row["attack"] for row in rows} == {"pgd"}
    assert list(dict.fromkeys(row["of"] for row in rows)) == ["cross_entropy", "vib, beta = 0.1"]
    svg = vl_convert.vegalite_to_svg(restarts.to_dict())
    assert svg.index(">cross_entropy<") < svg.index(">vib, beta = 0.1<")
    assert ">sample<" in vl_convert.vegalite_to_svg(spec)


def test_the_page_says_on_what(tmp_path):
    page = write_reevaluation(tmp_path / "page.html", RESULT).read_text()
    assert "<h1>digits: one step, and many restarts</h1>" in page
    assert "The first 20 test images of digits, Linf. Each dot or line is a trained model." in page
    assert page.rpartition("<body>")[2].count('class="chart"') == 2
