"""Plain cross-entropy: the deterministic twin that every other method is measured against.

    L = E[-log q(y|x)]

"Normal" in AIB, "baseline" in VIB, DET in IMB. It is every method's beta = 0.
"""

from __future__ import annotations

from narrows.errors import ConfigError
from narrows.methods._base import Method

__all__ = ["CrossEntropy"]


class CrossEntropy(Method):
    """Cross-entropy and nothing else.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 2)
        >>> CrossEntropy()(model, torch.rand(8, 4), torch.zeros(8, dtype=torch.long)).shape
        torch.Size([])
    """

    def __init__(self, beta: float = 0.0) -> None:
        if beta:
            raise ConfigError(f"cross-entropy compresses nothing: beta must be 0, got {beta}")
        super().__init__(beta=0.0)

    def extra_repr(self) -> str:
        """No arguments."""
        return ""
