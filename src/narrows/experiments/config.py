"""What one `narrows run` is: typed, checked, resolved to concrete numbers, and hashed.

A configuration comes from defaults, then a TOML file, then options of the command line. Unknown
keys and wrong types are refused by name. `resolve` fills in what depends on the data set, so that
the stored file says every number that was used; its hash names the run's folder.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from narrows.data import DATASETS
from narrows.errors import ConfigError, unknown_name
from narrows.experiments.identity import identity_of
from narrows.experiments.options import check_options
from narrows.experiments.overrides import explain, parse_overrides
from narrows.methods import METHODS, Sizes
from narrows.methods.adversarial import WRAPPERS
from narrows.models.networks import NetworkConfig
from narrows.training.recipe import TrainConfig
from narrows.training.recipes import RECIPES

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
            I(X;Z) would be infinite without it; 1 is the nonlinear bottleneck's channel.
        attack: whether images are attacked at all.
    """

    eps: list[float] = field(default_factory=lambda: [0.02, 0.05, 0.1, 0.15, 0.2, 0.3])
    pgd_steps: int = 20
    pgd_restarts: int = 2
    attack_images: int = 1000
    mode: Literal["mean", "sample"] = "mean"
    samples: int = 12
    information_samples: int = 2000
    noise_std: float = 1.0
    attack: bool = True

    def __post_init__(self) -> None:
        if not self.eps or not all(0 < eps <= 1 for eps in self.eps):
            raise ConfigError(
                f"evaluate.eps must be radii in (0, 1] for images in [0, 1], got {list(self.eps)}"
            )
        for name in ("pgd_steps", "pgd_restarts", "samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"evaluate.{name} must be at least 1, got {getattr(self, name)}")
        if self.attack_images < 0 or self.information_samples < 2:
            raise ConfigError(
                "evaluate needs attack_images >= 0 and information_samples >= 2, "
                f"got {self.attack_images} and {self.information_samples}"
            )
        if not 0 < self.noise_std < math.inf:
            raise ConfigError(
                f"evaluate.noise_std must be positive and finite, got {self.noise_std}"
            )


@dataclass(frozen=True)
class RunConfig:
    """One experiment: methods x betas x seeds on one data set.

    Args:
        data: name of the data set.
        methods: names of methods; all members of one train in one vectorised step.
        betas: grid of every method that has a beta; `None` for each method's own grid.
        grids: grids of single methods, by name, where one for all does not suit.
        seeds: number of seeds, counted from `first_seed`.
        validation_share: share of the non-test data that the best epoch is chosen on; `None` for
            the data set's own choice.
        device: where to train, `"cpu"` or `"cuda"`.
        network: the network; `None` for the data set's own.
        train: the recipe; `None` for the data set's own, or the one that `recipe` names.
        evaluate: what is measured.
        options: further arguments of a method, or of adversarial training, by its name.
        adversarial: adversarial training around every method: `"pgd_training"`, `"trades"` or
            `"mart"`; `None` for none.
        recipe: name of a published recipe (see `narrows.training.recipes`) whose numbers take the
            place of the data set's own; what is stored has the numbers, and no name.
        first_seed: the first of the seeds.
        stack: whether members are trained in one vectorised step where their layers allow it, which
            needs the memory of all of them at once; otherwise one after another in each step.
    """

    data: str = "digits"
    methods: list[str] = field(default_factory=lambda: ["cross_entropy", "vib", "aib"])
    betas: list[float] | None = None
    grids: dict[str, list[float]] = field(default_factory=dict)
    seeds: int = 3
    validation_share: float | None = None
    device: str = "cpu"
    network: NetworkConfig | None = None
    train: TrainConfig | None = None
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    adversarial: str | None = None
    recipe: str | None = None
    first_seed: int = 0
    stack: bool = True

    def __post_init__(self) -> None:
        if not self.methods:
            raise ConfigError(f"methods is empty; valid: {', '.join(METHODS)}")
        self._check_names()
        if len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"methods are named twice: {', '.join(self.methods)}")
        if self.seeds < 1:
            raise ConfigError(f"seeds must be at least 1, got {self.seeds}")
        if self.first_seed < 0:
            raise ConfigError(f"first_seed must be at least 0, got {self.first_seed}")
        if self.validation_share is not None and not 0 < self.validation_share < 1:
            raise ConfigError(f"validation_share must lie in (0, 1), got {self.validation_share}")
        for betas in [*self.grids.values(), *([] if self.betas is None else [self.betas])]:
            _check_betas(betas)

    def _check_names(self) -> None:
        own = [*self.methods, *self.grids, *(name for name in self.options if name not in WRAPPERS)]
        for kind, names, valid in (
            ("data set", [self.data], DATASETS),
            ("method", own, METHODS),
            ("adversarial training", [self.adversarial], WRAPPERS),
            ("recipe", [self.recipe], RECIPES),
        ):
            for name in names:
                if name is not None and name not in valid:
                    raise unknown_name(kind, name, valid)

    def grid(self, method: str) -> list[float]:
        """The betas that `method` is trained with."""
        own = METHODS[method].default_betas
        if own == (0.0,):
            return list(own)
        return list(self.grids.get(method, own if self.betas is None else self.betas))

    def only(self, beta: float | None, seed: int) -> RunConfig:
        """The run of one model of the only method; `None` where there is one beta anyway.

        Raises:
            ConfigError: where there are several, naming them, or for a beta that has no meaning.
        """
        if len(self.methods) > 1:
            raise ConfigError(
                f"one model has one method, not {', '.join(self.methods)}; name it with --method"
            )
        (name,) = self.methods
        one = replace(self, seeds=1, first_seed=seed)
        if METHODS[name].default_betas == (0.0,):
            if beta:
                raise ConfigError(f"{name} has no beta, got {beta}")
            return one
        grid = one.grid(name) if beta is None else [beta]
        if len(grid) > 1:
            listed = ", ".join(f"{other:g}" for other in grid)
            raise ConfigError(f"one model has one beta, not {listed}; name it with --beta")
        return replace(one, betas=grid, grids={})

    def resolve(self) -> RunConfig:
        """Fill in the data set's network and recipe, and try the methods' options."""
        network, train = DEFAULTS[self.data]
        if self.recipe is not None:
            train = RECIPES[self.recipe]
        resolved = replace(
            self, network=self.network or network, train=self.train or train, recipe=None
        )
        for method, options in self.options.items():
            check_options(method, options)
        for method in self.methods:
            for beta in self.grid(method):
                resolved._try(method, beta)
        return resolved

    def _try(self, method: str, beta: float) -> None:
        network, kind = self.network or NetworkConfig(), METHODS[method]
        hidden = tuple(network.encoder or [])
        # What depends on the data is tried when they are there: the engine does.
        sizes = Sizes(_INPUTS, max(1, network.bottleneck), classes=2, hidden=hidden)
        with torch.random.fork_rng([]), torch.device("meta"):  # sized only, never filled
            built = kind.build(beta, sizes, **self.options.get(method, {}))
            if self.adversarial is not None:
                WRAPPERS[self.adversarial].wrap(built, **self.options.get(self.adversarial, {}))

    def identity(self) -> str:
        """Hash of every number of the resolved configuration: 10 hexadecimal digits."""
        return identity_of(self.resolve())


