"""What one `narrows run` is: typed, checked, and resolved to concrete numbers.

`RunConfig` is what a user asks for. It comes from defaults, then a TOML file, then options of the
command line; unknown keys and wrong types are refused by name. `RunConfig.resolve()` fills in what
depends on the data set and on each method, once. The resulting `ResolvedConfig` is what runs, what
is stored, and what names the run's folder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from narrows.data import absolute_name, check_name, short_name
from narrows.errors import ConfigError, unknown_name
from narrows.methods import METHODS
from narrows.methods.adversarial import WRAPPERS
from narrows.models.bottleneck import check_draws
from narrows.models.networks import NetworkConfig
from narrows.runs.defaults import defaults_of, natural_network
from narrows.runs.identity import identity_of
from narrows.runs.options import check_options
from narrows.runs.records import Member
from narrows.training.config import TrainConfig
from narrows.training.published import PUBLISHED

__all__ = ["EvaluateConfig", "ResolvedConfig", "RunConfig"]

_LARGEST_SEED = 2**32
_MOST_MEMBERS = 100_000


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured on trained models.

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
        check_draws(self.samples, "evaluate.samples")
        for name in ("pgd_steps", "pgd_restarts"):
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

    @property
    def middle_eps(self) -> float:
        """The radius that short tables and pictures show."""
        return self.eps[len(self.eps) // 2]


@dataclass(frozen=True)
class RunConfig:
    """One experiment as a user asks for it: methods x betas x seeds on one data set.

    Args:
        data: name of the data set, or data of your own, as `narrows.data.load` takes it.
        methods: names of methods; all models of one train in one vectorised step.
        betas: grid of every method that has a beta; `None` for each method's own grid.
        grids: grids of single methods, by name, where one for all does not suit.
        seeds: number of seeds, counted from `first_seed`.
        validation_share: share of the non-test data that the best epoch is chosen on; `None` for
            the data set's own choice.
        device: where to train, `"cpu"` or `"cuda"`.
        network: the network of every method; `None` for each method's natural one on the data set.
        networks: networks of single methods, by name, where one for all does not suit.
        train: the training settings; `None` for those that `settings` names, or
            else the data set's own.
        evaluate: what is measured.
        options: further arguments of a method, or of adversarial training, by its name.
        adversarial: adversarial training around every method: `"pgd_training"`, `"trades"` or
            `"mart"`; `None` for none.
        settings: name of published training settings (see `narrows.training.published`) that
            replace the data set's own.
        first_seed: the first of the seeds.
        stack: whether models are trained in one vectorised step where their layers allow it, which
            needs the memory of all of them at once; otherwise one after another in each step.
        data_sha256: hash that the data must have; empty for any.
        train_images: how many training images are used, the first ones; 0 for all.
    """

    data: str = "digits"
    methods: list[str] = field(default_factory=lambda: ["cross_entropy", "vib", "aib"])
    betas: list[float] | None = None
    grids: dict[str, list[float]] = field(default_factory=dict)
    seeds: int = 3
    validation_share: float | None = None
    device: str = "cpu"
    network: NetworkConfig | None = None
    networks: dict[str, NetworkConfig] = field(default_factory=dict)
    train: TrainConfig | None = None
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    adversarial: str | None = None
    settings: str | None = None
    first_seed: int = 0
    stack: bool = True
    data_sha256: str = ""
    train_images: int = 0

    def __post_init__(self) -> None:
        if not self.methods:
            raise ConfigError(f"methods is empty; valid: {', '.join(METHODS)}")
        self._check_names()
        if len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"methods are named twice: {', '.join(self.methods)}")
        if self.seeds < 1:
            raise ConfigError(f"seeds must be at least 1, got {self.seeds}")
        if self.train_images < 0:
            raise ConfigError(f"train_images must be at least 0, got {self.train_images}")
        if not 0 <= self.first_seed <= _LARGEST_SEED:
            raise ConfigError(f"first_seed must lie in 0..{_LARGEST_SEED}, got {self.first_seed}")
        if self.validation_share is not None and not 0 < self.validation_share < 1:
            raise ConfigError(f"validation_share must lie in (0, 1), got {self.validation_share}")
        for betas in [*self.grids.values(), *([] if self.betas is None else [self.betas])]:
            _check_betas(betas)

    def _check_names(self) -> None:
        for method in self.methods:
            if not isinstance(method, str):
                raise ConfigError(f"methods must be names, got {method!r}")
        methods = [*self.methods, *self.grids, *self.networks]
        methods += [name for name in self.options if name not in WRAPPERS]
        check_name(self.data)
        for kind, names, valid in (
            ("method", methods, METHODS),
            ("adversarial training", [self.adversarial], WRAPPERS),
            ("training settings", [self.settings], PUBLISHED),
        ):
            for name in names:
                if name is not None and name not in valid:
                    raise unknown_name(kind, name, valid)

    def resolve(self) -> ResolvedConfig:
        """Fill in what depends on the data set and on each method.

        Raises:
            ConfigError: for options that a method does not have, or for too many models.
        """
        for owner, options in self.options.items():
            check_options(owner, options)
        _, train = defaults_of(self.data)
        if self.settings is not None:
            train = PUBLISHED[self.settings]
        grids = {method: self._grid(method) for method in self.methods}
        if (count := self.seeds * sum(map(len, grids.values()))) > _MOST_MEMBERS:
            raise ConfigError(
                f"this run has {count:,} models, more than the {_MOST_MEMBERS:,} that one run may "
                "have; take fewer betas or seeds, or several runs with --set first_seed=N"
            )
        return ResolvedConfig(
            data=absolute_name(self.data),
            methods=list(self.methods),
            grids=grids,
            seeds=self.seeds,
            first_seed=self.first_seed,
            validation_share=self.validation_share,
            device=self.device,
            networks={method: self._network(method).absolute() for method in self.methods},
            train=self.train or train,
            evaluate=self.evaluate,
            options=self.options,
            adversarial=self.adversarial,
            stack=self.stack,
            data_sha256=self.data_sha256,
            train_images=self.train_images,
        )

    def _grid(self, method: str) -> list[float]:
        if not METHODS[method].has_beta:
            return [0.0]
        betas = METHODS[method].default_betas if self.betas is None else self.betas
        return [beta + 0.0 for beta in self.grids.get(method, betas)]  # which makes 0.0 of -0.0

    def _network(self, method: str) -> NetworkConfig:
        return self.networks.get(method) or self.network or natural_network(self.data, method)


@dataclass(frozen=True)
class ResolvedConfig:
    """Every setting of a run; see `RunConfig` for those that both have.

    Args:
        data: name of the data set; of the user's own, its absolute path.
        methods: names of methods.
        grids: the betas of each method; `[0.0]` for a method without.
        networks: the network of each method.
        train: the training settings.
        evaluate: what is measured.
        seeds: number of seeds, counted from `first_seed`.
        first_seed: the first of them.
        validation_share: `None` for the data set's own choice.
        device: where the models are trained.
        options: further arguments of methods and of adversarial training.
        adversarial: adversarial training around every method.
        stack: whether models are trained in one vectorised step where their layers allow it.
        data_sha256: hash of the data that the run is of; empty before they were loaded.
        train_images: how many training images are used, the first ones; 0 for all.
    """

    data: str
    methods: list[str]
    grids: dict[str, list[float]]
    networks: dict[str, NetworkConfig]
    train: TrainConfig
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    seeds: int = 3
    first_seed: int = 0
    validation_share: float | None = None
    device: str = "cpu"
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    adversarial: str | None = None
    stack: bool = True
    data_sha256: str = ""
    train_images: int = 0

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise unknown_name("method", method, METHODS)
            if method not in self.grids or method not in self.networks:
                raise ConfigError(f"the configuration has no grid or no network for {method}")

    def members(self, method: str) -> list[Member]:
        """Every beta with every seed, beta by beta."""
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return [Member(method, beta, seed) for beta in self.grids[method] for seed in seeds]

    def only(self, beta: float | None, seed: int) -> ResolvedConfig:
        """The run of one model of the only method; `beta` is `None` where there is one anyway.

        Raises:
            ConfigError: where there are several, naming them, or for a beta that has no meaning.
        """
        if len(self.methods) > 1:
            raise ConfigError(
                f"one model has one method, not {', '.join(self.methods)}; name it with --method"
            )
        (method,) = self.methods
        grid = self.grids[method]
        if not METHODS[method].has_beta:
            if beta:
                raise ConfigError(f"{method} has no beta, got {beta}")
        elif beta is not None:
            _check_betas(grid := [beta])
        elif len(grid) > 1:
            listed = ", ".join(f"{other:g}" for other in grid)
            raise ConfigError(f"one model has one beta, not {listed}; name it with --beta")
        if not 0 <= seed <= _LARGEST_SEED:
            raise ConfigError(f"seed must lie in 0..{_LARGEST_SEED}, got {seed}")
        return replace(self, grids={method: grid}, seeds=1, first_seed=seed)

    @property
    def data_name(self) -> str:
        """What the data are called: without the folder that they are in."""
        return short_name(self.data)

    def identity(self) -> str:
        """Hash of every setting, and of the content of the user's own files: 10 digits."""
        return identity_of(self.without_places())

    def without_places(self) -> ResolvedConfig:
        """The same, with data and networks of the user's own named without their folders.

        Their content counts, by `data_sha256` and by the `source` of a network.
        """
        networks = {method: network.short() for method, network in self.networks.items()}
        return replace(self, data=self.data_name, networks=networks)


def _check_betas(betas: Sequence[float]) -> None:
    if not betas:
        raise ConfigError("betas is empty; leave it out for each method's own grid")
    for beta in betas:
        if not isinstance(beta, int | float):
            raise ConfigError(f"beta must be a number, got {beta!r}")
        if not 0 <= beta < math.inf:
            raise ConfigError(f"beta must be finite and at least 0, got {beta}")
    if len(set(betas)) < len(betas):
        raise ConfigError(f"a beta is given twice in {list(betas)}")
