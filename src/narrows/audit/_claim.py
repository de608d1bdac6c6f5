"""What an audit examines: a model, images and a radius, a budget, and verdicts of the model.

Verdicts are made quietly: in evaluation mode, from one seed, and with the model, what it remembers
and the random generators left as they were found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from narrows.attacks import PGD
from narrows.attacks.entrance import check_reach
from narrows.attacks.norms import farthest
from narrows.attacks.suspicions import are_probabilities
from narrows.audit._budget import Budget, resolve_budget
from narrows.audit._door import (
    attacked,
    batch_dependence,
    check_classifier,
    moved,
    nearby,
    spread_rows,
)
from narrows.audit._state import State
from narrows.audit._subject import Subject, defined, held, unwrapped
from narrows.checks import (
    ArrayLike,
    check_count,
    check_dense,
    check_images,
    check_labels,
    check_number,
)
from narrows.errors import ConfigError, InputError
from narrows.models.bottleneck import draw_logits
from narrows.models.noise import forked_rng
from narrows.models.outputs import average_logits
from narrows.types import Norm

__all__ = ["Claim", "Judged", "gray_radius", "per_pixel"]

_BLOCK = 1024
_PROBE = 256  # images at which noise is looked for, and that are looked at again at the end
_COMPANIONS = 16
_NAMED = 10


class Judged(NamedTuple):
    """What the model makes of images `[b, ...]`, on fresh draws where it is stochastic.

    Attributes:
        logits: `[b, C]`, averaged in probability over the draws.
        fooled: `[b]` bool, whether their largest is another class than the label.
        fooled_rate: `[b]`, share of single draws that are wrong.
    """

    logits: Tensor
    fooled: Tensor
    fooled_rate: Tensor


class Claim:
    """A model said to be robust at these images within this radius; `Case` finds what is against.

    Attributes:
        model: the model itself, for those who know it.
        near_norm: norm of the balls in which checks look at the model closely; L2 for L1 and L0.
        near_eps: their radius: that of the claim, or for L1 and L0 of the least L2 ball that holds
            every perturbation.
        subject: the model as the audit asks it.
        x: `[n, ...]` images in float32 at least, without those that the model cannot judge.
        y: `[n]` int64 labels.
        left_out: numbers of the given images at which the model returns no number.
        drift: names of the tensors that one pass in evaluation mode changes.
        memories: names of other attributes that it changes.
        stateful: whether answers to the same images were seen to change with use.
        stochastic: whether two passes over the same images differ, clean or perturbed.
        batch: how an answer depends on the rest of the batch; empty where it does not.
        verdict: of the model, on the images as they are.
        clean: `[n]` bool, whether they are classified correctly.
        probabilities: whether the model returns probabilities, not logits.
        training: images and labels to train other networks on; None without any.
    """

    norm: Norm
    near_norm: Norm

    def __init__(
        self,
        model: nn.Module,
        x: ArrayLike,
        y: ArrayLike,
        *,
        eps: float,
        norm: Norm,
        budget: str | Budget,
        twin: nn.Module | None,
        siblings: Sequence[nn.Module],
        training: tuple[ArrayLike, ArrayLike] | None,
        seed: int,
    ) -> None:
        self.budget = resolve_budget(budget)
        eps = check_number(eps, "eps")
        if eps == 0:
            raise ConfigError("eps must be positive: nothing can be attacked within eps = 0")
        PGD(norm=norm, eps=eps)  # refuses a norm or an eps that there is not
        check_count(seed, "seed", -(2**62))
        if not isinstance(model, nn.Module):
            kind = type(model).__name__
            raise InputError(f"a model must be a torch.nn.Module, got {kind}; wrap it in one")
        self.model, self.eps, self.seed = unwrapped(model), eps, seed
        self.norm = norm
        weights = [part for part in self.model.parameters() if part.is_floating_point()]
        images = check_images(x, like=weights[0] if weights else None)
        images = check_dense(images, "images", present=True)
        labels = check_dense(check_labels(y, count=len(images)), "labels", present=True).to(
            images.device
        )
        check_reach(eps, norm, images)
        # Copies, because a tensor made in inference mode can have no gradient.
        with torch.inference_mode(False):
            images = images[: self.budget.images].clone()
            self.y = labels[: self.budget.images].clone()
            self.x = images.to(torch.promote_types(images.dtype, torch.float32))
            self._state = State(self.model)
        self.near_norm, self.near_eps = _near(norm, eps, self.x)
        self.training = None if training is None else self._training(*training)
        self._takes = images.dtype
        self._first: Tensor | None = None
        self.stateful = False
        self.twin: Subject | None = None
        self.siblings: tuple[Subject, ...] = ()
        self._meet()
        self.verdict = self.judge(self.x, self.y)
        self.logits, self.clean = self.verdict.logits, ~self.verdict.fooled
        first, again = (self._look(self.x[self._probe], seed) for _ in range(2))
        # Noise from torch's generator is the same under one seed; any other cannot be compared.
        self._first = None if moved(first, again) else first
        self.twin = None if twin is None else self._relative("twin", twin)
        self.siblings = tuple(self._relative("sibling", sibling) for sibling in siblings)

    def _training(self, x: ArrayLike, y: ArrayLike) -> tuple[Tensor, Tensor]:
        """Training data of the same shape as the images, on their device, in their precision."""
        images = check_images(x, like=self.x).to(self.x)
        if images.shape[1:] != self.x.shape[1:]:
            raise InputError(
                f"training images must have the shape {list(self.x.shape[1:])} of the audited "
                f"ones, got {list(images.shape[1:])}"
            )
        return images, check_labels(y, count=len(images)).to(self.x.device)

    def describe_training(self) -> str:
        """What the audit's own networks are trained on."""
        if self.training is None:
            return f"the {len(self.x)} audited images themselves, as no training data was given"
        return f"{len(self.training[0]):,} training images"

    def _meet(self) -> None:
        """Find out what kind of model this is; leave out the images that it cannot judge."""
        self.subject = Subject(self.model, self._takes, self.x, self.y)
        with self.quiet():
            self.classes = check_classifier(self.subject, self.x)
            self.drift = self._state.changed_tensors()
            self.memories = [name for name in self._state.changed() if name not in self.drift]
        check_labels(self.y, classes=self.classes)
        if self.training is not None:
            check_labels(self.training[1], classes=self.classes)
        self._leave_out()
        rows = self._probe = spread_rows(len(self.x), _PROBE, self.x.device)
        x, y = self.x[rows], self.y[rows]
        self.stochastic = self._varies(nearby(x, self.norm, self.eps, self.seed))
        self.batch = batch_dependence(self.subject, self.x, self._look, stochastic=self.stochastic)
        if self.batch:
            self.subject.companions = self.x[:_COMPANIONS]
        if not self.stochastic:
            with self.restored():
                points = attacked(self.subject, x, y, self.norm, self.eps)
            self.stochastic = self._varies(points)
        with self.quiet():
            self.probabilities = are_probabilities(self.subject(self.x[:_PROBE]))

    def _leave_out(self) -> None:
        with self.quiet():
            answers = [defined(self.subject.raw(part)) for part in self.x.split(_BLOCK)]
        kept = torch.cat(answers)
        self.left_out: list[int] = (~kept).nonzero().squeeze(1).tolist()
        if not kept.any():
            raise InputError(
                f"the model returned NaN or infinity for all {len(kept)} images; nothing can be "
                "said about it"
            )
        if self.left_out:
            self.x, self.y = self.x[kept], self.y[kept]
            self.subject = Subject(self.model, self._takes, self.x, self.y)

    def _varies(self, points: list[Tensor]) -> bool:
        return any(
            not torch.equal(self._look(x, self.seed), self._look(x, self.seed + 1)) for x in points
        )

    def _relative(self, kind: str, model: nn.Module) -> Subject:
        """Refuse a twin or sibling of another kind now, not when its turn comes."""
        if not isinstance(model, nn.Module):
            raise InputError(f"a {kind} must be a torch.nn.Module, got {type(model).__name__}")
        model = unwrapped(model)
        subject = Subject(model, self._takes, self.x, self.y)
        with self.quiet(), held(model):
            classes = check_classifier(subject, self.x)
            sample = self.x[:_COMPANIONS]
            noisy = not torch.equal(subject(sample), subject(sample))
            batch = batch_dependence(subject, self.x, lambda x, seed: subject(x), stochastic=noisy)
        if classes != self.classes:
            raise InputError(
                f"a {kind} must tell the same {self.classes} classes apart as the model, this "
                f"one has {classes}; pass the same network without the defence, or from "
                "another seed"
            )
        if batch:
            subject.companions = self.x[:_COMPANIONS]
        return subject

    def _look(self, x: Tensor, seed: int) -> Tensor:
        """Logits of one pass over `x: [b, ...]` by a model that remembers nothing."""
        with self.quiet():
            torch.manual_seed(seed)
            return self.subject(x)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Evaluation mode, no gradients, one seed; model and generators left as found."""
        with (
            torch.inference_mode(False),
            forked_rng(self.x.device),
            torch.no_grad(),
            self.restored(),
        ):
            torch.manual_seed(self.seed)
            yield

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Evaluation mode; afterwards the model remembers nothing of what happened."""
        relatives = [other.model for other in (self.twin, *self.siblings) if other is not None]
        with ExitStack() as stack:
            for model in (self.model, *relatives):
                stack.enter_context(held(model))
            try:
                yield
            finally:
                if self._state.changed():
                    self.stateful = self.stateful or self._answers_anew()
                    self._state.restore()

    def _answers_anew(self) -> bool:
        """Whether answers to some clean images are no longer those of the beginning."""
        if self._first is None:
            return False
        with forked_rng(self.x.device, self.seed), torch.no_grad():
            return moved(self._first, self.subject(self.x[self._probe]))

    def check_memory(self) -> bool:
        """Whether answers to clean images changed with use, at any time until now."""
        with self.quiet():
            self.stateful = self.stateful or self._answers_anew()
        return self.stateful

    def view(self, name: str) -> nn.Module | None:
        """The model as a view shows it; a claim alone has none, a `Case` has those of `VIEWS`."""
        return None

    def pgd(self, **changes: object) -> PGD:
        """The attack of the usual report, which checks compare others with, and changes to it.

        Cross-entropy in the model's own precision, one restart, one draw a step.
        """
        usual = PGD(
            norm=self.norm,
            eps=self.eps,
            steps=self.budget.steps,
            restarts=1,
            verify_draws=self.budget.verify_draws,
            seed=self.seed,
        )
        return replace(usual, **changes)

    def wrong(self, x: Tensor, rows: Tensor) -> Tensor:
        """Whether the model is wrong about `x: [b, ...]`, at any radius; nothing is entered."""
        return self.judge(x, self.y[rows]).fooled

    def generator(self) -> torch.Generator:
        """A generator of its own for a search, on the device of the images."""
        return torch.Generator(self.x.device).manual_seed(self.seed)

    def judge(self, x: Tensor, y: Tensor, seed: int | None = None) -> Judged:
        """What the model makes of images, on fresh draws where it is stochastic.

        Args:
            x: `[b, ...]` images.
            y: `[b]` labels.
            seed: of the draws; `None` for the audit's own.
        """
        count = self.budget.verify_draws if self.stochastic else 1
        parts = []
        with self.quiet():
            torch.manual_seed(self.seed if seed is None else seed)
            for part, labels in zip(x.split(_BLOCK), y.split(_BLOCK), strict=True):
                drawn = draw_logits(self.subject, part, count)
                rate = (drawn.argmax(-1) != labels).double().mean(0)
                # One draw is not averaged: its argmax has no ties where a softmax saturates.
                logits = average_logits(drawn.squeeze(0))
                parts.append(Judged(logits, logits.argmax(1) != labels, rate))
        return Judged(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def describe_left_out(self) -> str:
        """The images that could not be judged, by number; empty without any."""
        if not self.left_out:
            return ""
        shown = ", ".join(str(row) for row in self.left_out[:_NAMED])
        more = ", ..." if len(self.left_out) > _NAMED else ""
        return (
            f"the model returns NaN or infinity at {len(self.left_out)} of "
            f"{len(self.left_out) + len(self.x)} images, which were left out (number {shown}{more})"
        )


def gray_radius(claim: Claim) -> float:
    """The radius within which every image can be made uniformly gray."""
    return farthest(claim.x, claim.norm) * (1 if claim.norm == "l0" else 0.5)


def per_pixel(claim: Claim) -> float:
    """How far each value moves at the radius, if all of them move alike."""
    if claim.near_norm == "linf":
        return claim.near_eps
    return claim.near_eps / math.sqrt(claim.x[0].numel())


def _near(norm: Norm, eps: float, x: Tensor) -> tuple[Norm, float]:
    """The norm and the radius of the balls in which checks look at a model closely.

    No value of `x: [n, ...]` changes by more than 1, so that |d|_2^2 is at most |d|_1, and at most
    |d|_0 times the number of channels.
    """
    if norm == "l1":
        return "l2", min(eps, math.sqrt(eps))
    if norm == "l0":
        return "l2", math.sqrt(eps * x[0].numel() / farthest(x, "l0"))
    return norm, eps
