import math
from dataclasses import astuple

import pytest
import torch
from torch import nn

from narrows import PGD, HBaR
from narrows.data import Dataset
from narrows.errors import ConfigError, InputError
from narrows.papers.ib_rar import LayerRobustness, RobustLayers, _row, select_robust_layers
from narrows.training import TrainConfig
from scenarios_training import prototypes

ATTACK = PGD(eps=0.1, steps=3, restarts=1)
QUICK = TrainConfig(epochs=2, batch_size=32)


def build() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4))


def test_a_gain_is_clear_above_the_margin_and_twice_its_error():
    without = torch.tensor([True] * 20 + [False] * 80)
    better = without.clone()
    better[50:60] = True
    row = _row("a", 0.9, better, without, 0.02)
    assert row.robust
    assert row.gain == pytest.approx(0.1)
    assert row.robust_accuracy == pytest.approx(0.3)
    assert row.std_error == pytest.approx(math.sqrt(0.1 * 0.9 / 100))
    assert not _row("a", 0.9, better, without, 0.1).robust  # not above the margin
    noisy = ~without
    noisy[:20] = torch.arange(20) < 10
    noisy[20:] = torch.arange(80) < 13  # 3 more are held, at 23 that changed
    assert _row("a", 0.9, noisy, without, 0.02).gain == pytest.approx(0.03)
    assert not _row("a", 0.9, noisy, without, 0.02).robust


def test_one_network_a_layer_is_compared_with_plain_cross_entropy():
    data, seen = prototypes(n=96), []
    table = select_robust_layers(build, data, data, ATTACK, QUICK, images=40, on_row=seen.append)
    assert [row.layer for row in seen] == [None, "1", "3"]
    assert table.rows == seen[1:]
    assert table.plain == seen[0]
    assert table.plain.gain == 0
    assert not table.plain.robust
    for row in table.rows:
        assert row.gain == pytest.approx(row.robust_accuracy - table.plain.robust_accuracy)
        assert row.robust_accuracy * 40 == pytest.approx(round(row.robust_accuracy * 40))
    text = str(table)
    assert len(text.splitlines()) == 4
    assert "cross-entropy only" in text


def test_a_layer_that_changes_nothing_gains_nothing_and_runs_repeat():
    data = prototypes(n=64)
    options = {"layers": ["1"], "method": lambda layers: HBaR(0.0, layers=layers)}
    before = torch.get_rng_state()
    first, second = (
        select_robust_layers(build, data, data, ATTACK, QUICK, **options) for _ in range(2)
    )
    assert first == second
    assert astuple(first.rows[0])[1:] == astuple(first.plain)[1:]
    assert first.names == []
    assert torch.equal(before, torch.get_rng_state())


class Poisoned(HBaR):
    """Learns that every image is of class 0 where it regularises layer "3"."""

    def prediction_loss(self, output, y):
        return super().prediction_loss(output, y if "1" in self.layers else 0 * y)


def test_the_chosen_layers_are_those_whose_network_is_clearly_more_robust():
    # On validation labels of which seven in eight are 0, saying always 0 cannot be attacked.
    data = prototypes(n=96)
    zeros = Dataset("zeros", data.x, torch.where(torch.arange(96) % 8 < 2, data.y, 0), 4)
    options = {"images": 96, "method": lambda layers: Poisoned(0.0, layers=layers)}
    config = TrainConfig(epochs=10, batch_size=32, learning_rate=0.02)
    table = select_robust_layers(build, data, zeros, ATTACK, config, **options)
    assert table.rows[1].robust_accuracy == 0.875
    assert table.plain.robust_accuracy < 0.6
    assert table.names == ["3"]


def test_what_cannot_be_attacked_or_told_is_refused():
    data = prototypes(n=32)
    with pytest.raises(InputError, match="no hidden layers"):
        select_robust_layers(lambda: nn.Linear(20, 4), data, data, ATTACK, QUICK)
    with pytest.raises(ConfigError, match="no layer '9'"):
        select_robust_layers(build, data, data, ATTACK, QUICK, layers=["9"])
    with pytest.raises(InputError, match=r"margin must lie in \[0, 1\), got 2"):
        select_robust_layers(build, data, data, ATTACK, QUICK, margin=2)
    plain = Dataset("plain", data.x, data.y, 4, image=False)
    with pytest.raises(InputError, match="needs images"):
        select_robust_layers(build, plain, plain, ATTACK, QUICK)


def test_the_table_as_text_names_what_is_robust():
    plain = LayerRobustness(None, 0.9, 0.25, 0.0, 0.0, False)
    rows = [
        LayerRobustness("block4", 0.875, 0.5, 0.25, 0.03125, True),
        LayerRobustness("fc2", 0.9, 0.26, 0.01, 0.02, False),
    ]
    table = RobustLayers(plain, rows)
    assert table.names == ["block4"]
    assert [line.split() for line in str(table).splitlines()] == [
        ["layer", "clean", "robust", "gain", "+-"],
        ["cross-entropy", "only", "90.0%", "25.0%", "0.0%", "0.0%"],
        ["block4", "87.5%", "50.0%", "25.0%", "3.1%", "robust"],
        ["fc2", "90.0%", "26.0%", "1.0%", "2.0%"],
    ]
    assert len({line.index("%") for line in str(table).splitlines()[1:]}) == 1


def test_all_networks_begin_at_the_same_weights():
    begun = []

    def noted():
        model = build()
        begun.append(model[0].weight.detach().clone())
        return model

    data = prototypes(n=64)
    select_robust_layers(noted, data, data, ATTACK, QUICK, layers=["1", "3"], seed=3)
    assert len(begun) == 3  # one without a layer, one for each
    assert all(torch.equal(weight, begun[0]) for weight in begun)
