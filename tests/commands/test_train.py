"""`narrows train`: one model, its accuracy and weights, resuming, and errors in one line."""

from importlib.metadata import version

import pytest
import torch

from narrows import load_member
from narrows.data import load
from narrows.runs import Run
from narrows.training import Trainer
from scenarios_runs import lone_folder, narrows, refused

TINY = ["--method", "vib", "--beta", "0.1", "--seed", "3", "--epochs", "2", "--quiet"]
NET = ["--set", "network.encoder=[8]", "--set", "evaluate.information_samples=50"]


def test_one_model_is_trained_and_can_be_loaded(tmp_path, capsys):
    code, out, err = narrows(capsys, "train", "--out", tmp_path, *TINY, *NET)
    assert (code, err) == (0, "")
    run = Run.open(lone_folder(tmp_path))
    assert (run.config.methods, run.config.grids) == (["vib"], {"vib": [0.1]})
    assert (run.config.seeds, run.config.first_seed) == (1, 3)
    (record,) = run.records()
    assert record.attacks is None
    accuracy, weights = out.splitlines()
    assert accuracy == (
        f"Accuracy: {record.accuracy.test:.2%} on test data, {record.accuracy.validation:.2%} on "
        f"validation data (epoch {record.best_epoch})"
    )
    assert weights == f"Weights: {run.path / 'vib' / 'models.safetensors'}"
    model, test = load_member(run.path), load("digits").test
    model.mode = "mean"
    with torch.no_grad():
        correct = model(test.all().x).logits.argmax(1) == test.y
    assert correct.double().mean().item() == pytest.approx(record.accuracy.test)


def test_a_broken_run_goes_on_and_a_finished_one_is_kept(tmp_path, capsys, monkeypatch):
    original = Trainer.run_epoch

    def interrupted(self, *args):
        if self.epoch == 1:
            raise KeyboardInterrupt
        return original(self, *args)

    words = ["train", "--out", tmp_path, *TINY, *NET, "--set", "train.checkpoint_seconds=0"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", interrupted)
        assert narrows(capsys, *words)[0] == 130
    folder = lone_folder(tmp_path)
    assert (folder / "vib" / "checkpoint.safetensors").exists()
    code, first, _ = narrows(capsys, *words)
    assert code == 0
    before = (folder / "vib" / "models.safetensors").stat().st_mtime_ns
    assert narrows(capsys, *words)[:2] == (0, first)
    assert (folder / "vib" / "models.safetensors").stat().st_mtime_ns == before


def test_wrapper_recipe_and_file_are_taken(tmp_path, capsys):
    (tmp_path / "net.toml").write_text('methods = ["cross_entropy"]\n[network]\nencoder = [9]\n')
    words = ["train", tmp_path / "net.toml", "--out", tmp_path / "out", "--quiet"]
    words += ["--adversarial", "pgd_training", "--settings", "ib-rar", "--epochs", "1"]
    words += ["--set", "options.pgd_training.steps=1", "--set", "evaluate.information_samples=50"]
    assert narrows(capsys, *words)[0] == 0
    config = Run.open(lone_folder(tmp_path / "out")).config
    encoder = config.networks["cross_entropy"].encoder
    assert (config.adversarial, encoder) == ("pgd_training", [9])
    train = config.train
    assert (train.optimiser, train.momentum, train.epochs) == ("sgd", 0.9, 1)


def test_one_model_of_a_runs_configuration(small_run, tmp_path, capsys):
    words = ["train", small_run.path / "config.json", "--method", "vib", "--beta", "0.5"]
    code, _, err = narrows(capsys, *words, "--out", tmp_path, "--quiet", "--epochs", "1")
    assert (code, err) == (0, "")
    config = Run.open(lone_folder(tmp_path)).config
    assert config.grids == {"vib": [0.5]}
    assert config.networks["vib"] == small_run.config.networks["vib"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "one model has one method, not cross_entropy, vib, aib; name it with --method"),
        (["--method", "vib"], "one model has one beta, not 0.001, "),
        (["--method", "vibb", "--beta", "1"], "unknown method 'vibb'; did you mean 'vib'?"),
        (["--method", "cross_entropy", "--beta", "1"], "cross_entropy has no beta, got 1.0"),
        (["--method", "vib", "--beta", "-1"], "beta must be finite and at least 0, got -1.0"),
        (["--method", "cross_entropy", "--adversarial", "trade"], "did you mean 'trades'?"),
        (["--method", "cross_entropy", "--settings", "ibrar"], "did you mean 'ib-rar'?"),
        (["--method", "cross_entropy", "--network", "mpl"], "did you mean 'mlp'?"),
        (["--method", "cross_entropy", "--seed", "-1"], "seed must lie in 0..4294967296, got -1"),
        (
            ["--method", "joint_imb", "--beta", ".1", "--network", "mlp"],
            "set network.name to binary",
        ),
        (
            ["--method", "cross_entropy", "--set", "options.mart.weigth=1"],
            "unknown option of mart 'weigth'; did you mean 'weight'?",
        ),
        (
            ["--method", "cross_entropy", "--adversarial", "mart", "--set", "options.mart.eps=8"],
            "adversarial training needs eps in [0, 1]",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, message, tmp_path, capsys):
    assert message in refused(capsys, "train", "--out", tmp_path, "--epochs", "1", *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "train"])
def test_help_names_every_network_wrapper_and_recipe(capsys, command):
    from narrows.methods.adversarial import WRAPPERS
    from narrows.models.networks import NETWORKS
    from narrows.training import PUBLISHED

    _, out, _ = narrows(capsys, command, "--help")
    unwrapped = "".join(out.split())
    names = (*NETWORKS, "binary", *WRAPPERS, *PUBLISHED)
    assert [name for name in names if name not in unwrapped] == []


def test_the_version_is_that_of_the_package(capsys):
    import narrows as package

    _, out, _ = narrows(capsys, "--version")
    assert out.split()[-1] == package.__version__ == version("narrows")
