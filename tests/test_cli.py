"""Bad input on the command line: one clear line, exit code 2, nothing lost, no traceback."""

import re
import subprocess
import sys

import pytest
import torch

from narrows.cli import main
from narrows.data import DATASETS, Dataset, Splits
from narrows.methods import METHODS

TINY = ["--epochs", "1", "--seeds", "1", "--methods", "vib", "--betas", "0.1"]


def narrows(capsys, *words) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return stop.value.code or 0, said.out, said.err


@pytest.mark.parametrize(
    ("words", "said"),
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
        (["--epochs", "0"], "train.epochs must be at least 1"),
        (["--set", "train.learning_rate=0"], "learning_rate must be positive"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used here"),
        (["--device", "toaster"], "device 'toaster' cannot be used here"),
        (["nowhere.toml"], "cannot read nowhere.toml"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(words, said, tmp_path, capsys):
    code, out, err = narrows(capsys, "run", "--out", tmp_path, *words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--seed", "3"], "--seeds"),
        (["rnu"], "run"),
        (["run", "--betas", "a,b"], "expected numbers with commas"),
        (["run", "--seeds", "x"], "not a valid integer"),
    ],
)
def test_what_click_refuses_exits_with_2_too(words, said, capsys):
    code, _, err = narrows(capsys, *words)
    assert code == 2
    assert said in err


def test_a_file_that_is_not_toml(tmp_path, capsys):
    (tmp_path / "run.toml").write_text("data = digits\n")
    code, _, err = narrows(capsys, "run", tmp_path / "run.toml")
    assert code == 2
    assert "is not valid TOML" in err


def test_options_go_over_the_file(tmp_path, capsys):
    (tmp_path / "run.toml").write_text('data = "digits"\nseeds = 7\n[train]\nepochs = 9\n')
    words = ["run", tmp_path / "run.toml", "--out", tmp_path / "out", "--quiet", *TINY]
    assert narrows(capsys, *words)[0] == 0
    (folder,) = (tmp_path / "out").iterdir()
    assert '"epochs": 1' in (folder / "config.json").read_text()


def test_out_that_cannot_be_a_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, err = narrows(capsys, "run", "--out", tmp_path / "file", *TINY)
    assert code == 2
    assert "cannot create" in err
    assert "--out" in err


def test_a_folder_that_is_no_run(tmp_path, capsys):
    code, _, err = narrows(capsys, "report", tmp_path)
    assert code == 2
    assert "there is no" in err


def test_diverged_training_is_marked_and_finished_methods_are_kept(tmp_path, capsys, monkeypatch):
    words = ["run", "--out", tmp_path, *TINY, "--methods", "cross_entropy,vib", "--quiet"]

    def poisoned(self, output, batch):
        terms = original(self, output, batch)
        return {
            name: term._replace(value=term.value * float("nan")) for name, term in terms.items()
        }

    from narrows.methods import VIB

    original = VIB.regulariser
    with monkeypatch.context() as patch:
        patch.setattr(VIB, "regulariser", poisoned)
        code, _, err = narrows(capsys, *words)
    assert code == 2
    assert "vib: the loss of member 0" in err
    assert "epoch 0, batch 0" in err
    (folder,) = tmp_path.iterdir()
    assert (folder / "vib" / "failed.json").exists()
    assert (folder / "cross_entropy" / "done.json").exists()
    # With the cause mended the same command goes on, and the mark is gone.
    assert narrows(capsys, *words)[0] == 0
    assert not (folder / "vib" / "failed.json").exists()


@pytest.mark.parametrize(("bad", "said"), [(float("nan"), "NaN"), (7.0, "must lie in [0, 1]")])
def test_data_with_impossible_values(bad, said, tmp_path, capsys, monkeypatch):
    def broken(root=None):
        x = torch.full((40, 1, 8, 8), 0.5)
        x[3, 0, 2, 1] = bad
        part = Dataset("digits", x, torch.arange(40) % 10, 10)
        return Splits(part, part, part)

    monkeypatch.setitem(__import__("narrows.data").data.DATASETS, "digits", broken)
    code, _, err = narrows(capsys, "run", "--out", tmp_path, *TINY)
    assert code == 2
    assert said in err


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
    (folder,) = tmp_path.iterdir()
    (folder / "vib" / "done.json").unlink()
    (folder / "vib" / "checkpoint.safetensors").write_bytes(b"half of a file")
    code, _, err = narrows(capsys, *words)
    assert code == 2
    assert "checkpoint.safetensors" in err
    assert err.count("\n") == 1


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    from narrows.training import trainer

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer.Trainer, "run_epoch", interrupted)
    code, _, err = narrows(capsys, "run", "--out", tmp_path, *TINY)
    assert code == 130
    assert "The same command goes on" in err


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
