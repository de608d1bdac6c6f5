"""A line for each number, equal to the records."""

import csv
import sys

import pytest

from narrows.errors import ConfigError, StoreError
from narrows.experiments.member_attacks import attack_run, plan_attacks
from narrows.stored.exporting import export_csv, export_parquet, export_rows
from scenarios_runs import copied


def test_the_lines_are_the_records(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    later = attack_run(run, plan_attacks({"deepfool": {"steps": 1, "images": 4}}))
    file = tmp_path / "table.csv"
    count = export_csv(export_rows([run.path]), file)
    with file.open(newline="") as opened:
        lines = list(csv.DictReader(opened))
    assert len(lines) == count
    for record in run.records():
        own = {
            line["quantity"]: line
            for line in lines
            if (line["method"], float(line["beta"]), int(line["seed"]))
            == (record.method, record.beta, record.seed)
        }
        assert float(own["accuracy/test"]["value"]) == record.accuracy.test
        for part, estimates in record.information.items():
            for name, estimate in estimates.items():
                line = own[f"{name}/{part}"]
                assert float(line["value"]) == estimate.nats
                assert float(line["std_error"]) == estimate.std_error
        for attack in record.attacks or []:
            if attack.eps is not None:
                name = f"{attack.attack}/linf/{attack.eps!r}"
                assert float(own[name]["value"]) == attack.accuracy
        (attacked,) = [row for row in later if row.member == record.member]
        median = attacked.record.median_distance
        assert own["deepfool/l2/median"]["value"] == ("" if median is None else str(median))
        assert {line["network"] for line in own.values()} == {"mlp"}


def test_what_cannot_be_written(small_run, tmp_path, monkeypatch):
    with pytest.raises(StoreError, match="cannot write"):
        export_csv(export_rows([small_run.path]), tmp_path / "none" / "table.csv")
    with pytest.raises(StoreError, match="there is no folder"):
        export_csv(export_rows([tmp_path / "none"]), tmp_path / "table.csv")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"pip install 'narrows\[parquet\]'"):
        export_parquet(export_rows([small_run.path]), tmp_path / "table.parquet")


def test_parquet(small_run, tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    count = export_parquet(export_rows([small_run.path]), tmp_path / "table.parquet")
    assert len(pandas.read_parquet(tmp_path / "table.parquet")) == count
