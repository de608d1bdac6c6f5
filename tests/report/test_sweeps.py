from rich.console import Console

from narrows.report.sweeps import plan_text, show_plan
from narrows.sweeps.plan import PlanRow, SweepPlan


def test_a_plan_as_text(capsys):
    rows = [
        PlanRow("data digits, vib", 2, 1000, True, 100, 3600.0, 600.0, 7200.0, 12.5),
        PlanRow("data digits, nib", 2, 1000, error="it does not fit"),
        PlanRow("data toy1, nib", 2, 1000, False, 100, 1.0, 0.0, 0.0, 0.1),
    ]
    plan = SweepPlan(4000, 8, rows, 4)
    show_plan(plan, Console(width=200))
    table = capsys.readouterr().out
    for words in ("together", "one by one", "60 min", "2 h", "12.5", "refused: it does not fit"):
        assert words in table
    text = plan_text(plan)
    assert text.startswith("4,000 models in 8 runs, about 6 h on one process")
    assert "1 further kinds" in text
