"""What a training step costs with VGG16 on images of CIFAR-10's shape, and that it works.

    python benchmarks/cifar_step.py [--device cuda] [--network vgg16] [--steps 20] [--out step.json]

Cross-entropy, VIB, HBaR on all seven layers, IB-RAR on its three robust ones, and PGD training of
ten steps, each with SGD as in IB-RAR's settings, on random images and labels: a model at a time,
the methods in turn. Without a GPU two steps of each are taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from _timing import in_turn, ratio, save

from narrows.data import Dataset
from narrows.methods import IBRAR, METHODS, CrossEntropy, HBaR, Method, Sizes
from narrows.methods.adversarial import PGDTraining
from narrows.models import NetworkConfig, build_network
from narrows.models.convolution import NormKind
from narrows.training import Objective, Solo, Trainer
from narrows.training.published import PUBLISHED

SHAPE, CLASSES, LATENT = (3, 32, 32), 10, 256
# The layers that IB-RAR regularises, all and the robust ones; of a ResNet the groups.
LAYERS = {
    "vgg16": ([f"block{number}" for number in range(1, 6)] + ["fc1", "fc2"], 3),
    "resnet18": ([f"layer{number}" for number in range(1, 5)], 1),
    "preact_resnet18": ([f"layer{number}" for number in range(1, 5)], 1),
    "wide_resnet": ([f"layer{number}" for number in range(1, 4)], 1),
}


def methods(network: str) -> dict[str, Method]:
    """Each method as it is timed."""
    layers, robust = LAYERS[network]
    return {
        "cross_entropy": CrossEntropy(),
        "vib": METHODS["vib"].build(1e-3, Sizes(3072, LATENT, CLASSES)),
        "hbar": HBaR.paper("cifar10", layers=layers),
        "ib_rar": IBRAR.as_coded(layers=layers[-robust:]),
        "pgd_training": PGDTraining(CrossEntropy(), eps=8 / 255, steps=10),
    }


def trainer(method: Method, network: str, norm: NormKind, data: Dataset) -> Trainer:
    """A single model ready to train; VIB's has a bottleneck, the others are plain classifiers."""
    torch.manual_seed(0)
    size = 0 if method.latent == "deterministic" else LATENT
    config = NetworkConfig(network, bottleneck=size, norm=norm)
    model = build_network(config, SHAPE, CLASSES, method.latent)
    members = Solo(Objective(model, method), 0, data.x.device)
    return Trainer(members, data, data.take(slice(0, 10)), PUBLISHED["ib-rar-adversarial"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--network", default="vgg16", choices=LAYERS)
    parser.add_argument("--norm", default="batch", choices=("batch", "group", "none"))
    parser.add_argument("--steps", type=int, help="steps an epoch; default: 50, on a CPU 2")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    on_cpu = given.device == "cpu"
    steps = given.steps or (2 if on_cpu else 50)
    images = steps * PUBLISHED["ib-rar-adversarial"].batch_size
    data = Dataset("random", torch.rand(images, *SHAPE), torch.randint(CLASSES, (images,)), CLASSES)
    data = data.to(given.device)
    runs = {
        name: trainer(method, given.network, given.norm, data)
        for name, method in methods(given.network).items()
    }
    seconds = in_turn(
        {name: run.run_epoch for name, run in runs.items()},
        1 if on_cpu else given.repeats,
        warmup=0 if on_cpu else 1,
    )
    results = {}
    for name, run in runs.items():
        found = ratio(seconds, name, "cross_entropy")
        loss = run.history[-1].losses["loss"][0]
        results[name] = {"ms": min(seconds[name]) / steps * 1e3, "ratio": found, "loss": loss}
        print(f"{name}: {results[name]['ms']:.1f} ms a step, ratio {found:.2f}, loss {loss:.3f}")
    save(given.out, {"network": given.network, "device": given.device, "methods": results})


if __name__ == "__main__":
    main()
