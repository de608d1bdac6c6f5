"""MART: adversarial training that gives more weight to misclassified images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from narrows.methods._base import negative_log_likelihood
from narrows.methods.adversarial._base import Variant, VariantOptions, WithDivergence, divergence
from narrows.models.outputs import average_logits
from narrows.types import Batch, ModelOutput, Term

__all__ = ["MART"]


class MART(WithDivergence):
    """MART: adversarial training that gives more weight to misclassified images.

        L = E[-log q(y|x') - log(1 - max_{k != y} q(k|x'))]
            + weight * E[KL(q(.|x) || q(.|x')) (1 - q(y|x))] + regulariser(x)

    Source: Wang, Zou, Yi, Bailey, Ma & Gu (2020), "Improving Adversarial Robustness Requires
    Revisiting Misclassified Examples", ICLR 2020. The first term is their boosted cross-entropy.
    The inner attack raises the cross-entropy, from a normal perturbation of standard deviation
    0.001, with the model in evaluation mode. Gradients pass through all three factors of the second
    term.

    Conversions: weight is their lambda; the default, 6, is that of TRADES. `MART.ib_rar` is the
    variant in the published code of Xu, Perin & Picek (2022), arXiv 2302.10896: weight 0.5, eps
    0.03 in 10 steps of 2.3 eps / 10 from a uniformly random point, and `regularise="as_coded"`.

    Deviations: 1 - max q is computed as the sum of the other probabilities, so that no small
    constant has to be added where it is near 0. The boosted cross-entropy replaces the wrapped
    method's prediction loss.

    Args:
        method: whose regulariser is used.
        eps: Linf radius, in units of the [0, 1] image range.
        steps: gradient steps of the inner attack.
        step_size: length of one step; `None` for 2.5 * eps / steps.
        mode: mode of the model under attack, `"eval"` or `"train"`.
        regularise: which images the wrapped method's regulariser sees: `"clean"`, `"adversarial"`,
            or `"as_coded"`, the clean images with the layers of clean and of adversarial ones.
        weight: of the weighted divergence.
        start: where the inner attack begins, `"normal"` or `"uniform"` in the ball.

    Raises:
        ConfigError: for numbers out of range, unknown words, or a method that is adversarial
            already.
        InputError: for images outside [0, 1].

    Example:
        >>> import torch
        >>> from narrows.methods import CrossEntropy
        >>> model = torch.nn.Linear(4, 2)
        >>> method = MART(CrossEntropy(), eps=0.1, steps=5)
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Wang et al. 2020, ICLR"
    variants: ClassVar[Mapping[Variant, VariantOptions]] = {
        "ib_rar": VariantOptions(
            eps=0.03,
            steps=10,
            step_size=2.3 * 0.03 / 10,
            weight=0.5,
            start="uniform",
            regularise="as_coded",
        )
    }

    def prediction_loss(self, output: ModelOutput, y: Tensor) -> Tensor:
        """Boosted cross-entropy on the adversarial images."""
        logits = self.split(output)[1].logits
        return negative_log_likelihood(logits, y) + _margin(logits, y)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """The wrapped method's terms and the weighted divergence in nats."""
        clean, adversarial = self.split(output)
        log_p = average_logits(clean.logits).log_softmax(-1)
        doubt = 1 - log_p.gather(-1, batch.y.unsqueeze(-1)).squeeze(-1).exp()
        value = (divergence(clean, adversarial) * doubt).mean()
        return {**super().regulariser(output, batch), "mart": Term(value, self.weight)}


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    """-log(1 - max_{k != y} q(k|x)) for each input: `[batch]`, averaged over draws."""
    log_q = logits.log_softmax(-1)
    label = y.expand(logits.shape[:-1]).unsqueeze(-1)
    rival = log_q.scatter(-1, label, -math.inf).argmax(-1, keepdim=True)
    loss = -log_q.scatter(-1, rival, -math.inf).logsumexp(-1)
    return loss if loss.dim() == 1 else loss.flatten(0, -2).mean(0)
