"""HSIC bottleneck as a regulariser: hidden layers depend on the labels, but not on the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from narrows.errors import unknown_name
from narrows.methods._nhsic import LabelKernel, LayerDependence

__all__ = ["HBaR"]

# (lambda_x, lambda_y) by data set and use of adversarial training.
_PAPER = {
    ("mnist", False): (1.0, 50.0),
    ("mnist", True): (0.003, 0.001),
    ("cifar10", False): (0.006, 0.05),
    ("cifar10", True): (5e-4, 5e-3),
}


class HBaR(LayerDependence):
    """HSIC bottleneck as a regulariser: hidden layers depend on the labels, but not on the inputs.

        L = E[-log q(y|x)] + lambda_x sum_l nHSIC(X, T_l) - lambda_y sum_l nHSIC(Y, T_l)

    Source: Wang, Jian, Masoomi, Ioannidis & Dy (2021), arXiv 2106.02734. nHSIC has Gaussian kernels
    of bandwidth 5 sqrt(dim): `narrows.information.hsic`. The authors' configurations have a linear
    kernel of the labels, as `HBaR.paper` has; the default here is Gaussian.

    Conversions: beta = lambda_x and relevance = lambda_y / lambda_x, so that beta = 0 is
    cross-entropy and a sweep over beta keeps both weights in proportion. `label_weight` is lambda_y
    itself, which may be positive where beta is 0.

    nHSIC is not an information and has no unit. Its value depends on the batch size, on eps and on
    the widths of the layers: compare results, and betas, only where these are equal.

    Args:
        beta: lambda_x, weight of the dependence on the inputs.
        relevance: lambda_y / lambda_x, the weight of the dependence on the labels relative to beta;
            50 is that of the paper's MNIST networks.
        layers: names of the hidden layers; `None` for the layers that the model is tapped at, or
            else for all hidden layers (see `narrows.models.hidden`) and the code of a bottleneck.
        label_kernel: `"gaussian"` or `"linear"`, on one-hot labels.
        eps: ridge of the normalisation.
        label_weight: lambda_y itself; `None` for relevance * beta. A ramp of beta does not change
            it.

    Raises:
        ConfigError: for numbers out of range, and in the forward pass for an unknown layer.
        InputError: for a model whose hidden layers cannot be found.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> HBaR.paper("mnist")(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Wang et al. 2021, arXiv 2106.02734"
    couples = "HSIC compares all inputs of a batch"
    default_betas = (1e-4, 1e-3, 1e-2, 0.1)

    def __init__(
        self,
        beta: float,
        relevance: float = 50.0,
        layers: Sequence[str] | None = None,
        label_kernel: LabelKernel = "gaussian",
        eps: float = 1e-5,
        label_weight: float | None = None,
    ) -> None:
        super().__init__(beta, relevance, layers, label_kernel, eps, label_weight)

    @classmethod
    def paper(
        cls,
        data: Literal["mnist", "cifar10"],
        adversarial: bool = False,
        layers: Sequence[str] | None = None,
    ) -> Self:
        """The weights and the label kernel of the authors' configuration for a data set.

        They train with Adam: on MNIST for 100 epochs at 1e-4 on batches of 256, on CIFAR-10 for 300
        epochs at 0.01 on batches of 128 with a cosine schedule.

        Args:
            data: name of the data set.
            adversarial: whether they are the weights for adversarial training.
            layers: as in the constructor.

        Raises:
            ConfigError: for another data set.
        """
        if (data, adversarial) not in _PAPER:
            raise unknown_name("data set", data, {name for name, _ in _PAPER})
        of_x, of_y = _PAPER[data, adversarial]
        return cls(of_x, of_y / of_x, layers, "linear")
