"""Makes torchattacks and adversarial-library importable on a CPU build of PyTorch.

Both import torchvision, whose compiled operators are missing beside some CPU builds, though neither
calls one here; adversarial-library also imports visdom, a logger that is not used here either.
"""

# pyright: reportMissingImports=false

import importlib.util
import sys
from types import ModuleType

import torch

__all__ = ["make_importable"]

_LIBRARIES: list[torch.library.Library] = []  # a schema lives only as long as its library


def make_importable() -> None:
    """Mend `import torchvision` where only its operators are missing, and `import visdom`."""
    if importlib.util.find_spec("visdom") is None:
        sys.modules["visdom"] = ModuleType("visdom")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        _declare_operators()
    except ImportError:
        pass


def _declare_operators() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _LIBRARIES.append(library)
    import torchvision  # noqa: F401
