"""Train classifiers through an information bottleneck and find out what it is worth.

    from narrows import VIB, PGD, Bottleneck, Run, as_classifier

The public names of `narrows.methods`, `attacks`, `models`, `data`, `training`, `runs`, `types` and
`errors` can be imported from here. They are loaded when they are first used: importing the package
costs next to nothing. Estimators are in `narrows.information`, the audit is in `narrows.audit`, the
estimator of scikit-learn is in `narrows.sklearn`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from narrows.registry import exported_names, module_of

if TYPE_CHECKING:
    from narrows.attacks import *  # noqa: F403
    from narrows.data import *  # noqa: F403
    from narrows.errors import *  # noqa: F403
    from narrows.methods import *  # noqa: F403
    from narrows.methods.adversarial import *  # noqa: F403
    from narrows.models import *  # noqa: F403
    from narrows.runs import *  # noqa: F403
    from narrows.training import *  # noqa: F403
    from narrows.types import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("narrows")
    if name == "__all__":
        return exported_names()
    module = module_of(name)
    if module is None:
        raise AttributeError(f"module 'narrows' has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return exported_names()
