import math
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from narrows.errors import ConfigError, InputError
from narrows.information import ESTIMATORS, CriticConfig, estimate
from scenarios import CorrelatedGaussians, TwoGaussians, generator

CHEAP = ["ksg", "ksg_relevance", "binned_relevance", "kde_bounds", "renyi_information"]


def readings(*arguments, **settings):
    return {reading.estimator: reading for reading in estimate(*arguments, **settings).readings}


def test_correlated_vectors_are_measured_and_believed():
    target = CorrelatedGaussians(0.8, d=2)
    survey = estimate(*target.sample(1000), CHEAP)
    assert (survey.n, survey.columns, survey.kind) == (1000, (2, 2), "vectors")
    [reading] = survey.readings
    assert reading.estimator == "ksg"
    assert reading.estimate.nats == pytest.approx(target.information, abs=0.1)
    assert reading.bits == reading.estimate.nats / math.log(2)
    assert reading.believable
    truths = [trial.truth for trial in reading.trials]
    assert truths == pytest.approx([s * math.log(1000) for s in (0, 0.05, 0.1, 0.2, 0.4)])
    assert survey.refused.keys() == set(CHEAP) - {"ksg"}
    assert "mean and scale" in survey.refused["kde_bounds"]
    assert "another quantity" in survey.refused["renyi_information"]
    assert "labels" in survey.refused["ksg_relevance"]


def test_labels_are_measured_as_labels_on_either_side():
    target = TwoGaussians(1.0)
    _, z, y = target.sample(1000)
    forwards, backwards = (readings(*pair, CHEAP) for pair in ((z, y), (y, z)))
    assert forwards == backwards
    for name in ("ksg", "ksg_relevance"):
        assert forwards[name].estimate.nats == pytest.approx(target.information, abs=0.06)
        assert forwards[name].believable
        assert forwards[name].trials[-1].truth == pytest.approx(math.log(2), abs=1e-6)


def test_a_code_that_decides_the_label_is_believed_to():
    y = torch.arange(600) % 3
    z = 50 * y[:, None] + torch.randn(600, 2, generator=generator(0))
    reading = readings(z, y, ["ksg_relevance"])["ksg_relevance"]
    assert reading.estimate.nats == pytest.approx(math.log(3), abs=0.01)
    assert reading.believable


def test_whole_numbers_that_repeat_are_measured_as_values():
    x = torch.randint(4, (2000, 1), generator=generator(0))
    flip = torch.rand(2000, generator=generator(1)) < 0.5
    y = torch.where(flip, torch.randint(4, (2000,), generator=generator(2)), x[:, 0])
    survey = estimate(x, y, ["binned_relevance", "ksg_relevance"])
    assert survey.kind == "values"
    # A symmetric channel that keeps a value with probability 5/8.
    truth = math.log(4) + 5 / 8 * math.log(5 / 8) + 3 / 8 * math.log(1 / 8)
    for reading in survey.readings:
        assert reading.estimate.nats == pytest.approx(truth, abs=0.05)
        assert reading.believable
    # Whole numbers that do not repeat are numbers like any other.
    assert estimate(torch.arange(100), torch.arange(100) % 2, ["ksg"]).kind == "labels"


def test_an_estimator_that_finds_nothing_in_many_columns_is_not_believed():
    x, z = torch.randn(2, 300, 40, generator=generator(0))
    reading = readings(x, z, ["ksg"])["ksg"]
    assert abs(reading.estimate.nats) < 0.1
    assert reading.trials[0].recovered
    assert not reading.believable


def test_an_estimator_that_finds_much_in_noise_is_not_believed():
    z, y = torch.randn(300, 30, generator=generator(0)), torch.arange(300) % 2
    reading = readings(z, y, ["binned_relevance"])["binned_relevance"]
    assert reading.estimate.nats > 0.6
    assert not reading.trials[0].recovered
    assert not reading.believable


def test_more_information_than_was_tried_is_not_believed():
    x = torch.randn(200, 1, generator=generator(0))
    assert not readings(x, x + 1e-6 * x.flip(0), ["ksg"])["ksg"].believable


