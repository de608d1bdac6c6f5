"""What is measured on a trained model: accuracy, attacks, information; and the pictures of it.

Nothing here chooses anything: the model was chosen on validation data before it came here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext

import torch
from torch import Tensor, nn

from narrows.attacks import FGSM, PGD, Attack, DeepFool, attack_many
from narrows.data import Dataset, Splits
from narrows.information import kde_information, variational_rate, variational_relevance
from narrows.models.bottleneck import Stochastic, as_classifier, latent_mode, resting_mode
from narrows.models.evaluating import evaluating
from narrows.models.noise import forked_rng
from narrows.models.outputs import as_output, logits_of
from narrows.models.stack import models_at_once, stack_models
from narrows.runs.config import EvaluateConfig
from narrows.runs.records import (
    Accuracy,
    AttackRecord,
    EstimateRecord,
    Measurements,
)
from narrows.storage import json_finite
from narrows.types import Batch, Estimate, Latent

__all__ = [
    "accuracy",
    "attacked_pictures",
    "encode",
    "evaluate_model",
    "evaluate_models",
    "measured_together",
    "project",
]

_BLOCK = 2048
_SEED = 0


def evaluate_model(model: nn.Module, splits: Splits, config: EvaluateConfig) -> Measurements:
    """Accuracy, robust accuracy and information of one trained model.

    Draws of a stochastic latent come from a fixed seed, so the same model gives the same numbers.

    Args:
        model: in any mode, which is restored at the end.
        splits: train, validation and test set on the model's device.
        config: which attacks, how many images, which noise.
    """
    return evaluate_models([model], splits, config)[0]


def evaluate_models(
    models: Sequence[nn.Module], splits: Splits, config: EvaluateConfig
) -> list[Measurements]:
    """`evaluate_model` of each of many models, together where they are of one architecture.

    Args:
        models: in any mode, which is restored at the end.
        splits: train, validation and test set on the models' device.
        config: which attacks, how many images, which noise.
    """
    with forked_rng(splits.test.y.device, _SEED), ExitStack() as modes:
        for model in models:
            modes.enter_context(evaluating(model))
        return _evaluate(models, splits, config)


def measured_together(model: nn.Module, splits: Splits, config: EvaluateConfig) -> int:
    """How many models of one architecture are best measured together; one where stacks don't help.

    Args:
        model: one of them.
        splits: the data.
        config: what is measured.
    """
    attacks = splits.test.image and config.attack
    batch = _attacked(splits.test, config) if attacks else splits.test.batch(slice(0, _BLOCK))
    return models_at_once(model, batch.x)


def _evaluate(
    models: Sequence[nn.Module], splits: Splits, config: EvaluateConfig
) -> list[Measurements]:
    at_rest = [_at_rest(model, config.samples) for model in models]
    drawn = [as_classifier(model, config.samples) for model in models]
    accuracies = list(zip(*(_accuracies(at_rest, data) for data in splits), strict=True))
    estimates = {}
    for name, data in (("train", splits.train), ("test", splits.test)):
        measured = data.take(slice(0, config.information_samples))
        together = zip(models, _all_logits(drawn, measured), strict=True)
        estimates[name] = [information(*pair, measured, config) for pair in together]
    sampled: list[float | None] = [None] * len(models)
    if is_stochastic(models[0]):
        sampled = [*_accuracies(drawn, splits.test)]
    attacks: list[list[AttackRecord] | None] = [None] * len(models)
    if splits.test.image and config.attack:
        attacks = [*attack_all(models, splits.test, config)]
    return [
        Measurements(
            accuracy=Accuracy(*accuracies[index]),
            information={name: estimates[name][index] for name in estimates},
            sampled_test_accuracy=sampled[index],
            attacks=attacks[index],
        )
        for index in range(len(models))
    ]


def accuracy(model: nn.Module, data: Dataset) -> float:
    """Share of inputs that are classified correctly."""
    return _accuracies([model], data)[0]


def _accuracies(models: Sequence[nn.Module], data: Dataset) -> list[float]:
    return [
        (logits.argmax(1) == data.y).double().mean().item() for logits in _all_logits(models, data)
    ]


def information(
    model: nn.Module, logits: Tensor, data: Dataset, config: EvaluateConfig
) -> dict[str, EstimateRecord]:
    """Every measure of I(X;Z) and I(Z;Y) that applies to the model, in nats.

    Pairwise bounds see the posterior's own noise, or `noise_std` added to a deterministic code, and
    are for diagonal covariance. Without a latent there is only what the prediction says of y.

    Args:
        model: in evaluation mode.
        logits: of the inputs, averaged over draws of a stochastic latent.
        data: inputs and labels.
        config: the settings.
    """
    batch = data.all()
    estimates: dict[str, Estimate] = {}
    latent = encode(model, batch.x)
    if latent is not None and (latent.scale is None or latent.scale.dim() == 2):
        scale = config.noise_std if latent.scale is None else latent.scale
        bounds = kde_information(latent.mean, scale, batch.y)
        estimates["kde_lower"], estimates["kde_upper"] = bounds.rate_lower, bounds.rate_upper
        estimates["kde_relevance_lower"] = bounds.relevance_lower
        estimates["kde_relevance_upper"] = bounds.relevance_upper
    estimates["variational_relevance"] = variational_relevance(logits, batch.y)
    if latent is not None and latent.scale is not None:
        estimates["variational_rate"] = variational_rate(latent.mean, latent.scale)
    return {name: _record(estimate) for name, estimate in estimates.items()}


def attack_all(
    models: Sequence[nn.Module], data: Dataset, config: EvaluateConfig
) -> list[list[AttackRecord]]:
    """FGSM and PGD at every eps, and DeepFool, on the first test images: the records of each model.

    Args:
        models: of one architecture, in evaluation mode.
        data: the test set.
        config: the settings.
    """
    x, y = _attacked(data, config)
    stochastic = is_stochastic(models[0])
    mode = "sample" if resting_mode(models[0])[0] == "sample" else config.mode
    sampling = stochastic and mode == "sample"
    draws = config.samples if sampling else 1
    victims = [as_classifier(model, config.samples if sampling else None, mode) for model in models]
    attacks: list[tuple[str, float | None, Attack]] = []
    for eps in config.eps:
        attacks.append(("fgsm", eps, FGSM(eps=eps)))
        attacks.append(("pgd", eps, _pgd(eps, config)))
    attacks.append(("deepfool", None, DeepFool(norm="l2")))
    records: list[list[AttackRecord]] = [[] for _ in models]
    for name, eps, attack in attacks:
        for rows, result in zip(records, attack_many(victims, attack, x, y), strict=True):
            distances = result.distance[torch.isfinite(result.distance)]
            rows.append(
                AttackRecord(
                    attack=name,
                    norm=attack.norm,
                    eps=eps,
                    accuracy=result.robust_accuracy if eps is not None else None,
                    mean_distance=distances.mean().item() if len(distances) else None,
                    median_distance=distances.median().item() if len(distances) else None,
                    images=len(x),
                    mode=mode if stochastic else "deterministic",
                    draws=draws,
                    forwards=result.forwards,
                    backwards=result.backwards,
                )
            )
    return records


def attacked_pictures(
    model: nn.Module, data: Dataset, config: EvaluateConfig, count: int = 8
) -> dict[str, Tensor]:
    """The first test images, what PGD and DeepFool make of them, and the predictions there.

    Args:
        model: in evaluation mode.
        data: the test set.
        config: the settings.
        count: number of images.
    """
    x, y = (part[:count] for part in _attacked(data, config))
    victim = _at_rest(model, config.samples)
    pgd = _pgd(config.middle_eps, config)(victim, x, y).x_adv
    deepfool = DeepFool(norm="l2")(victim, x, y).x_adv
    with torch.no_grad():
        predictions = {
            f"{name}_predicted": logits_of(victim, images).argmax(1)
            for name, images in (("clean", x), ("pgd", pgd), ("deepfool", deepfool))
        }
    return {"clean": x, "label": y, "pgd": pgd, "deepfool": deepfool, **predictions}


def project(model: nn.Module, data: Dataset, count: int = 600) -> dict[str, Tensor]:
    """The first two principal components of the posterior means of `count` inputs.

    Nothing for a model without a latent; the second component of a latent of one unit is 0.

    Args:
        model: in evaluation mode.
        data: whose first inputs are projected.
        count: number of inputs.
    """
    batch = data.batch(slice(0, count))
    latent = encode(model, batch.x)
    if latent is None:
        return {}
    centred = latent.mean - latent.mean.mean(0)
    if centred.shape[1] > 2:
        _, _, directions = torch.linalg.svd(centred, full_matrices=False)
        centred = centred @ directions[:2].T
    if centred.shape[1] == 1:
        centred = torch.cat([centred, torch.zeros_like(centred)], 1)
    return {"projection": centred, "projection_label": batch.y}


def is_stochastic(model: nn.Module) -> bool:
    """Whether two passes can differ: something inside draws, and is not a deterministic latent."""
    return any(
        isinstance(module, Stochastic) and getattr(module, "latent", None) != "deterministic"
        for module in model.modules()
    )


def encode(model: nn.Module, x: Tensor) -> Latent | None:
    """The latents of many inputs at their means, without gradients, in blocks.

    None without one, or where the mean is another network.
    """
    if resting_mode(model)[0] != "mean":
        return None
    parts = []
    with torch.no_grad(), latent_mode(model, "mean"):
        for block in x.split(_BLOCK):
            latent = as_output(model(block)).latent
            if latent is None:
                return None
            parts.append(latent)
    scale = None if parts[0].scale is None else torch.cat([part.scale for part in parts])
    mean = torch.cat([part.mean for part in parts])
    return Latent(mean, mean, scale)


def _at_rest(model: nn.Module, samples: int) -> nn.Module:
    mode, drawn = resting_mode(model, samples)
    return as_classifier(model, drawn, mode)


def _all_logits(models: Sequence[nn.Module], data: Dataset) -> list[Tensor]:
    """Logits `[n, classes]` of each model, which all draw what the first one would draw alone."""
    at_once = models_at_once(models[0], data.batch(slice(0, _BLOCK)).x)
    logits: list[Tensor] = []
    for start in range(0, len(models), at_once):
        part = models[start : start + at_once]
        last = start + at_once >= len(models)
        with nullcontext() if last else forked_rng(data.y.device):
            logits += _logits_together(part, data)
    return logits


def _logits_together(models: Sequence[nn.Module], data: Dataset) -> list[Tensor]:
    stack = stack_models(models, data.batch(slice(0, 2)).x) if len(models) > 1 else None
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(data), _BLOCK)]
    with torch.no_grad():
        if stack is not None:
            parts = [stack.logits(data.batch(block).x, shared=True) for block in blocks]
            return [*torch.cat(parts, 1)]
        logits = []
        for number, model in enumerate(models, start=1):
            with nullcontext() if number == len(models) else forked_rng(data.y.device):
                logits.append(
                    torch.cat([logits_of(model, data.batch(block).x) for block in blocks])
                )
        return logits


def _attacked(data: Dataset, config: EvaluateConfig) -> Batch:
    return data.batch(slice(0, config.attack_images or None))


def _pgd(eps: float, config: EvaluateConfig) -> PGD:
    return PGD(eps=eps, steps=config.pgd_steps, restarts=config.pgd_restarts)


def _record(estimate: Estimate) -> EstimateRecord:
    return EstimateRecord(
        nats=json_finite(estimate.nats),
        std_error=json_finite(estimate.std_error),
        n=estimate.n,
        ceiling=json_finite(estimate.ceiling),
        diagnostics=json_finite(estimate.diagnostics),
    )
