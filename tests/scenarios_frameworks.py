"""Networks of other libraries, small and with random weights; skipped where these are missing."""

import importlib
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from narrows import adapt

__all__ = ["FRAMEWORKS", "SIDE", "framework", "network"]

SIDE = 32
CLASSES = 3
# Where the latent goes, and the smallest network of each library.
FRAMEWORKS = {
    "torchvision": "avgpool",
    "timm": "global_pool",
    "transformers": "model.vit.layernorm",
}


def framework(name: str) -> ModuleType:
    """The library, or a skip that says why.

    A torchvision that was built for another version of torch lacks its compiled operators and
    cannot be imported; no network needs them, so their names are declared.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for module in [module for module in sys.modules if module.startswith("torchvision")]:
            del sys.modules[module]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        framework.library = library  # for as long as the process lives
    except ImportError:
        pass
    pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)
    return importlib.import_module(name)


def network(name: str) -> nn.Module:
    """A classifier of images `[3, SIDE, SIDE]`, without any download."""
    library = framework(name)
    if name == "torchvision":
        return library.models.resnet18(num_classes=CLASSES)
    if name == "timm":
        return library.create_model("resnet10t", pretrained=False, num_classes=CLASSES)
    config = library.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        image_size=SIDE, patch_size=16, num_labels=CLASSES,
    )  # fmt: skip
    return adapt(library.ViTForImageClassification(config), logits="logits")
