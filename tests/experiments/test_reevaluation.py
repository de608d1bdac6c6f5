"""One step, and more and more restarts, on the models of a run, each once."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from narrows.errors import ConfigError
from narrows.experiments import reevaluation
from narrows.experiments.reevaluation import (
    Reevaluation,
    Row,
    reevaluate,
    reevaluate_models,
    reevaluate_run,
)
from narrows.models import BinaryStochasticNet, Bottleneck
from narrows.runs import Member, Progress
from scenarios_runs import StoppedError, copied, stop_after, tiny_run

BRIEF = Reevaluation(
    fgsm_eps=[0.1], pgd_eps=[0.2], restarts=[1, 2], steps=2, step_size=0.1, samples=2,
    verify_draws=3,
)  # fmt: skip


def test_a_linear_model_is_fooled_where_its_margin_is_smaller_than_the_radius():
    model = nn.Linear(1, 2, bias=False)
    model.weight.data = torch.tensor([[-1.0], [1.0]])
    model.bias = nn.Parameter(torch.tensor([0.5, -0.5]))  # class 1 above x = .5
    x = torch.tensor([[0.05], [0.38], [0.45], [0.62], [0.9]])
    y = (x[:, 0] > 0.5).long()
    rows = reevaluate(model, x, y, BRIEF)
    assert rows == [
        Row("deterministic", "fgsm", 0.0, None, 1.0),
        Row("deterministic", "fgsm", 0.1, None, 0.8),
        Row("deterministic", "pgd", 0.2, 1, pytest.approx(0.4)),
        Row("deterministic", "pgd", 0.2, 2, pytest.approx(0.4)),
    ]


def test_every_row_is_told_as_it_is_measured(small_run):
    x, y = small_run.splits.test.batch(slice(0, 5))
    seen = []
    rows = reevaluate(small_run.model(Member("vib", 0.1, 0)), x, y, BRIEF, seen.append)
    assert rows == seen
    assert [row.mode for row in rows] == ["mean"] * 4 + ["sample"] * 4


def test_models_attacked_together_have_the_rows_that_they_have_alone(small_run):
    x, y = small_run.splits.test.batch(slice(0, 20))
    models = [small_run.model(member) for member in small_run.members(["vib"])]
    settings = Reevaluation(
        fgsm_eps=[0.05], pgd_eps=[0.03, 0.1], restarts=[1, 2, 4], steps=3, samples=2, verify_draws=3
    )
    together = reevaluate_models(models, x, y, settings)
    assert together == [reevaluate(model, x, y, settings) for model in models]


def test_restarts_must_rise():
    for counts in ([], [0, 1], [2, 1], [1, 1]):
        with pytest.raises(ConfigError, match="restarts must be rising numbers from 1 on"):
            Reevaluation(restarts=counts)


def test_an_interruption_costs_the_model_in_hand_and_no_other(small_run, tmp_path, monkeypatch):
    run = copied(small_run, tmp_path)
    monkeypatch.setattr(reevaluation, "models_at_once", lambda *_: 1)
    original, calls = reevaluation.reevaluate_models, stop_after(2)

    def interrupted(*arguments):
        next(calls)
        return original(*arguments)

    arguments = (run, ["vib"], None, 5, "cpu", Progress(), BRIEF)
    with monkeypatch.context() as patch:
        patch.setattr(reevaluation, "reevaluate_models", interrupted)
        with pytest.raises(StoppedError):
            reevaluate_run(*arguments)
    folder = run.path / "reevaluation"
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert sorted(kept) == ["vib-0.01-0.json", "vib-0.01-1.json"]
    result = reevaluate_run(*arguments)
    assert {name: (folder / name).stat().st_mtime_ns for name in kept} == kept
    assert (result.data, result.images) == ("digits", 5)
    assert list(dict.fromkeys(of.member for of in result.rows)) == run.members(["vib"])
    assert reevaluate_run(*arguments) == result


def test_a_model_is_attacked_in_the_stack_that_it_had_before_the_interruption(
    small_run, tmp_path, monkeypatch
):
    run = copied(small_run, tmp_path)
    arguments = (run, ["vib"], None, 5, "cpu", Progress(), BRIEF)
    before = reevaluate_run(*arguments)
    (run.path / "reevaluation" / "vib-0.01-1.json").unlink()
    sizes, original = [], reevaluation.reevaluate_models

    def noted(models, *rest):
        sizes.append(len(models))
        return original(models, *rest)

    monkeypatch.setattr(reevaluation, "reevaluate_models", noted)
    assert reevaluate_run(*arguments) == before
    assert sizes == [len(run.members(["vib"]))]


def test_other_settings_are_measured_anew(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    path = run.path / "reevaluation" / "vib-0.1-0.json"
    stamps = set()
    for images, settings in (
        (5, BRIEF),
        (5, BRIEF),
        (6, BRIEF),
        (6, Reevaluation(fgsm_eps=[0.2], pgd_eps=[], restarts=[1])),
    ):
        reevaluate_run(run, ["vib"], [0.1], images, "cpu", Progress(), settings)
        stamps.add(path.stat().st_mtime_ns)
    assert len(stamps) == 3


def test_betas_that_are_nearly_equal_have_files_of_their_own(tmp_path):
    quick = {"methods": ["vib"], "betas": [0.1, 0.1000000001], "seeds": 1}
    run = tiny_run(tmp_path, **quick, train={"epochs": 1})
    reevaluate_run(run, None, None, 3, "cpu", Progress(), BRIEF)
    names = sorted(path.name for path in (run.path / "reevaluation").glob("*.json"))
    assert names == ["vib-0.1-0.json", "vib-0.1000000001-0.json"]


def test_what_cannot_be_attacked_is_refused(small_run, tmp_path):
    with pytest.raises(ConfigError, match="method aib is not in this run"):
        reevaluate_run(small_run, ["aib"], None, 5, "cpu", Progress(), BRIEF)
    with pytest.raises(ConfigError, match="device 'toaster'"):
        reevaluate_run(small_run, None, None, 5, "toaster", Progress(), BRIEF)
    quick = {"data": "toy1", "methods": ["vib"], "betas": [0.1], "seeds": 1}
    run = tiny_run(tmp_path, **quick, network={"bottleneck": 2}, train={"epochs": 1})
    with pytest.raises(ConfigError, match="toy1 has no images that could be attacked"):
        reevaluate_run(run, None, None, 5, "cpu", Progress(), BRIEF)
    assert not (run.path / "reevaluation").exists()


class Steps:
    """A stand-in for PGD that fools one more image each time, and remembers how it was called."""

    calls = []  # noqa: RUF012
    stackable = False

    def __init__(self, **settings):
        self.settings = settings

    def __call__(self, model, x, y, target=None):
        Steps.calls.append((self.settings["restarts"], self.settings["seed"], len(x)))
        success = torch.arange(len(x)) == 0
        return SimpleNamespace(success=success)


def test_restarts_add_up_and_only_images_that_stand_are_attacked(monkeypatch):
    monkeypatch.setattr(reevaluation, "PGD", Steps)
    monkeypatch.setattr(Steps, "calls", [])
    settings = Reevaluation(fgsm_eps=[], pgd_eps=[0.1], restarts=[1, 2, 5, 9])
    x, y, models = torch.rand(3, 2), torch.zeros(3), [nn.Identity()]
    rows = [row for (row,) in reevaluation._restarts("mean", models, x, y, settings)]
    # The first start is the image itself, which later calls repeat beside their own starts.
    assert Steps.calls == [(1, 0, 3), (2, 1, 2), (4, 2, 1)]
    assert [(row.restarts, row.accuracy) for row in rows] == [
        (1, pytest.approx(2 / 3)), (2, pytest.approx(1 / 3)), (5, 0.0), (9, 0.0),
    ]  # fmt: skip


def test_modes_are_those_that_a_model_has():
    x = torch.rand(4, 3)
    code = nn.Linear(3, 4)
    drawn = Bottleneck(code, nn.Linear(2, 2), latent="gaussian")
    assert list(reevaluation._modes(drawn, x)) == ["mean", "sample"]
    plain = Bottleneck(code, nn.Linear(4, 2))
    assert list(reevaluation._modes(plain, x)) == ["deterministic"]
    binary = BinaryStochasticNet(3, [4], 2)
    assert list(reevaluation._modes(binary, x)) == ["sample"]


class Counting(Progress):
    """Counts what a bar announces, and what is done."""

    def __init__(self):
        super().__init__()
        self.announced = self.done = 0

    @contextmanager
    def bar(self, name, total):
        self.announced += total
        yield SimpleNamespace(advance=self._advance)

    def _advance(self):
        self.done += 1


def test_progress_announces_as_many_rows_as_are_measured(small_run, tmp_path):
    run, progress = copied(small_run, tmp_path), Counting()
    methods, betas = ["vib", "cross_entropy"], [0.0, 0.1]
    result = reevaluate_run(run, methods, betas, 4, "cpu", progress, BRIEF)
    assert progress.announced == progress.done == len(result.rows) > 0
