"""Measurements for Figures 3 and 5 and for Table 5 of IB-RAR.

| function          | of                                                              | for      |
|-------------------|-----------------------------------------------------------------|----------|
| layer_dependences | nHSIC of layers with inputs and labels                          | Figure 5 |
| follow_training   | the same, while a network is trained                            | Figure 5 |
| tsne_map          | a layer of many images in the plane, by t-SNE                   | Figure 3 |
| last_layer_maps   | the same of the last hidden layer, for the models of a run      | Figure 3 |
| attacked_classes  | which classes the adversarial examples of a class are taken for | Table 5  |

Source: Xu, Perin & Picek (2022), arXiv 2302.10896.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.checks import check_count, check_labels, check_number
from narrows.data import Dataset
from narrows.errors import ConfigError, InputError, StoreError
from narrows.information.hsic import gaussian_kernel, linear_kernel, normalise_kernel
from narrows.methods import Method
from narrows.models.evaluating import evaluating
from narrows.models.hidden import hidden_layers
from narrows.models.noise import forked_rng
from narrows.models.outputs import logits_of
from narrows.models.tap import tap
from narrows.papers.stored import Measurement, measured_members
from narrows.runs import Member, Progress, Run
from narrows.training import Objective, Solo, TrainConfig, fit

__all__ = [
    "DependencePoint",
    "LayerMap",
    "attacked_classes",
    "follow_training",
    "last_layer_maps",
    "layer_dependences",
    "tsne_map",
]

_BLOCK = 500
_MAPPED = 1000
_PERPLEXITY = 30.0


@dataclass(frozen=True)
class DependencePoint:
    """Where a layer lies after some steps of training.

    Attributes:
        step: number of finished steps.
        layer: its name.
        of_inputs: nHSIC(X, T), the mean over batches; without a unit.
        of_labels: nHSIC(Y, T), likewise.
    """

    step: int
    layer: str
    of_inputs: float
    of_labels: float


def layer_dependences(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    layers: Sequence[str],
    *,
    step: int = 0,
    batch_size: int = 100,
    label_kernel: Literal["gaussian", "linear"] = "gaussian",
    eps: float = 1e-5,
) -> list[DependencePoint]:
    """How much each layer depends on the inputs and on the labels by nHSIC, in evaluation mode.

    It depends on the batch size, so that the value is a mean over batches of one size.

    Args:
        model: any classifier.
        x: `[n, ...]`, of which an incomplete last batch is left out.
        y: `[n]`, their classes.
        layers: names as in `model.named_modules()`.
        step: that the points are labelled with.
        batch_size: inputs that are compared with each other; 100 in the paper.
        label_kernel: of the one-hot labels, `"gaussian"` or `"linear"`.
        eps: ridge of the normalisation.

    Raises:
        InputError: for fewer inputs than a batch.
        ConfigError: for a layer that the model does not have.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
        >>> x, y = torch.rand(40, 2), torch.arange(40) % 2
        >>> [point.layer for point in layer_dependences(net, x, y, ["1"], batch_size=20)]
        ['1']
    """
    if len(x) < check_count(batch_size, "batch_size", 2):
        raise InputError(f"nHSIC is of batches of {batch_size}, and there are {len(x)} inputs")
    batches = range(0, len(x) - batch_size + 1, batch_size)
    sums = torch.zeros(len(layers), 2, dtype=torch.float64)
    with torch.no_grad(), evaluating(model):
        for start in batches:
            rows = slice(start, start + batch_size)
            output = tap(model, layers)(x[rows])
            one_hot = F.one_hot(y[rows], output.logits.shape[-1]).double()
            labels = gaussian_kernel if label_kernel == "gaussian" else linear_kernel
            kernels = [gaussian_kernel(x[rows].double().flatten(1)), labels(one_hot)]
            fixed = normalise_kernel(torch.stack(kernels), eps)
            for index, layer in enumerate(layers):
                activation = output.activations[layer].double().flatten(1)
                kernel = normalise_kernel(gaussian_kernel(activation), eps)
                sums[index] += (fixed * kernel).sum((-2, -1)).cpu()
    means = (sums / len(batches)).tolist()
    return [
        DependencePoint(step, layer, of_inputs, of_labels)
        for layer, (of_inputs, of_labels) in zip(layers, means, strict=True)
    ]


def follow_training(
    build_model: Callable[[], nn.Module],
    method: Method,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    layers: Sequence[str],
    *,
    every: int = 50,
    images: int = 1000,
    batch_size: int = 100,
    label_kernel: Literal["gaussian", "linear"] = "gaussian",
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> list[DependencePoint]:
    """Train a network, and measure nHSIC of its layers before the first step and every few steps.

    Deviations: the paper measures on the batches of the training; here the same training images are
    measured each time, in evaluation mode, so that the points differ by the weights alone.

    Args:
        build_model: makes a classifier; it is called after `torch.manual_seed(seed)`.
        method: how it is trained.
        train: what the network learns from, and the first `images` of which are measured.
        validation: what the best epoch would be chosen on.
        config: training settings.
        layers: names as in `model.named_modules()`.
        every: steps between two measurements; 50 in the paper.
        images: how many training images are measured, at most.
        batch_size: as in `layer_dependences`, likewise `label_kernel`.
        label_kernel: of the one-hot labels.
        seed: of weights, order and noise.
        device: where the network is trained.

    Raises:
        InputError: for fewer images than a batch.
        ConfigError: for a layer that the model does not have.
    """
    check_count(every, "every")
    train, validation = train.to(device), validation.to(device)
    measured = train.batch(slice(0, images))
    with forked_rng(seed=seed):
        objective = Objective(build_model(), method)
        members = Solo(objective, seed, device)
    points: list[DependencePoint] = []
    step = 0

    def measure() -> None:
        with forked_rng(measured.x.device):
            points.extend(
                layer_dependences(
                    objective.model,
                    measured.x,
                    measured.y,
                    layers,
                    step=step,
                    batch_size=batch_size,
                    label_kernel=label_kernel,
                )
            )

    def on_step() -> None:
        nonlocal step
        step += 1
        if step % every == 0:
            measure()

    measure()
    fit(members, train, validation, config, on_step=on_step)
    return points


def tsne_map(
    model: nn.Module, x: Tensor, layer: str, *, perplexity: float = 30.0, seed: int = 0
) -> Tensor:
    """A layer of each image as a point of the plane, by scikit-learn's t-SNE: `[n, 2]`, float64.

    Source: van der Maaten & Hinton (2008), JMLR 9. Distances between clusters and sizes of clusters
    have no meaning in such a map, so it supports no claim about margins.

    Args:
        model: any classifier, read in evaluation mode.
        x: `[n, ...]`, more images than the perplexity.
        layer: name as in `model.named_modules()`.
        perplexity: number of neighbours that count as near.
        seed: of the start.

    Raises:
        ConfigError: where scikit-learn is not installed, or for a layer that the model does not
            have.
        InputError: for too few images.
    """
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        raise ConfigError("t-SNE is scikit-learn's; pip install scikit-learn") from error
    check_number(perplexity, "perplexity", above=0)
    if len(x) <= perplexity:
        raise InputError(f"t-SNE of a perplexity of {perplexity:g} needs more images, got {len(x)}")
    read = tap(model, [layer])
    with torch.no_grad(), evaluating(model):
        blocks = [read(part).activations[layer].flatten(1) for part in x.split(_BLOCK)]
    features = torch.cat(blocks).double().cpu().numpy()
    placed = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)
    return torch.as_tensor(placed, dtype=torch.float64)


@dataclass(frozen=True)
class LayerMap(Measurement):
    """A layer of each image as a point of the plane, by t-SNE.

    Attributes:
        layer: its name.
        places: `[images][2]`; without a unit.
        labels: `[images]`, the classes.
    """

    layer: str
    places: list[list[float]]
    labels: list[int]


def last_layer_maps(run: Run, progress: Progress) -> list[LayerMap]:
    """t-SNE of the last hidden layer of one model per method, on the first 1,000 test images.

    The model is that of the first seed at the chosen beta. The perplexity is 30, or a third of the
    other images where there are fewer than 91.

    Args:
        run: a complete one.
        progress: where progress is shown.

    Raises:
        ConfigError: where scikit-learn is not installed, or for a network without hidden layers.
        StoreError: where no model of the run was trained to the end.
    """
    trained = [method for method in run.config.methods if run.members([method])]
    if not trained:
        raise StoreError(f"{run.path} has no model to draw: all have diverged")
    wanted = [run.member(method) for method in trained]

    def placed(member: Member, model: nn.Module) -> list[LayerMap]:
        if member not in wanted:
            return []
        layers = hidden_layers(model)
        if not layers:
            raise ConfigError(f"the network of {member} has no hidden layer to draw")
        x, y = run.splits.test.batch(slice(0, _MAPPED))
        places = tsne_map(model, x, layers[-1], perplexity=min(_PERPLEXITY, (len(x) - 1) / 3))
        return [LayerMap(member, layers[-1], places.tolist(), y.tolist())]

    return measured_members(run, "last_layer_maps", LayerMap, placed, progress)


def attacked_classes(model: nn.Module, x_adv: Tensor, y: Tensor, classes: int) -> Tensor:
    """How often the images of each class are taken for each class: `[classes, classes]`, int64.

    Row t counts the predictions of the images whose class is t; its diagonal are those that the
    attack did not fool.

    Args:
        model: any classifier, run in evaluation mode.
        x_adv: `[n, ...]`, such as `attack(model, x, y).x_adv`.
        y: `[n]`, the true classes.
        classes: number of classes.

    Raises:
        InputError: for labels that are no classes.

    Example:
        >>> class Same(nn.Module):
        ...     def forward(self, x):
        ...         return x
        >>> attacked_classes(Same(), torch.eye(2), torch.tensor([0, 0]), 2).tolist()
        [[1, 1], [0, 0]]
    """
    labels = check_labels(y, len(x_adv), classes)
    with torch.no_grad(), evaluating(model):
        predicted = torch.cat([logits_of(model, part).argmax(1) for part in x_adv.split(_BLOCK)])
    pairs = labels.cpu() * classes + predicted.cpu()
    return pairs.bincount(minlength=classes**2).view(classes, classes)
