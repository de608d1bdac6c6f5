"""The base class of all training methods: a prediction loss, named regularisers, perhaps a critic.

    loss = mean prediction_loss(output, y) + sum_i weight_i * regulariser_i(output, batch)

A method is a module, so that critics and learned priors move, save and load with it. It never
touches optimisers or data: `loss = method(model, x, y)` fits any training loop. Numbers that may
differ between the members of a stack, such as beta, are buffers, so that they stack too.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from narrows.checks import ArrayLike, check_number
from narrows.errors import InputError
from narrows.methods._entrance import (
    check_batch,
    classes_checked,
    finite_total,
    in_full_precision,
)
from narrows.methods._parallel import equalise
from narrows.models.gaussian import NetworkLatent
from narrows.models.networks import NetworkConfig, build_network
from narrows.models.outputs import as_output
from narrows.models.precision import full_precision
from narrows.types import Batch, Latent, LossTerms, ModelOutput, Term

__all__ = ["Method", "MethodExample", "Sizes", "example_batch", "negative_log_likelihood"]


class Sizes(NamedTuple):
    """The sizes of a network that a method may need before it can be built.

    Attributes:
        inputs: number of input features.
        latent: K, number of units of z.
        classes: number of classes.
        hidden: widths of the binary stochastic layers, where there are any.
    """

    inputs: int
    latent: int
    classes: int
    hidden: tuple[int, ...] = ()


class MethodExample(NamedTuple):
    """A method, a network that has what it needs, and a batch `x: [32, 20]` of 4 classes."""

    method: Method
    model: nn.Module
    batch: Batch


def example_batch() -> Batch:
    """The batch of every example, always the same."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(32, 20, generator=generator)
    return Batch(x, torch.randint(4, (32,), generator=generator))


def negative_log_likelihood(logits: Tensor, y: Tensor) -> Tensor:
    """-log p(y|z) per input, averaged over draws: `[..., batch, classes], [batch] -> [batch]`."""
    log_p = logits.log_softmax(-1)
    index = y.expand(logits.shape[:-1]).unsqueeze(-1)
    loss = -log_p.gather(-1, index).squeeze(-1)
    return loss if loss.dim() == 1 else loss.flatten(0, -2).mean(0)


