"""Models from a configuration, and what cannot be built is refused before anything is trained."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from narrows import TRADES, VIB, Run, as_classifier
from narrows.data import load
from narrows.errors import ConfigError, NarrowsError
from narrows.methods import METHODS
from narrows.methods.adversarial import WRAPPERS
from narrows.models import BinaryStochasticNet, Bottleneck
from narrows.runs import Member, building, load_config
from narrows.runs.building import build_members, build_model, build_objective, try_method
from narrows.runs.files import make_folder
from narrows.training import Looped, Stacked
from scenarios_runs import tiny_config, tiny_run

SHAPE, CLASSES = (1, 8, 8), 10


def test_a_model_is_that_of_its_seed_whatever_the_generator_holds():
    config = tiny_config()
    torch.manual_seed(1)
    first = build_objective(config, Member("vib", 0.1, 3), SHAPE, CLASSES)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = build_objective(config, Member("vib", 1.0, 3), SHAPE, CLASSES)
    other = build_objective(config, Member("vib", 0.1, 4), SHAPE, CLASSES)
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(first.model.parameters()), next(other.model.parameters()))
    assert (float(first.method.beta), float(second.method.beta)) == (pytest.approx(0.1), 1.0)


def test_the_network_is_the_methods_own():
    config = tiny_config(methods=["vib", "sfnn", "cross_entropy"])
    vib, sfnn, plain = (build_model(config, name, SHAPE, CLASSES) for name in config.methods)
    assert isinstance(vib, Bottleneck)
    assert vib.latent == "gaussian"
    assert isinstance(sfnn, BinaryStochasticNet)
    assert isinstance(plain, Bottleneck)
    assert plain.latent == "deterministic"


def test_every_beta_with_every_seed_is_a_member():
    members = build_members(tiny_config(first_seed=5), "vib", SHAPE, CLASSES)
    assert list(members.seeds) == [5, 6] * 3
    betas = members.named_tensors()["method.beta"].tolist()
    assert betas == pytest.approx([0.01, 0.01, 0.1, 0.1, 1.0, 1.0])


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, Stacked),
        ({"stack": False}, Looped),
        ({"train": {"precision": "bfloat16"}}, Looped),
    ],
)
def test_members_are_stacked_unless_that_is_not_wanted_or_not_possible(changes, kind):
    assert type(build_members(tiny_config(**changes), "vib", SHAPE, CLASSES)) is kind


def test_layers_with_running_statistics_are_not_stacked(monkeypatch):
    def with_norm(network, shape, classes, latent):
        layers = [nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)]
        return Bottleneck(nn.Sequential(*layers), nn.Linear(2, classes))

    monkeypatch.setattr(building, "build_network", with_norm)
    assert type(build_members(tiny_config(), "cross_entropy", SHAPE, CLASSES)) is Looped


def test_trees_in_chunks_are_trained_in_a_loop():
    network = {"name": "binary", "encoder": [6, 4]}
    chunks = {"joint_imb": {"samples": 2, "chunk": 8}}
    chosen = {"methods": ["joint_imb"], "betas": [0.1], "network": network, "options": chunks}
    members = build_members(load_config(values=chosen), "joint_imb", SHAPE, CLASSES)
    assert type(members) is Looped


def test_adversarial_training_wraps_every_method():
    options = {"trades": {"eps": 0.05, "steps": 1, "weight": 3.0}}
    config = tiny_config(adversarial="trades", options=options)
    for name in ("cross_entropy", "vib"):
        method = build_members(config, name, SHAPE, CLASSES).member(0).method
        assert isinstance(method, TRADES)
        assert (method.eps, method.steps, method.weight) == (0.05, 1, 3.0)
    assert isinstance(method.method, VIB)


def test_a_published_variant_is_an_option_that_others_go_over():
    trades = {"variant": "ib_rar", "steps": 3}
    config = tiny_config(methods=["vib"], adversarial="trades", options={"trades": trades})
    method = build_objective(config, Member("vib", 0.1, 0), SHAPE, CLASSES).method
    coded = {"regularise": "as_coded", "start": "uniform", "inner": "cross_entropy"}
    expected = TRADES(
        VIB(0.1), 0.03, 3, 2.3 * 0.03 / 10, weight=0.5, predict="adversarial", **coded
    )
    assert repr(method) == repr(expected)
    for options in ({"trades": {"variant": "other"}}, {"pgd_training": {"variant": "trades"}}):
        with pytest.raises(ConfigError, match="variant"):
            tiny_config(options=options)


REFUSED = [
    ({"methods": ["aib"], "network": {"bottleneck": 0}}, "AIB needs .*latent"),
    ({"methods": ["vib"], "network": {"bottleneck": 0}}, "bottleneck = 0"),
    ({"methods": ["vib"], "network": {"name": "binary"}}, "set network.name to another network"),
    ({"methods": ["sfnn"], "network": {"name": "mlp"}}, "set network.name to binary"),
    ({"network": {"name": "vgg16"}}, "8x8 are too small for vgg16; at least 32"),
    ({"methods": ["ib_rar"], "options": {"ib_rar": {"layers": ["nope"]}}}, "no layer 'nope'"),
    ({"methods": ["ib_rar"], "options": {"ib_rar": {"mask": "paper"}}}, "no convolution .*mask_l"),
    ({"methods": ["aib"], "options": {"aib": {"selected": 65}}}, r"1\.\.64 \(the inputs\), got 65"),
    ({"methods": ["aib"], "options": {"aib": {"steps": 0}}}, "AIB needs steps >= 1"),
    ({"methods": ["aib"], "options": {"aib": {"averaging": 7.0}}}, "averaging"),
    ({"network": {"name": "resnet18"}, "train": {"batch_size": 1}}, "in batches of 1: "),
    ({"network": {"encoder": [10**8]}}, "GiB"),
    ({"network": {"encoder": [10**9]}}, "cannot be trained|GiB"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
@pytest.mark.parametrize("adversarial", [None, "trades"])
def test_what_cannot_be_trained_is_refused_in_one_line(changes, message, adversarial):
    given = {"methods": ["cross_entropy"], "betas": [0.1], "adversarial": adversarial}
    config = load_config(values=given | changes)
    before = torch.get_rng_state()
    with pytest.raises(NarrowsError, match=message) as raised:
        try_method(config, config.methods[0], SHAPE, CLASSES)
    assert "\n" not in str(raised.value)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 8.0}, r"needs eps in \[0, 1\]"),
        ({"steps": 0}, "steps"),
        ({"weight": -1.0}, "weigh"),
    ],
)
def test_options_of_adversarial_training_are_tried_too(options, message):
    config = tiny_config(adversarial="trades", options={"trades": options})
    with pytest.raises(NarrowsError, match=message):
        try_method(config, "vib", SHAPE, CLASSES)


def test_every_beta_is_tried(monkeypatch):
    build = VIB.build.__func__

    def refusing(cls, beta, sizes, **options):
        if beta == 1.0:
            raise ConfigError("not this beta")
        return build(cls, beta, sizes, **options)

    monkeypatch.setattr(VIB, "build", classmethod(refusing))
    try_method(tiny_config(betas=[0.01, 0.1]), "vib", SHAPE, CLASSES)
    with pytest.raises(ConfigError, match="not this beta"):
        try_method(tiny_config(), "vib", SHAPE, CLASSES)


def test_what_can_be_trained_is_not_refused_and_takes_no_memory():
    for adversarial in (None, *WRAPPERS):
        for method in METHODS:
            config = load_config(values={"methods": [method], "adversarial": adversarial})
            try_method(config, method, SHAPE, CLASSES)
    wide = load_config(values={"methods": ["vib"], "betas": [0.1], "network": {"encoder": [10**6]}})
    try_method(wide, "vib", SHAPE, CLASSES)


def test_models_that_do_not_fit_together_are_refused(monkeypatch):
    config = tiny_config()
    objective = build_objective(config, Member("vib", 0.1, 0), SHAPE, CLASSES)
    weights = sum(part.numel() * part.element_size() for part in objective.parameters())
    least = math.ceil(6 * 4 * weights / 0.9)  # six models: weights, gradients and Adam's moments
    monkeypatch.setattr(building, "_memory", lambda: least)
    try_method(config, "vib", SHAPE, CLASSES)
    for memory in (least - 2, least // 2, 1):
        monkeypatch.setattr(building, "_memory", lambda memory=memory: memory)
        with pytest.raises(ConfigError, match=r"the 6 models of vib need about .* GiB with their"):
            try_method(config, "vib", SHAPE, CLASSES)
    monkeypatch.setattr(building, "_memory", lambda: None)
    try_method(config, "vib", SHAPE, CLASSES)


def test_the_memory_of_the_machine_is_known_or_not(monkeypatch):
    memory = building._memory()
    assert memory is None or memory > 2**28

    def unknown(name):
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", unknown)
    assert building._memory() is None


def test_the_trial_is_of_the_data_that_it_is_for():
    data = load("twelve-bit").train
    config = load_config(values={"data": "twelve-bit", "methods": ["vib"]})
    try_method(config, "vib", data.shape, data.classes)
    model = build_model(config, "vib", data.shape, data.classes)
    assert model(data.batch(slice(0, 3)).x).logits.shape == (3, 2)


OWN_NETWORK = """
import math
from torch import nn

