"""Several processes train one model, and end where one would."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from torch import nn

from narrows.data import Dataset
from narrows.methods import CrossEntropy
from narrows.models.noise import SeededNoise, noise_from, noise_of_rows, standard_normal
from narrows.storage import load_tensors
from narrows.training import Looped, Objective, Processes, TrainConfig, fit, joined_processes
from scenarios_runs import narrows

TRAIN = (
    "train --data digits --method vib --beta 0.1 --epochs 2 --set train_images=150 --quiet "
    "--set train.batch_size=63 --set network.encoder=[8] --set network.decoder=[] "
    "--set train.averaging=0.9 --set train.clip_norm=1 --set evaluate.information_samples=50 "
    "--set train.learning_rate=0.01 --out"
)
CODE = """
import sys
from pathlib import Path
from test_processes import train_normalised
from narrows.cli import main
train_normalised(Path(sys.argv[1]))
main(sys.argv[2:])
"""
LEAVES = "from narrows.training import joined_processes\nwith joined_processes(): pass"


def normalised() -> Looped:
    """A network whose layers keep running statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)
    return Looped([Objective(nn.Sequential(*layers), CrossEntropy())], [0])


def train_normalised(folder) -> None:
    """Train it in every process and save what each has, then take the other port."""
    generator = torch.Generator().manual_seed(0)
    data = Dataset("noise", torch.rand(40, 6, generator=generator), torch.arange(40) % 3, 3)
    with joined_processes() as processes:
        config = TrainConfig(epochs=2, batch_size=16)
        fitted = fit(normalised(), data, data, config, processes=processes)
        tensors = {**fitted.members.named_tensors()}
        torch.save((tensors, fitted.history), folder / f"{processes.rank}.pt")
    os.environ["MASTER_PORT"] = os.environ["OTHER_PORT"]


def free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as other:
        for found in (one, other):
            found.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], other.getsockname()[1]]


def start(codes: list[str], *words: object) -> list[tuple[int, str, str]]:
    """One process for each code, as `torchrun` starts them: exit code and streams of each."""
    port, other = map(str, free_ports())
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OTHER_PORT": other}
    shared |= {"WORLD_SIZE": str(len(codes)), "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)],
            env={**os.environ, **shared, "RANK": str(rank), "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, code in enumerate(codes)
    ]
    streams = [process.communicate(timeout=120) for process in started]
    return [(p.returncode, *printed) for p, printed in zip(started, streams, strict=True)]


def test_two_processes_train_what_one_trains(tmp_path, capsys):
    ends = start([CODE, CODE], tmp_path, *TRAIN.split(), tmp_path / "two")
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert [printed.splitlines()[0][:9] if printed else "" for _, printed, _ in ends] == [
        "Accuracy:",
        "",
    ]
    assert narrows(capsys, *TRAIN.split(), tmp_path / "one")[0] == 0
    (one,), (two,) = ((tmp_path / name).glob("*/vib/models.safetensors") for name in ("one", "two"))
    assert one.parts[-3:] == two.parts[-3:]
    (alone, header), (shared, same) = load_tensors(one), load_tensors(two)
    assert header == same
    for name, tensor in alone.items():
        torch.testing.assert_close(shared[name], tensor, rtol=1e-5, atol=1e-6)
    # Batch normalisation: both processes have the same statistics, which are the mean of theirs.
    (first, history), (second, other) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2)
    )
    assert [record.losses for record in history] == [record.losses for record in other]
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    assert first["model.1.running_mean"].abs().max() > 0


@pytest.mark.slow
def test_a_process_that_stops_ends_the_others_in_one_line(tmp_path):
    leads = "import sys\nfrom narrows.cli import main\nmain(sys.argv[1:])"
    (code, _, err), _ = start([leads, LEAVES], *TRAIN.split(), tmp_path)
    assert code == 2
    assert "another process of this training has stopped" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_are_a_batch(size, count):
    shares = [Processes(rank, count).share(size) for rank in range(count)]
    assert sum(share.weight for share in shares) == pytest.approx(1)
    seen = sorted(row for share in shares for row in range(size)[share.rows])
    assert seen == (list(range(size)) if size >= count else sorted([*range(size)] * count))


def test_noise_is_that_of_the_whole_batch():
    def drawn(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        with noise_from(SeededNoise(torch.Generator().manual_seed(0))):
            return standard_normal(shape, like)

    whole, rows = torch.zeros(7, 3), slice(1, None, 2)
    part = whole[rows]
    with noise_of_rows(rows, 7):
        shared = drawn((3, 3), part), drawn((4, 3, 3), part), drawn((5,), part)
    assert torch.equal(shared[0], drawn((7, 3), whole)[rows])
    assert torch.equal(shared[1], drawn((4, 7, 3), whole)[:, rows])
    assert torch.equal(shared[2], drawn((5,), whole))


def test_one_process_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_processes() as processes:
        assert (processes.rank, processes.count, processes.leads) == (0, 1, True)
        values = torch.ones(3)
        processes.average([values])
        processes.announce(None)
    assert torch.equal(values, torch.ones(3))
