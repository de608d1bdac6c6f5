"""Bad input on the command line: one clear line, exit code 2, nothing lost, no traceback."""

import errno
import io
import os
import re
import subprocess
import sys

import pytest
import torch

from narrows import cli
from narrows.data import DATASETS, Dataset, Splits
from narrows.errors import StoreError
from narrows.methods import METHODS
from narrows.runs import Run
from narrows.training import trainer
from scenarios_runs import lone_folder, narrows, poison, refused

TINY = ["--epochs", "1", "--seeds", "1", "--methods", "vib", "--betas", "0.1",
        "--set", "network.encoder=[8]", "--set", "evaluate.attack=false",
        "--set", "evaluate.information_samples=50"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "vibb"], "unknown method 'vibb'; did you mean 'vib'?"),
        (["--data", "mnits"], "unknown data set 'mnits'; did you mean 'mnist'?"),
        (["--set", "train.epoch=3"], "Key 'epoch' not in 'TrainConfig'. Did you mean: 'epochs'?"),
        (["--set", "trian.epochs=3"], "Did you mean: 'train'?"),
        (["--set", "train.epochs=many"], "could not be converted to Integer"),
        (["--set", "options.aib.hiden=[8]"], "did you mean 'hidden'?"),
        (["--betas", "-1"], "beta must be finite and at least 0, got -1"),
        (["--betas", "nan"], "beta must be finite and at least 0, got nan"),
        (["--eps", "8"], "eps must be radii in (0, 1]"),
        (["--seeds", "0"], "seeds must be at least 1"),
        (["--seeds", "1000000"], "more than the 100,000 that one run may have"),
        (["--epochs", "0"], "train.epochs must be at least 1"),
        (["--set", "train.learning_rate=0"], "learning_rate must be positive"),
        (["--set", "network.encoder=[10000000,10000000]"], "GiB with their gradients"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used here"),
        (["--device", "toaster"], "device 'toaster' cannot be used here"),
        (["nowhere.toml"], "cannot read nowhere.toml"),
        (["--epochs", "2", "--set", "train.epochs=3"], "train.epochs is given twice"),
        (["--network", "cnn", "--set", "network.name=mlp"], "network.name is given twice"),
        (["--eps", "0.1", "--set", "evaluate.eps=[0.2]"], "evaluate.eps is given twice"),
        (["--seeds", "1", "--set", "seeds=1"], "seeds is given twice"),
        (["--set", "evaluate.samples=9223372036854775807"], "samples must be at most 1,000,000"),
        (["--methods", "vib", "--set", "options.vib.samples=10000000000"], "at most 1,000,000"),
        (["--methods", "sfnn", "--set", "options.sfnn.samples=9223372036854775807"], "at most"),
        (["nowhere.json"], "there is no nowhere.json"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(words, message, tmp_path, capsys):
    assert message in refused(capsys, "run", "--out", tmp_path, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--seed", "3"], "--seeds"),
        (["rnu"], "run"),
        (["run", "--betas", "a,b"], "expected comma-separated numbers"),
        (["run", "--seeds", "x"], "not a valid integer"),
        (["run", "--out", "r\udcff"], "expected a path in UTF-8"),
        (["report", "r\udcff"], "expected a path in UTF-8"),
        (["attack", "r\udcff", "--eps", "0.1"], "TARGET must be a path in UTF-8"),
        (["train", "--epochs", "2", "--set", "train.epochs=3"], "train.epochs is given twice"),
    ],
)
def test_what_click_refuses_exits_with_2_too(words, message, capsys):
    code, _, err = narrows(capsys, *words)
    assert code == 2
    assert message in err


def test_a_file_that_is_not_toml(tmp_path, capsys):
    (tmp_path / "run.toml").write_text("data = digits\n")
    assert "is not valid TOML" in refused(capsys, "run", tmp_path / "run.toml")


def test_options_go_over_the_file(tmp_path, capsys):
    (tmp_path / "run.toml").write_text('data = "digits"\nseeds = 7\n[train]\nepochs = 9\n')
    words = ["run", tmp_path / "run.toml", "--out", tmp_path / "out", "--quiet", *TINY]
    assert narrows(capsys, *words)[0] == 0
    config = Run.open(lone_folder(tmp_path / "out")).config
    assert (config.train.epochs, config.seeds) == (1, 1)


def test_out_that_cannot_be_a_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, err = narrows(capsys, "run", "--out", tmp_path / "file", *TINY)
    assert code == 2
    assert "cannot create" in err
    assert "--out" in err


@pytest.mark.parametrize("command", ["report", "knee", "reevaluate", "attack", "audit"])
def test_a_folder_that_is_no_run(command, tmp_path, capsys):
    more = ["--eps", "0.1"] if command in ("attack", "audit") else []
    assert "it has no config.json" in refused(capsys, command, tmp_path, *more)
    assert list(tmp_path.iterdir()) == []


def test_diverged_models_end_no_other_method_and_alone_end_the_command(
    tmp_path, capsys, monkeypatch
):
    poison(monkeypatch, lambda beta: beta > 0)
    words = ["run", "--out", tmp_path, *TINY, "--methods", "cross_entropy,vib"]
    code, out, err = narrows(capsys, *words)
    # The others are trained and on the page; that a whole method is lost is said at the end.
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("narrows: vib: every model diverged, the loss of member 0 (seed 0)")
    assert "vib, beta 0.1, left out: the loss of member 0 (seed 0) became nan in epoch 0" in out
    assert "Report: " in out
    run = Run.open(lone_folder(tmp_path))
    assert run.files("vib").failed.exists()
    assert [record.method for record in run.records()] == ["cross_entropy"]
    page = (run.path / "report.html").read_text()
    assert "vib: 1 of 1 models diverged and are in no result" in page
    words = ["run", "--out", tmp_path / "alone", *TINY, "--quiet"]
    err = refused(capsys, *words)
    assert "vib: every model diverged, the loss of member 0" in err
    assert "epoch 0, batch 0" in err


@pytest.mark.parametrize(("bad", "message"), [(float("nan"), "NaN"), (7.0, "must lie in [0, 1]")])
def test_data_with_impossible_values(bad, message, tmp_path, capsys, monkeypatch):
    def broken(root=None):
        x = torch.full((40, 1, 8, 8), 0.5)
        x[3, 0, 2, 1] = bad
        part = Dataset("digits", x, torch.arange(40) % 10, 10)
        return Splits(part, part, part)

    monkeypatch.setitem(DATASETS, "digits", broken)
    assert message in refused(capsys, "run", "--out", tmp_path, *TINY)


def test_mnist_that_cannot_be_had(tmp_path, capsys, monkeypatch):
    import pooch

    def offline(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", offline)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    monkeypatch.delenv("NARROWS_DATA", raising=False)
    code, _, err = narrows(capsys, "run", "--data", "mnist", "--out", tmp_path / "out", *TINY)
    assert code == 2
    assert "NARROWS_DATA" in err
    assert "train-images-idx3-ubyte.gz" in err


def test_a_damaged_checkpoint_is_named(tmp_path, capsys):
    words = ["run", "--out", tmp_path, *TINY, "--quiet"]
    assert narrows(capsys, *words)[0] == 0
    folder = lone_folder(tmp_path)
    for name in ("done.json", "models.safetensors"):
        (folder / "vib" / name).unlink()
    (folder / "vib" / "checkpoint.safetensors").write_bytes(b"half of a file")
    assert "checkpoint.safetensors" in refused(capsys, *words)


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer.Trainer, "run_epoch", interrupted)
    code, _, err = narrows(capsys, "run", "--out", tmp_path, *TINY)
    assert code == 130
    message = "narrows: interrupted. What is finished is kept; the same command continues"
    assert err.splitlines() == ["", message]  # the first ends the line of ^C


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (StoreError("a\nb   c"), "narrows: a b c\n"),
        (OSError(errno.ENOSPC, "No space left", "a.json"), "narrows: a.json: No space left\n"),
        (OSError("odd"), "narrows: odd\n"),
        (PermissionError(errno.EACCES, "Permission denied"), "narrows: Permission denied\n"),
        (MemoryError(), "narrows: the memory is full; take a smaller batch, network or number of"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nmore"), "is full (CUDA out of memory."),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "is full ([en"),
        (RuntimeError("not enough memory: you tried"), "narrows: the memory is full (not enough"),
    ],
)
def test_what_the_machine_refuses_is_one_line(error, message, capsys, monkeypatch):
    def failing(*arguments, **options):
        raise error

    monkeypatch.setattr(cli.cli, "main", failing)
    assert message in refused(capsys, "run")


@pytest.mark.parametrize("error", [RuntimeError("a bug"), TypeError("a bug"), ZeroDivisionError()])
def test_a_bug_keeps_its_traceback(error, monkeypatch):
    def failing(*arguments, **options):
        raise error

    monkeypatch.setattr(cli.cli, "main", failing)
    with pytest.raises(type(error)):
        cli.main(["run"])


class Full(io.StringIO):
    """A file on a disk that fills up after the first line."""

    def write(self, text: str) -> int:
        if self.tell():
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_full_disk_behind_the_output_loses_no_results(tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Full())
        with pytest.raises(SystemExit) as stop:
            cli.main(["run", "--out", str(tmp_path), *TINY])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "the output could not be written (No space left on device); files are complete" in err
    run = Run.open(lone_folder(tmp_path))
    assert run.complete
    assert (run.path / "report.html").exists()


def test_a_closed_pipe_is_no_error(small_run, capsys, monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Closed())
        with pytest.raises(SystemExit) as stop:
            cli.main(["knee", str(small_run.path)])
    assert (stop.value.code, capsys.readouterr().err) == (0, "")


def test_a_terminal_without_the_characters_shows_substitutes(small_run):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "narrows.cli", "report", str(small_run.path), "--markdown"]
    result = subprocess.run(command, capture_output=True, env=environment)
    assert (result.returncode, result.stderr) == (0, b"")
    lines = result.stdout.decode("ascii").splitlines()
    assert len(lines) == 2 + 4
    assert " ? " in lines[2]  # the sign between mean and spread


def test_help_and_version_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None; from narrows.cli import main; main(['run', '-h'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    unwrapped = re.sub(r"\s", "", result.stdout)
    for name in (*METHODS, *DATASETS):
        assert name in unwrapped
    for option in ("--data", "--methods", "--betas", "--seeds", "--epochs", "--device", "--out"):
        assert option in result.stdout
