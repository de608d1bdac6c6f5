"""Variational information bottleneck: a Gaussian encoder, and its KL to a fixed marginal."""

from __future__ import annotations

from torch import nn

from narrows.methods._base import Method
from narrows.models.bottleneck import check_mode, latent_mode
from narrows.models.gaussian import kl_to_standard_normal
from narrows.types import Batch, ModelOutput, Term

__all__ = ["VIB"]


class VIB(Method):
    """Variational information bottleneck: a Gaussian encoder, and its KL to a fixed marginal.

        L = E_x E_{z ~ p(z|x)} [-log q(y|z)] + beta * E_x KL(p(z|x) || N(0, I))

    Source: Alemi, Fischer, Dillon & Murphy (2017), arXiv 1612.00410, eq. 17. The KL term, the rate,
    is an upper bound of I(X;Z); the first term is H(Y) minus a lower bound of I(Z;Y).

    Conversions: beta is the paper's own.

    Deviations: none. As published, training draws one z per input, and evaluation averages the
    probabilities of twelve (`as_classifier(model, samples=12)`); the re-evaluation by Korshunova et
    al. (2021), arXiv 2107.05712, trains on the mean loss of twelve (`samples=12`). The covariance
    is that of the model's latent: `"gaussian"` is diagonal; `"cholesky"`, which the paper uses for
    K = 2, is given by its Cholesky factor; `"full"` is too, and is narrow at first. The ramp of
    beta belongs to the training settings (`train.beta_ramp`).

    Args:
        beta: weight of the rate; around 1e-3 on MNIST, and the latent collapses near 1.
        samples: draws of z per input in training; `None` for what the model is set to, one by
            default.

    Raises:
        ConfigError: for fewer than one draw.
        InputError: for a model whose latent has no distribution.

    Example:
        >>> import torch
        >>> from narrows.models import Bottleneck
        >>> model = Bottleneck(torch.nn.Linear(4, 6), torch.nn.Linear(3, 2), latent="gaussian")
        >>> VIB(beta=1e-3)(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Alemi et al. 2017, arXiv 1612.00410"
    needs = "a Gaussian latent"
    randomness = "z, one draw per input unless samples says otherwise"
    latent = "gaussian"
    default_betas = (1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)

    def __init__(self, beta: float = 0.0, samples: int | None = None) -> None:
        super().__init__(beta)
        check_mode("sample", samples)
        self.samples = samples

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Run the model once, with `samples` draws per input."""
        if self.samples is None:
            return super().observe(model, batch)
        with latent_mode(model, "sample", self.samples):
            return super().observe(model, batch)

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return f"{super().extra_repr()}, samples={self.samples}"

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """The rate in nats, averaged over the batch."""
        rate = kl_to_standard_normal(self._gaussian(output)).mean()
        return {"rate": Term(rate, self.beta)}
