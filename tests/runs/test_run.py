"""Reading a run back: each file once, nothing changed, and what is not there is named."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from narrows import VIB, load_member
from narrows.errors import CheckpointError, ConfigError, DivergedError, StoreError
from narrows.runs import Member, Run, files, load_config
from narrows.runs.evaluate import evaluate_model
from narrows.runs.files import read_json, write_json
from narrows.runs.summary import summarise
from narrows.storage import load_tensors, save_tensors
from scenarios_runs import copied, poison, snapshot, tiny_run

EVERY = [Member("cross_entropy", 0.0, seed) for seed in (0, 1)]
EVERY += [Member("vib", beta, seed) for beta in (0.01, 0.1, 1.0) for seed in (0, 1)]


@pytest.fixture
def opens(monkeypatch) -> Counter:
    """How often each file of a run was opened, by its name."""
    counted: Counter[str] = Counter()
    read, load = files._read, load_tensors

    def read_and_count(path, kind):
        counted[path.name] += 1
        return read(path, kind)

    def load_and_count(path, *args, **options):
        counted[path.name] += 1
        return load(path, *args, **options)

    monkeypatch.setattr(files, "_read", read_and_count)
    # By its full name: the function `run` of the package hides the module.
    monkeypatch.setattr(sys.modules[Run.__module__], "load_tensors", load_and_count)
    return counted


def test_each_file_is_read_once(small_run, opens):
    run = Run.open(small_run.path)
    assert opens == {"config.json": 1}
    for _ in range(3):
        for member in run.members(["vib"]):
            run.model(member)
            run.member("vib", member.beta, member.seed)
        assert run.member("vib").method == "vib"
        assert (run.classes, run.lost("vib"), len(run.records(["vib"]))) == (10, [], 6)
        assert run.environment.threads == 1
        assert run.summary["vib"].rows
    records = {f"{member.key}.json": 1 for member in EVERY}
    expected = {"config.json": 1, "environment.json": 1, "models.safetensors": 2} | records
    assert opens == expected  # one file of weights for each of the two methods


def test_opening_and_reading_changes_nothing(small_run):
    before = snapshot(small_run.path)
    run = Run.open(str(small_run.path))
    assert run.path == small_run.path
    assert (run.config, run.complete) == (small_run.config, True)
    assert run.finished_methods == ["cross_entropy", "vib"]
    run.model(run.member("vib"))
    assert run.records()
    assert run.history("vib")
    assert run.pictures("vib")
    assert run.summary
    assert snapshot(small_run.path) == before
    assert repr(run) == f"Run.open({str(run.path)!r})"


def test_members_are_listed_by_method_beta_and_seed(small_run):
    assert small_run.members() == EVERY
    assert small_run.members(["vib"], [0.1]) == [Member("vib", 0.1, 0), Member("vib", 0.1, 1)]
    assert small_run.members(seeds=[1]) == EVERY[1::2]
    assert small_run.members(["vib", "cross_entropy"], seeds=[0])[-1] == EVERY[0]
    assert small_run.members([]) == []
    with pytest.raises(ConfigError, match=r"beta 0\.5 is not in this run; valid: 0\.0, 0\.01"):
        small_run.members(betas=[0.5])
    with pytest.raises(ConfigError, match=r"seed 7 is not in this run; valid: 0, 1"):
        small_run.members(seeds=[0, 7])
    with pytest.raises(ConfigError, match="method aib is not in this run"):
        small_run.members(["vib", "aib"])


def test_what_is_not_named_is_the_only_one_or_the_chosen_one(small_run):
    with pytest.raises(ConfigError, match="method must be named; valid: cross_entropy, vib"):
        small_run.member()
    chosen = small_run.summary["vib"].chosen_beta
    assert small_run.member("vib") == Member("vib", chosen, 0)
    assert small_run.member("cross_entropy") == Member("cross_entropy", 0.0, 0)
    assert small_run.member("vib", 1, 1) == Member("vib", 1.0, 1)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"method": "aib"}, "method aib is not in this run; valid: cross_entropy, vib"),
        ({"method": "vib", "beta": 0.2}, "beta 0.2 is not in this run; valid: 0.01, 0.1, 1.0"),
        (
            {"method": "vib", "beta": 0.1000000001},
            "beta 0.1000000001 is not in this run; valid: 0.01, 0.1, 1.0",
        ),
        ({"method": "vib", "beta": 0.1, "seed": 7}, "seed 7 is not in this run; valid: 0, 1"),
        ({"method": "cross_entropy", "beta": 0.1}, "beta 0.1 is not in this run; valid: 0.0"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(small_run, named, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_member(small_run.path, **named)


def test_a_model_is_the_one_that_was_measured(small_run):
    for record in small_run.records()[1::2]:
        model = small_run.model(record.member)
        assert not any(module.training for module in model.modules())
        measured = evaluate_model(model, small_run.splits, small_run.config.evaluate)
        assert measured.accuracy == record.accuracy
        for split, estimates in record.information.items():
            for name, estimate in estimates.items():  # a stack rounds products differently
                again = measured.information[split][name]
                assert again.nats == pytest.approx(estimate.nats, abs=1e-5)
        assert measured.attacks == record.attacks


def test_a_model_can_be_loaded_by_folder_and_names(small_run):
    expected = small_run.model(Member("vib", 0.1, 1)).state_dict()
    for path in (small_run.path, str(small_run.path)):
        loaded = load_member(path, "vib", 0.1, 1).state_dict()
        assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    for other in (Member("vib", 0.2, 1), Member("aib", 0.1, 1), Member("vib", 0.1, 5)):
        with pytest.raises((ConfigError, StoreError)):
            small_run.model(other)


def test_loading_leaves_the_global_generator_alone(small_run):
    before = torch.get_rng_state()
    Run.open(small_run.path).model(Member("vib", 0.1, 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_records_are_those_of_the_members_in_order(small_run):
    assert [record.member for record in small_run.records()] == EVERY
    assert [record.member for record in small_run.records(["vib"])] == EVERY[2:]
    assert all(0 <= record.best_epoch < 2 for record in small_run.records())
    assert summarise(small_run.records(["vib"])) == small_run.summary["vib"]


def test_history_has_a_record_for_each_epoch(small_run):
    history = small_run.history("vib")
    assert [record.epoch for record in history] == [0, 1]
    assert set(history[0].losses) == {"loss", "prediction", "rate"}
    assert len(history[0].losses["loss"]) == len(history[0].validation_accuracy) == 6


def test_pictures_are_of_the_first_seed_at_every_beta(small_run):
    pictures = small_run.pictures("vib")
    assert pictures["0.01/projection"].shape == (len(small_run.splits.test), 2)
    assert torch.equal(pictures["clean"], small_run.splits.test.x[:8])
    assert {name.partition("/")[0] for name in pictures if "/" in name} == {"0.01", "0.1", "1.0"}


def test_the_splits_are_those_of_the_configuration(small_run):
    assert small_run.splits.test.name == "digits"
    assert small_run.splits is small_run.splits


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"there is no folder .*/nowhere$"):
        Run.open(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match=r"is not the folder of a run: it has no config\.json"):
        Run.open(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="there is no folder"):
        Run.open(tmp_path / "file")
    for path in ("", "a\0b", 3, None):
        with pytest.raises(ConfigError, match="path must be a path"):
            Run.open(path)


def test_what_is_not_finished_is_named(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    run.files("vib").done.unlink()
    run = Run.open(run.path)
    assert (run.complete, run.finished_methods) == (False, ["cross_entropy"])
    assert [record.epoch for record in run.history("vib")] == [0, 1]
    assert len(run.records(["cross_entropy"])) == 2
    for read in (
        lambda: run.members(["vib"]),
        lambda: run.member("vib"),
        lambda: run.model(Member("vib", 0.1, 0)),
        lambda: run.records(),
        lambda: run.lost("vib"),
    ):
        with pytest.raises(StoreError, match="has no finished vib; repeat the command"):
            read()
    for read in (run.require_complete, lambda: run.summary):
        with pytest.raises(StoreError, match="is not finished; repeat the command that started it"):
            read()


def test_a_run_is_complete_when_each_of_its_methods_is(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    assert run.require_complete() is run
    (run.path / "done.json").unlink()
    assert run.complete
    (run.path / "vib" / "done.json").unlink()
    assert not run.complete
    with pytest.raises(StoreError, match="not finished"):
        run.require_complete()


DAMAGES = {
    "config.json": lambda run: Run.open(run.path),
    "environment.json": lambda run: run.environment,
    "vib/records/vib-0.1-0.json": lambda run: run.records(),
    "vib/history.jsonl": lambda run: run.history("vib"),
    "vib/models.safetensors": lambda run: run.members(),
    "vib/pictures.safetensors": lambda run: run.pictures("vib"),
}


@pytest.mark.parametrize("name", list(DAMAGES))
@pytest.mark.parametrize("damage", ["gone", "empty", "half", "changed", "foreign"])
def test_a_damaged_file_is_one_line_that_names_it(small_run, tmp_path, name, damage):
    run = copied(small_run, tmp_path)
    path = run.path / name
    content = path.read_bytes()
    middle = len(content) // 2
    other = bytes([content[middle] ^ 1])
    damaged = {
        "empty": b"",
        "half": content[:middle],
        "changed": content[:middle] + other + content[middle + 1 :],
        "foreign": b'{"hello": 1}',
    }
    path.unlink()
    if damage != "gone":
        path.write_bytes(damaged[damage])
    with pytest.raises((StoreError, CheckpointError)) as raised:
        DAMAGES[name](run)
    assert Path(name).name in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": "none"}, "a header with another content: Expected `array`"),
        ({"members": [{"beta": 0.1}]}, "missing required field `seed`"),
        ({"members": [{"beta": -1, "seed": 0}] * 6}, "at least 0"),
        ({"members": []}, "does not hold 0 models, as its header says"),
        ({"classes": "ten"}, r"Expected `int`, got `str` - at `\$.classes`"),
        ({"shape": None}, r"at `\$.shape`"),
    ],
)
def test_weights_whose_header_is_wrong_are_named(small_run, tmp_path, change, message):
    run = copied(small_run, tmp_path)
    path = run.files("vib").models
    tensors, header = load_tensors(path)
    save_tensors(path, tensors, {**header, **change})
    with pytest.raises((CheckpointError, ConfigError), match=message) as raised:
        run.members()
    assert "\n" not in str(raised.value)


def test_weights_that_do_not_fit_the_network_are_named(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    path = run.files("vib").models
    tensors, header = load_tensors(path)
    dropped = {name: tensor for name, tensor in tensors.items() if "decoder" not in name}
    for changed in (dropped, {**tensors, "more": torch.zeros(6, 1)}):
        save_tensors(path, changed, header)
        with pytest.raises(CheckpointError) as raised:
            Run.open(run.path).model(EVERY[2])
        assert "\n" not in str(raised.value)


def test_data_of_other_content_are_noticed(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    config = read_json(run.path / "config.json", "configuration", type(run.config))
    assert len(config.data_sha256) == 64
    changed = load_config(run.path / "config.json", {"data_sha256": "ab" * 32})
    write_json(run.path / "config.json", "configuration", changed)
    reopened = Run.open(run.path)
    assert len(reopened.members()) == 8
    with pytest.raises(ConfigError, match="digits has changed since this configuration was made"):
        _ = reopened.splits


def test_methods_that_are_lost_as_a_whole_are_said_together(small_run, tmp_path, monkeypatch):
    small_run.check_diverged()
    poison(monkeypatch, lambda beta: beta > 0)
    quick = {"methods": ["vib", "cross_entropy"], "betas": [0.1], "seeds": 1}
    run = tiny_run(tmp_path, **quick, train={"epochs": 1})
    with pytest.raises(DivergedError, match=r"^vib: every model diverged, the loss of member 0"):
        run.check_diverged()


def test_the_method_of_a_model_is_the_one_that_trained_it(small_run):
    method = small_run.method(Member("vib", 0.1, 1))
    assert isinstance(method, VIB)
    assert method.beta == pytest.approx(0.1)
    with pytest.raises(ConfigError, match="is not among the trained models"):
        small_run.method(Member("vib", 0.2, 0))
