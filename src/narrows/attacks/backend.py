"""Attacks of other libraries, whose results are counted and judged like those of this one."""

from __future__ import annotations

import math
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import signature
from types import ModuleType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from narrows.attacks import norms
from narrows.attacks._base import Attack
from narrows.attacks.query import Query
from narrows.errors import ConfigError, InputError, unknown_name
from narrows.libraries import load_library
from narrows.models.noise import forked_rng
from narrows.types import Norm

__all__ = [
    "Backend",
    "RandomStep",
    "from_art",
    "from_autoattack",
    "from_foolbox",
    "from_torchattacks",
]

Call = Callable[[nn.Module, Tensor, Tensor], Any]
_NO_GRADIENT = ("requires grad", "require grad", "used in the graph")  # in autograd's messages
_USER = "this attack"  # of the libraries, in errors
_ROUNDING = 1e-4  # share of the radius or of [0, 1] by which rounding may leave it


@dataclass(frozen=True, kw_only=True)
class Backend(Attack):
    """Any `(model, x, y) -> x_adv` as an attack, such as one of another library.

        x_adv = clip(call(model, x, y))        into the ball and into [0, 1]

    The call is given a plain module that returns logits, averaged over `draws` of a stochastic
    model's noise. All passes through it are counted. Images that leave the ball or [0, 1] are
    brought back, with a warning that says how far outside they were. As for any other attack,
    success is decided on the returned images, on fresh draws.

    Towards a target the call is given a model of two classes, "the best of the others" and "the
    target", and is asked to leave the former. So any untargeted attack has a targeted form, except
    one whose loss needs three classes.

    None of the libraries is a dependency. Some of them change the state of the process: they reseed
    the generators of torch, NumPy and Python, or remove the trace function that coverage tools
    need. That state is restored after the call.

    Source: the libraries, for which there are `from_torchattacks` (Kim (2020), arXiv 2010.01950),
    `from_foolbox` (Rauber et al. (2017), arXiv 1707.04131), `from_art` (Nicolae et al. (2018),
    arXiv 1807.01069) and `from_autoattack` (Croce & Hein (2020), arXiv 2003.01690).

    Args:
        call: the attack; `model` is a module in evaluation mode, `x: [b, ...]` holds images that it
            classifies as `y: [b]`. It returns a tensor or a NumPy array of the shape of `x`.
        norm: `"linf"` or `"l2"`: how the perturbation is measured.
        eps: radius of the ball to which the images are brought back; `None` for no ball.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
        >>> Backend(call=lambda model, x, y: 1 - x, norm="linf")(model, x, y).success
        tensor([True])
    """

    source: ClassVar[str] = "the library that is called"
    randomness: ClassVar[str] = "what the call draws"

    call: Call
    eps: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.call):
            raise ConfigError(f"call must be (model, x, y) -> x_adv, got {self.call!r}")

    @classmethod
    def example(cls) -> Self:
        """A small instance, for the tests of every attack."""
        return cls(call=RandomStep(0.15), eps=0.15)

    def perturb(self, query: Query, x: Tensor, generator: torch.Generator) -> Tensor:
        """Make the call, and bring back images that leave the ball or [0, 1].

        Args:
            query: the model, and the labels of the images.
            x: `[b, ...]`, the images.
            generator: of the seed that the call runs under.
        """
        if not query.targeted:
            return self._bring_back(self._run(query, None, x, query.labels, generator), x)
        x_adv = x.clone()
        for target in query.labels.unique().tolist():
            rows = (query.labels == target).nonzero().squeeze(1)
            others = torch.zeros_like(rows)
            x_adv[rows] = self._run(query, target, x[rows], others, generator)
        return self._bring_back(x_adv, x)

    def _run(
        self, query: Query, target: int | None, x: Tensor, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        seed = int(torch.randint(2**31 - 1, (), generator=generator, device=x.device))
        with _isolated(seed, x.device), torch.enable_grad():
            try:
                result = self.call(_Seen(query, target, x.dtype), x.clone(), y.clone())
            except RuntimeError as error:
                if not any(part in str(error) for part in _NO_GRADIENT):
                    raise
                raise InputError(
                    "the backend's attack needs a gradient that the model does not have "
                    f"({str(error).splitlines()[0]}); use an attack without gradients (Square)"
                ) from error
        x_adv = torch.as_tensor(result).detach().to(x)
        if x_adv.shape != x.shape or not torch.isfinite(x_adv).all():
            raise InputError(
                f"a backend returns finite images of shape {list(x.shape)}, got "
                f"{list(x_adv.shape)}{'' if x_adv.isfinite().all() else ' with NaN or inf'}"
            )
        return x_adv

    def _bring_back(self, x_adv: Tensor, x: Tensor) -> Tensor:
        box = (x_adv - x_adv.clamp(0, 1)).abs().max().item()
        if box > _ROUNDING:
            warnings.warn(f"the backend left [0, 1] by up to {box:.3g}: clipped", stacklevel=2)
        x_adv = x_adv.clamp(0, 1)
        if self.eps is None:
            return x_adv
        size = norms.size(x_adv - x, self.norm)
        if outside := int((size > self.eps * (1 + _ROUNDING) + 1e-6).sum()):
            warnings.warn(
                f"the backend left the {self.norm} ball of radius {self.eps:.4g} at {outside} of "
                f"{len(x)} images, the largest perturbation was {size.max().item():.4g}: clipped",
                stacklevel=2,
            )
        return (x + norms.project(x_adv - x, self.norm, self.eps)).clamp_(0, 1)


@dataclass(frozen=True)
class RandomStep:
    """A call as another library could write it: a random start, then one step of FGSM.

    Args:
        eps: radius of the Linf ball.

    Example:
        >>> import torch
        >>> attack = Backend(call=RandomStep(0.1), eps=0.1)
        >>> x, y = torch.rand(8, 4), torch.zeros(8, dtype=torch.int64)
        >>> attack(torch.nn.Linear(4, 3), x, y).x_adv.shape
        torch.Size([8, 4])
    """

    eps: float

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Attack images `x: [b, ...]` of classes `y: [b]`."""
        start = x + self.eps * (2 * torch.rand_like(x) - 1)
        start = start.clamp(0, 1).requires_grad_()
        loss = nn.functional.cross_entropy(model(start), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, start)
        x_adv = start.detach() + 1.25 * self.eps * gradient.sign()
        return (x + (x_adv - x).clamp(-self.eps, self.eps)).clamp(0, 1)


class _Seen(nn.Module):
    """The model as a library sees it: a module that returns logits and counts every pass.

    Images are converted to the precision of the attacked ones, because a library that uses NumPy
    may pass float64 or float32 whatever it was given.
    """

    def __init__(self, query: Query, target: int | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = query.model
        self._query = query
        self._target = target
        self._dtype = dtype
        self.training = False

    def train(self, mode: bool = True) -> _Seen:
        """Stay in evaluation mode, so that the library attacks the model as it is used."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        query, count = self._query, len(x) * self._query.draws
        logits = query.logits(x.to(self._dtype))
        if self._target is not None:
            wanted = logits[:, self._target]
            column = torch.full_like(wanted, self._target, dtype=torch.int64).unsqueeze(1)
            others = logits.scatter(1, column, float("-inf")).amax(1)
            logits = torch.stack([others, wanted], 1)
        if logits.requires_grad:

            def add(gradient: Tensor) -> None:
                query.backwards += count

            logits.register_hook(add)
        return logits


@contextmanager
def _isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Seed every generator inside a `with` block, and restore the state of the process after it."""
    numpy = sys.modules.get("numpy")
    before = random.getstate(), numpy and numpy.random.get_state(), sys.gettrace()
    try:
        with forked_rng(device, seed):
            random.seed(seed)
            if numpy:
                numpy.random.seed(seed)
            yield
    finally:
        random.setstate(before[0])
        if numpy and before[1] is not None:
            numpy.random.set_state(before[1])
        sys.settrace(before[2])


@dataclass(frozen=True)
class _Library:
    """An attack of a library by its name; it is built for each chunk, since it holds the model.

    `norms` is what the library calls the norms, and `argument` what its attacks of several norms
    are told the norm by.
    """

    argument: ClassVar[str] = "norm"
    norms: ClassVar[Mapping[str, object]] = {}

    name: str
    norm: Norm = "linf"
    eps: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def _build(self, home: ModuleType, *arguments: Any, **more: Any) -> Any:
        if not hasattr(home, self.name):
            raise unknown_name(f"attack of {home.__name__}", self.name, dir(home))
        kind = getattr(home, self.name)
        options = {**more, **self.options}
        if self.argument in signature(kind).parameters:
            options.setdefault(self.argument, self.norms[self.norm])
        return kind(*arguments, **options)

    def _radius(self) -> dict[str, float]:
        return {} if self.eps is None else {"eps": self.eps}


class _Torchattacks(_Library):
    norms: ClassVar[Mapping[str, object]] = {"linf": "Linf", "l2": "L2"}

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        library = load_library("torchattacks", _USER, "torchattacks")
        return self._build(library, model, **self._radius())(x, y)


class _Foolbox(_Library):
    argument: ClassVar[str] = "constraint"
    norms: ClassVar[Mapping[str, object]] = {"linf": "linf", "l2": "l2"}

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        library = load_library("foolbox", _USER, "foolbox")
        wrapped = library.PyTorchModel(model, bounds=(0, 1), device=x.device)
        return self._build(library.attacks)(wrapped, x, y, epsilons=self.eps)[1]


class _Art(_Library):
    norms: ClassVar[Mapping[str, object]] = {"linf": math.inf, "l2": 2}

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Any:
        estimators, attacks = (
            load_library(f"art.{module}", _USER, "adversarial-robustness-toolbox")
            for module in ("estimators.classification", "attacks.evasion")
        )
        with torch.no_grad():
            classes = model(x[:1]).shape[1]
        wrapped = estimators.PyTorchClassifier(
            model=model,
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(x.shape[1:]),
            nb_classes=classes,
            clip_values=(0, 1),
            device_type="gpu" if x.is_cuda else "cpu",
        )
        attack = self._build(attacks, wrapped, **self._radius())
        return attack.generate(x=x.cpu().numpy(), y=y.cpu().numpy())


class _AutoAttack(_Library):
    norms: ClassVar[Mapping[str, object]] = {"linf": "Linf", "l2": "L2"}

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        seed = int(torch.randint(2**31 - 1, ()))
        library = load_library("pyautoattack", _USER, "pyautoattack")
        attack = self._build(library, model, eps=self.eps, seed=seed, device=x.device)
        return attack.run_standard_evaluation(x, y)[0]


def from_torchattacks(
    name: str, *, norm: Norm = "linf", eps: float | None = None, **options: Any
) -> Backend:
    """An attack of torchattacks: `from_torchattacks("PGD", eps=8 / 255, steps=40)`.

    Args:
        name: of the class in torchattacks.
        norm: in which the perturbation is measured; an attack of several norms is told which.
        eps: radius, which is passed to the attack unless it is `None`.
        options: further arguments of its constructor.

    Raises:
        ConfigError: when it runs, if torchattacks is not installed or has no such attack.
    """
    return Backend(call=_Torchattacks(name, norm, eps, options), norm=norm, eps=eps)


def from_foolbox(
    name: str, *, norm: Norm = "linf", eps: float | None = None, **options: Any
) -> Backend:
    """An attack of foolbox: `from_foolbox("LinfPGD", eps=8 / 255, steps=40)`.

    Args:
        name: of the class in foolbox.attacks.
        norm: in which the perturbation is measured; an attack of several norms is told which.
        eps: radius; `None` for an attack that searches for the smallest perturbation.
        options: further arguments of its constructor.

    Raises:
        ConfigError: when it runs, if foolbox is not installed or has no such attack.
    """
    return Backend(call=_Foolbox(name, norm, eps, options), norm=norm, eps=eps)


def from_art(
    name: str, *, norm: Norm = "linf", eps: float | None = None, **options: Any
) -> Backend:
    """An attack of the Adversarial Robustness Toolbox: `from_art("SquareAttack", eps=8 / 255)`.

    Args:
        name: of the class in art.attacks.evasion.
        norm: in which the perturbation is measured; an attack of several norms is told which.
        eps: radius, which is passed to the attack unless it is `None`.
        options: further arguments of its constructor.

    Raises:
        ConfigError: when it runs, if the toolbox is not installed or has no such attack.
    """
    return Backend(call=_Art(name, norm, eps, options), norm=norm, eps=eps)


def from_autoattack(*, eps: float, norm: Norm = "linf", **options: Any) -> Backend:
    """The original AutoAttack, package pyautoattack: `from_autoattack(eps=8 / 255)`.

    Its losses need three classes or four, so it has no targeted form here.

    Args:
        eps: radius.
        norm: in which the perturbation is measured.
        options: further arguments of its constructor, such as `version="standard"`.

    Raises:
        ConfigError: when it runs, if pyautoattack is not installed.
    """
    return Backend(call=_AutoAttack("AutoAttack", norm, eps, options), norm=norm, eps=eps)
