"""Measuring a model: the same numbers each time, whatever the global generator holds."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from narrows.data import Splits, load
from narrows.models import NetworkConfig, as_classifier, build_network
from narrows.runs import EvaluateConfig
from narrows.runs.evaluate import (
    accuracy,
    attacked_pictures,
    encode,
    evaluate_model,
    is_stochastic,
    project,
)
from narrows.runs.records import EstimateRecord

CONFIG = EvaluateConfig(eps=[0.1], pgd_steps=2, pgd_restarts=1, attack_images=20,
                        samples=3, information_samples=50)  # fmt: skip
DIGITS = load("digits")


def model(latent: str, **changes) -> nn.Module:
    torch.manual_seed(0)
    network = NetworkConfig(**{"encoder": [8], "bottleneck": 3, "decoder": []} | changes)
    return build_network(network, (1, 8, 8), 10, latent)


def test_a_stochastic_model_is_measured_alike_each_time_and_the_generator_is_left_alone():
    net = model("gaussian")
    torch.manual_seed(1)
    first = evaluate_model(net, DIGITS, CONFIG)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert evaluate_model(net, DIGITS, CONFIG) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in net.modules())
    assert first.sampled_test_accuracy is not None
    assert first.attacks is not None
    assert {(row.mode, row.draws) for row in first.attacks} == {("mean", 1)}


def test_an_attack_on_drawn_codes_says_so():
    measured = evaluate_model(model("gaussian"), DIGITS, replace(CONFIG, mode="sample"))
    assert measured.attacks is not None
    assert {(row.mode, row.draws) for row in measured.attacks} == {("sample", 3)}


def test_a_deterministic_model_has_no_rate_and_no_sampled_accuracy():
    measured = evaluate_model(model("deterministic"), DIGITS, CONFIG)
    assert "variational_rate" not in measured.information["test"]
    assert measured.sampled_test_accuracy is None
    bound = measured.information["test"]["kde_upper"]
    assert bound.diagnostics["noise_scale"] == CONFIG.noise_std
    assert (bound.n, bound.ceiling) == (50, pytest.approx(math.log(50)))
    assert measured.attacks is not None
    assert {row.mode for row in measured.attacks} == {"deterministic"}


def test_every_attack_is_recorded_in_order():
    config = replace(CONFIG, eps=[0.05, 0.5])
    measured = evaluate_model(model("deterministic"), DIGITS, config)
    assert measured.attacks is not None
    assert [(row.attack, row.norm, row.eps, row.images) for row in measured.attacks] == [
        ("fgsm", "linf", 0.05, 20),
        ("pgd", "linf", 0.05, 20),
        ("fgsm", "linf", 0.5, 20),
        ("pgd", "linf", 0.5, 20),
        ("deepfool", "l2", None, 20),
    ]
    assert [row.accuracy is None for row in measured.attacks] == [False] * 4 + [True]
    for row in measured.attacks:
        assert row.forwards > 0
        assert row.median_distance is not None


def test_where_nothing_is_attacked_that_is_said_by_none():
    off = replace(CONFIG, attack=False)
    assert evaluate_model(model("deterministic"), DIGITS, off).attacks is None
    plain = Splits(*(replace(part, image=False) for part in DIGITS))
    assert evaluate_model(model("deterministic"), plain, CONFIG).attacks is None


class Right(nn.Module):
    """Knows every label of the test digits but those of the first few."""

    def __init__(self, wrong: int) -> None:
        super().__init__()
        self.wrong = wrong

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        same = (x.flatten(1)[:, None] == DIGITS.test.x.flatten(1)).all(2)
        row = same.int().argmax(1)
        labels = torch.where(row < self.wrong, (DIGITS.test.y[row] + 1) % 10, DIGITS.test.y[row])
        return nn.functional.one_hot(labels, 10).float()


def test_accuracy_is_the_share_that_is_right():
    assert accuracy(Right(0), DIGITS.test) == 1.0
    assert accuracy(Right(9), DIGITS.test) == pytest.approx(1 - 9 / len(DIGITS.test))


def test_estimates_are_stored_as_plain_finite_numbers():
    for estimates in evaluate_model(model("gaussian"), DIGITS, CONFIG).information.values():
        assert set(estimates) == {
            "kde_lower", "kde_upper", "kde_relevance_lower", "kde_relevance_upper",
            "variational_relevance", "variational_rate",
        }  # fmt: skip
        for estimate in estimates.values():
            assert isinstance(estimate, EstimateRecord)
            assert estimate.nats is None or math.isfinite(estimate.nats)


def test_projection_keeps_the_largest_variances():
    net = model("deterministic")
    points = project(net, DIGITS.test, count=100)["projection"]
    latent = encode(net, DIGITS.test.batch(slice(0, 100)).x)
    assert latent is not None
    eigenvalues = torch.linalg.eigvalsh(torch.cov(latent.mean.T)).flip(0)
    torch.testing.assert_close(points.var(0), eigenvalues[:2], rtol=1e-4, atol=1e-6)


def test_a_code_of_two_units_is_projected_onto_itself():
    net = model("deterministic", bottleneck=2)
    pictured = project(net, DIGITS.test, count=100)
    latent = encode(net, DIGITS.test.batch(slice(0, 100)).x)
    assert latent is not None
    torch.testing.assert_close(pictured["projection"], latent.mean - latent.mean.mean(0))
    assert torch.equal(pictured["projection_label"], DIGITS.test.y[:100])


def test_a_model_without_a_latent_has_nothing_to_project():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert encode(plain, DIGITS.test.all().x) is None
    assert project(plain, DIGITS.test) == {}
    assert not is_stochastic(plain)


def test_only_what_draws_is_stochastic():
    assert is_stochastic(model("gaussian"))
    assert not is_stochastic(model("deterministic"))
    assert is_stochastic(model("binary", name="binary"))


def test_codes_of_many_inputs_are_those_of_blocks():
    net = model("gaussian").eval()
    x = DIGITS.train.batch(slice(0, 30)).x
    many = encode(net, x.repeat(100, 1, 1, 1))
    few = encode(net, x)
    assert many is not None
    assert few is not None
    torch.testing.assert_close(many.mean[-30:], few.mean)
    torch.testing.assert_close(many.scale[-30:], few.scale)


def test_pictures_are_of_the_first_test_images():
    net, config = model("gaussian"), replace(CONFIG, eps=[0.01, 0.25, 0.3])
    with torch.no_grad():
        answers = as_classifier(net, mode="mean")(DIGITS.test.all().x).argmax(1)
    data = replace(DIGITS.test, y=answers)  # so that every image is right to begin with
    pictures = attacked_pictures(net, data, config, count=3)
    assert torch.equal(pictures["clean"], data.x[:3])
    assert torch.equal(pictures["label"], data.y[:3])
    assert torch.equal(pictures["clean_predicted"], data.y[:3])
    apart = (pictures["pgd"] - pictures["clean"]).abs().flatten(1).amax(1)
    assert 0.01 < apart.max() <= 0.25 + 1e-6  # the middle radius
    assert not torch.equal(pictures["deepfool_predicted"], data.y[:3])
    assert {f"{name}_predicted" for name in ("clean", "pgd", "deepfool")} <= set(pictures)