def test_samples_that_an_estimator_refuses_leave_the_others():
    z, y = torch.randn(50, 1, generator=generator(0)), torch.arange(50) // 2
    survey = estimate(z, y, ["ksg_relevance", "binned_relevance"])
    assert [reading.estimator for reading in survey.readings] == ["binned_relevance"]
    assert "label 0 has 2 samples" in survey.refused["ksg_relevance"]


def test_a_critic_takes_labels_as_one_hot_vectors(monkeypatch):
    quick = CriticConfig(hidden=16, embedding=8, steps=100)
    monkeypatch.setattr("narrows.information.critic.CriticConfig", lambda: quick)
    _, z, y = TwoGaussians(2.0).sample(200)
    survey = estimate(z, y, ["fit_critic"], draws=1)
    [reading] = survey.readings
    assert 0.3 < reading.estimate.nats < 0.8
    assert reading.estimate == ESTIMATORS["fit_critic"](z, torch.eye(2)[y], seed=0)


def test_one_seed_gives_one_survey():
    x, z = CorrelatedGaussians(0.5).sample(100)
    assert estimate(x, z, ["ksg"], seed=3) == estimate(x, z, ["ksg"], seed=3)
    assert estimate(x, z, ["ksg"], seed=3) != estimate(x, z, ["ksg"], seed=4)


def test_the_table_shows_all_that_was_found():
    x, z = CorrelatedGaussians(0.8).sample(300)
    survey = estimate(x.numpy(), z.tolist(), CHEAP)
    lines = str(survey).splitlines()
    reading = survey.readings[0]
    assert lines[0] == "300 samples: 1 column and 1 column"
    [row] = [line.split() for line in lines if line.startswith("ksg ") and "yes" in line]
    numbers = [reading.estimate.nats, reading.bits, reading.estimate.std_error]
    assert [float(cell) for cell in row[1:4]] == pytest.approx(numbers, abs=5e-4)
    [truths] = [line.split()[2:] for line in lines if line.startswith("known information")]
    assert truths == [f"{trial.truth:.3f}" for trial in reading.trials]
    assert any(line.startswith("  kde_bounds: needs") for line in lines)


def test_json_has_null_for_what_is_no_number():
    x, z = CorrelatedGaussians(0.8).sample(20)
    record = msgspec.json.decode(msgspec.json.encode(estimate(x, z, ["ksg"], draws=1)))
    [reading] = record["readings"]
    assert reading["estimate"]["std_error"] is None
    assert reading["bits"] == pytest.approx(reading["estimate"]["nats"] / math.log(2))
    assert len(reading["trials"]) == 5


def test_bad_input_is_refused():
    x, z = CorrelatedGaussians(0.8).sample(20)
    with pytest.raises(ConfigError, match="did you mean 'ksg'"):
        estimate(x, z, ["ksgg"])
    with pytest.raises(InputError, match="as many x as z"):
        estimate(x, z[:-1])
    with pytest.raises(InputError, match="expected one of z for each of 20 samples"):
        estimate(x, np.arange(19))
    with pytest.raises(InputError, match="draws must be at least 1"):
        estimate(x, z, draws=0)
    with pytest.raises(InputError, match="NaN or infinity"):
        estimate(x * math.nan, z)


def test_the_example_of_the_documentation_prints_what_it_says(capsys):
    text = (Path(__file__).parents[2] / "docs" / "information.md").read_text()
    section = text.partition("## Can an estimate be believed?")[2].partition("`estimate(x, z)`")[0]
    code, printed = re.findall(r"```\w+\n(.*?)```", section, re.DOTALL)
    exec(code, {})
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    expected = [line.split() for line in printed.strip().splitlines()]
    assert [row[:1] for row in shown] == [row[:1] for row in expected]
    # Another processor rounds otherwise.
    assert float(shown[3][1]) == pytest.approx(float(expected[3][1]), abs=0.01)
