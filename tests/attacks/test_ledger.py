import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from narrows.attacks import FGSM, PGD, DeepFool, Ensemble, Ledger
from narrows.errors import CheckpointError, ConfigError, InputError, StoreError
from narrows.storage import load_tensors, save_tensors
from narrows.types import AttackResult
from scenarios_attacks import Linear, Lucky, curved_case

X, Y = torch.full((4, 1, 2, 2), 0.5), torch.tensor([0, 1, 2, 0])


def result(distance: list[float], rate: list[float] | None = None, at: float = 0.0):
    sizes = torch.tensor(distance)
    success = torch.isfinite(sizes)
    rates = success.double() if rate is None else torch.tensor(rate, dtype=torch.float64)
    return AttackResult(torch.full((len(sizes), 1, 2, 2), at), success, sizes, 10, 5, rates)


INF = math.inf


def three() -> Ledger:
    ledger = Ledger(X, Y)
    ledger.record("a", FGSM(eps=0.1), result([0.3, INF, INF, 0.0], at=0.1))
    ledger.record("b", PGD(eps=0.1), result([0.1, 0.2, INF, 0.0], at=0.2))
    ledger.record("c", FGSM(eps=0.2), result([0.2, INF], at=0.3), torch.tensor([1, 2]))
    return ledger


def test_holds_the_mean_of_the_minimum():
    ledger = three()
    assert ledger.distance.tolist() == pytest.approx([0.1, 0.2, INF, 0.0])
    assert ledger.by.tolist() == [1, 1, 0, 0]
    assert ledger.x_adv[:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.2, 0.1, 0.1])
    assert ledger.fooled.tolist() == [True, True, False, True]
    assert ledger.standing.tolist() == [2]
    assert ledger.robust_accuracy == 0.25
    assert ledger.clean_accuracy == 0.75
    assert [ledger.accuracy_at(eps) for eps in (0, 0.1, 0.15, 0.2)] == [0.75, 0.5, 0.5, 0.25]
    assert ledger.mean_distance == INF
    assert (ledger.forwards, ledger.backwards) == (30, 15)
    rows = [(e.name, e.attacked, e.fooled, e.robust_accuracy) for e in ledger.entries]
    assert rows == [("a", 4, 2, 0.5), ("b", 4, 3, 0.25), ("c", 2, 1, 0.25)]
    both = ledger.result()
    assert (both.robust_accuracy, both.forwards) == (0.25, 30)


def test_clean_accuracy_is_that_of_the_first_vote_not_of_the_worst():
    x, y = torch.full((400, 1, 2, 2), 0.5), torch.zeros(400, dtype=torch.int64)
    model, ledger = Lucky(0.4), Ledger(x, y)
    # A vote of 5 draws at .4 is lost with probability 10 .4^3 .6^2 + 5 .4^4 .6 + .4^5 = .317.
    for seed in range(4):
        attack = PGD(eps=0.1, steps=1, restarts=1, verify_draws=5, seed=seed)
        rows = ledger.standing
        ledger.record(f"pgd {seed}", attack, attack(model, x[rows], y[rows]), rows)
    assert ledger.clean_accuracy == pytest.approx(1 - 0.317, abs=0.07)
    assert (ledger.distance == 0).double().mean() > 0.6


def test_without_success_the_attempt_that_most_draws_fall_for_is_the_worst():
    ledger = Ledger(X, Y)
    ledger.record("a", FGSM(eps=0.1), result([INF] * 4, [0.1, 0.4, 0.0, 0.2], at=0.1))
    ledger.record("b", PGD(eps=0.1), result([INF, INF, 0.1, INF], [0.3, 0.2, 0.6, 0.2], at=0.2))
    assert ledger.by.tolist() == [1, 0, 1, 0]
    assert ledger.fooled_rate.tolist() == pytest.approx([0.3, 0.4, 0.6, 0.2])
    assert ledger.robust_accuracy == 0.75
    assert ledger.single_draw_accuracy == pytest.approx(1 - 1.5 / 4)


