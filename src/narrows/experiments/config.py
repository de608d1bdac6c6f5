"""What one `narrows run` is: typed, checked, resolved to concrete numbers, and hashed.

A configuration comes from defaults, then a TOML file, then options of the command line. Unknown
keys and wrong types are refused by name. `resolve` fills in what depends on the data set, so that
the stored file says every number that was used; its hash names the run's folder.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from narrows.data import DATASETS
from narrows.errors import ConfigError, unknown_name
from narrows.methods import METHODS, Sizes
from narrows.models.networks import NetworkConfig
from narrows.training.recipe import TrainConfig

__all__ = ["EvaluateConfig", "RunConfig", "load_config"]


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured on trained members.

    Args:
        eps: radii of FGSM and PGD, Linf, in units of the [0, 1] image range.
        pgd_steps: steps of each PGD restart.
        pgd_restarts: restarts of PGD.
        attack_images: how many test images are attacked (the first ones); 0 for all.
        mode: `"mean"` attacks the network that decodes the latent's mean: no noise to hide behind.
            `"sample"` attacks the average of `samples` draws, with expectation over them.
        samples: draws of a stochastic latent where probabilities are averaged.
        information_samples: inputs that pairwise estimators are computed on, at most.
        noise_std: standard deviation of the noise that is added to a deterministic code, whose
            I(X;Z) would be infinite without it.
    """

    eps: list[float] = field(default_factory=lambda: [0.02, 0.05, 0.1, 0.15, 0.2, 0.3])
    pgd_steps: int = 20
    pgd_restarts: int = 2
    attack_images: int = 1000
    mode: Literal["mean", "sample"] = "mean"
    samples: int = 12
    information_samples: int = 2000
    noise_std: float = 0.316

    def __post_init__(self) -> None:
        if not self.eps or not all(0 < eps <= 1 for eps in self.eps):
            raise ConfigError(
                f"evaluate.eps must be radii in (0, 1] for images in [0, 1], got {list(self.eps)}"
            )
        for name in ("pgd_steps", "pgd_restarts", "samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"evaluate.{name} must be at least 1, got {getattr(self, name)}")
        if self.attack_images < 0 or self.information_samples < 2 or not self.noise_std > 0:
            raise ConfigError(
                "evaluate needs attack_images >= 0, information_samples >= 2 and noise_std > 0, "
                f"got {self.attack_images}, {self.information_samples}, {self.noise_std}"
            )


@dataclass(frozen=True)
class RunConfig:
    """One experiment: methods x betas x seeds on one data set.

    Args:
        data: name of the data set.
        methods: names of methods; all members of one train in one vectorised step.
        betas: grid of every method that has a beta; `None` for each method's own grid.
        seeds: number of seeds, counted from 0.
        validation_share: share of the non-test data that the best epoch is chosen on; `None` for
            the data set's own choice.
        device: where to train, `"cpu"` or `"cuda"`.
        network: the network; `None` for the data set's own.
        train: the recipe; `None` for the data set's own.
        evaluate: what is measured.
        options: further arguments of a method, by its name.
    """

    data: str = "digits"
    methods: list[str] = field(default_factory=lambda: ["cross_entropy", "vib", "aib"])
    betas: list[float] | None = None
    seeds: int = 3
    validation_share: float | None = None
    device: str = "cpu"
    network: NetworkConfig | None = None
    train: TrainConfig | None = None
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.data not in DATASETS:
            raise unknown_name("data set", self.data, DATASETS)
        if not self.methods:
            raise ConfigError(f"methods is empty; valid: {', '.join(METHODS)}")
        for name in [*self.methods, *self.options]:
            if name not in METHODS:
                raise unknown_name("method", name, METHODS)
        if len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"methods are named twice: {', '.join(self.methods)}")
        if self.seeds < 1:
            raise ConfigError(f"seeds must be at least 1, got {self.seeds}")
        if self.validation_share is not None and not 0 < self.validation_share < 1:
            raise ConfigError(f"validation_share must lie in (0, 1), got {self.validation_share}")
        for beta in self.betas or []:
            if not 0 <= beta < math.inf:
                raise ConfigError(f"beta must be finite and at least 0, got {beta}")

    def grid(self, method: str) -> list[float]:
        """The betas that `method` is trained with."""
        own = METHODS[method].default_betas
        return list(own) if self.betas is None or own == (0.0,) else list(self.betas)

    def resolve(self) -> RunConfig:
        """Fill in the data set's network and recipe, and try the methods' options."""
        default = DEFAULTS[self.data]
        resolved = replace(self, network=self.network or default[0], train=self.train or default[1])
        for method in self.methods:
            for beta in self.grid(method):
                self._try(method, beta)
        return resolved

    def _try(self, method: str, beta: float) -> None:
        try:
            METHODS[method].build(beta, Sizes(64, 10, 10), **self.options.get(method, {}))
        except TypeError as error:
            raise ConfigError(f"options.{method}: {error}") from error

    def identity(self) -> str:
        """Hash of every number of the resolved configuration: 10 hexadecimal digits."""
        text = json.dumps(asdict(self.resolve()), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]


