"""Adversarial training with projected gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from narrows.methods.adversarial._base import Adversarial, Variant, VariantOptions
from narrows.types import ModelOutput

__all__ = ["PGDTraining"]


class PGDTraining(Adversarial):
    """Adversarial training: any method's prediction loss on images found by PGD.

        L = E max_{|x' - x|_inf <= eps} [-log q(y|x')] + regulariser(x)

    Source: Madry, Makelov, Schmidt, Tsipras & Vladu (2018), arXiv 1706.06083, eq. 2.1; with a
    bottleneck's regulariser on clean images: Xu, Perin & Picek (2022), arXiv 2302.10896, eq. 2.

    The inner attack takes `steps` gradient steps from a uniformly random point of the ball. Where
    the wrapped method has no regulariser, clean images are not passed through the model: a training
    step costs steps + 1 passes.

    `PGDTraining.ib_rar` is the variant in the published code of Xu, Perin & Picek: eps 0.03 in 10
    steps of 2.3 eps / 10, and `regularise="as_coded"`.

    Args:
        method: whose prediction loss is taken on the adversarial images.
        eps: Linf radius, in units of the [0, 1] image range.
        steps: gradient steps of the inner attack.
        step_size: length of one step; `None` for 2.5 * eps / steps.
        mode: mode of the model under attack, `"eval"` or `"train"`.
        regularise: which images the wrapped method's regulariser sees: `"clean"`, `"adversarial"`,
            or `"as_coded"`, the clean images with the layers of the adversarial ones.

    Raises:
        ConfigError: for numbers out of range, unknown words, or a method that is adversarial
            already.
        InputError: for images outside [0, 1].

    Example:
        >>> import torch
        >>> from narrows.methods import VIB
        >>> from narrows.models import Bottleneck
        >>> model = Bottleneck(torch.nn.Linear(4, 6), torch.nn.Linear(3, 2), latent="gaussian")
        >>> method = PGDTraining(VIB(beta=1e-3), eps=0.1, steps=5)
        >>> method(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Madry et al. 2018, arXiv 1706.06083"
    needs_clean: ClassVar[bool] = False
    variants: ClassVar[Mapping[Variant, VariantOptions]] = {
        "ib_rar": VariantOptions(
            eps=0.03, steps=10, step_size=2.3 * 0.03 / 10, regularise="as_coded"
        )
    }

    def prediction_loss(self, output: ModelOutput, y: Tensor) -> Tensor:
        """The wrapped method's, on the adversarial images."""
        return self.method.prediction_loss(self.split(output)[1], y)

    def _reads_clean(self) -> bool:
        # The published code passes clean images through no layer: they only enter the kernel of X.
        return self.regularise != "as_coded" and super()._reads_clean()
