"""The exact place of trained codes in the information plane of the twelve-bit patterns.

Source: Zhai & Zhang (2021), arXiv 2103.00381, Figure 4A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from narrows.data.twelve_bit import joint, patterns
from narrows.errors import ConfigError
from narrows.information import Region, achievable_region, posterior_information
from narrows.papers.stored import Measurement, measured_members
from narrows.runs import Member, Progress, Run
from narrows.runs.evaluate import encode

__all__ = ["ExactPoint", "exact_curve", "exact_region"]

_SEED = 0


@dataclass(frozen=True)
class ExactPoint(Measurement):
    """I(X;Z) and I(Z;Y) of one model in bits, with the larger of their standard errors."""

    rate: float
    relevance: float
    error: float


def exact_region() -> Region:
    """What any code of the twelve bits can reach, solved exactly."""
    return achievable_region(joint())


def exact_curve(run: Run, progress: Progress) -> list[ExactPoint]:
    """Each latent's place in the information plane of all twelve-bit patterns, in bits.

    Labels are soft, with I(X;Y) = 0.99 bits: for hard ones the exact curve is two straight lines. A
    deterministic code is measured after Gaussian noise of the run's `evaluate.noise_std`.

    Raises:
        ConfigError: for a run on other data, or without a latent.
        InputError: for a latent with full covariance.
    """
    if run.config.data != "twelve-bit":
        raise ConfigError(
            f"the exact curve is known for twelve-bit data only, not {run.config.data_name}"
        )
    p_xy = joint()
    p_yx = p_xy / p_xy.sum(1, keepdim=True)

    def place(member: Member, model: nn.Module) -> list[ExactPoint]:
        latent = encode(model, patterns())
        if latent is None:
            raise ConfigError("this figure is of latents, and a model of this run has none")
        scale = run.config.evaluate.noise_std if latent.scale is None else latent.scale
        generator = torch.Generator().manual_seed(_SEED)
        estimates = posterior_information(latent.mean, scale, p_yx, generator=generator)
        rate, relevance = estimates
        error = max(estimate.std_error for estimate in estimates) / math.log(2)
        return [ExactPoint(member, rate.bits, relevance.bits, error)]

    return measured_members(run, "exact_curve", ExactPoint, place, progress)
