"""What is measured on a trained model: accuracy, attacks, information; and the pictures of it.

Nothing here chooses anything: the model was chosen on validation data before it came here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from narrows.attacks import FGSM, PGD, Attack, DeepFool
from narrows.data import Dataset, Splits
from narrows.information import kde_information, variational_rate, variational_relevance
from narrows.models.bottleneck import Stochastic, as_classifier, latent_mode, resting_mode
from narrows.models.evaluating import evaluating
from narrows.models.noise import forked_rng
from narrows.models.outputs import as_output, logits_of
from narrows.runs.config import EvaluateConfig
from narrows.runs.records import (
    Accuracy,
    AttackRecord,
    EstimateRecord,
    Measurements,
)
from narrows.storage import json_finite
from narrows.types import Batch, Estimate, Latent

__all__ = ["accuracy", "attacked_pictures", "encode", "evaluate_model", "project"]

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
    with forked_rng(splits.test.y.device, _SEED), evaluating(model):
        return _evaluate(model, splits, config)


def _evaluate(model: nn.Module, splits: Splits, config: EvaluateConfig) -> Measurements:
    stochastic = is_stochastic(model)
    at_rest = _at_rest(model, config.samples)
    accuracies = Accuracy(*(accuracy(at_rest, data) for data in splits))
    estimates = {
        "train": information(model, splits.train, config),
        "test": information(model, splits.test, config),
    }
    sampled = None
    if stochastic:
        sampled = accuracy(as_classifier(model, samples=config.samples), splits.test)
    attacks = None
    if splits.test.image and config.attack:
        attacks = attack_all(model, splits.test, config, stochastic)
    return Measurements(
        accuracy=accuracies,
        information=estimates,
        sampled_test_accuracy=sampled,
        attacks=attacks,
    )


def accuracy(model: nn.Module, data: Dataset) -> float:
    """Share of inputs that are classified correctly."""
    return (_logits(model, data).argmax(1) == data.y).double().mean().item()


def information(
    model: nn.Module, data: Dataset, config: EvaluateConfig
) -> dict[str, EstimateRecord]:
    """Every measure of I(X;Z) and I(Z;Y) that applies to the model, in nats.

    Pairwise bounds see the posterior's own noise, or `noise_std` added to a deterministic code, and
    are for diagonal covariance. Without a latent there is only what the prediction says of y.

    Args:
        model: in evaluation mode.
        data: inputs and labels, of which the first `information_samples` are measured.
        config: the settings.
    """
    measured = data.take(slice(0, config.information_samples))
    batch = measured.all()
    estimates: dict[str, Estimate] = {}
    latent = encode(model, batch.x)
    if latent is not None and (latent.scale is None or latent.scale.dim() == 2):
        scale = config.noise_std if latent.scale is None else latent.scale
        bounds = kde_information(latent.mean, scale, batch.y)
        estimates["kde_lower"], estimates["kde_upper"] = bounds.rate_lower, bounds.rate_upper
        estimates["kde_relevance_lower"] = bounds.relevance_lower
        estimates["kde_relevance_upper"] = bounds.relevance_upper
    logits = _logits(as_classifier(model, config.samples), measured)
    estimates["variational_relevance"] = variational_relevance(logits, batch.y)
    if latent is not None and latent.scale is not None:
        estimates["variational_rate"] = variational_rate(latent.mean, latent.scale)
    return {name: _record(estimate) for name, estimate in estimates.items()}


def attack_all(
    model: nn.Module, data: Dataset, config: EvaluateConfig, stochastic: bool
) -> list[AttackRecord]:
    """FGSM and PGD at every eps, and DeepFool, on the first test images.

    Args:
        model: in evaluation mode.
        data: the test set.
        config: the settings.
        stochastic: whether two passes of the model can differ.
    """
    x, y = _attacked(data, config)
    mode = "sample" if resting_mode(model)[0] == "sample" else config.mode
    sampling = stochastic and mode == "sample"
    draws = config.samples if sampling else 1
    victim = as_classifier(model, config.samples if sampling else None, mode)
    attacks: list[tuple[str, float | None, Attack]] = []
    for eps in config.eps:
        attacks.append(("fgsm", eps, FGSM(eps=eps)))
        attacks.append(("pgd", eps, _pgd(eps, config)))
    attacks.append(("deepfool", None, DeepFool(norm="l2")))
    records = []
    for name, eps, attack in attacks:
        result = attack(victim, x, y)
        distances = result.distance[torch.isfinite(result.distance)]
        records.append(
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


def _logits(model: nn.Module, data: Dataset) -> Tensor:
    starts = range(0, len(data), _BLOCK)
    with torch.no_grad():
        return torch.cat(
            [logits_of(model, data.batch(slice(start, start + _BLOCK)).x) for start in starts]
        )


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
