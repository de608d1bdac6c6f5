"""A run that was broken off and goes on gives the numbers of one that never was."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from narrows import BinaryStochasticNet, Bottleneck
from narrows.errors import CheckpointError, StoreError
from narrows.methods import METHODS, Sizes
from narrows.storage import load_tensors, save_tensors
from narrows.training import (
    Looped,
    Members,
    Objective,
    Solo,
    Stacked,
    TrainConfig,
    Trainer,
    fit,
)
from scenarios_training import prototypes

SIZES = Sizes(inputs=20, latent=3, classes=4, hidden=(8, 3))
TRAIN, VALIDATION = prototypes(n=96), prototypes(n=40, seed=1)


def network(latent: str, norm: bool) -> nn.Module:
    """With dropout, and batch normalisation where it can be."""
    if latent == "binary":
        return BinaryStochasticNet(20, [8, 3], 4)
    between = nn.BatchNorm1d(8) if norm else nn.Identity()
    width = 6 if latent == "gaussian" else 3
    encoder = nn.Sequential(nn.Linear(20, 8), between, nn.Dropout(0.3), nn.Linear(8, width))
    return Bottleneck(encoder, nn.Linear(3, 4), latent=latent)


def members(name: str, kind: str = "stacked") -> Members:
    kinds = {"solo": lambda o, s: Solo(o[0], s[0]), "stacked": Stacked, "looped": Looped}
    made, method = [], METHODS[name]
    beta = 0.1 if method.has_beta else 0.0
    options = {"samples": 4} if method.latent == "binary" else {}
    for seed in (0, 5):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = network(method.latent, norm=kind != "stacked")
            made.append(Objective(model, method.build(beta, SIZES, **options)))
    return kinds[kind](made, [0, 5])


def config(**changes) -> TrainConfig:
    plain = {"epochs": 6, "batch_size": 16, "averaging": 0.9, "checkpoint_seconds": 0.0}
    return TrainConfig(**{**plain, **changes})


def state(trainer: Trainer) -> dict[str, torch.Tensor]:
    live = {name: tensor.clone() for name, tensor in trainer.members.named_tensors().items()}
    best = {f"best {k}": v.clone() for k, v in trainer.best_members().named_tensors().items()}
    return live | best


def history(trainer: Trainer) -> list[dict]:
    return [{**vars(record), "seconds": 0} for record in trainer.history]


def assert_identical(one: Trainer, other: Trainer) -> None:
    assert history(one) == history(other)
    first, second = state(one), state(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def assert_resumes(file: Path, name: str, kind: str, settings: TrainConfig) -> None:
    whole = fit(members(name, kind), TRAIN, VALIDATION, settings)

    def stop(trainer: Trainer) -> None:
        if trainer.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(members(name, kind), TRAIN, VALIDATION, settings, checkpoint=file, on_epoch=stop)
    torch.rand(17)  # what else a process may have drawn by then
    seen = []
    resumed = fit(
        members(name, kind),
        TRAIN,
        VALIDATION,
        settings,
        checkpoint=file,
        on_epoch=lambda trainer: seen.append(trainer.epoch),
    )
    assert seen == [3, 4, 5, 6]
    assert_identical(whole, resumed)


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("kind", ["solo", "stacked"])
@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_resumed_run_is_identical_to_the_last_bit(tmp_path, name, kind, averaging):
    assert_resumes(tmp_path / "checkpoint", name, kind, config(averaging=averaging))


SETTINGS = {
    "sgd": {"optimiser": "sgd"},
    "momentum": {"optimiser": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "adadelta": {"optimiser": "adadelta", "learning_rate": 1.0},
    "adagrad": {"optimiser": "adagrad", "weight_decay": 0.01},
    "adamax": {"optimiser": "adamax", "clip_norm": 0.1},
    "cosine": {"schedule": "cosine", "clip_norm": 0.5},
    "linear ramp": {"beta_ramp": 4},
    "log ramp": {"beta_ramp": 2, "beta_scale": "log", "beta_start": 1e-8},
}


@pytest.mark.parametrize("settings", list(SETTINGS))
@pytest.mark.parametrize("kind", ["solo", "stacked", "looped"])
def test_all_settings_resume_to_the_last_bit(tmp_path, settings, kind):
    assert_resumes(tmp_path / "checkpoint", "aib", kind, config(**SETTINGS[settings]))


def test_mixed_precision_resumes_to_the_last_bit(tmp_path):
    settings = config(precision="bfloat16")
    assert_resumes(tmp_path / "checkpoint", "vib", "looped", settings)


def test_a_checkpoint_of_another_optimiser_is_refused(tmp_path):
    running = Trainer(members("vib"), TRAIN, VALIDATION, config(averaging=0.0))
    running.run_epoch()
    running.save(tmp_path / "a", "")
    other = config(averaging=0.0, optimiser="sgd", momentum=0.9)
    with pytest.raises(CheckpointError, match=r"holds adam\.model, which this run does not have"):
        Trainer(members("vib"), TRAIN, VALIDATION, other).resume(tmp_path / "a", "")


def test_a_finished_run_is_not_trained_again(tmp_path):
    file, steps = tmp_path / "checkpoint.safetensors", []
    first = fit(members("vib"), TRAIN, VALIDATION, config(), checkpoint=file)
    again = fit(
        members("vib"),
        TRAIN,
        VALIDATION,
        config(),
        checkpoint=file,
        on_step=lambda: steps.append(1),
    )
    assert steps == []
    assert_identical(first, again)


def test_a_last_epoch_is_saved_however_rarely_checkpoints_are_due(tmp_path):
    file, saved = tmp_path / "checkpoint.safetensors", []
    settings = config(checkpoint_seconds=1e6)
    fit(
        members("vib"),
        TRAIN,
        VALIDATION,
        settings,
        checkpoint=file,
        on_epoch=lambda trainer: saved.append(file.exists()),
    )
    assert saved == [False] * 5 + [True]


def test_a_disk_that_fills_up_costs_the_epochs_since_the_last_checkpoint(tmp_path, monkeypatch):
    file, real = tmp_path / "checkpoint.safetensors", os.fsync
    left = iter([True, True])

    def fill_up(descriptor):
        if not next(left, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(StoreError, match="No space left on device"):
        fit(members("vib"), TRAIN, VALIDATION, config(), checkpoint=file)
    monkeypatch.undo()
    assert load_tensors(file)[1]["epoch"] == 2
    assert list(tmp_path.iterdir()) == [file]
    resumed = fit(members("vib"), TRAIN, VALIDATION, config(), checkpoint=file)
    assert_identical(fit(members("vib"), TRAIN, VALIDATION, config()), resumed)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {here!r}]
import torch
torch.set_num_threads(1)
from test_fit import TRAIN, VALIDATION, config, members
from narrows.training import fit

def die():
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

left = 6 * 3 + 4  # in the middle of the fourth epoch
fit(members("aib"), TRAIN, VALIDATION, config(), checkpoint=Path(sys.argv[1]), on_step=die)
"""


