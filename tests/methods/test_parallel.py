"""Two processes train one model; what the method trains stays equal in both."""

import os
import socket
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from narrows.methods import AIB, CEB, HBaR, JointIMB, Method
from narrows.models import BinaryStochasticNet, Bottleneck

PROCESSES = 2


def pairs() -> dict[str, tuple[nn.Module, Method]]:
    """Models and methods with weights of their own, other ones in each process."""
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    return {
        "ceb": (Bottleneck(nn.Linear(6, 4), nn.Linear(4, 3), latent="unit"), CEB(0.5, 4, 3)),
        "aib": (Bottleneck(nn.Linear(6, 4), nn.Linear(4, 3)), AIB(0.5, 6, 4, hidden=(5,))),
        "joint_imb": (BinaryStochasticNet(6, [5, 4], 3), JointIMB(0.1, [5, 4], samples=2)),
        "hbar": (plain, HBaR(0.1, layers=["1"])),
    }


def batch(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rank)
    return torch.rand(8, 6, generator=generator), torch.arange(8) % 3


def train(model: nn.Module, method: Method, rank: int) -> None:
    critic = set(method.critic_parameters())
    of_critic = torch.optim.SGD(critic or [torch.zeros(1, requires_grad=True)], 0.1)
    rest = [p for p in method.parameters() if p not in critic]
    optimiser = torch.optim.SGD([*model.parameters(), *rest], 0.1)
    for _ in range(2):
        if isinstance(method, AIB):
            method.critic_step(model, *batch(rank), of_critic)
        optimiser.zero_grad()
        method(model, *batch(rank)).backward()
        optimiser.step()


def mean_of_class_means(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of CEB's means as it is averaged, and by hand from both batches."""
    torch.manual_seed(0)
    model, method = pairs()["ceb"]
    model.mode = "mean"
    parts = []
    for other in range(PROCESSES):
        method(model, *batch(other)).backward()
        parts.append(method.class_means.grad)
        method.zero_grad()
    method(DistributedDataParallel(model), *batch(rank)).backward()
    return method.class_means.grad, sum(parts) / PROCESSES


def work(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    torch.manual_seed(rank)
    weights = {}
    for name, (model, method) in pairs().items():
        train(DistributedDataParallel(model), method, rank)
        tensors = [*model.parameters(), *method.parameters(), *method.buffers()]
        weights[name] = torch.cat([tensor.detach().flatten() for tensor in tensors])
    torch.save((weights, mean_of_class_means(rank)), Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()


def test_what_a_method_trains_is_equal_in_all_processes(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A process of its own imports this file by its name.
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(sys.modules, "test_parallel", sys.modules[__name__])
    monkeypatch.setattr(work, "__module__", "test_parallel")
    mp.spawn(work, (port, str(tmp_path)), PROCESSES)
    (first, (found, expected)), (second, _) = (
        torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)
    )
    for name, weights in first.items():
        assert torch.isfinite(weights).all(), name
        assert torch.equal(weights, second[name]), name
    torch.testing.assert_close(found, expected)
