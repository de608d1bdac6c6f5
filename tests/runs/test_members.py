"""The models of a run: how they are built, which are left out, and reading them back."""

import json
import re

import pytest
import torch
from narrows.experiments.config import load_config
from narrows.experiments.engine import run
from narrows.experiments.evaluate import evaluate_member
from narrows.experiments.members import build_members, grid_of, list_members
from narrows.experiments.progress import Progress
from narrows.experiments.store import read_json
from torch import nn

from narrows import TRADES, VIB, load_member
from narrows.data import load
from narrows.errors import ConfigError, DivergedError, NarrowsError, StoreError
from narrows.models import Bottleneck
from narrows.storage import load_tensors, save_tensors
from narrows.training import Looped, Stacked

SMALL = {
    "methods": ["cross_entropy", "vib"],
    "betas": [0.01, 0.1, 1.0],
    "seeds": 2,
    "network": {"encoder": [8], "bottleneck": 2, "decoder": []},
    "train": {"epochs": 2},
    "evaluate": {"attack": False, "information_samples": 50},
}

DIGITS = load("digits")


class Notes(Progress):
    """Keeps what would be shown."""

    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def config(**changes):
    return load_config(values={**SMALL, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run(config(), tmp_path_factory.mktemp("runs"), Progress())


def test_a_loaded_member_is_the_one_that_was_measured(folder):
    splits, evaluate = load("digits"), config().evaluate
    for record in read_json(folder / "vib" / "results.json")[1::2]:
        model = load_member(folder, "vib", record["beta"], record["seed"])
        assert not model.training
        measured = evaluate_member(model, splits, evaluate)
        assert measured["accuracy"] == record["accuracy"]
        assert measured["information"] == record["information"]


def test_what_is_not_named_is_the_only_one_or_the_chosen_one(folder):
    x = load("digits").test.batch(slice(0, 20)).x
    with pytest.raises(ConfigError, match="method has to be named; there is cross_entropy, vib"):
        load_member(folder)
    chosen = read_json(folder / "summary.json")["vib"]["chosen_beta"]
    assert isinstance(chosen, float)
    found, expected = load_member(folder, "vib"), load_member(str(folder), "vib", chosen, 0)
    found.mode = expected.mode = "mean"
    assert torch.equal(found(x).logits, expected(x).logits)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"method": "aib"}, "method aib is not in this run; there is cross_entropy, vib"),
        ({"method": "vib", "beta": 0.2}, "beta 0.2 is not in this run; there is 0.01, 0.1, 1.0"),
        ({"method": "vib", "beta": 0.1, "seed": 7}, "seed 7 is not in this run; there is 0, 1"),
        ({"method": "cross_entropy", "beta": 0.1}, "beta 0.1 is not in this run; there is 0.0"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(folder, asked, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_member(folder, **asked)


def test_a_folder_that_is_no_run_or_not_finished_is_named(folder, tmp_path):
    with pytest.raises(StoreError, match=r"there is no .*config\.json; is .* the folder of a run"):
        load_member(tmp_path)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(StoreError, match="has no finished vib; run the command that began it"):
        load_member(tmp_path, "vib")


def test_a_folder_from_before_shapes_were_stored_is_read_too(folder, tmp_path):
    stored = json.loads((folder / "config.json").read_text())
    for key in ("adversarial", "settings", "first_seed", "stack"):
        del stored[key]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    (tmp_path / "vib").mkdir()
    (tmp_path / "vib" / "done.json").write_text("{}")
    tensors, header = load_tensors(folder / "vib" / "models.safetensors")
    old = {"members": header["members"]}
    save_tensors(tmp_path / "vib" / "models.safetensors", tensors, old)
    new, read = (load_member(path, "vib", 0.1, 1) for path in (folder, tmp_path))
    for one, other in zip(new.parameters(), read.parameters(), strict=True):
        assert torch.equal(one, other)


def test_members_are_listed_by_method_beta_and_seed(folder):
    every = [("cross_entropy", 0.0, seed) for seed in (0, 1)]
    every += [("vib", beta, seed) for beta in (0.01, 0.1, 1.0) for seed in (0, 1)]
    assert list_members(folder) == every
    assert list_members(folder, ["vib"], [0.1]) == [("vib", 0.1, 0), ("vib", 0.1, 1)]
    with pytest.raises(ConfigError, match=r"beta 0\.5 is not in this run; there is 0\.0, 0\.01"):
        list_members(folder, betas=[0.5])


def test_adversarial_training_wraps_every_method_and_is_recorded(tmp_path):
    options = {"trades": {"eps": 0.05, "steps": 1, "weight": 3.0}}
    asked = config(adversarial="trades", options=options, betas=[0.1], seeds=1)
    method = build_members(asked, "vib", load("digits")).member(0).method
    assert isinstance(method, TRADES)
    assert isinstance(method.method, VIB)
    assert (method.eps, method.steps, method.weight) == (0.05, 1, 3.0)
    assert asked.identity() != config(betas=[0.1], seeds=1).identity()
    path = run(asked, tmp_path, Progress())
    (record,) = read_json(path / "vib" / "results.json")
    assert record["adversarial"] == "trades"
    assert read_json(path / "config.json")["options"] == options
    assert isinstance(load_member(path, "vib"), Bottleneck)


def test_adversarial_training_needs_images(tmp_path):
    with pytest.raises(ConfigError, match=r"changes images in .*, and toy1 has none; leave"):
        run(config(data="toy1", adversarial="mart"), tmp_path, Progress())
    assert list(tmp_path.iterdir()) == []


def with_norm(config, shape, classes, latent):
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    return Bottleneck(encoder, nn.Linear(2, classes))


def test_layers_with_running_statistics_are_trained_in_a_loop_and_it_is_said_once(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("narrows.experiments.members.build_network", with_norm)
    progress, asked = Notes(), config(methods=["cross_entropy"])
    assert isinstance(build_members(asked, "cross_entropy", load("digits")), Looped)
    path = run(asked, tmp_path, progress)
    (said,) = progress.notes
    assert said.startswith("cross_entropy: running statistics, mixed precision and chunks cannot")
    model = load_member(path, seed=1)
    assert model.encoder[2].num_batches_tracked > 0


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, Stacked),
        ({"stack": False}, Looped),
        ({"train": {"precision": "bfloat16"}}, Looped),
    ],
)
def test_members_are_stacked_unless_that_is_not_wanted_or_not_possible(changes, kind):
    assert isinstance(build_members(config(**changes), "vib", load("digits")), kind)