def test_a_killed_process_loses_nothing_but_time(tmp_path):
    file, here = tmp_path / "checkpoint.safetensors", Path(__file__).parent
    code = KILLED.format(tests=str(here.parent), here=str(here))
    killed = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_tensors(file)[1]["epoch"] == 3
    resumed = fit(members("aib"), TRAIN, VALIDATION, config(), checkpoint=file)
    assert_identical(fit(members("aib"), TRAIN, VALIDATION, config()), resumed)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    trainer = Trainer(members("aib"), TRAIN, VALIDATION, config())
    trainer.run_epoch()
    trainer.save(tmp_path / "checkpoint.safetensors", "run/aib")
    return tmp_path / "checkpoint.safetensors"


def resume(file: Path, name: str = "aib", identity: str = "run/aib") -> None:
    Trainer(members(name), TRAIN, VALIDATION, config()).resume(file, identity)


def test_a_checkpoint_of_another_run_is_refused(checkpoint):
    message = r"belongs to another run \(identity 'run/aib', expected 'other/aib'\)"
    with pytest.raises(CheckpointError, match=message):
        resume(checkpoint, identity="other/aib")
    with pytest.raises(CheckpointError, match=r"does not fit this run: tensor 'average/.*missing"):
        resume(checkpoint, name="vib")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    for header in ({"members": []}, [1], None):
        save_tensors(tmp_path / "a", {"w": torch.ones(1)}, header)
        with pytest.raises(CheckpointError, match="a is not a checkpoint of a training run"):
            resume(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run/weights/model.decoder.bias": None}, "'weights/model.decoder.bias' is missing in"),
        ({"run/best/model.decoder.bias": None}, "'best/model.decoder.bias' is missing in the ch"),
        ({"run/average/model.decoder.bias": torch.ones(1, 4)}, r"has shape \(1, 4\) in the check"),
        ({"run/best_epoch": torch.zeros(3)}, r"'best_epoch' has shape \(3,\)"),
        ({"run/surplus": torch.zeros(3)}, "'surplus' is missing in the model"),
        ({"adam.model/0.exp_avg": None}, "state of Adam does not fit parameter 0"),
        ({"adam.critic/0.exp_avg": torch.ones(2, 2)}, "state of Adam does not fit parameter 0"),
        ({"adam.model/99.step": torch.ones(())}, "list index out of range"),
        ({"random/order/1": None}, "random state 'order/1' does not fit"),
        ({"random/noise/0": torch.zeros(3, dtype=torch.uint8)}, "delete it to start over"),
        ({"random/global/cpu": torch.zeros(5056)}, "delete it to start over"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_sentence(checkpoint, change, message):
    tensors, header = load_tensors(checkpoint)
    changed = {name: tensor for name, tensor in (tensors | change).items() if tensor is not None}
    save_tensors(checkpoint, changed, header)
    with pytest.raises(CheckpointError, match=message) as raised:
        resume(checkpoint)
    assert str(raised.value).startswith(f"{checkpoint} does not fit this run: ")
    assert "\n" not in str(raised.value)


BROKEN = [
    *({"history": [{"epoch": 0}]}, {"history": 3}, {"history": []}, {"history": None}),
    *({"epoch": None}, {"epoch": "1"}, {"epoch": 2}, {"epoch": -1}, {"epoch": 1.5}),
    *({"steps": None}, {"steps": -3}, {"steps": [1]}),
    *({"diverged": 3}, {"diverged": [[0]]}, {"diverged": [[7, [0, 0, "nan", "loss"]]]}),
    {"diverged": [[0, [0, "x", "nan", "loss"]]]},
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_header_that_does_not_fit_is_refused(checkpoint, broken):
    tensors, header = load_tensors(checkpoint)
    kept = {key: value for key, value in (header | broken).items() if value is not None}
    save_tensors(checkpoint, tensors, kept)
    with pytest.raises(CheckpointError, match="does not fit this run"):
        resume(checkpoint)


@pytest.mark.parametrize(
    "change",
    [
        {"losses": 5},
        {"losses": {"loss": 1.0}},
        {"losses": {"loss": [0.1]}},
        {"best_epoch": [0.5, 1, 1, 1]},
        {"validation_accuracy": None},
        {"seconds": "long"},
    ],
)
def test_a_record_of_an_epoch_that_does_not_fit_is_refused(checkpoint, change):
    tensors, header = load_tensors(checkpoint)
    header["history"][0] |= change
    save_tensors(checkpoint, tensors, header)
    with pytest.raises(CheckpointError, match="does not fit this run"):
        resume(checkpoint)


def test_weights_of_another_type_are_refused(checkpoint):
    tensors, header = load_tensors(checkpoint)
    name = "run/weights/model.decoder.bias"
    save_tensors(checkpoint, tensors | {name: tensors[name].double()}, header)
    with pytest.raises(CheckpointError, match=r"is torch.float64 in the checkpoint and torch.floa"):
        resume(checkpoint)


def test_the_checkpoint_may_be_named_by_its_text(tmp_path):
    file = str(tmp_path / "a.safetensors")
    trained = fit(members("vib"), TRAIN, VALIDATION, config(), checkpoint=file)
    assert fit(members("vib"), TRAIN, VALIDATION, config(), checkpoint=file).steps == trained.steps
