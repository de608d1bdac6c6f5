"""Plain cross-entropy: the baseline that every other method is compared with."""

from __future__ import annotations

from narrows.errors import ConfigError
from narrows.methods._base import Method

__all__ = ["CrossEntropy"]


class CrossEntropy(Method):
    """Plain cross-entropy: the baseline that every other method is compared with.

        L = E[-log q(y|x)]

    Source: Bishop (2006), "Pattern Recognition and Machine Learning", section 4.3.4. It is called
    "normal" in AIB's paper, "baseline" in VIB's and "DET" in IMB's. Every other method but those of
    binary networks equals it at beta = 0.

    Args:
        beta: must be 0; it is an argument so that all methods are built alike.

    Raises:
        ConfigError: for another beta.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 2)
        >>> CrossEntropy()(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    source = "Bishop 2006, section 4.3.4"
    has_beta = False

    def __init__(self, beta: float = 0.0) -> None:
        if beta:
            raise ConfigError(f"cross-entropy compresses nothing: beta must be 0, got {beta}")
        super().__init__(beta=0.0)

    def extra_repr(self) -> str:
        """No arguments."""
        return ""
