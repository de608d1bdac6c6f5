import json
import math

import numpy as np
import pytest

from narrows.cli import main
from scenarios import CorrelatedGaussians

TARGET = CorrelatedGaussians(0.8)


@pytest.fixture
def files(tmp_path):
    x, z = TARGET.sample(500)
    np.save(tmp_path / "x.npy", x.numpy())
    np.save(tmp_path / "z.npy", z.numpy())
    (tmp_path / "y.csv").write_text("label\n" + "\n".join(str(int(value > 0)) for value in z[:, 0]))
    return [str(tmp_path / name) for name in ("x.npy", "z.npy", "y.csv")]


def narrows(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["mi", *words])
    printed = capsys.readouterr()
    return stop.value.code or 0, printed.out, printed.err


def test_a_table_says_what_was_estimated_and_whether_to_believe_it(files, capsys):
    code, out, _ = narrows(capsys, *files[:2], "--estimators", "ksg,kde_bounds")
    assert code == 0
    [row] = [line for line in out.splitlines() if line.startswith("ksg ") and "yes" in line]
    assert float(row.split()[1]) == pytest.approx(TARGET.information, abs=0.1)
    assert "known information" in out
    assert "kde_bounds: needs" in out


def test_json_has_the_numbers_of_labels(files, capsys):
    x, _, y = files
    code, out, _ = narrows(capsys, x, y, "--estimators", "ksg_relevance", "--json")
    assert code == 0
    record = json.loads(out)
    assert (record["n"], record["kind"]) == (500, "labels")
    [reading] = record["readings"]
    assert 0.1 < reading["estimate"]["nats"] < math.log(2)
    assert [trial["recovered"] for trial in reading["trials"]] == [True] * 5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere.npy", "nowhere.npy"], "cannot read nowhere.npy: No such file"),
        (["nowhere.txt", "nowhere.npy"], "expected a .npy, .npz or .csv file"),
    ],
)
def test_a_bad_file_is_named_in_one_line(words, reason, capsys):
    code, out, err = narrows(capsys, *words)
    assert (code, out) == (2, "")
    assert reason in err
    assert err.count("\n") == 1


def test_bad_options_and_samples_are_named_in_one_line(files, tmp_path, capsys):
    np.save(tmp_path / "short.npy", np.zeros((3, 1)))
    for words in (
        [files[0], str(tmp_path / "short.npy")],
        [*files[:2], "--estimators", "kgs"],
        [*files[:2], "--draws", "0"],
        [*files[:2], "--seed", "-1"],
    ):
        code, out, err = narrows(capsys, *words)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