DEFAULTS: dict[str, tuple[NetworkConfig, TrainConfig]] = {
    "digits": (
        NetworkConfig(encoder=[64, 64], bottleneck=16, decoder=[64]),
        TrainConfig(epochs=100, batch_size=64, learning_rate=1e-3),
    ),
    "mnist": (
        NetworkConfig(encoder=[128, 128], bottleneck=10, decoder=[128]),
        TrainConfig(epochs=60, batch_size=256, learning_rate=2e-4, patience=20),
    ),
    "fashion-mnist": (
        NetworkConfig(name="cnn", encoder=[32, 64], bottleneck=64, decoder=[128]),
        TrainConfig(epochs=60, batch_size=256, learning_rate=2e-4, patience=20),
    ),
    "twelve-bit": (
        NetworkConfig(encoder=[10, 10], bottleneck=2, decoder=[10]),
        TrainConfig(epochs=300, batch_size=256, learning_rate=1e-3),
    ),
    "toy1": (
        NetworkConfig(encoder=[], bottleneck=2, decoder=[], normalise=False),
        TrainConfig(epochs=20, batch_size=256, learning_rate=1e-2),
    ),
    "toy2": (
        NetworkConfig(encoder=[], bottleneck=25, decoder=[], normalise=False),
        TrainConfig(epochs=20, batch_size=256, learning_rate=1e-3),
    ),
}


def load_config(
    file: Path | None = None,
    values: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> RunConfig:
    """Build a resolved configuration: a TOML file, then plain values, then `a.b=v` overrides.

    Raises:
        ConfigError: naming the unknown key (and the nearest valid one), the wrong type, the file
            that is not TOML, or the number out of range.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        parsed = tomllib.loads(file.read_text()) if file is not None else {}
        given = [parsed, dict(values or {}), OmegaConf.from_dotlist(list(overrides))]
        # Twice: which data set it is decides what a lone `train.epochs` is a change of.
        data = _build(OmegaConf.merge(OmegaConf.structured(RunConfig), *given)).data
        network, train = DEFAULTS[data]
        base = RunConfig(data=data, network=network, train=train)
        return _build(OmegaConf.merge(OmegaConf.structured(base), *given)).resolve()
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except OmegaConfBaseException as error:
        raise ConfigError(_one_line(str(error))) from error


def _build(merged: Any) -> RunConfig:
    from omegaconf import OmegaConf

    built = OmegaConf.to_object(merged)
    if not isinstance(built, RunConfig):
        raise ConfigError(f"the configuration is not one: {built!r}")
    return built


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("object_type", "reference_type"))]
    return "configuration: " + "; ".join(kept)
