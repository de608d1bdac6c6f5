"""The toy tasks: what is trained, and what a rule that is known scores on them."""

from dataclasses import replace

import pytest
import torch

from narrows.data.toys import Toy1, Toy2
from narrows.errors import ConfigError, StoreError
from narrows.papers import toys
from narrows.papers.toys import TOYS, ToyConfig, ToyResult, run_toy
from narrows.runs import Progress

SMALL = ToyConfig("toy1", 2, steps=3, betas=[0.1, 1.0], seeds=2, batch_size=16)


def test_the_papers_settings():
    assert (TOYS["toy1"].units, TOYS["toy1"].steps, TOYS["toy1"].batch_size) == (2, 1000, 1024)
    assert (TOYS["toy2"].units, TOYS["toy2"].steps, TOYS["toy2"].seeds) == (25, 200, 10)


@pytest.mark.parametrize("name", ["toy1", "toy2"])
def test_a_network_that_reads_x1_alone_is_not_misled(name):
    task = toys._TASKS[name]()
    clean = task.sample(2000, 7)
    contradicting = task.contradicting(clean)
    first, rest = torch.nn.Linear(task.inputs, 2), torch.nn.Linear(task.inputs, 2)
    for layer, weights in ((first, [1.0] + [0.0] * (task.inputs - 1)), (rest, None)):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        layer.weight.data[1] = torch.tensor(weights or [0.0] + [1.0] * (task.inputs - 1))
        layer.weight.data[0] = -layer.weight.data[1]
    robust = (Toy1() if name == "toy1" else Toy2()).bayes().robust
    clean_1, shifted_1 = toys._accuracies(first, [clean, contradicting])
    assert clean_1 == pytest.approx(robust, abs=0.02)
    assert shifted_1 == pytest.approx(robust, abs=0.02)
    clean_2, shifted_2 = toys._accuracies(rest, [clean, contradicting])
    fragile = (Toy1() if name == "toy1" else Toy2()).bayes().fragile
    assert clean_2 == pytest.approx(fragile, abs=0.03)
    assert shifted_2 < 0.05


def test_every_network_begins_as_the_paper_says():
    linear = toys._network(2, 2, vib=False)
    assert all((parameter == 0).all() for parameter in linear.parameters())
    model = toys._network(101, 25, vib=True)
    assert model.encoder.weight.shape == (50, 101)
    assert model.encoder.weight.abs().max() <= (6 / 151) ** 0.5
    assert (model.decoder.weight == 0).all()


def test_results_of_all_models_and_modes_are_stored_and_kept(tmp_path, monkeypatch):
    results = run_toy(SMALL, tmp_path, Progress())
    named = [(r.model, r.beta, r.mode, r.seed) for r in results]
    assert named == [
        row
        for seed in (0, 1)
        for row in [
            ("linear", 0.0, "deterministic", seed),
            *[("vib", beta, mode, seed) for beta in (0.1, 1.0) for mode in ("mean", "sample")],
        ]
    ]
    monkeypatch.setattr(toys, "_one_seed", None)
    assert run_toy(SMALL, tmp_path, Progress()) == results


def test_results_are_read_back_and_another_folder_is_refused(tmp_path):
    results = run_toy(SMALL, tmp_path, Progress())
    assert toys.read_toy(tmp_path, SMALL.name) == results
    with pytest.raises(StoreError, match=r"has no toy9\.json; expected the folder toys/SCALE"):
        toys.read_toy(tmp_path, "toy9")


def test_more_seeds_continue_and_other_settings_begin_anew(tmp_path):
    one = run_toy(ToyConfig("toy1", 2, 3, [0.1], 1, 16), tmp_path, Progress())
    two = run_toy(ToyConfig("toy1", 2, 3, [0.1], 2, 16), tmp_path, Progress())
    assert two[: len(one)] == one
    assert {result.seed for result in two} == {0, 1}
    other = run_toy(ToyConfig("toy1", 2, 4, [0.1], 1, 16), tmp_path, Progress())
    assert {result.seed for result in other} == {0}
    assert all(isinstance(result, ToyResult) for result in other)


@pytest.mark.parametrize("changes", [{"name": "toy3"}, {"steps": 0}, {"seeds": 0}, {"units": -1}])
def test_a_config_that_makes_no_sense_is_refused(changes):
    with pytest.raises(ConfigError, match="expected toy1 or toy2 and positive counts"):
        ToyConfig(**{"name": "toy1", "units": 2, "steps": 3} | changes)


def test_a_linear_network_learns_the_robust_feature():
    config = ToyConfig("toy1", 2, steps=60, betas=[0.1], seeds=1, batch_size=256)
    linear = toys._one_seed(config, 0)[0]
    assert linear.clean > 0.95
    assert linear.shifted > 0.8


def test_fewer_seeds_are_read_and_none_is_lost(tmp_path, monkeypatch):
    results = run_toy(SMALL, tmp_path, Progress())
    monkeypatch.setattr(toys, "_one_seed", None)
    first = run_toy(replace(SMALL, seeds=1), tmp_path, Progress())
    assert first == [result for result in results if result.seed == 0]
    assert run_toy(SMALL, tmp_path, Progress()) == results


def test_a_damaged_file_is_refused(tmp_path):
    run_toy(SMALL, tmp_path, Progress())
    path = tmp_path / "toy1.json"
    path.write_text(path.read_text().replace('"linear"', '"vib"', 1))
    for read in (
        lambda: toys.read_toy(tmp_path, "toy1"),
        lambda: run_toy(SMALL, tmp_path, Progress()),
    ):
        with pytest.raises(StoreError, match=r"toy1\.json"):
            read()


def test_a_seed_gives_the_same_results_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (toys._one_seed(SMALL, seed) for seed in (0, 0, 1))
    assert first == again
    assert [result.clean for result in first] != [result.clean for result in other]
    assert torch.equal(before, torch.get_rng_state())


def test_shares_are_of_the_right_answers():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 5.0]])
    assert toys._share(logits, torch.tensor([0, 1, 1, 0])) == 0.5
    assert toys._share(logits, torch.tensor([0, 1, 0, 0])) == 0.75
