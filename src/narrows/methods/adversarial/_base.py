"""The common base of adversarial training: the inner attack, and a method that wraps another one.

    x' <- clip(x' + step_size * sign(grad A(f(x')))),   |x' - x|_inf <= eps,   x' in [0, 1]

The attack is a plain loop that also works inside a vectorised step. No gradient passes through it,
and it changes neither weights nor running statistics. A subclass defines the objective A and the
loss on the adversarial images.

The model is attacked in evaluation mode (`mode="eval"`: no dropout, running statistics fixed) or in
training mode (`"train"`: each batch is normalised by its own statistics), with a stochastic latent
at its mean. Then adversarial and clean images pass through the model in training mode. Only one of
these two passes updates running statistics, so that they are updated once per step.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, ClassVar, Literal, Self, TypedDict, get_args

import torch
from torch import Tensor, nn

from narrows.checks import ArrayLike
from narrows.errors import ConfigError, unknown_name
from narrows.methods._base import Method, MethodExample
from narrows.methods._entrance import check_batch
from narrows.methods.cross_entropy import CrossEntropy
from narrows.models.bottleneck import latent_mode
from narrows.models.evaluating import evaluating
from narrows.models.noise import standard_normal
from narrows.models.outputs import average_logits, logits_of, pack, unpack
from narrows.models.precision import at_least_float32
from narrows.types import Batch, ModelOutput, Term

__all__ = [
    "Adversarial",
    "Images",
    "Inner",
    "Mode",
    "Regularise",
    "Start",
    "Variant",
    "WithDivergence",
    "divergence",
]

Images = Literal["clean", "adversarial"]
Regularise = Literal["clean", "adversarial", "as_coded"]
Start = Literal["uniform", "normal"]
Inner = Literal["divergence", "cross_entropy"]
Mode = Literal["eval", "train"]
Variant = Literal["ib_rar"]

_PREFIX = "adversarial."
_IMAGES = "adversarial.images"
_NORMAL_START = 1e-3


class VariantOptions(TypedDict, total=False):
    """Arguments of the constructors that published variants set."""

    eps: float
    steps: int
    step_size: float
    weight: float
    predict: Images
    inner: Inner
    start: Start
    regularise: Regularise


class Adversarial(Method):
    """Base of the methods that wrap another method and train on adversarial images.

    Args:
        method: whose prediction loss and regulariser are used; its beta is the only one.
        eps: Linf radius, in units of the [0, 1] image range.
        steps: gradient steps of the inner attack.
        step_size: length of one step; `None` for 2.5 * eps / steps.
        mode: mode of the model under attack, `"eval"` or `"train"`.
        regularise: which images the wrapped method's regulariser sees: `"clean"`, `"adversarial"`,
            or `"as_coded"`, clean images and layers of adversarial ones (see each subclass).

    Attributes:
        start: where the attack begins: `"uniform"` in the ball, or `"normal"` with standard
            deviation 0.001 around the image.
        needs_clean: whether the loss needs the clean images even without a regulariser.
        tracked: which images update running statistics, where both pass through the model.
        variants: published arguments other than the defaults, by name; see `wrap`.

    Raises:
        ConfigError: for numbers out of range, unknown words, or a method that is adversarial
            already.
    """

    needs = "a method to wrap, and images in [0, 1]"
    randomness = "where the inner attack starts"
    has_beta = False
    start: Start = "uniform"
    needs_clean: ClassVar[bool] = True
    tracked: ClassVar[Images] = "adversarial"
    variants: ClassVar[Mapping[Variant, VariantOptions]] = {}

    def __init__(
        self,
        method: Method,
        eps: float = 8 / 255,
        steps: int = 10,
        step_size: float | None = None,
        mode: Mode = "eval",
        regularise: Regularise = "clean",
    ) -> None:
        super().__init__()
        del self.beta  # only the wrapped method has one
        if isinstance(method, Adversarial):
            raise ConfigError(f"{type(method).__name__} is adversarial training already")
        self.step_size = 2.5 * eps / max(steps, 1) if step_size is None else step_size
        if not (0 <= eps <= 1 and steps >= 1 and 0 <= self.step_size < math.inf):
            raise ConfigError(
                "adversarial training needs eps in [0, 1], as images are, steps >= 1 and a finite "
                f"step_size, got eps={eps}, steps={steps}, step_size={self.step_size}"
            )
        if mode not in get_args(Mode) or regularise not in get_args(Regularise):
            raise ConfigError(
                "mode must be 'eval' or 'train' and regularise 'clean', 'adversarial' or "
                f"'as_coded', got {mode!r} and {regularise!r}"
            )
        self.method, self.eps, self.steps = method, eps, steps
        self.mode: Mode = mode
        self.regularise: Regularise = regularise

    @classmethod
    def wrap(cls, method: Method, variant: Variant | None = None, **options: Any) -> Self:
        """Wrap a method with the arguments of a variant.

        Args:
            method: to wrap.
            variant: name of an entry of `variants`; `None` for the defaults.
            options: further arguments of the constructor, which override those of the variant.

        Raises:
            ConfigError: for an unknown variant.
        """
        if variant is not None and variant not in cls.variants:
            raise unknown_name(f"variant of {cls.__name__}", variant, cls.variants)
        return cls(method, **{**(cls.variants[variant] if variant else {}), **options})

    @classmethod
    def ib_rar(cls, method: Method) -> Self:
        """The variant in IB-RAR's published code."""
        return cls.wrap(method, "ib_rar")

    @classmethod
    def example(
        cls, beta: float = 0.1, *, inner: MethodExample | None = None, **options: Any
    ) -> MethodExample:
        """The example of a method, wrapped, for tests.

        Args:
            beta: of the wrapped method, where `inner` is not given.
            inner: case of the method to wrap; `None` for cross-entropy.
            options: further arguments of the constructor.
        """
        inner = CrossEntropy.example(beta) if inner is None else inner
        return inner._replace(method=cls(inner.method, **{"eps": 0.05, "steps": 2, **options}))

    def check(self, model: nn.Module, x: ArrayLike, y: ArrayLike) -> Batch:
        """The batch, whose images must lie in [0, 1], where the attack keeps them.

        Args:
            model: classifier that the batch is for.
            x: images `[batch, ...]`.
            y: labels `[batch]`.

        Raises:
            InputError: for images outside [0, 1], or labels that cannot be used.
        """
        return check_batch(model, x, y, images=True)

    def attack(self, model: nn.Module, batch: Batch) -> Tensor:
        """Images `[batch, ...]` in the ball around `batch.x` that raise the inner objective.

        They are computed in at least float32: half precision would round small steps to zero.
        """
        kind, x = batch.x.dtype, at_least_float32(batch.x.detach())
        low, high = (x - self.eps).clamp_min(0), (x + self.eps).clamp_max(1)
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(latent_mode(model, "mean"))
            stack.enter_context(evaluating(model) if self.mode == "eval" else _untracked(model))
            objective = self.objective(model, batch)
            x_adv = torch.minimum(torch.maximum(x + self._perturbation(x), low), high)
            for _ in range(self.steps):
                gradient = _input_gradient(
                    lambda x: objective(at_least_float32(logits_of(model, x.to(kind)))), x_adv
                )
                moved = x_adv + self.step_size * gradient.sign()
                x_adv = torch.minimum(torch.maximum(moved, low), high)
        return x_adv.to(kind)

    def objective(self, model: nn.Module, batch: Batch) -> Callable[[Tensor], Tensor]:
        """The objective of the attack as a function of the logits; cross-entropy by default."""
        return lambda logits: nn.functional.cross_entropy(logits, batch.y, reduction="sum")

    def _perturbation(self, x: Tensor) -> Tensor:
        noise = standard_normal(x.shape, x)
        if self.start == "normal":
            return _NORMAL_START * noise
        return self.eps * torch.erf(noise / math.sqrt(2))  # uniform: 2 Phi(noise) - 1

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Attack the model, then run it on the adversarial images and where needed on the clean."""
        attacked = Batch(self.attack(model, batch), batch.y)
        if not self._reads_clean():
            return self.method.observe(model, attacked)
        with nullcontext() if self.tracked == "adversarial" else _untracked(model):
            adversarial = self.method.observe(model, attacked)
        with nullcontext() if self.tracked == "clean" else _untracked(model):
            clean = self.method.observe(model, batch)
        parts = {_PREFIX + name: value for name, value in pack(adversarial).items()}
        activations = {**clean.activations, **parts, _IMAGES: attacked.x}
        return clean._replace(activations=activations)

    def _reads_clean(self) -> bool:
        idle = type(self.method).regulariser is Method.regulariser and not self.critic_steps
        return self.needs_clean or not idle

    @staticmethod
    def split(output: ModelOutput) -> tuple[ModelOutput, ModelOutput]:
        """The outputs on clean and on adversarial images; the same where only one was computed."""
        parts = {k: v for k, v in output.activations.items() if k.startswith(_PREFIX)}
        if not parts:
            return output, output
        clean = {k: v for k, v in output.activations.items() if k not in parts}
        parts.pop(_IMAGES)
        adversarial = unpack({k.removeprefix(_PREFIX): v for k, v in parts.items()})
        return output._replace(activations=clean), adversarial

    @abstractmethod
    def prediction_loss(self, output: ModelOutput, y: Tensor) -> Tensor:
        """Loss per input `[batch]`."""

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """The terms of the wrapped method."""
        return self.method.regulariser(*self._regularised(output, batch))

    def _regularised(self, output: ModelOutput, batch: Batch) -> tuple[ModelOutput, Batch]:
        clean, adversarial = self.split(output)
        if self.regularise == "clean" or _IMAGES not in output.activations:
            return clean, batch
        if self.regularise == "as_coded":
            return self._as_coded(clean, adversarial), batch
        return adversarial, batch._replace(x=output.activations[_IMAGES])

    def _as_coded(self, clean: ModelOutput, adversarial: ModelOutput) -> ModelOutput:
        """What IB-RAR's published code compares with the clean images: both their layers."""
        layers = {_PREFIX + name: layer for name, layer in adversarial.activations.items()}
        return clean._replace(activations={**clean.activations, **layers})

    @property
    def matures(self) -> float:
        """That of the wrapped method."""
        return self.method.matures

    @property
    def critic_steps(self) -> int:
        """Those of the wrapped method."""
        return self.method.critic_steps

    def critic_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the wrapped method."""
        return self.method.critic_parameters()

    def critic_loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        """That of the wrapped method, on the images that its regulariser sees."""
        if output is None or not self.critic_steps:
            return self.method.critic_loss(output, batch)
        return self.method.critic_loss(*self._regularised(output, batch))

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return (
            f"{self.method!r}, eps={self.eps}, steps={self.steps}, step_size={self.step_size}, "
            f"mode={self.mode!r}, regularise={self.regularise!r}"
        )


class WithDivergence(Adversarial):
    """Base of TRADES and MART, whose loss has a weighted divergence of two predictions.

    Args:
        method: see `Adversarial`, likewise `eps` to `regularise`.
        eps: Linf radius, in units of the [0, 1] image range.
        steps: gradient steps of the inner attack.
        step_size: length of one step; `None` for 2.5 * eps / steps.
        mode: mode of the model under attack, `"eval"` or `"train"`.
        regularise: which images the wrapped method's regulariser sees.
        weight: of the divergence, finite and at least 0.
        start: where the inner attack begins.

    Raises:
        ConfigError: for another weight or start, and as `Adversarial`.
    """

    def __init__(
        self,
        method: Method,
        eps: float = 8 / 255,
        steps: int = 10,
        step_size: float | None = None,
        mode: Mode = "eval",
        regularise: Regularise = "clean",
        weight: float = 6.0,
        start: Start = "normal",
    ) -> None:
        super().__init__(method, eps, steps, step_size, mode, regularise)
        if not 0 <= weight < math.inf:
            raise ConfigError(f"{type(self).__name__} needs a finite weight >= 0, got {weight}")
        if start not in get_args(Start):
            raise ConfigError(
                f"{type(self).__name__} needs start 'uniform' or 'normal', got {start!r}"
            )
        self.weight = weight
        self.start = start

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return f"{super().extra_repr()}, weight={self.weight}, start={self.start!r}"


def divergence(clean: ModelOutput, adversarial: ModelOutput) -> Tensor:
    """KL(q(y|x) || q(y|x')) in nats for each input: `[batch]`, draws averaged first."""
    log_p = average_logits(clean.logits).log_softmax(-1)
    log_q = average_logits(adversarial.logits).log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def _input_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Gradient of a scalar function: by autograd, or inside vmap by torch.func."""
    with torch.enable_grad():
        try:
            leaf = x.detach().requires_grad_()
        except RuntimeError:  # inside vmap
            return torch.func.grad(function)(x)
        return torch.autograd.grad(function(leaf), leaf)[0]


@contextmanager
def _untracked(model: nn.Module) -> Iterator[None]:
    """Inside the block, normalise batches by their statistics without updating running ones."""
    tracking = [m for m in model.modules() if m.training and getattr(m, "track_running_stats", 0)]
    try:
        for module in tracking:
            setattr(module, "track_running_stats", False)  # noqa: B010
        yield
    finally:
        for module in tracking:
            setattr(module, "track_running_stats", True)  # noqa: B010
