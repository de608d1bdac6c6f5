"""A run from beginning to end: what is left out, what is kept, and what is refused beforehand."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from narrows import load_member
from narrows.errors import ConfigError, DivergedError, StoreError
from narrows.models import Bottleneck
from narrows.runs import Member, Progress, Run, building, engine, load_config
from narrows.runs.engine import check_device
from narrows.runs.files import locked_folder, read_json, write_json
from narrows.runs.layout import MethodDone, RunDone
from narrows.runs.records import LostMember
from narrows.runs.summary import MethodSummary
from narrows.training import EpochRecord, Processes
from narrows.training.trainer import Trainer
from scenarios_runs import (
    Notes,
    StoppedError,
    copied,
    lone_folder,
    poison,
    snapshot,
    stop_after,
    tiny_config,
    tiny_run,
)

QUICK = {"methods": ["vib"], "betas": [0.1], "seeds": 1, "train": {"epochs": 1}}


def test_a_run_leaves_what_the_layout_says(small_run):
    names = set(snapshot(small_run.path))
    of_method = {"done.json", "history.jsonl", "models.safetensors", "pictures.safetensors"}
    for method in ("cross_entropy", "vib"):
        assert {f"{method}/{name}" for name in of_method} <= names
        assert f"{method}/checkpoint.safetensors" not in names
        assert f"{method}/failed.json" not in names
    assert {"config.json", "environment.json", "summary.json", "done.json"} <= names
    assert not any(name.endswith(".tmp") for name in names)
    stored = read_json(small_run.path / "summary.json", "summary", dict[str, MethodSummary])
    assert stored == small_run.summary
    done = read_json(small_run.path / "done.json", "completion mark", RunDone)
    assert done == RunDone(["cross_entropy", "vib"], 10)
    method_done = read_json(small_run.files("vib").done, "completion mark", MethodDone)
    assert (method_done.epochs, method_done.steps) == (2, 2 * (len(small_run.splits.train) // 64))


def test_a_finished_run_is_kept_as_it_is(small_run, tmp_path):
    run, notes = copied(small_run, tmp_path), Notes()
    before = snapshot(run.path)
    again = engine.carry_out(load_config(run.path / "config.json"), tmp_path, notes)
    assert again.path == run.path
    assert notes.notes == [f"{name}: finished before, kept" for name in run.config.methods]
    marks = ("done.json", "summary.json", ".lock", ".")
    changed = {name for name, state in snapshot(run.path).items() if before.get(name) != state}
    assert changed <= set(marks)


def test_the_same_configuration_trains_the_same_models(tmp_path):
    first, second = (tiny_run(tmp_path / name, **QUICK) for name in ("a", "b"))
    assert first.records() == second.records()
    for one, other in zip(
        first.model(first.member()).parameters(),
        second.model(second.member()).parameters(),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_a_training_that_was_broken_off_goes_on_to_the_same_end(tmp_path, monkeypatch):
    settings = QUICK | {"train": {"epochs": 3, "checkpoint_seconds": 0}}
    whole = tiny_run(tmp_path / "whole", **settings)
    original, calls = Trainer.run_epoch, stop_after(2)

    def interrupted(self, *arguments):
        next(calls)
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", interrupted)
        with pytest.raises(StoppedError):
            tiny_run(tmp_path / "broken", **settings)
    broken = Run.open(lone_folder(tmp_path / "broken"))
    assert broken.files("vib").checkpoint.exists()
    assert not broken.complete
    again = tiny_run(tmp_path / "broken", **settings)
    assert again.records() == whole.records()
    assert not again.files("vib").checkpoint.exists()
    assert [record.epoch for record in again.history("vib")] == [0, 1, 2]


def test_a_process_that_is_killed_as_it_finishes_leaves_no_checkpoint(tmp_path, monkeypatch):
    write = engine.write_json

    def stop(path, kind, content):
        if kind == "completion mark":
            raise StoppedError
        write(path, kind, content)

    monkeypatch.setattr(engine, "write_json", stop)
    with pytest.raises(StoppedError):
        tiny_run(tmp_path, **QUICK)
    monkeypatch.setattr(engine, "write_json", write)
    run = tiny_run(tmp_path, **QUICK)
    assert run.complete
    assert list(run.path.rglob("checkpoint.safetensors")) == []


def test_measuring_goes_on_with_the_first_model_that_has_no_record(tmp_path, monkeypatch):
    settings = QUICK | {"betas": [0.1, 1.0], "seeds": 2}
    monkeypatch.setattr(engine, "measured_together", lambda *_: 1)
    original, calls = engine.evaluate_models, stop_after(3)

    def interrupted(*arguments):
        next(calls)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "evaluate_models", interrupted)
        with pytest.raises(StoppedError):
            tiny_run(tmp_path, **settings)
    folder = lone_folder(tmp_path) / "vib"
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    assert sorted(kept) == ["vib-0.1-0.json", "vib-0.1-1.json", "vib-1.0-0.json"]
    weights = (folder / "models.safetensors").stat().st_mtime_ns
    measured = []

    def counted(*arguments):
        measured.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(engine, "evaluate_models", counted)
    run = tiny_run(tmp_path, **settings)
    assert (len(measured), len(run.records())) == (1, 4)
    assert {name: (folder / "records" / name).stat().st_mtime_ns for name in kept} == kept
    assert (folder / "models.safetensors").stat().st_mtime_ns == weights


def test_a_model_is_measured_in_the_stack_that_it_had_before_the_interruption(
    tmp_path, monkeypatch
):
    run = tiny_run(tmp_path, **QUICK | {"seeds": 3})
    paths = [run.files("vib").record(member) for member in run.members()]
    before = [path.read_text() for path in paths]
    for path in (run.path / "done.json", run.files("vib").done, *paths[1:]):
        path.unlink()
    kept, stacks, original = paths[0].stat().st_mtime_ns, [], engine.evaluate_models

    def noted(models, *arguments):
        stacks.append(len(models))
        return original(models, *arguments)

    monkeypatch.setattr(engine, "evaluate_models", noted)
    tiny_run(tmp_path, **QUICK | {"seeds": 3})
    # In a stack of two the products of matrices are rounded differently.
    assert stacks == [3]
    assert [path.read_text() for path in paths] == before
    assert paths[0].stat().st_mtime_ns == kept


def test_models_measured_together_have_the_records_that_they_have_alone(tmp_path, monkeypatch):
    evaluate = {"eps": [0.1], "pgd_steps": 3, "attack_images": 20, "information_samples": 50}
    settings = QUICK | {"methods": ["cross_entropy", "vib"], "betas": [0.1, 1.0], "seeds": 2}
    settings |= {"evaluate": evaluate}
    together = tiny_run(tmp_path / "together", **settings)
    monkeypatch.setattr(engine, "measured_together", lambda *_: 1)
    alone = tiny_run(tmp_path / "alone", **settings)
    assert len(together.records()) == 6
    for record, other in zip(together.records(), alone.records(), strict=True):
        assert record.member == other.member
        assert record.accuracy == other.accuracy
        assert record.attacks is not None
        assert other.attacks is not None
        for attack, as_before in zip(record.attacks, other.attacks, strict=True):
            assert (attack.accuracy, attack.forwards) == (as_before.accuracy, as_before.forwards)
        for split, estimates in record.information.items():
            for name, estimate in estimates.items():
                assert estimate.nats == pytest.approx(other.information[split][name].nats, abs=1e-4)


def test_betas_that_are_nearly_equal_have_records_and_pictures_of_their_own(tmp_path):
    betas = [0.1, 0.1000000001]
    run = tiny_run(tmp_path, **QUICK | {"betas": betas})
    assert [record.beta for record in run.records()] == betas
    names = sorted(path.name for path in (run.path / "vib" / "records").iterdir())
    assert names == ["vib-0.1-0.json", "vib-0.1000000001-0.json"]
    pictures = run.pictures("vib")
    assert {"0.1/projection", "0.1000000001/projection"} <= set(pictures)
    assert [row.beta for row in run.summary["vib"].rows] == betas


def test_a_damaged_record_is_not_taken_for_a_measured_one(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    path = run.files("vib").record(Member("vib", 0.1, 0))
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    run.files("vib").done.unlink()
    with pytest.raises(StoreError, match=r"vib-0\.1-0\.json is damaged: .*delete it to make it"):
        engine.carry_out(load_config(run.path / "config.json"), tmp_path, Notes())
    path.unlink()
    assert engine.carry_out(load_config(run.path / "config.json"), tmp_path, Notes()).complete


def test_a_folder_of_another_run_is_refused_and_stays_what_it_was(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    other = load_config(run.path / "config.json", {"seeds": 1})
    write_json(run.path / "config.json", "configuration", other)
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(StoreError, match="holds another run; choose another --out"):
        engine.carry_out(small_run.config, tmp_path, Notes())
    assert (run.path / "config.json").read_bytes() == before


def test_a_run_in_use_is_refused(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    with locked_folder(run.path), pytest.raises(StoreError, match="in use by another process"):
        engine.carry_out(small_run.config, tmp_path, Notes())


def test_a_single_sample_is_refused_before_anything_is_trained(tmp_path):
    x, y = np.random.default_rng(0).random((20, 4)), np.arange(20) % 2
    np.savez(tmp_path / "it.npz", x_train=x, y_train=y, x_test=x[:1], y_test=y[:1])
    with pytest.raises(ConfigError, match="the test set of it has 1 sample; at least two"):
        tiny_run(tmp_path / "out", data=str(tmp_path / "it.npz"), **QUICK)
    with pytest.raises(ConfigError, match="the train set of digits has 1 sample"):
        tiny_run(tmp_path / "out", **QUICK, train_images=1)
    assert not (tmp_path / "out").exists()


def test_adversarial_training_is_recorded(tmp_path):
    options = {"trades": {"eps": 0.05, "steps": 1, "weight": 3.0}}
    run = tiny_run(tmp_path, **QUICK, adversarial="trades", options=options)
    (record,) = run.records()
    assert record.adversarial == "trades"
    assert Run.open(run.path).config.options == options
    assert isinstance(load_member(run.path, "vib"), Bottleneck)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": "toy1", "adversarial": "mart"},
            r"changes images in .*, and toy1 has none; leave",
        ),
        ({"methods": ["vib", "aib"], "network": {"bottleneck": 0}}, "bottleneck = 0"),
        ({"options": {"aib": {"steps": 0}}, "methods": ["vib", "aib"]}, "AIB needs steps >= 1"),
        ({"network": {"encoder": [10**7, 10**7]}}, "need about .* GiB"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used here"),
        ({"data_sha256": "ab" * 32}, "has changed since this configuration was made"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny_run(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["toaster", "cuda:99", "meta", "", "cpu:x"])
def test_a_device_that_cannot_be_used_is_named(device):
    check_device("cpu")
    with pytest.raises(ConfigError, match=f"device '{device}' .*try 'cpu'") as raised:
        check_device(device)
    assert "\n" not in str(raised.value)


def test_layers_with_running_statistics_are_trained_in_a_loop_and_it_is_said_once(
    tmp_path, monkeypatch
):
    def with_norm(network, shape, classes, latent):
        layers = [nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)]
        return Bottleneck(nn.Sequential(*layers), nn.Linear(2, classes))

    monkeypatch.setattr(building, "build_network", with_norm)
    notes = Notes()
    run = tiny_run(tmp_path, notes, methods=["cross_entropy"], train={"epochs": 1})
    (note,) = notes.notes
    assert note.startswith("cross_entropy: running statistics, mixed precision, channels_last and")
    assert load_member(run.path, seed=1).encoder[2].num_batches_tracked > 0


def test_a_model_that_diverges_is_left_out_and_named(tmp_path, monkeypatch):
    poison(monkeypatch, lambda beta: beta == 1)
    notes = Notes()
    run = tiny_run(tmp_path, notes, methods=["vib"])
    kept = [Member("vib", beta, seed) for beta in (0.01, 0.1) for seed in (0, 1)]
    assert [record.member for record in run.records()] == kept
    stored = read_json(run.files("vib").failed, "list of diverged models", list[LostMember])
    assert stored == run.lost("vib")
    assert [(lost.beta, lost.seed) for lost in stored] == [(1.0, 0), (1.0, 1)]
    assert [lost.error for lost in stored] == [
        f"the loss of member {index} (seed {seed}) became nan in epoch 0, batch 0; lower "
        "train.learning_rate or beta"
        for index, seed in ((4, 0), (5, 1))
    ]
    assert notes.notes == [f"vib, beta 1, left out: {lost.error}" for lost in stored]
    with pytest.raises(ConfigError, match=r"beta 1\.0 is not in this run; valid: 0\.01, 0\.1"):
        load_member(run.path, "vib", 1.0)
    assert [row.beta for row in run.summary["vib"].rows] == [0.01, 0.1]
    assert run.history("vib")[0].losses["loss"][4:] == [None, None]


def test_a_method_of_which_all_diverge_does_not_stop_the_others(tmp_path, monkeypatch):
    poison(monkeypatch, lambda beta: beta > 0)
    notes = Notes()
    settings = {"methods": ["vib", "cross_entropy"], "betas": [0.1], "seeds": 2}
    run = tiny_run(tmp_path, notes, **settings)
    assert run.complete
    assert run.members() == [Member("cross_entropy", 0.0, seed) for seed in (0, 1)]
    assert [(lost.beta, lost.seed) for lost in run.lost("vib")] == [(0.1, 0), (0.1, 1)]
    assert len(notes.notes) == 2
    summary = run.summary["vib"]
    assert (summary.chosen_beta, summary.rows) == (None, [])
    assert run.classes == 10
    with pytest.raises(StoreError, match=r"every model of vib in .* has diverged: the loss of mem"):
        run.member("vib")
    assert tiny_run(tmp_path, Notes(), **settings).members() == run.members()


def test_where_no_model_is_left_the_run_ends_with_that(tmp_path, monkeypatch):
    poison(monkeypatch, lambda beta: beta > 0)
    for _ in range(2):
        with pytest.raises(DivergedError, match="vib: every model diverged, the loss of member 0"):
            tiny_run(tmp_path, methods=["vib"])
    run = Run.open(lone_folder(tmp_path))
    assert (run.complete, run.members(), len(run.lost("vib"))) == (True, [], 6)


def test_a_network_without_a_latent_is_measured_by_what_needs_none(tmp_path):
    settings = {"methods": ["cross_entropy", "label_smoothing"], "network": {"bottleneck": 0}}
    run = tiny_run(tmp_path, **settings, train={"epochs": 1})
    record = run.records(["label_smoothing"])[0]
    assert set(record.information["test"]) == {"variational_relevance"}
    assert 0 <= record.accuracy.test <= 1
    summary = run.summary["label_smoothing"]
    assert summary.knee.why is not None
    assert summary.knee.why.startswith("no I(X;Z) was measured: no latent")
    assert summary.rows[0].information_bits == {}
    assert run.pictures("label_smoothing") == {}


def test_a_latent_with_full_covariance_is_measured_by_its_rate_alone(tmp_path):
    run = tiny_run(tmp_path, **QUICK | {"network": {"bottleneck": 2, "latent": "full"}})
    (record,) = run.records()
    estimates = record.information["test"]
    assert set(estimates) == {"variational_relevance", "variational_rate"}
    assert estimates["variational_rate"].diagnostics["covariance"] == "full"
    assert not record.has_latent
    assert load_member(run.path, "vib", record.beta, 0).latent == "full"


def test_methods_of_different_networks_share_a_run(tmp_path):
    run = tiny_run(tmp_path, methods=["sfnn", "vib"], betas=[0.1], seeds=1, train={"epochs": 1})
    assert [run.config.networks[name].name for name in ("sfnn", "vib")] == ["binary", "mlp"]
    assert [record.method for record in run.records()] == ["sfnn", "vib"]
    assert isinstance(run.model(run.member("vib")), Bottleneck)


def test_what_processes_cannot_share_is_refused_before_anything_is_written(tmp_path):
    config = tiny_config(**QUICK | {"methods": ["vib", "hbar"]})
    reason = "hbar cannot be trained by 2 processes that share each batch: HSIC compares all"
    with pytest.raises(ConfigError, match=reason):
        engine.carry_out(config, tmp_path, Progress(), Processes(0, 2))
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_normalises_batches_is_noticed():
    assert engine._normalises(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)))
    assert not engine._normalises(nn.Sequential(nn.GroupNorm(1, 2)))


def test_progress_of_an_epoch_spans_the_models():
    record = EpochRecord(
        epoch=2,
        losses={"loss": [2.0, None, 0.5]},
        validation_accuracy=[0.25, None, 0.75],
        best_epoch=[0, 0, 0],
        seconds=1.0,
    )
    trainer: Any = SimpleNamespace(epoch=3, diverged={1: "nan"}, history=[record])
    shown = "epoch 3, loss 0.5 to 2, validation 25.0% to 75.0%, 1 diverged"
    assert engine._losses(trainer) == shown
    trainer.history = [replace(record, losses={"loss": [None, None, None]})]
    assert engine._losses(trainer) == "epoch 3, 1 diverged"
    trainer.diverged = {}
    assert engine._losses(trainer) == "epoch 3"