def test_comes_back_from_its_file_as_it_was(tmp_path: Path):
    model, path = Linear(4, 3), tmp_path / "ledger.safetensors"
    ledger = Ledger(X, Y, model)
    ledger.record("pgd", PGD(eps=0.1), PGD(eps=0.1)(model, X, Y))
    ledger.save(path)
    again = Ledger.load(path, X, Y, model)
    assert again.entries == ledger.entries
    for name in ("x_adv", "fooled", "by", "distance", "fooled_rate", "wrong"):
        assert torch.equal(getattr(again, name), getattr(ledger, name))
    assert PGD(eps=0.1) in again
    assert PGD(eps=0.1, seed=1) not in again
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_other_images_labels_or_weights_is_refused(tmp_path: Path):
    model, path = Linear(4, 3), tmp_path / "ledger.safetensors"
    Ledger(X, Y, model).save(path)
    other = X.clone()
    other[0, 0, 0, 0] = 0.25
    for case in ((other, Y, model), (X, Y.flip(0) + 1, model), (X, Y, Linear(4, 3)), (X, Y, None)):
        with pytest.raises(InputError, match="other images, labels or weights"):
            Ledger.load(path, *case)


def test_damaged_and_foreign_files_are_named(tmp_path: Path):
    path = tmp_path / "ledger.safetensors"
    with pytest.raises(CheckpointError, match="there is no ledger"):
        Ledger.load(path, X, Y)
    three().save(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        Ledger.load(path, X, Y)
    save_file({"x": X}, path)
    with pytest.raises(CheckpointError, match="this library did not write it"):
        Ledger.load(path, X, Y)
    save_tensors(path, {"x": X}, {})
    with pytest.raises(CheckpointError, match="not a ledger"):
        Ledger.load(path, X, Y)
    three().save(path)
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    with pytest.raises(CheckpointError, match="is damaged"):
        Ledger.load(path, X, Y)
    with pytest.raises(StoreError, match="cannot write"):
        three().save(tmp_path / "missing" / "ledger.safetensors")


def test_results_that_do_not_fit_are_refused():
    ledger = three()
    with pytest.raises(InputError, match="of 2 images, expected 4"):
        ledger.record("d", FGSM(eps=0.1), result([0.1, 0.1]))
    with pytest.raises(InputError, match="measures in l2 and this ledger in linf"):
        ledger.record("d", FGSM(norm="l2", eps=0.1), result([0.1] * 4))
    assert len(ledger.entries) == 3


def test_robustbench_form_and_what_the_noise_means():
    record = three().to_robustbench(
        name="A bottleneck", eps=0.1, dataset="mnist", authors="A", draws=8, verify_draws=100
    )
    entry = json.loads(json.dumps(asdict(record)))
    keys = "name authors link venue architecture dataset eps clean_acc reported autoattack_acc "
    keys += "additional_data number_forward_passes unreliable footnote"
    assert set(keys.split()) <= set(entry)
    assert (entry["clean_acc"], entry["autoattack_acc"], entry["eps"]) == ("75.00", "50.00", "0.1")
    assert entry["noise"] == {
        "draws": 8,
        "verify_draws": 100,
        "mode": "mean",
        "vote_acc": "50.00",
        "single_draw_acc": "25.00",
    }
    assert entry["attacks"][1]["name"] == "b"
    with pytest.raises(InputError, match="unknown keys author; valid: link, authors"):
        three().to_robustbench(name="a", eps=0.1, author="A")


def test_one_attacks_ledger_is_its_result():
    model, x, y = curved_case()
    found = PGD(eps=0.1, steps=5, restarts=2)(model, x, y)
    ledger = Ledger(x, y)
    ledger.record("pgd", PGD(eps=0.1), found)
    assert ledger.robust_accuracy == found.robust_accuracy
    assert torch.equal(ledger.x_adv, found.x_adv)
    assert torch.equal(ledger.distance, found.distance.double())
    assert ledger.interval[0] < found.robust_accuracy < ledger.interval[1]


def test_replay_judges_the_stored_images_on_draws_that_picked_nothing():
    x, y = torch.full((200, 1, 2, 2), 0.5), torch.zeros(200, dtype=torch.int64)
    model, ledger = Lucky(0.45), Ledger(x, y)
    for seed in range(4):
        attack = FGSM(eps=0.1, seed=seed, verify_draws=20)
        ledger.record(str(seed), attack, attack(model, x, y))
    # On 20 draws .45 is often more than half; the worst of four verdicts says so of most images.
    assert ledger.robust_accuracy < 0.6
    rng = torch.get_rng_state()
    vote, single = ledger.replay(model, draws=1000)
    assert torch.equal(torch.get_rng_state(), rng)
    assert vote > 0.97
    assert single == pytest.approx(0.55, abs=0.01)


def test_replay_of_a_deterministic_model_is_its_robust_accuracy():
    model, x, y = curved_case()
    ledger, attack = Ledger(x, y), PGD(eps=0.1, steps=5)
    ledger.record("pgd", attack, attack(model, x, y))
    assert ledger.replay(model) == (ledger.robust_accuracy, ledger.robust_accuracy)
    assert model.training


def linear(levels: int = 0, temperature: float = 1.0, count: int = 30):
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(48, 5)
    layer.weight.data = torch.randn(5, 48, generator=generator) * 0.5
    layer.bias.data.zero_()
    x = torch.rand(count, 48, generator=generator) * 0.4 + 0.3
    return Twin(layer, levels, temperature), x, layer(x).argmax(1)


class Twin(nn.Module):
    """The same weights and the same form, used in other ways."""

    def __init__(self, layer: nn.Module, levels: int, temperature: float, noise: float = 0) -> None:
        super().__init__()
        self.layer, self.levels, self.temperature, self.noise = layer, levels, temperature, noise

    def forward(self, x):
        if self.levels:
            x = (x * self.levels).round() / self.levels
        if self.noise:
            x = x + self.noise * torch.randn_like(x)
        return self.layer(x) / self.temperature


SHORT = {"steps": 10, "restarts": 1}


@pytest.mark.parametrize("alike", ["path", "ledger"])
def test_verdicts_at_another_radius_count_only_what_lies_within(tmp_path: Path, alike):
    model, x, y = linear()
    path = str(tmp_path / "ledger.safetensors")  # text is a path too
    wide, narrow = (Ensemble([("pgd", PGD(eps=eps, **SHORT))]) for eps in (0.05, 0.01))
    at_wide = wide.run(model, x, y, path=path)
    kept = {"path": path} if alike == "path" else {"ledger": at_wide}
    fooled = at_wide.robust_accuracy
    result, fresh = narrow(model, x, y, **kept), narrow(model, x, y)
    assert result.robust_accuracy == fresh.robust_accuracy > fooled
    assert (result.x_adv - x).abs().max() <= 0.01 * (1 + 1e-5)
    assert torch.equal(torch.isfinite(result.distance), result.success)
    # What was found at the wide radius is still there, and counts there again.
    again = wide.run(model, x, y, **kept)
    assert again.robust_accuracy == fooled
    assert len(again.entries) == 2
    assert again.accuracy_at(0.01) == fresh.robust_accuracy


def test_an_attack_without_a_radius_counts_within_that_of_the_others():
    model, x, y = linear()
    mixed = Ensemble([("fgsm", FGSM(eps=0.01)), ("deepfool", DeepFool(norm="linf"))])
    ledger = mixed.run(model, x, y)
    assert mixed.eps == 0.01
    assert 0 < ledger.robust_accuracy < 1
    assert ledger.accuracy_at(1.0) == 0
    assert Ensemble([("deepfool", DeepFool())])(model, x, y).robust_accuracy == 0


@pytest.mark.parametrize("alike", ["path", "ledger"])
@pytest.mark.parametrize(
    "change", [{"levels": 2}, {"levels": 255}, {"temperature": 1.1}, {"noise": 0.3}], ids=str
)
def test_a_ledger_of_other_code_with_the_same_weights_is_refused(tmp_path: Path, alike, change):
    model, x, y = linear()
    ensemble = Ensemble([("pgd", PGD(eps=0.05, **SHORT))])
    path = tmp_path / "ledger.safetensors"
    ledger = ensemble.run(model, x, y, path=path)
    kept = {"path": path} if alike == "path" else {"ledger": ledger}
    twin = Twin(model.layer, **{"levels": 0, "temperature": 1.0, **change})
    with pytest.raises(InputError, match="with the same weights and other logits"):
        ensemble.run(twin, x, y, **kept)
    same = Twin(model.layer, 0, 1.0)
    assert ensemble.run(same, x, y, **kept).entries == ledger.entries


def test_verdicts_that_do_not_reproduce_are_refused_though_the_probes_do(tmp_path: Path):
    model, x, y = linear(count=60)
    ensemble, path = Ensemble([("pgd", PGD(eps=0.05, **SHORT))]), tmp_path / "l.safetensors"
    ledger = ensemble.run(model, x, y, path=path)
    hit = ledger.fooled & ~ledger.wrong
    moved, right = ledger.x_adv[hit], model(x[hit])

    class Denied(Twin):
        """Answers as before, except at what was found."""

        def forward(self, x):
            logits = super().forward(x)
            distance, which = (x[:, None] - moved).abs().amax(2).min(1)
            return torch.where(distance[:, None] == 0, right[which], logits)

    Denied.__name__ = Denied.__qualname__ = "Twin"
    denied = Denied(model.layer, 0, 1.0)
    with pytest.raises(InputError, match="the same weights and other logits"):
        ensemble.run(denied, x, y, path=path)


def test_a_noisy_models_ledger_is_gone_on_with(tmp_path: Path):
    model, x, y = linear()
    noisy = Twin(model.layer, 0, 1.0, noise=0.1)
    ensemble, path = Ensemble([("fgsm", FGSM(eps=0.05))]), tmp_path / "l.safetensors"
    first = ensemble.run(noisy, x, y, path=path)
    torch.manual_seed(5)
    assert ensemble.run(noisy, x, y, path=path).entries == first.entries


def test_a_ledger_of_other_images_labels_weights_norm_or_targets_is_refused():
    model, x, y = linear()
    ensemble = Ensemble([("fgsm", FGSM(eps=0.05))])
    ledger = ensemble.run(model, x, y)
    other = linear()[0]
    other.layer.bias.data += 1
    for case in ((model, x.flip(0), y), (model, x, y.flip(0)), (other, x, y)):
        with pytest.raises(InputError, match="other images, labels or weights"):
            ensemble.run(*case, ledger=ledger)
    with pytest.raises(InputError, match="other images, labels or weights"):
        ensemble.run(model, x, y, (y + 1) % 5, ledger=ledger)
    with pytest.raises(InputError, match="measures in l2 and this ledger in linf"):
        Ensemble([("fgsm", FGSM(norm="l2", eps=0.05))]).run(model, x, y, ledger=ledger)
    free = Ledger(x, y)
    assert ensemble.run(model, x, y, ledger=free) is free


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors, header: tensors.pop("hit.size"),
        lambda tensors, header: tensors.update(wrong=torch.zeros(3, dtype=torch.bool)),
        lambda tensors, header: tensors.update({"hit.by": torch.zeros(4)}),
        lambda tensors, header: header.pop("eps"),
        lambda tensors, header: header.update(eps="wide"),
        lambda tensors, header: header.update(entries=[1]),
        lambda tensors, header: header.update(entries=[{"name": "a"}]),
        lambda tensors, header: header.update(entries=None),
    ],
)
def test_files_of_another_shape_are_no_ledgers(tmp_path: Path, damage):
    path = tmp_path / "ledger.safetensors"
    three().save(path)
    tensors, header = load_tensors(path)
    damage(tensors, header)
    save_tensors(path, tensors, header)
    with pytest.raises(CheckpointError, match=r"no ledger of these images|another content"):
        Ledger.load(path, X, Y)
    save_tensors(path, tensors, [1])  # pyright: ignore[reportArgumentType]
    with pytest.raises(CheckpointError, match="not a ledger"):
        Ledger.load(path, X, Y)


def test_a_norm_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="norm must be one of linf, l2, l1, l0, got 'l3'"):
        Ledger(torch.rand(3, 4), torch.zeros(3, dtype=torch.int64), norm="l3")


@pytest.mark.parametrize("attack", [PGD(norm="l1", eps=0.5), PGD(norm="l0", eps=2)])
def test_sparse_perturbations_are_measured_in_their_norm(attack):
    model, x, y = curved_case()
    ledger = Ledger(x, y, norm=attack.norm, eps=attack.eps)
    ledger.record("pgd", attack, attack(model, x, y))
    assert ledger.fooled.sum() > 5
    fooled = ledger.fooled & ~ledger.wrong
    delta = (ledger.x_adv - x).flatten(1)[fooled]
    size = delta.abs().sum(1) if attack.norm == "l1" else (delta != 0).sum(1)
    torch.testing.assert_close(ledger.distance[fooled], size.double(), atol=1e-6, rtol=1e-6)
    assert ledger.accuracy_at(0) == pytest.approx(ledger.clean_accuracy)
