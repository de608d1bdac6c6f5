"""Which layers make a network robust: one network is trained for each, and attacked.

    layer l is robust:  d > margin and d > 2 SE(d),   d = robust accuracy of l's network - plain's

Source: Xu, Perin & Picek (2022), arXiv 2302.10896, section 2.2, "Selection of Robust Layers": a
layer is robust if the network regularised at that layer alone shows "obviously higher accuracy on
adversarial examples" than one trained with cross-entropy only. What is obvious is said above: the
standard error is that of the paired difference over the attacked images.

All choices are made on validation data. All networks start from the same weights and see the same
order of the data; the standard error does not know how much another seed would change, so repeat
with others before much is built on a small difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from narrows.attacks import Attack
from narrows.data import Dataset
from narrows.errors import InputError
from narrows.methods import IBRAR, CrossEntropy, Method
from narrows.models.bottleneck import as_classifier
from narrows.models.hidden import hidden_layers
from narrows.models.noise import forked_rng
from narrows.training import Objective, Solo, TrainConfig, accuracies, fit

__all__ = ["LayerRobustness", "RobustLayers", "select_robust_layers"]


@dataclass(frozen=True)
class LayerRobustness:
    """What regularising one layer gave, on validation data.

    Attributes:
        layer: its name; `None` for the network that was trained with cross-entropy only.
        accuracy: on clean images.
        robust_accuracy: on the attacked ones.
        gain: robust accuracy above that of plain cross-entropy.
        std_error: of the gain, over images.
        robust: whether the gain is clear.
    """

    layer: str | None
    accuracy: float
    robust_accuracy: float
    gain: float
    std_error: float
    robust: bool


@dataclass(frozen=True)
class RobustLayers:
    """The table: plain cross-entropy, then one row per layer."""

    plain: LayerRobustness
    rows: list[LayerRobustness]

    @property
    def names(self) -> list[str]:
        """The robust layers, for `IBRAR(..., layers=names)`; there may be none."""
        return [row.layer for row in self.rows if row.robust and row.layer is not None]

    def __str__(self) -> str:
        lines = [f"{'layer':24}{'clean':>8}{'robust':>8}{'gain':>8}{'+-':>7}"]
        lines += [
            f"{row.layer or 'cross-entropy only':24}{row.accuracy:8.1%}{row.robust_accuracy:8.1%}"
            f"{row.gain:8.1%}{row.std_error:7.1%}{'  robust' if row.robust else ''}"
            for row in (self.plain, *self.rows)
        ]
        return "\n".join(lines)


def select_robust_layers(
    build_model: Callable[[], nn.Module],
    train: Dataset,
    validation: Dataset,
    attack: Attack,
    config: TrainConfig,
    *,
    layers: Sequence[str] | None = None,
    method: Callable[[list[str]], Method] = lambda layers: IBRAR.as_coded(layers=layers),
    margin: float = 0.02,
    images: int = 1000,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_row: Callable[[LayerRobustness], None] = lambda row: None,
) -> RobustLayers:
    """Train a network without and one with each layer regularised, attack them all, and compare.

    Args:
        build_model: makes a classifier, any module that returns logits `[batch, classes]`; it is
            called after `torch.manual_seed(seed)`, so its networks begin alike.
        train: what the networks learn from.
        validation: what epochs and layers are chosen on; keep the test set out of this.
        attack: say `PGD(eps=8 / 255, steps=10, restarts=1)`.
        config: training settings of every network.
        layers: names to try; `None` for all hidden layers (see `narrows.models.hidden`).
        method: the regularised training of given layers.
        margin: the least gain that counts, in accuracy.
        images: how many validation images are attacked, at most.
        seed: of weights, order and noise.
        device: where they are trained.
        on_row: called with each row when it is there, for progress.

    Returns:
        The table; `table.names` are the robust layers.

    Raises:
        InputError: for a model in which no hidden layers can be told, data that are no images, or a
            margin that is no share.
        ConfigError: for a layer that the model does not have.
    """
    if not (train.image and validation.image):
        raise InputError("robust layers are told by an attack, which needs images in [0, 1]")
    if not 0 <= margin < 1:
        raise InputError(f"margin must lie in [0, 1), got {margin}")
    with forked_rng():
        names = hidden_layers(build_model()) if layers is None else list(layers)
    if not names:
        raise InputError("the model has no hidden layers that can be told; name some in layers=")
    train, validation = train.to(device), validation.to(device)
    attacked = validation.take(slice(0, images))

    def measure(chosen: Method) -> tuple[float, Tensor]:
        with forked_rng(seed=seed):
            members = Solo(Objective(build_model(), chosen), seed, device)
        trainer = fit(members, train, validation, config)
        members = trainer.best_members()
        model = as_classifier(members.member(0).model, mode="mean")
        return accuracies(members, validation).item(), ~attack(model, *attacked.all()).success

    accuracy, held = measure(CrossEntropy())
    plain = _row(None, accuracy, held, held, margin)
    on_row(plain)
    rows = []
    for name in names:
        rows.append(_row(name, *measure(method([name])), held, margin))
        on_row(rows[-1])
    return RobustLayers(plain, rows)


def _row(
    layer: str | None, accuracy: float, held: Tensor, without: Tensor, margin: float
) -> LayerRobustness:
    """Compare which images each of two networks held against the attack: `[n]` bool."""
    apart = held.double() - without.double()
    gain, error = apart.mean().item(), apart.std(correction=0).item() / math.sqrt(len(apart))
    robust = gain > margin and gain > 2 * error
    return LayerRobustness(layer, accuracy, held.double().mean().item(), gain, error, robust)