class Method(nn.Module, ABC):
    """Base of every training method; subclasses are final and keep to one file.

    Args:
        beta: weight of the compression, at least 0: minimise prediction loss + beta * I(X;Z).

    A subclass describes itself by class attributes, which `narrows methods` prints and the tests
    of all methods rely on.

    Attributes:
        source: authors, year and where the method was published.
        needs: what it needs of a network, in words.
        randomness: what its loss draws at random in training; empty for nothing.
        latent: the kind of latent that networks built for the method get.
        has_beta: whether beta has a meaning; else it must be 0.
        default_betas: the grid of a sweep that names none; empty where there is no beta.
        stackable: whether many models of it train in one vectorised step.
        couples: what in its loss couples the inputs of a batch, so that the loss is no mean over
            them and several processes cannot share a batch; empty for nothing.
    """

    source: ClassVar[str]
    needs: ClassVar[str] = "any classifier"
    randomness: ClassVar[str] = ""
    latent: ClassVar[NetworkLatent] = "deterministic"
    has_beta: ClassVar[bool] = True
    default_betas: ClassVar[tuple[float, ...]] = ()
    stackable: ClassVar[bool] = True
    couples: ClassVar[str] = ""
    beta: Tensor

    def __init__(self, beta: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("beta", torch.tensor(check_number(beta, "beta", 0)))

    @classmethod
    def build(cls, beta: float, sizes: Sizes, **options: Any) -> Self:
        """Build the method for a network of `sizes`.

        Args:
            beta: weight of the compression.
            sizes: of the network; a method that does not need them ignores them.
            options: further arguments of the constructor.
        """
        return cls(beta=beta, **options)

    @classmethod
    def example(cls, beta: float = 0.1, **options: Any) -> MethodExample:
        """The method with a small network and a batch that it can be trained on, for tests.

        Override it in a method that needs another network or other inputs.

        Args:
            beta: weight of the compression; not used where the method has no beta.
            options: further arguments of `build`.

        Example:
            >>> from narrows.methods import VIB
            >>> method, model, batch = VIB.example()
            >>> method(model, *batch).shape
            torch.Size([])
        """
        name, hidden = ("binary", [8, 3]) if cls.latent == "binary" else ("mlp", [8])
        config = NetworkConfig(name, encoder=hidden, bottleneck=3, decoder=[6])
        model = build_network(config, (20,), 4, cls.latent)
        sizes = Sizes(inputs=20, latent=3, classes=4, hidden=(8, 3))
        method = cls.build(beta if cls.has_beta else 0.0, sizes, **options)
        return MethodExample(method, model, example_batch())

    def forward(self, model: nn.Module, x: ArrayLike, y: ArrayLike) -> Tensor:
        """Scalar loss of `model`, for a training loop of your own.

        The model runs in the precision of the loop, under autocast too; the loss is computed in
        at least float32. With a `DistributedDataParallel` model, the parameters of the method
        itself are kept equal in all processes.

        Args:
            model: any classifier that has what the method needs.
            x: inputs `[batch, ...]`, in [0, 1] where they are attacked; a tensor, a NumPy array or
                nested lists.
            y: labels `[batch]` of any integer type.

        Raises:
            InputError: for a batch or a model that cannot be used, saying why.
            DivergedError: for a loss that is not finite, naming the term that is not.
        """
        batch = self.check(model, x, y)
        equalise(self, model)
        with classes_checked(model, batch):
            output = self.observe(model, batch)
        with full_precision(batch.x.device):
            terms = self.terms(in_full_precision(output), batch)
        return finite_total(type(self).__name__, terms, batch.x)

    def check(self, model: nn.Module, x: ArrayLike, y: ArrayLike) -> Batch:
        """The batch, checked and converted to tensors.

        Args:
            model: classifier that the batch is for.
            x: inputs `[batch, ...]`.
            y: labels `[batch]`.

        Raises:
            InputError: for inputs or labels that cannot be used.
        """
        return check_batch(model, x, y)

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Run the model once. A method that needs more than the output overrides this."""
        return as_output(model(batch.x))

    def terms(self, output: ModelOutput, batch: Batch) -> LossTerms:
        """The loss in its parts, from the output of `observe`."""
        return LossTerms(
            self.prediction_loss(output, batch.y).mean(), self.regulariser(output, batch)
        )

    def prediction_loss(self, output: ModelOutput, y: Tensor) -> Tensor:
        """Loss per input `[batch]`: cross-entropy unless a method overrides it."""
        return negative_log_likelihood(output.logits, y)

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """Named scalar terms with their weights; none by default."""
        return {}

    @property
    def matures(self) -> float:
        """Share of training before which no epoch is chosen as the best; 0 unless overridden.

        A method whose loss changes during training returns the share after which it is constant.
        """
        return 0.0

    @property
    def critic_steps(self) -> int:
        """Critic updates before each model update; 0 where there is no adversary."""
        return 0

    def critic_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the critic's own optimiser; none where there is no adversary."""
        return iter(())

    def critic_loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        """Scalar that the critic minimises, given a detached output.

        Raises:
            InputError: for a method without a critic.
        """
        raise InputError(f"{type(self).__name__} has no critic")

    def _latent(self, output: ModelOutput) -> Latent:
        if output.latent is None:
            raise InputError(
                f"{type(self).__name__} needs a model with a latent: use Bottleneck(encoder, "
                f"decoder, latent={self.latent!r}), or insert_bottleneck(model, at='layer name', "
                f"latent={self.latent!r}) on a network of your own"
                f"{self._or_tap()}; in a run, set network.bottleneck to its width"
            )
        return output.latent

    def _or_tap(self) -> str:
        plain = self.latent == "deterministic"
        return ", or tap(model, [...], latent='layer name') to use a layer unchanged" * plain

    def _gaussian(self, output: ModelOutput) -> Latent:
        latent = self._latent(output)
        if latent.scale is None:
            raise InputError(
                f"{type(self).__name__} needs a Gaussian latent, and this one has no distribution: "
                f"Bottleneck(encoder, decoder, latent={self.latent!r}), or "
                f"insert_bottleneck(model, at='layer name', latent={self.latent!r}) on a network "
                "of your own"
            )
        return latent

    def __repr__(self) -> str:
        """The call that builds the method again."""
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return f"beta={self.beta.item():.7g}" if self.beta.dim() == 0 else "beta=stacked"
