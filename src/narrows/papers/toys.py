"""Two toy tasks on which a bottleneck could ignore what is fragile, and whether it does.

    accuracy on samples as they come, and after the fragile features are moved against the label

Source: Korshunova, Stutz, Alemi, Wiles & Gowal (2021), arXiv 2107.05712, section 3.3 and the
appendix: Figure 5 (Toy 1: VIB with two units, 1,000 steps), Figure 7 (Toy 2: 25 units, 200 steps).
SGD at .003 with Nesterov's momentum .9, batches of 1,024 that are drawn anew at each step, 12 draws
of the code in training and in stochastic evaluation, a fixed set of 10,000 samples. The linear
network begins at zero; the encoder of VIB begins at Xavier's uniform weights, its decoder at zero.

The samples of Toy 1 whose evidence contradicts itself come from the regions of low density: all of
them have the wrong sign of x2. Those of Toy 2 are moved by 2 eta.

Deviations: the paper gives the tested betas only as points of a plot; here they are 1e-3 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from narrows.data import Dataset
from narrows.data.toys import Toy1, Toy2
from narrows.errors import ConfigError, StoreError
from narrows.methods import VIB, CrossEntropy, Method
from narrows.models import Bottleneck, as_classifier
from narrows.models.noise import forked_rng
from narrows.models.outputs import logits_of
from narrows.runs import Progress
from narrows.runs.files import locked_folder, read_json, write_json

__all__ = ["TOYS", "ToyConfig", "ToyResult", "read_toy", "run_toy"]

_KIND = "toy experiment"
_EVALUATED = 10_000
_DRAWS = 12
_EVALUATION_SEED = 2**31  # far from those of the training batches
_LINEAR = "linear"


@dataclass(frozen=True)
class ToyConfig:
    """What is trained on a toy task.

    Args:
        name: `"toy1"` or `"toy2"`.
        units: of the code.
        steps: of the optimiser.
        betas: of VIB.
        seeds: number of seeds, counted from 0.
        batch_size: samples per step.
    """

    name: str
    units: int
    steps: int
    betas: list[float] = field(default_factory=lambda: [1e-3, 1e-2, 0.1, 0.3, 0.5, 0.8, 1.0])
    seeds: int = 10
    batch_size: int = 1024

    def __post_init__(self) -> None:
        if self.name not in _TASKS or min(self.units, self.steps, self.seeds, self.batch_size) < 1:
            raise ConfigError(f"expected toy1 or toy2 and positive counts, got {self}")


@dataclass(frozen=True)
class ToyResult:
    """Accuracies of one network.

    Attributes:
        model: `"linear"` or `"vib"`.
        beta: of VIB; 0 for the linear network.
        mode: `"mean"` or `"sample"` of 12 draws; `"deterministic"` for the linear network.
        seed: of weights, batches and noise.
        clean: on samples as they come.
        shifted: on those that contradict the label in all but x1.
    """

    model: str
    beta: float
    mode: str
    seed: int
    clean: float
    shifted: float


@dataclass(frozen=True)
class _StoredToy:
    config: ToyConfig
    results: list[ToyResult]


@dataclass(frozen=True)
class _Task:
    inputs: int
    sample: Callable[[int, int], Dataset]
    contradicting: Callable[[Dataset], Dataset]


def _toy1() -> _Task:
    low_density = Toy1(agreement=0.0)
    return _Task(2, Toy1().sample, lambda data: low_density.sample(len(data), _EVALUATION_SEED))


def _toy2() -> _Task:
    toy = Toy2()
    return _Task(1 + toy.d, toy.sample, toy.shift)


_TASKS = {"toy1": _toy1, "toy2": _toy2}
TOYS = {"toy1": ToyConfig("toy1", 2, 1000), "toy2": ToyConfig("toy2", 25, 200)}
"""The paper's settings by task."""


def run_toy(config: ToyConfig, out: Path, progress: Progress) -> list[ToyResult]:
    """Train the linear network and VIB at every beta, over all seeds; what is stored is kept.

    Args:
        config: what is trained.
        out: folder in which `<name>.json` is written.
        progress: where progress is shown.

    Raises:
        StoreError: for a file that is damaged or cannot be written.
    """
    results: list[ToyResult] = []
    with locked_folder(out) as folder:
        path = folder / f"{config.name}.json"
        if path.exists():
            stored = read_json(path, _KIND, _StoredToy)
            if replace(stored.config, seeds=config.seeds) == config:
                results = [result for result in stored.results if result.seed < config.seeds]
        done = {result.seed for result in results}
        with progress.bar(config.name, config.seeds) as bar:
            for seed in range(config.seeds):
                if seed not in done:
                    results += _one_seed(config, seed)
                    write_json(path, _KIND, _StoredToy(config, results))
                bar.advance()
    return results


def read_toy(folder: Path, name: str) -> list[ToyResult]:
    """Read what `run_toy` has written.

    Args:
        folder: that it was written into.
        name: `"toy1"` or `"toy2"`.

    Raises:
        StoreError: for another folder, or a damaged file.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        raise StoreError(
            f"{folder} has no {path.name}; expected the folder toys/SCALE of `narrows reproduce`"
        )
    return read_json(path, _KIND, _StoredToy).results


def _one_seed(config: ToyConfig, seed: int) -> list[ToyResult]:
    task = _TASKS[config.name]()
    clean = task.sample(_EVALUATED, _EVALUATION_SEED)
    pairs = (clean, task.contradicting(clean))
    results = []
    for beta in [None, *config.betas]:
        with forked_rng(seed=seed):
            model = _network(task.inputs, config.units, vib=beta is not None)
            method = CrossEntropy() if beta is None else VIB(beta, samples=_DRAWS)
            _train(model, method, task, config, seed)
            results += _evaluated(model, beta, seed, pairs)
    return results


def _network(inputs: int, units: int, *, vib: bool) -> nn.Module:
    if not vib:
        linear = nn.Linear(inputs, 2)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        return linear
    encoder, decoder = nn.Linear(inputs, 2 * units), nn.Linear(units, 2)
    nn.init.xavier_uniform_(encoder.weight)
    for tensor in (encoder.bias, decoder.weight, decoder.bias):
        nn.init.zeros_(tensor)
    return Bottleneck(encoder, decoder, latent="gaussian")


def _train(model: nn.Module, method: Method, task: _Task, config: ToyConfig, seed: int) -> None:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.003, momentum=0.9, nesterov=True)
    for step in range(config.steps):
        batch = task.sample(config.batch_size, seed * config.steps + step)
        optimiser.zero_grad()
        method(model, batch.x, batch.y).backward()
        optimiser.step()


def _evaluated(
    model: nn.Module, beta: float | None, seed: int, pairs: Sequence[Dataset]
) -> list[ToyResult]:
    if beta is None:
        return [ToyResult(_LINEAR, 0.0, "deterministic", seed, *_accuracies(model, pairs))]
    mean = _accuracies(as_classifier(model, mode="mean"), pairs)
    drawn = _accuracies(as_classifier(model, _DRAWS), pairs)
    return [
        ToyResult("vib", beta, "mean", seed, *mean),
        ToyResult("vib", beta, "sample", seed, *drawn),
    ]


def _accuracies(model: nn.Module, pairs: Sequence[Dataset]) -> list[float]:
    with torch.no_grad():
        return [_share(logits_of(model, data.x), data.y) for data in pairs]


def _share(logits: Tensor, y: Tensor) -> float:
    return (logits.argmax(1) == y).double().mean().item()
