"""A run of TensorBoard and of MLflow for each model, with the numbers of the records."""

import struct
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from narrows.errors import ConfigError, StoreError
from narrows.runs import Member
from narrows.stored.exporting import export_rows
from narrows.stored.tracking import export_mlflow, export_tensorboard, tracked_models
from scenarios_runs import copied, poison, tiny_run

MEMBER = Member("vib", 0.1, 1)


@pytest.fixture(scope="module")
def models(small_run):
    return list(tracked_models([small_run.path]))


@pytest.fixture(scope="module")
def model(small_run, models):
    name = f"{small_run.path.name}/{MEMBER.key}"
    return next(each for each in models if each.name == name)


def test_every_number_of_every_model_is_a_point(small_run, models):
    rows = [row for row in export_rows([small_run.path]) if row.value is not None]
    values = [value for each in models for name, _, value in each.points
              if not name.startswith("epoch/") and not name.endswith("/std_error")]  # fmt: skip
    assert values == [row.value for row in rows]
    assert [each.name.split("/")[1] for each in models] == [m.key for m in small_run.members()]


def test_the_curves_are_those_of_the_model_and_the_rest_is_at_its_best_epoch(small_run, model):
    index = small_run.config.members("vib").index(MEMBER)
    history = small_run.history("vib")
    losses = [(step, value) for name, step, value in model.points if name == "epoch/loss"]
    assert losses == [(epoch.epoch, epoch.losses["loss"][index]) for epoch in history]
    record = next(r for r in small_run.records(["vib"]) if r.member == MEMBER)
    assert ("accuracy/test", record.best_epoch, record.accuracy.test) in model.points
    assert ("accuracy/test_sampled", record.best_epoch, record.sampled_test_accuracy) in (
        model.points
    )
    assert model.settings["train.epochs"] == 2
    assert (model.settings["method"], model.settings["beta"]) == ("vib", 0.1)


def test_models_that_diverged_shift_nothing(tmp_path, monkeypatch):
    poison(monkeypatch, lambda beta: beta == 0.01)
    run = tiny_run(tmp_path, methods=["vib"])
    index = run.config.members("vib").index(MEMBER)
    (model,) = (m for m in tracked_models([run.path]) if m.name.endswith(MEMBER.key))
    losses = [value for name, _, value in model.points if name == "epoch/loss"]
    assert losses == [epoch.losses["loss"][index] for epoch in run.history("vib")]


def events(file: Path) -> Iterator:
    """The events of a file of TensorBoard: records of a length, a checksum, bytes, a checksum."""
    content, start = file.read_bytes(), 0
    while start < len(content):
        (size,) = struct.unpack_from("<Q", content, start)
        event = import_module("tensorboardX.proto.event_pb2").Event()
        event.ParseFromString(content[start + 12 : start + 12 + size])
        yield event
        start += size + 16


def test_tensorboard(models, model, tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    for _ in range(2):  # the second replaces the first
        count = export_tensorboard(models, tmp_path / "logs")
    assert count == sum(len(each.points) for each in models)
    (file,) = (tmp_path / "logs" / model.name).iterdir()
    values = [value for event in events(file) for value in event.summary.value]
    scalars = [value for value in values if value.HasField("simple_value")]
    assert [value.tag for value in scalars] == [name for name, _, _ in model.points]
    assert [value.simple_value for value in scalars] == pytest.approx(
        [value for _, _, value in model.points]
    )
    assert any(value.tag == "_hparams_/session_start_info" for value in values)


@pytest.mark.filterwarnings("ignore")
def test_mlflow(models, model, tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    path = tmp_path / "mlflow.db"
    for _ in range(2):  # the second replaces the first
        count = export_mlflow(models[-2:], path)
    assert count == sum(len(each.points) for each in models[-2:])
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}")
    home = client.get_experiment_by_name(model.data)
    runs = client.search_runs([home.experiment_id])
    assert {run.info.run_name for run in runs} == {each.name for each in models[-2:]}
    (run,) = (run for run in runs if run.info.run_name == models[-1].name)
    assert run.data.params == {name: str(value) for name, value in models[-1].settings.items()}
    history = client.get_metric_history(run.info.run_id, "epoch/loss")
    wanted = [(s, v) for name, s, v in models[-1].points if name == "epoch/loss"]
    assert sorted((metric.step, metric.value) for metric in history) == wanted


def test_a_file_that_is_no_store_is_left_as_it_is(models, tmp_path):
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    (tmp_path / "notes.db").write_text("notes")
    with pytest.raises(StoreError, match=r"notes\.db is no SQLite file"):
        export_mlflow(models, tmp_path / "notes.db")
    assert (tmp_path / "notes.db").read_text() == "notes"
    with pytest.raises(StoreError, match="cannot write"):
        export_mlflow(models, tmp_path / "none" / "mlflow.db")


def test_a_folder_that_cannot_be_written_is_named(models, tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(StoreError, match="cannot write"):
        export_tensorboard(models, tmp_path / "logs")


@pytest.mark.parametrize(
    ("write", "module", "command"),
    [
        (export_tensorboard, "tensorboardX", r"pip install 'narrows\[tensorboard\]'"),
        (export_mlflow, "mlflow", r"pip install 'narrows\[mlflow\]'"),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(
    write, module, command, models, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=command):
        write(models, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_not_finished_has_what_is_finished(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    run.files("vib").done.unlink()
    assert {each.settings["method"] for each in tracked_models([run.path])} == {"cross_entropy"}
