"""The whole audit: planted defences are found out and broken, honest models are left alone."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from narrows.attacks import PGD
from narrows.audit import CHECKS, Case, Outcome, _record, audit, run
from narrows.audit.planted import Quantised, ScaledLogits
from narrows.audit.remedies import REMEDIES
from narrows.data import load
from narrows.errors import CheckpointError, InputError
from narrows.methods import CrossEntropy
from narrows.methods.adversarial import PGDTraining
from narrows.models.mlp import mlp
from scenarios_attacks import NoisyInput as Noisy
from scenarios_attacks import exact_radius, linear_case, sparse_radius
from scenarios_audit import EPS, SMALL, NaNNearby, case_of, undefended


def fit(model, loss, epochs):
    splits = load("digits")
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(splits.train)).split(64):
            batch = splits.train.batch(rows)
            optimiser.zero_grad()
            loss(model, batch.x, batch.y).backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def test_a_linear_model_keeps_what_it_truly_has():
    model, x, y = linear_case(5, count=100)
    found = audit(model, x, y, eps=0.02, budget=SMALL.with_images(100))
    truth = (exact_radius(model, x, y, "linf") > 0.02).double().mean().item()
    assert 0.2 < truth < 0.8
    assert found.verdict.reached == pytest.approx(truth)
    assert found.verdict.outcome is Outcome.HOLDS
    assert found.flagged == ()
    assert found.tried == ("ensemble", "around")


@pytest.mark.parametrize(("norm", "eps"), [("l1", 1.2), ("l0", 2)])
def test_with_few_changed_pixels_too(norm, eps):
    model, x, _ = linear_case(2, count=60)
    model.layer.bias.data[0] += 3
    y = model(x).argmax(1)
    found = audit(model, x, y, eps=eps, norm=norm, budget=SMALL.with_images(60))
    truth = (sparse_radius(model, x, norm) > eps).double().mean().item()
    assert 0.5 < truth < 0.9
    assert found.verdict.reached == pytest.approx(truth)
    assert found.verdict.certified == pytest.approx(truth)
    assert found.verdict.certified_by == "exact"
    assert found.flagged == ()


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "eps"), [("l1", 3.0), ("l0", 4)])
def test_a_hidden_gradient_is_found_where_few_pixels_change(norm, eps):
    model, x, y = undefended()
    found = audit(Quantised(model), x, y, eps=eps, norm=norm, budget=SMALL)
    assert found.verdict.outcome is Outcome.OVERESTIMATED
    knowing = PGD(norm=norm, eps=eps, steps=40, restarts=3)(model, x, y)
    assert found.verdict.reached <= knowing.robust_accuracy + 0.05


@pytest.mark.slow
def test_an_adversarially_trained_model_is_not_accused():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), *mlp([64, 128, 10]))
    fit(model, PGDTraining(CrossEntropy(), eps=0.1, steps=5), 20)
    x, y = load("digits").test.batch(slice(0, 150))
    found = audit(model, x, y, eps=0.1, budget="fast")
    assert found.verdict.outcome is Outcome.HOLDS
    assert found.flagged == ()
    assert found.verdict.reached > 0.5


@pytest.mark.slow
def test_nothing_certified_is_ever_fooled():
    torch.manual_seed(0)
    layers = [
        nn.utils.parametrizations.orthogonal(nn.Linear(a, b)) for a, b in ((64, 64), (64, 10))
    ]
    model = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1])
    fit(model, lambda model, x, y: F.cross_entropy(10 * model(x), y), 20)
    x, y = load("digits").test.batch(slice(0, 100))
    found = audit(model, x, y, eps=0.3, norm="l2", budget="fast")
    top = model(x).topk(2, 1)
    gap = top.values[:, 0] - top.values[:, 1]
    safe = (top.indices[:, 0] == y) & (gap > 2**0.5 * 0.3)
    assert safe.sum() > 30
    assert not found.ledger.fooled[safe].any()
    assert found.flagged == ()
    assert found.verdict.outcome is Outcome.HOLDS


def test_same_seed_same_audit_and_plain_json():
    model, x, y = undefended()
    first, again = (
        audit(Quantised(model), x, y, eps=EPS, budget=SMALL.with_images(10)) for _ in range(2)
    )
    assert first.to_json() == again.to_json()
    assert torch.equal(first.ledger.x_adv, again.ledger.x_adv)
    record = json.loads(json.dumps(first.to_json(), allow_nan=False))
    assert record["verdict"]["outcome"] == "overestimated by weaker attacks"
    assert record["settings"]["eps"] == EPS
    assert [finding["check"] for finding in record["findings"]] == list(CHECKS)


class StopError(Exception):
    """Breaks an audit off."""


def broken_off_after_every_part(tmp_path, *given, **settings):
    """The audit, and its parts; a new attempt for each of them."""
    done = []
    while True:
        begun = []

        def stop(name, count, of):
            begun.append(name)  # noqa: B023
            if name not in done and len([one for one in begun if one not in done]) > 1:  # noqa: B023
                raise StopError

        try:
            return audit(*given, **settings, folder=tmp_path, progress=stop), done
        except StopError:
            done.append(next(name for name in begun if name not in done))


def very_noisy(model):
    """So noisy that the few draws of a verdict decide by luck."""
    return Noisy(model, 0.5)


@pytest.mark.parametrize("wrap", [pytest.param(very_noisy, marks=pytest.mark.slow), ScaledLogits])
def test_an_audit_broken_off_at_every_part_equals_an_unbroken_one(wrap, tmp_path):
    model, x, y = undefended()
    small = replace(SMALL, images=12, steps=4, queries=20, directions=2, draws=2, verify_draws=3)
    settings = {"eps": EPS, "budget": small}
    whole = audit(wrap(model), x, y, **settings, folder=tmp_path / "whole")
    broken, parts = broken_off_after_every_part(tmp_path / "broken", wrap(model), x, y, **settings)
    assert len(parts) > len(whole.findings)  # in the remedies too
    assert broken.to_json() == whole.to_json()
    for name in ("x_adv", "fooled", "by", "distance", "fooled_rate"):
        assert torch.equal(getattr(broken.ledger, name), getattr(whole.ledger, name))


def test_a_ledger_that_ran_ahead_is_not_taken(tmp_path, monkeypatch):
    model, x, y = undefended()
    settings = {"eps": EPS, "budget": SMALL.with_images(8)}
    whole = audit(ScaledLogits(model), x, y, **settings)
    write, calls = _record.write_atomically, []

    def die(path, content):
        calls.append(path)
        if len(calls) == 9:  # the ledger of this part is written, its finding is not
            raise StopError
        write(path, content)

    monkeypatch.setattr(_record, "write_atomically", die)
    with pytest.raises(StopError):
        audit(ScaledLogits(model), x, y, **settings, folder=tmp_path)
    again = audit(ScaledLogits(model), x, y, **settings, folder=tmp_path)
    assert again.to_json() == whole.to_json()


def test_a_broken_audit_goes_on_where_it_was(tmp_path):
    model, x, y = undefended()

    def stop(name, done, of):
        if name == "one_step":
            raise StopError

    parts = []
    settings = {"eps": EPS, "budget": SMALL.with_images(10), "twin": model}
    whole = audit(
        ScaledLogits(model), x, y, **settings, progress=lambda name, done, of: parts.append(name)
    )
    assert parts[0] == "probabilities"
    assert parts[-1] == "verdict"
    assert len(parts) >= 17
    with pytest.raises(StopError):
        audit(ScaledLogits(model), x, y, **settings, folder=tmp_path / "a", progress=stop)
    resumed = audit(ScaledLogits(model), x, y, **settings, folder=tmp_path / "a")
    assert resumed.to_json()["findings"] == whole.to_json()["findings"]
    assert resumed.verdict.reached == whole.verdict.reached
    assert len(list((tmp_path / "a").glob("*.safetensors"))) == 1
    with pytest.raises(CheckpointError, match="other settings"):
        audit(ScaledLogits(model), x, y, eps=0.1, budget=SMALL, twin=model, folder=tmp_path / "a")
    with pytest.raises(CheckpointError, match="another twin"):
        audit(ScaledLogits(model), x, y, **{**settings, "twin": None}, folder=tmp_path / "a")
    (tmp_path / "a" / "audit.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        audit(ScaledLogits(model), x, y, **settings, folder=tmp_path / "a")


def test_a_check_that_the_model_refuses_is_a_finding(monkeypatch):
    def refuses(case):
        raise InputError("the model failed")

    monkeypatch.setitem(CHECKS, "unstable", refuses)
    monkeypatch.setitem(REMEDIES, "ensemble", refuses)
    model, x, y = undefended()
    report = audit(model, x[:20], y[:20], eps=0.05, budget=SMALL)
    finding = next(one for one in report.findings if one.check == "unstable")
    assert (finding.passed, finding.examined) == (False, False)
    assert finding.evidence == "could not be examined: the model failed"
    assert report.tried[0] == "ensemble"
    assert report.verdict.outcome is Outcome.INCONCLUSIVE


def test_what_no_attack_can_see_is_blind():
    class Deaf(nn.Module):
        """Says what it knows of the audited images, whatever is done to them."""

        def forward(self, x):
            nearest = torch.cdist(x.flatten(1), images.flatten(1)).argmin(1)
            return 5.0 * F.one_hot(labels[nearest], 10).to(x)

    _, images, labels = undefended()
    case = Case(Deaf(), images, labels, eps=0.05, budget=SMALL)
    share = labels.bincount().max().item() / len(labels)
    assert 0.3 < run.blind(case) <= 1 - share
    assert run.blind(case_of()) == 0
    case = case_of()
    case.offer("all", case.ledger.x_adv, torch.arange(40))
    case.ledger = SimpleNamespace(standing=torch.arange(0))
    assert run.blind(case) == 0


def test_only_what_survives_counts_as_blind(monkeypatch):
    # 10 of the 40 images survive and are never wrong: 25 % less the share of the largest class.
    case = case_of()
    case.ledger = SimpleNamespace(standing=torch.arange(10))
    monkeypatch.setattr(case, "wrong", lambda x, rows: torch.zeros(len(rows), dtype=torch.bool))
    share = case.y.bincount().max().item() / 40
    assert run.blind(case) in (0, 10 / 40 - share)
    case.ledger = SimpleNamespace(standing=torch.arange(30))
    assert run.blind(case) == pytest.approx(30 / 40 - share)


def test_a_folder_may_be_text(tmp_path):
    model, x, y = undefended()
    settings = {"eps": 0.05, "budget": replace(SMALL, steps=2, queries=5, directions=1)}
    first = audit(model, x[:6], y[:6], **settings, folder=str(tmp_path / "a"))
    again = audit(model, x[:6], y[:6], **settings, folder=tmp_path / "a")
    assert again.to_json() == first.to_json()


def test_a_claim_is_a_share():
    model, x, y = undefended()
    with pytest.raises(InputError, match="claimed must be a number"):
        audit(model, x, y, eps=0.1, claimed="half")
    for claimed in (-0.1, 90):
        with pytest.raises(InputError, match=r"a share in .* divide percent by 100"):
            audit(model, x, y, eps=0.1, claimed=claimed)


def test_what_an_attack_has_met_is_examined_at_the_end():
    model, x, y = undefended()
    brief = replace(SMALL, images=6, steps=4, queries=10, directions=1)
    found = audit(NaNNearby(model), x, y, eps=EPS, budget=brief)
    assert "finite" in found.flagged


def test_where_one_view_fools_all_images_no_other_is_tried(monkeypatch):
    case, judged = case_of(), []
    wrong = case.wrong

    def noted(x, rows):
        judged.append(len(rows))
        return wrong(x, rows)

    monkeypatch.setattr(case, "wrong", noted)
    assert run.blind(case) == 0
    assert judged == [len(case.survivors)]
