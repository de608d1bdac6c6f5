"""Every attack of `narrows attack`, in every norm that it has, on draws and on the mean."""

import re

import pytest
import torch

from narrows import as_classifier, load, load_member
from narrows.attacks import Backend
from product.cases import ATTACK_CASES, BOTH, EPS, NO_COMMAND, SPARSE, AttackCase
from product.runs import RUNS
from product.walk import ledger, read, refused, settings, succeed

IMAGES = 20
ORDER = {"linf": "inf", "l2": "2", "l1": "1", "l0": "0"}
TRIED = [
    (name, norm, mode)
    for name, case in ATTACK_CASES.items()
    for norm in case.norms
    for mode in ("sample", "mean")
]


def words(name: str, norm: str, case: AttackCase) -> list[str]:
    radius = [] if case.radius == "none" else ["--eps", EPS[norm]]
    said = ["--attack", name, "--norm", norm, "--images", str(IMAGES), *radius]
    return [*said, *settings(case.settings), "--set", "verify_draws=20"]


@pytest.mark.parametrize(("name", "norm", "mode"), TRIED)
def test_an_attack_keeps_to_its_ball_and_is_not_repeated(name, norm, mode, shelf, tmp_path):
    folder, case = shelf.get("finished", RUNS["finished"]), ATTACK_CASES[name]
    said = ["attack", folder, "--method", "vib", "--beta", "0.01", "--mode", mode]
    said += [*words(name, norm, case), "--out", tmp_path / "found"]
    first = succeed(*said)
    report = read(tmp_path / "found" / "record.json")["content"]
    record = report["robustbench"]
    assert record["images"] == IMAGES
    assert 0 <= float(record["autoattack_acc"]) <= float(record["clean_acc"]) <= 100
    x, _ = load("digits").test.batch(slice(0, IMAGES))
    tensors = ledger(tmp_path / "found")
    for x_adv in (tensors["hit.x"], tensors["miss.x"]):
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
        if case.radius != "none":
            size = torch.linalg.vector_norm((x_adv - x).flatten(1), float(ORDER[norm]), 1)
            assert size.max() <= float(EPS[norm]) + 1e-5
    before = (tmp_path / "found" / "ledger.safetensors").stat().st_mtime_ns
    assert answer(succeed(*said)) == answer(first)
    assert (tmp_path / "found" / "ledger.safetensors").stat().st_mtime_ns == before


def answer(out: str) -> str:
    """Without the bar of progress."""
    return re.sub(r"^.*\d+/\d+.*\n", "", out, flags=re.MULTILINE)


@pytest.mark.parametrize("name", ATTACK_CASES)
def test_an_attack_of_a_network_without_noise_and_of_one_that_is_all_noise(name, shelf, tmp_path):
    case = ATTACK_CASES[name]
    small = words(name, case.norms[0], case)
    plain, binary = (shelf.get(run, RUNS[run]) for run in ("finished", "binary"))
    if name == "adaptive":  # these have no rate
        small = [word.replace("objective=rate", "objective=cross_entropy") for word in small]
    said = [*small, "--out"]
    succeed("attack", plain, "--method", "cross_entropy", *said, tmp_path / "plain")
    succeed("attack", binary, *said, tmp_path / "binary")


@pytest.mark.parametrize("name", ATTACK_CASES)
def test_a_norm_or_a_radius_that_an_attack_lacks(name, shelf, tmp_path):
    folder, case = shelf.get("finished", RUNS["finished"]), ATTACK_CASES[name]
    said = ["attack", folder, "--method", "vib", "--attack", name, "--out", tmp_path / "found"]
    for norm in {*BOTH, *SPARSE} - set(case.norms):
        radius = ["--eps", EPS[norm]] if case.radius == "must" else []
        assert f"got {norm!r}" in refused(*said, "--norm", norm, *radius)
    if case.radius == "must":
        assert "--eps" in refused(*said)
    if case.radius == "none":
        assert "eps" in refused(*said, "--eps", "0.1")
    eps = ["--eps", "0.1"] if case.radius == "must" else []
    assert "l3" in refused(*said, "--norm", "l3", *eps)
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize("name", NO_COMMAND)
def test_what_no_word_can_name_is_refused(name, shelf):
    folder = shelf.get("finished", RUNS["finished"])
    said = ["attack", folder, "--method", "vib", "--attack", name, "--eps", "0.1"]
    assert f"unknown attack {name!r}" in refused(*said)


def test_a_function_as_an_attack(shelf):
    model = load_member(shelf.get("finished", RUNS["finished"]), "vib", beta=0.01)
    x, y = load("digits").test.batch(slice(0, IMAGES))
    attack = Backend(call=lambda model, x, y: (x + 0.05).clamp(0, 1), eps=0.1)
    result = attack(as_classifier(model, mode="mean"), x, y)
    torch.testing.assert_close(
        result.x_adv[~result.success], (x + 0.05).clamp(0, 1)[~result.success]
    )
