from narrows.report.knees import knee_table
from narrows.runs.knees import CurvePoint, KneeRecord


def test_one_row_for_each_method_with_the_knee_or_why_there_is_none():
    knee = KneeRecord(
        point=CurvePoint(0.1, 3.456, 2.3456),
        height=0.4,
        interval=(0.01, 0.1),
        clear_share=0.955,
        seeds=3,
        one_error=CurvePoint(0.01, 5.0, 2.4),
    )
    table = knee_table(
        {
            "vib": knee,
            "aib": KneeRecord(why="it bends too little", one_error=CurvePoint(1e-5, 1.0, 1.0)),
            "cross_entropy": KneeRecord(why="one beta"),
        }
    )
    assert table.columns == [
        "method", "knee", "95 % of seeds", "clear", "I(X;Z) bits", "I(Z;Y) bits", "1-SE rule",
    ]  # fmt: skip
    assert table.rows == [
        ["vib", "0.1", "0.01 to 0.1", "96%", "3.46", "2.346", "0.01"],
        ["aib", "no clear knee: it bends too little", "", "", "", "", "1e-05"],
        ["cross_entropy", "no clear knee: one beta", "", "", "", "", "-"],
    ]