def plain(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 8), nn.ReLU(),
                         nn.Linear(8, classes))

class Branching(nn.Sequential):
    def forward(self, x):
        return super().forward(x if x.sum().item() > -1 else 2 * x)

def branching(shape, classes):
    return Branching(*plain(shape, classes))
"""
OWN_RUN = {"methods": ["cross_entropy", "vib"], "betas": [0.1], "seeds": 2}


def own_network(home: Path, name: str) -> dict[str, Any]:
    (home / "net.py").write_text(OWN_NETWORK)
    return {"name": f"{home}/net.py:{name}", "at": "2", "bottleneck": 4}


@pytest.mark.parametrize(("name", "kind"), [("plain", "Stacked"), ("branching", "Looped")])
def test_a_network_of_the_users_own_is_stacked_if_it_can_be(name, kind, tmp_path):
    config = tiny_config(network=own_network(tmp_path, name), **OWN_RUN)
    members = build_members(config, "cross_entropy", (1, 8, 8), 10)
    assert type(members).__name__ == kind


def test_a_run_of_a_network_of_the_users_own_is_rebuilt(tmp_path):
    network = own_network(tmp_path, "plain")
    run = tiny_run(tmp_path / "runs", network=network, **OWN_RUN)
    model = run.model(run.member("vib", seed=1)).eval()
    assert model.bottleneck.encoder[1].out_features == 8
    accuracy = (as_classifier(model, mode="mean")(run.splits.test.all().x).argmax(1)
                == run.splits.test.y).double().mean()  # fmt: skip
    assert accuracy.item() == pytest.approx(run.records(["vib"])[1].accuracy.test, abs=1e-6)
    # The same file in another folder is the same run, and another file is another one.
    moved = own_network(make_folder(tmp_path / "elsewhere"), "plain")
    (tmp_path / "net.py").unlink()
    assert tiny_run(tmp_path / "runs", network=moved, **OWN_RUN).path == run.path
    assert Run.open(run.path).model(run.member("vib", seed=1)) is not None
    (tmp_path / "elsewhere" / "net.py").write_text(OWN_NETWORK + "\n")
    assert tiny_config(network=moved, **OWN_RUN).identity() != run.config.identity()
    with pytest.raises(ConfigError, match=r"net\.py has changed since the run"):
        Run.open(run.path).model(run.member("vib", seed=1))
