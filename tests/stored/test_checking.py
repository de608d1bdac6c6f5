"""What is damaged is named, and what differs between two runs."""

import numpy as np
import pytest

from narrows.errors import StoreError
from narrows.experiments.member_attacks import attack_run, plan_attacks
from narrows.runs import Progress, Run, carry_out
from narrows.stored.checking import compare_runs, damage, settings_of
from scenarios_runs import copied, tiny_config, tiny_run


@pytest.fixture
def run(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    attack_run(run, plan_attacks({"fgsm": {"eps": 0.1, "images": 4}}))
    return run


def test_an_untouched_run_is_as_it_was_written(run):
    assert damage(run.path) == []


@pytest.mark.parametrize(
    "pattern",
    [
        "config.json", "data.json", "environment.json", "summary.json", "done.json",
        "vib/done.json",
        "vib/history.jsonl", "vib/models.safetensors", "vib/pictures.safetensors",
        "vib/records/*.json", "attacks/*/*.json",
    ],
)  # fmt: skip
def test_every_kind_of_file_is_checked(run, pattern):
    path = sorted(run.path.glob(pattern))[0]
    content = bytearray(path.read_bytes())
    place = next(i for i in range(len(content) - 40, 0, -1) if chr(content[i]).isdigit())
    content[place] = ord("1") if content[place] != ord("1") else ord("2")
    path.write_bytes(content)
    lines = damage(run.path)
    assert lines
    assert path.name in lines[0]
    assert not any("\n" in line for line in lines)


def test_a_folder_that_is_no_run(tmp_path):
    (line,) = damage(tmp_path / "none")
    assert "there is no folder" in line


def test_only_what_differs_is_compared(run, tmp_path):
    assert compare_runs(run.path, run.path) == []
    other = tiny_run(tmp_path / "other", train={"epochs": 1, "learning_rate": 0.02})
    differences = {name: (one, two) for name, one, two in compare_runs(run.path, other.path)}
    assert differences["train.epochs"] == (run.config.train.epochs, 1)
    assert any(name.startswith("result.vib.") for name in differences)
    assert "data" not in differences
    assert not any(name.startswith("environment.") for name in differences)
    (other.path / "vib" / "done.json").unlink()
    unfinished = {name: two for name, _, two in compare_runs(run.path, other.path)}
    assert unfinished["state"] == "unfinished"


def test_settings_name_own_data_without_their_folder(tmp_path):
    data = tmp_path / "mine.npz"
    np.savez(data, x=np.random.default_rng(0).random((40, 4, 4)), y=np.arange(40) % 2)
    config = tiny_config(data=str(data))
    settings = settings_of(Run(tmp_path, config))
    assert settings["data"] == "mine"
    assert str(tmp_path) not in str(settings)


def test_a_changed_description_of_the_data_is_not_continued(run):
    path = run.path / "data.json"
    path.write_text(path.read_text().replace('"classes": 10', '"classes": 11'))
    with pytest.raises(StoreError, match=r"data\.json is damaged"):
        carry_out(run.config, run.path.parent, Progress())
