"""One file holds all that a training run needs to go on: tensors, numbers, random states.

The file is `narrows.storage`'s, which attacks share.
"""

from __future__ import annotations

from narrows.storage import load_tensors, save_tensors, write_atomically

__all__ = ["load_tensors", "save_tensors", "write_atomically"]