def test_seeds_are_counted_from_the_first_one():
    assert [m.seed for m in grid_of(config(first_seed=5), "cross_entropy")] == [5, 6]


def poison(monkeypatch, when) -> None:
    original = VIB.regulariser

    def poisoned(self, output, batch):
        terms = original(self, output, batch)
        bad = torch.where(when(self.beta), float("nan"), 1.0)
        return {name: term._replace(value=term.value * bad) for name, term in terms.items()}

    monkeypatch.setattr(VIB, "regulariser", poisoned)


def test_a_member_that_diverges_is_left_out_and_named(tmp_path, monkeypatch):
    poison(monkeypatch, lambda beta: beta == 1)
    progress = Notes()
    path = run(config(methods=["vib"]), tmp_path, progress)
    kept = [(beta, seed) for beta in (0.01, 0.1) for seed in (0, 1)]
    records = read_json(path / "vib" / "results.json")
    assert [(r["beta"], r["seed"]) for r in records] == kept
    failed = read_json(path / "vib" / "failed.json")["members"]
    assert [(one["beta"], one["seed"], one["epoch"]) for one in failed] == [(1, 0, 0), (1, 1, 0)]
    assert len(progress.notes) == 2
    assert "vib, beta 1, left out: the loss of member 4 (seed 0) became nan" in progress.notes[0]
    with pytest.raises(ConfigError, match=r"beta 1\.0 is not in this run; there is 0\.01, 0\.1"):
        load_member(path, "vib", 1.0)
    summary = read_json(path / "summary.json")["vib"]
    assert [row["beta"] for row in summary["rows"]] == [0.01, 0.1]
    lines = (path / "vib" / "history.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["losses"]["loss"][4:] == [None, None]


def test_where_all_diverge_the_run_ends(tmp_path, monkeypatch):
    poison(monkeypatch, lambda beta: beta > 0)
    with pytest.raises(DivergedError, match=r"vib: the loss of member 0 .* Finished methods are"):
        run(config(methods=["vib"]), tmp_path, Progress())


def without_latent(config, shape, classes, latent):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))


