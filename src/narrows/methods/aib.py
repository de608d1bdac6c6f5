"""Adversarial information bottleneck: a critic estimates I(X;Z), the encoder makes it small."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from narrows.checks import ArrayLike
from narrows.errors import ConfigError, InputError
from narrows.methods._base import Method, Sizes
from narrows.methods._entrance import classes_checked, in_full_precision
from narrows.methods._input_gradient import input_gradient
from narrows.methods._parallel import equalise
from narrows.models.mlp import mlp
from narrows.models.outputs import as_output
from narrows.models.precision import full_precision
from narrows.types import Batch, ModelOutput, Term

__all__ = ["AIB", "Critic"]

_SELECTED = "aib.selected_inputs"


class Critic(nn.Module):
    """T(x, z), evaluated on the pairs of a batch and on mismatched ones: `[batch]` each.

    Args:
        inputs: number of input features, after flattening.
        latent: K, features of z.
        hidden: widths of the hidden layers.
    """

    def __init__(self, inputs: int, latent: int, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        self.read_x = mlp([inputs, hidden[0]])
        self.read_z = nn.Linear(latent, hidden[0], bias=False)
        nn.init.xavier_uniform_(self.read_z.weight)
        self.head = nn.Sequential(nn.ReLU(), *mlp([*hidden, 1]))

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """T on joint pairs `(x_i, z_i)` and on marginal pairs `(x_{i-1}, z_i)`."""
        from_x, from_z = self.read_x(x.flatten(1)), self.read_z(z)
        pairs = torch.cat([from_x + from_z, from_x.roll(1, 0) + from_z])
        joint, marginal = self.head(pairs).squeeze(1).chunk(2)
        return joint, marginal


class AIB(Method):
    """Adversarial information bottleneck: a critic estimates I(X;Z), the encoder makes it small.

        min_{encoder, decoder} max_T  E[-log q(y|z)] + beta * V(T)
        V(T) = E_{p(x,z)} T(x_S, z) - log E_{p(x) p(z)} exp T(x_S, z)

    Source: Zhai & Zhang (2021), arXiv 2103.00381, eqs. 6 and 7 and Algorithm 1. V is the
    Donsker-Varadhan lower bound of I(X_S;Z) <= I(X;Z), where x_S keeps the p inputs with the
    largest gradient of z and sets the others to zero. Each step first ascends V in T, then descends
    the whole loss in the model.

    Where the paper leaves a choice open, this class chooses:

    - Pairs of p(x) p(z): z_i goes with the x of its neighbour in the (shuffled) batch. This costs
      no second minibatch, and no such pair belongs together.
    - The k steps of T: all on the minibatch of the model's step. The paper draws a new one for
      each.
    - Saliency of an input: |d sum_k z_k / d x_i|, from one backward pass.
    - T: one hidden layer on x_S and z together, then further ones; `hidden` gives the widths. The
      part of the first layer that reads x is computed once for joint and marginal pairs.
    - p: a quarter of the inputs, at least 16 (all of them where there are fewer).
    - Z: linear, as a `Bottleneck` has it. The text has ReLU layers and names no exception, so that
      Z may be one: `Bottleneck(..., activation="relu")`, in a run `network.latent_activation=relu`.
    - The critic's rate, which belongs to its optimiser: the published settings `aib` have five
      times the model's.

    Deviations, both of which change what is minimised:

    - The critic's gradient of log E exp T divides by a moving average of E exp T, which reduces the
      bias of minibatches (Belghazi et al. 2018, arXiv 1801.04062, eq. 12).
    - The model descends V only where V is positive. A critic that does worse than a constant bounds
      nothing, and an encoder that learns faster than the critic drives V and the code to minus
      infinity (as on MNIST with beta = 3). Algorithm 1 always descends V: that is
      `only_positive=False`.

    Args:
        beta: weight of the critic's estimate of I(X;Z).
        inputs: number of input features (784 for MNIST), which sets the size of the critic.
        latent: number of units of z.
        hidden: widths of the critic's hidden layers.
        steps: k, critic steps before each model step.
        selected: p, how many inputs of each image the critic sees; `None` for a quarter of them.
        averaging: weight of the newest batch in the moving average of E exp T.
        only_positive: whether the model ignores the bound where it is negative; false in the
            paper's Algorithm 1.

    Raises:
        ConfigError: for numbers out of range.
        InputError: for a model without a latent or with a samples axis on it, for inputs or codes
            of another size, and for a batch of one, which has no marginal pairs.

    Example:
        >>> from narrows.models import Bottleneck
        >>> model = Bottleneck(nn.Linear(4, 3), nn.Linear(3, 2))
        >>> method = AIB(beta=0.1, inputs=4, latent=3)
        >>> x, y = torch.rand(8, 4), torch.zeros(8, dtype=torch.long)
        >>> critic = torch.optim.Adam(method.critic_parameters(), 2e-4)
        >>> method.critic_step(model, x, y, critic).shape, method(model, x, y).shape
        (torch.Size([]), torch.Size([]))
    """

    source = "Zhai & Zhang 2021, arXiv 2103.00381"
    couples = "its critic compares inputs with codes of other inputs"
    needs = "a latent, and trains a critic"
    default_betas = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    log_partition: Tensor

    def __init__(
        self,
        beta: float,
        inputs: int,
        latent: int,
        hidden: Sequence[int] = (128, 128),
        steps: int = 1,
        selected: int | None = None,
        averaging: float = 0.01,
        only_positive: bool = True,
    ) -> None:
        super().__init__(beta)
        self.inputs, self.latent_size, self.hidden = inputs, latent, tuple(hidden)
        self.selected = min(inputs, max(16, inputs // 4)) if selected is None else selected
        if not 1 <= self.selected <= inputs:
            raise ConfigError(f"selected must lie in 1..{inputs} (the inputs), got {selected}")
        if latent < 1:
            raise ConfigError(
                f"AIB's critic reads a latent of at least one unit, got {latent}; set "
                "network.bottleneck to its width"
            )
        if steps < 1 or not 0 < averaging <= 1 or not self.hidden:
            raise ConfigError(
                "AIB needs steps >= 1, averaging in (0, 1] and at least one hidden layer, got "
                f"steps={steps}, averaging={averaging}, hidden={self.hidden}"
            )
        self.steps, self.averaging, self.only_positive = steps, averaging, only_positive
        self.critic = Critic(inputs, latent, self.hidden)
        self.register_buffer("log_partition", torch.tensor(math.nan))

    @classmethod
    def build(cls, beta: float, sizes: Sizes, **options) -> Self:
        """Build the method with a critic of the network's sizes; see `Method.build`."""
        return cls(beta, inputs=sizes.inputs, latent=sizes.latent, **options)

    @property
    def critic_steps(self) -> int:
        """Updates of T before each model step, k in Algorithm 1."""
        return self.steps

    def critic_parameters(self) -> Iterator[nn.Parameter]:
        """The weights of T."""
        return self.critic.parameters()

    def critic_step(
        self, model: nn.Module, x: ArrayLike, y: ArrayLike, optimiser: torch.optim.Optimizer
    ) -> Tensor:
        """Steps 3 to 5 of Algorithm 1, for a training loop of your own.

        Args:
            model: classifier with a latent.
            x: inputs `[batch, ...]`.
            y: labels `[batch]`.
            optimiser: of `critic_parameters()`.

        Returns:
            The loss of T before the step, a scalar.
        """
        batch = self.check(model, x, y)
        equalise(self, model)
        with classes_checked(model, batch):
            output = in_full_precision(self.observe(model, batch))
        latent = self._latent(output)
        detached = output._replace(latent=latent._replace(z=latent.z.detach()))
        optimiser.zero_grad()
        with full_precision(batch.x.device):
            loss = self.critic_loss(detached, batch)
        loss.backward()
        optimiser.step()
        return loss.detach()

    def observe(self, model: nn.Module, batch: Batch) -> ModelOutput:
        """Run the model and add x_S to its output, x with all but p salient inputs at zero."""
        if self.selected == self.inputs:
            return _with_selected(as_output(model(batch.x)), batch.x)
        if (features := batch.x[0].numel()) != self.inputs:
            raise InputError(
                f"AIB was built for {self.inputs} inputs, got {features}; "
                f"write AIB(..., inputs={features})"
            )
        output, gradient = input_gradient(model, batch.x, lambda output: self._latent(output).z)
        return _with_selected(output, keep_largest(batch.x, gradient, self.selected))

    def regulariser(self, output: ModelOutput, batch: Batch) -> dict[str, Term]:
        """The Donsker-Varadhan bound in nats, whose gradient reaches the encoder through z."""
        joint, marginal = self._pairs(output)
        bound = joint.mean() - _log_mean_exp(marginal)
        weight = self.beta
        if self.only_positive:
            weight = torch.where(bound.detach() > 0, weight, 0.0)
        return {"donsker_varadhan": Term(bound, weight)}

    def critic_loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        """Minus the bound; the gradient of log E exp T divides by the moving average."""
        joint, marginal = self._pairs(output)
        log_mean = _log_mean_exp(marginal)
        with torch.no_grad():
            new, old = log_mean.detach(), self.log_partition
            mixed = torch.logaddexp(
                old + math.log1p(-self.averaging) if self.averaging < 1 else old - math.inf,
                new + math.log(self.averaging),
            )
            self.log_partition.copy_(torch.where(old.isnan(), new, mixed))
        return (log_mean - self.log_partition).exp() - joint.mean()

    def _pairs(self, output: ModelOutput) -> tuple[Tensor, Tensor]:
        z = self._latent(output).z
        if z.dim() != 2:
            raise InputError(
                f"AIB needs one code [batch, {self.latent_size}] an input, got {tuple(z.shape)}"
            )
        x = output.activations[_SELECTED].flatten(1)
        if (x.shape[1], z.shape[1]) != (self.inputs, self.latent_size):
            raise InputError(
                f"AIB was built for {self.inputs} inputs and codes of {self.latent_size}, "
                f"got {x.shape[1]} and {z.shape[1]}"
            )
        if len(z) < 2:
            raise InputError("AIB compares the images of a batch, so it needs at least two")
        kind = self.critic.read_z.weight.dtype
        return self.critic(x.to(kind), z.to(kind))

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return (
            f"{super().extra_repr()}, inputs={self.inputs}, latent={self.latent_size}, "
            f"hidden={self.hidden}, steps={self.steps}, selected={self.selected}, "
            f"averaging={self.averaging}, only_positive={self.only_positive}"
        )


def keep_largest(x: Tensor, score: Tensor, count: int) -> Tensor:
    """Keep the `count` features of each image with the largest |score|, set the others to 0.

    Args:
        x: images `[batch, ...]`.
        score: of each feature, in the shape of `x`.
        count: features to keep per image.
    """
    flat = x.flatten(1)
    kept = score.flatten(1).abs().topk(count, dim=1, sorted=False).indices
    return torch.zeros_like(flat).scatter(1, kept, flat.gather(1, kept)).view(x.shape)


def _with_selected(output: ModelOutput, selected: Tensor) -> ModelOutput:
    return output._replace(activations={**output.activations, _SELECTED: selected})


def _log_mean_exp(values: Tensor) -> Tensor:
    return values.logsumexp(0) - math.log(len(values))
