import io
from dataclasses import replace

import torch
from rich.console import Console

from narrows.attacks._robustbench import ModelCard, Outcome, robustbench_entry
from narrows.attacks.ledger import Entry
from narrows.experiments.attacking import AttackReport, AttackRequest
from narrows.report.attack import attack_table

REQUEST = AttackRequest(
    name="vib [seed 0]", data="digits", attack="standard", settings=[], mode="sample", images=40,
    device="cpu", source="", weights="ab",
)  # fmt: skip
ENTRY = Entry("apgd", "APGD()", 1400, 26, 0.25, 123456, 65432)
OUTCOME = Outcome(0.1, "linf", 0.9, 0.25, 0.2, torch.tensor([0.05]), [ENTRY])
REPORT = AttackReport(
    request=REQUEST, norm="linf", eps=0.1, clean_accuracy=0.9, robust_accuracy=0.25,
    interval=(0.142, 0.402), single_draw_accuracy=0.2, replayed_vote=0.275,
    replayed_single_draw=0.21, verify_draws=100, median_distance=0.0512345,
    attacks=[ENTRY], robustbench=robustbench_entry("vib", ModelCard(), OUTCOME),
)  # fmt: skip


def shown(report: AttackReport) -> str:
    console = Console(file=(file := io.StringIO()), width=400)
    console.print(attack_table(report))
    return " ".join(file.getvalue().split())


def test_the_table_says_what_is_left_and_what_it_cost():
    text = shown(REPORT)
    assert (
        "vib [seed 0]: 90.00% clean, 25.00% left (95 % interval 14.20% to 40.20%) on 40 images"
    ) in text
    assert "apgd 1,400 26 25.0 123,456 65,432" in text
    assert (
        "linf, eps = 0.1, median size 0.05123; a stochastic model by the vote of 100 draws, a "
        "single draw 20.00%; re-evaluated on independent draws 27.50%, a single one 21.00%"
    ) in text


def test_towards_a_target_the_table_says_so():
    text = shown(replace(REPORT, request=replace(REQUEST, towards="next")))
    assert "towards next, 90.00% off their target without an attack, 25.00% left" in text


def test_without_a_radius_or_a_size_none_is_named():
    text = shown(replace(REPORT, eps=None, median_distance=None))
    assert "linf, no radius; a stochastic model" in text
    assert "median size" not in text