def test_a_network_without_a_latent_is_measured_by_what_needs_none(tmp_path, monkeypatch):
    monkeypatch.setattr("narrows.experiments.members.build_network", without_latent)
    methods = ["cross_entropy", "label_smoothing"]
    path = run(config(methods=methods), tmp_path, Progress())
    record = read_json(path / "label_smoothing" / "results.json")[0]
    assert set(record["information"]["test"]) == {"variational_relevance"}
    assert 0 <= record["accuracy"]["test"] <= 1
    summary = read_json(path / "summary.json")["label_smoothing"]
    assert summary["knee"]["beta"] is None
    assert summary["knee"]["why"].startswith("no I(X;Z) was measured: no latent")
    assert summary["rows"][0]["information_bits"]["test"] == [None, None]
    assert load_tensors(path / "label_smoothing" / "pictures.safetensors")[0] == {}


def test_a_latent_with_full_covariance_is_measured_by_its_rate_alone(tmp_path):
    network = {"bottleneck": 2, "latent": "full"}
    path = run(config(methods=["vib"], network=network), tmp_path, Progress())
    record = read_json(path / "vib" / "results.json")[0]
    found = record["information"]["test"]
    assert set(found) == {"variational_relevance", "variational_rate"}
    assert found["variational_rate"]["diagnostics"]["covariance"] == "full"
    assert load_member(path, "vib", record["beta"], 0).latent == "full"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["cross_entropy", "aib"], "network": {"bottleneck": 0}}, "AIB needs .*latent"),
        ({"methods": ["cross_entropy", "vib"], "network": {"bottleneck": 0}}, "bottleneck = 0"),
        ({"network": {"name": "vgg16"}}, "8x8 are too small for vgg16; at least 32"),
        ({"options": {"ib_rar": {"layers": ["nope"]}}}, "no layer 'nope'"),
        ({"options": {"ib_rar": {"mask": "paper"}}}, "no convolution .*mask_layer"),
        (
            {"methods": ["aib"], "options": {"aib": {"selected": 65}}},
            r"1\.\.64 \(the inputs\), got 65",
        ),
        ({"network": {"name": "resnet18"}, "train": {"batch_size": 1}}, "in batches of 1: "),
    ],
)
@pytest.mark.parametrize("adversarial", [None, "trades"])
def test_what_cannot_be_trained_is_refused_before_anything_is(
    tmp_path, changes, message, adversarial
):
    values = {"methods": ["cross_entropy", "ib_rar"], "adversarial": adversarial, **changes}
    before = torch.get_rng_state()
    with pytest.raises(NarrowsError, match=message):
        run(load_config(values=values), tmp_path, Progress())
    assert not list(tmp_path.iterdir())
    assert torch.equal(torch.get_rng_state(), before)


def test_trees_in_chunks_are_trained_in_a_loop():
    network = {"name": "binary", "encoder": [6, 4]}
    chosen = {"methods": ["joint_imb"], "betas": [0.1], "network": network}
    chunks = {"joint_imb": {"samples": 2, "chunk": 8}}
    members = build_members(load_config(values={**chosen, "options": chunks}), "joint_imb", DIGITS)
    assert type(members) is Looped


def test_a_published_variant_is_an_option_that_others_go_over():
    trades = {"variant": "ib_rar", "steps": 3}
    chosen = config(methods=["vib"], betas=[0.1], adversarial="trades", options={"trades": trades})
    method = build_members(chosen, "vib", DIGITS).member(0).method
    expected = TRADES(VIB(0.1), 0.03, 3, 2.3 * 0.03 / 10, weight=0.5, predict="adversarial")
    assert repr(method) == repr(expected)
    for options in ({"trades": {"variant": "other"}}, {"pgd_training": {"variant": "ib_rar"}}):
        with pytest.raises(ConfigError, match="variant"):
            config(options=options)
