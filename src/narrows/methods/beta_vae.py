"""The unsupervised information bottleneck (beta-VAE), for training loops of your own."""

from __future__ import annotations

import math
from typing import Any, Literal, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from narrows.checks import ArrayLike
from narrows.errors import ConfigError, InputError, unknown_name
from narrows.methods._base import Method, MethodExample, Sizes, example_batch
from narrows.methods._entrance import check_inputs, finite_total, in_full_precision
from narrows.models.bottleneck import Bottleneck
from narrows.models.gaussian import kl_to_standard_normal
from narrows.models.outputs import as_output
from narrows.models.precision import at_least_float32, full_precision
from narrows.types import Batch, LossTerms, ModelOutput, Term

__all__ = ["BetaVAE"]

Likelihood = Literal["bernoulli", "gaussian"]


class BetaVAE(Method):
    """Unsupervised bottleneck, a beta-VAE: the code describes the input, and no label is predicted.

        L = E_x E_{z ~ p(z|x)} [-log q(x|z)] + beta * E_x KL(p(z|x) || N(0, I))

    Source: Alemi, Fischer, Dillon & Murphy (2017), arXiv 1612.00410, appendix A, eq. 28. Higgins et
    al. (2017), "beta-VAE", ICLR, derive the same loss from another motive. The first term, the
    distortion, is H(X) minus a lower bound of I(Z;X). The second, the rate, is an upper bound of
    I(Z;i), where i is the index of the input. At beta = 1 the loss is an upper bound of -log p(x).

    The model is a `Bottleneck` whose decoder returns pixels instead of logits. Without a label
    there is no accuracy: `Trainer`, sweeps, attacks and adversarial training cannot use this class,
    and it is not in `METHODS`. `method.terms(...)` measures distortion and rate on held-out data.

    Deviations: with `"bernoulli"` a grey pixel counts as the probability of a white one, as is
    common practice; the first term is then not the likelihood of the image.

    Args:
        beta: weight of the rate; 1 for a variational autoencoder.
        likelihood: q(x|z): `"bernoulli"`, for a decoder that returns logits, or `"gaussian"`, for
            one that returns means.
        variance: of each pixel under the Gaussian likelihood.

    Raises:
        ConfigError: for an unknown likelihood, or a variance that is not positive.
        InputError: for a model whose latent has no distribution, for a decoder that returns another
            number of pixels, and for a request for a loss on labels.

    Example:
        >>> import torch
        >>> from narrows.models import Bottleneck
        >>> model = Bottleneck(torch.nn.Linear(4, 6), torch.nn.Linear(3, 4), latent="gaussian")
        >>> method, x = BetaVAE(beta=4.0), torch.rand(8, 4)
        >>> method(model, x).shape
        torch.Size([])
    """

    source = "Alemi et al. 2017, arXiv 1612.00410, appendix A"
    needs = "a Gaussian latent, and a decoder that returns inputs"
    randomness = "z, one draw per input"
    latent = "gaussian"
    default_betas = (0.1, 0.3, 1.0, 3.0, 10.0)

    def __init__(
        self, beta: float, likelihood: Likelihood = "bernoulli", variance: float = 1.0
    ) -> None:
        super().__init__(beta)
        if likelihood not in get_args(Likelihood):
            raise unknown_name("likelihood", likelihood, get_args(Likelihood))
        if not 0 < variance < math.inf:
            raise ConfigError(f"variance must be positive and finite, got {variance}")
        self.likelihood: Likelihood = likelihood
        self.variance = variance

    @classmethod
    def build(cls, beta: float, sizes: Sizes, **options: object) -> Self:
        """Refuse: runs, which build methods by this, validate accuracies.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("BetaVAE is unsupervised and has no accuracy: train it in your own loop")

    @classmethod
    def example(cls, beta: float = 0.1, **options: Any) -> MethodExample:
        """With a decoder that returns the 20 numbers of an input; see `Method.example`."""
        model = Bottleneck(nn.Linear(20, 6), nn.Linear(3, 20), latent="gaussian")
        return MethodExample(cls(beta, **options), model, example_batch())

    def forward(self, model: nn.Module, x: ArrayLike, y: ArrayLike | None = None) -> Tensor:
        """Scalar loss of `model`, for a training loop of your own.

        Args:
            model: a `Bottleneck` whose decoder returns pixels.
            x: inputs `[batch, ...]`.
            y: ignored; accepted so that the call is that of any method.

        Raises:
            InputError: for inputs that are no numbers, or outside [0, 1] with `"bernoulli"`, where
                they are probabilities.
            DivergedError: for a loss that is not finite, naming the term that is not.
        """
        x = check_inputs(model, x, images=self.likelihood == "bernoulli")
        batch = Batch(x, torch.zeros(len(x), dtype=torch.long, device=x.device))
        output = as_output(model(x))
        with full_precision(x.device):
            terms = self.terms(in_full_precision(output), batch)
        return finite_total("BetaVAE", terms, x)

    def terms(self, output: ModelOutput, batch: Batch) -> LossTerms:
        """Distortion and rate, both in nats per input."""
        return LossTerms(self.distortion(output, batch.x).mean(), self.regulariser(output, batch))

    def distortion(self, output: ModelOutput, x: Tensor) -> Tensor:
        """-log q(x|z) in nats for each input, averaged over draws: `[batch]`."""
        pixels = at_least_float32(x).flatten(1)
        code = self._latent(output).z
        decoded = output.logits.flatten(code.dim() - 1)
        if decoded.shape[-1] != pixels.shape[-1]:
            raise InputError(
                f"expected a decoder that returns the {pixels.shape[-1]} numbers of an input, "
                f"got {decoded.shape[-1]}"
            )
        if self.likelihood == "bernoulli":
            pixels = pixels.expand_as(decoded)
            loss = F.binary_cross_entropy_with_logits(decoded, pixels, reduction="none").sum(-1)
        else:
            loss = (decoded - pixels).square().sum(-1) / (2 * self.variance)
            loss = loss + 0.5 * pixels.shape[-1] * math.log(2 * math.pi * self.variance)
        return loss if loss.dim() == 1 else loss.mean(0)

    def prediction_loss(self, output: ModelOutput, y: Tensor) -> Tensor:
        """Refuse: labels are not predicted.

        Raises:
            InputError: always.
        """
        raise InputError(
            "BetaVAE reconstructs inputs and predicts no labels, so it cannot be wrapped by "
            "adversarial training; use VIB for that"
        )

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """The rate in nats, averaged over the batch."""
        rate = kl_to_standard_normal(self._gaussian(output)).mean()
        return {"rate": Term(rate, self.beta)}

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return f"{super().extra_repr()}, likelihood={self.likelihood!r}, variance={self.variance}"
