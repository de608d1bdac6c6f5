"""Records of runs that never were, with numbers that are easy to add up."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from narrows.experiments.auditing import AuditRecord, AuditRequest, VerdictRecord
from narrows.models import NetworkConfig
from narrows.runs import Member, MemberRecord, ResolvedConfig, Run, RunConfig
from narrows.runs.layout import MethodFiles
from narrows.runs.records import Accuracy, AttackRecord, EstimateRecord, LostMember
from narrows.runs.summary import MethodSummary, summarise
from narrows.types import Norm

LABEL_NATS = math.log(10)


def estimate(nats: float | None, **diagnostics: Any) -> EstimateRecord:
    """An estimate from 400 inputs."""
    return EstimateRecord(nats, 0.0, 400, math.log(400), {"saturated": False, **diagnostics})


def latent(rate: float, relevance: float, saturated: bool = False) -> dict[str, EstimateRecord]:
    """The estimates of a code with I(X;Z) and I(Z;Y) in nats."""
    return {
        "kde_upper": estimate(rate, saturated=saturated),
        "kde_relevance_upper": estimate(9.0, same_distance=relevance, label_entropy=LABEL_NATS),
    }


def attack(name: str, eps: float | None, accuracy: float | None, distance: float | None = 1.0):
    """What an attack left."""
    return AttackRecord(name, "linf", eps, accuracy, distance, distance, 20, "mean", 1, 100, 50)


def record(
    beta: float,
    seed: int = 0,
    *,
    method: str = "vib",
    validation: float = 0.9,
    place: tuple[float, float] | None = (1.0, 1.0),
    left: dict[float, tuple[float, float]] | None = None,
    saturated: bool = False,
) -> MemberRecord:
    """A model's record.

    Args:
        beta: its beta.
        seed: its seed; test accuracy is 0.90 for seed 0, 0.02 more for each seed after it.
        method: its method.
        validation: its validation accuracy.
        place: I(X;Z) and I(Z;Y) in nats on test data, both 0.5 less on training data.
        left: by eps, what FGSM and PGD leave; `None` for data without images.
        saturated: whether I(X;Z) is said to be at its ceiling.
    """
    information: dict[str, dict[str, EstimateRecord]] = {"train": {}, "test": {}}
    if place is not None:
        rate, relevance = place
        information["test"] = latent(rate, relevance, saturated)
        information["train"] = latent(rate - 0.5, relevance - 0.5)
    attacks = None
    if left is not None:
        attacks = [
            attack(name, eps, accuracy)
            for eps, pair in left.items()
            for name, accuracy in zip(("fgsm", "pgd"), pair, strict=True)
        ]
        attacks.append(attack("deepfool", None, None, 0.4 + 0.2 * seed))
    return MemberRecord(
        accuracy=Accuracy(1.0, validation, 0.9 + 0.02 * seed),
        information=information,
        attacks=attacks,
        method=method,
        beta=beta,
        seed=seed,
        best_epoch=0,
    )


class FakeRun(Run):
    """A complete run that is made of records and has no folder."""

    def __init__(
        self,
        records: Sequence[MemberRecord],
        lost: dict[str, list[LostMember]] | None = None,
        pictures: dict[str, Any] | None = None,
        methods: Sequence[str] | None = None,
        networks: dict[str, NetworkConfig] | None = None,
        **settings: Any,
    ) -> None:
        names = list(dict.fromkeys(methods or [row.method for row in records]))
        super().__init__(Path("here"), fake_config(names, records, networks or {}, **settings))
        self._records = {name: [row for row in records if row.method == name] for name in names}
        self._lost, self._pictures = lost or {}, pictures or {}

    @property
    def summary(self) -> dict[str, MethodSummary]:  # type: ignore[override]
        return {name: summarise(rows) for name, rows in self._records.items()}

    @property
    def classes(self) -> int:
        return 10

    def records(self, methods: Sequence[str] | None = None) -> list[MemberRecord]:
        return [row for name in methods or self._records for row in self._records[name]]

    def lost(self, method: str) -> list[LostMember]:
        return self._lost.get(method, [])

    def pictures(self, method: str) -> dict[str, Any]:
        return self._pictures.get(method, {})

    def files(self, method: str) -> MethodFiles:
        raise AssertionError("there is no folder")


def fake_config(
    names: Sequence[str],
    records: Sequence[MemberRecord],
    networks: dict[str, NetworkConfig],
    **settings: Any,
) -> ResolvedConfig:
    """The configuration that such records would have."""
    grids = {name: sorted({row.beta for row in records if row.method == name}) for name in names}
    seeds = len({row.seed for row in records})
    config = RunConfig(
        methods=list(names),
        grids={name: grid or [0.1] for name, grid in grids.items()},
        networks=networks,
        seeds=max(1, seeds),
        **settings,
    )
    return config.resolve()


def audit(
    run: str = "ours",
    member: Member | None = Member("vib", 0.3, 1),  # noqa: B008
    eps: float = 0.1,
    norm: Norm = "linf",
) -> AuditRecord:
    """The record of an audit of a run's model that left 0.125."""
    request = AuditRequest(
        name="it", data="digits", eps=eps, norm=norm, budget="fast", images=4, claimed=None,
        device="cpu", source="", weights="", twin=None, siblings=[], run=run, member=member,
    )  # fmt: skip
    verdict = VerdictRecord("confirmed", 0.5, 0.125, 0.1, 0.2, 4, 0.9, "It is.")
    return AuditRecord(request, verdict, [], [], [], {})