_IB_RAR = RECIPES["ib-rar"]

DEFAULTS: dict[str, tuple[NetworkConfig, TrainConfig]] = {
    "digits": (
        NetworkConfig(encoder=[64, 64], bottleneck=4, decoder=[64]),
        TrainConfig(epochs=100, batch_size=64, learning_rate=1e-3, critic_learning_rate=1e-3),
    ),
    "mnist": (
        NetworkConfig(encoder=[128, 128], bottleneck=10, decoder=[128]),
        RECIPES["aib"],
    ),
    "fashion-mnist": (
        NetworkConfig(name="cnn", encoder=[32, 64], bottleneck=64, decoder=[128]),
        RECIPES["aib"],
    ),
    "cifar10": (NetworkConfig("vgg16", bottleneck=256), _IB_RAR),
    "cifar100": (NetworkConfig("wide_resnet", bottleneck=256), _IB_RAR),
    "svhn": (NetworkConfig("vgg16", bottleneck=256), replace(_IB_RAR, augment="none")),
    "tiny-imagenet": (NetworkConfig("vgg16", bottleneck=256), _IB_RAR),
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

_INPUTS = 2**20  # more than any data set has


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
        parsed = tomllib.loads(file.read_text("utf-8")) if file is not None else {}
        given = [parsed, dict(values or {}), parse_overrides(overrides)]
        # Twice: data set, network and recipe decide what a lone `train.epochs` is a change of.
        first = _build(OmegaConf.merge(OmegaConf.structured(RunConfig), *given))
        network, train = DEFAULTS[first.data]
        if first.network is not None and first.network.name != network.name:
            network = NetworkConfig(first.network.name, bottleneck=network.bottleneck)
        if first.recipe is not None:
            train = RECIPES[first.recipe]
        base = RunConfig(data=first.data, network=network, train=train)
        return _build(OmegaConf.merge(OmegaConf.structured(base), *given)).resolve()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error


def _build(merged: Any) -> RunConfig:
    from omegaconf import OmegaConf

    built = OmegaConf.to_object(merged)
    if not isinstance(built, RunConfig):
        raise ConfigError(f"the configuration is not one: {built!r}")
    return built


def _check_betas(betas: Sequence[float]) -> None:
    if not betas:
        raise ConfigError("betas is empty; leave it out for each method's own grid")
    for beta in betas:
        if not 0 <= beta < math.inf:
            raise ConfigError(f"beta must be finite and at least 0, got {beta}")
    if len(set(betas)) < len(betas):
        raise ConfigError(f"a beta is given twice in {list(betas)}")
