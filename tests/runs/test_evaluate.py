"""Measuring a model: the same numbers each time, whatever the global generator holds."""

import torch
from narrows.experiments.config import EvaluateConfig
from narrows.experiments.evaluate import encode, evaluate_member, project

from narrows.data import load
from narrows.models import NetworkConfig, build_network

CONFIG = EvaluateConfig(eps=[0.1], pgd_steps=2, pgd_restarts=1, attack_images=20,
                        samples=3, information_samples=50)  # fmt: skip


def model(latent: str):
    torch.manual_seed(0)
    return build_network(
        NetworkConfig(encoder=[8], bottleneck=3, decoder=[]), (1, 8, 8), 10, latent
    )


def test_a_stochastic_model_is_measured_alike_each_time_and_the_generator_is_left_alone():
    net, splits = model("gaussian"), load("digits")
    torch.manual_seed(1)
    first = evaluate_member(net, splits, CONFIG)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert evaluate_member(net, splits, CONFIG) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in net.modules())
    assert "sampled_test_accuracy" in first


def test_a_deterministic_model_has_no_rate_and_no_sampled_accuracy():
    record = evaluate_member(model("deterministic"), load("digits"), CONFIG)
    assert "variational_rate" not in record["information"]["test"]
    assert "sampled_test_accuracy" not in record
    noise = record["information"]["test"]["kde_upper"]["diagnostics"]["noise_scale"]
    assert noise == CONFIG.noise_std


def test_projection_keeps_the_largest_variances():
    data = load("digits").test
    net = model("deterministic")
    points = project(net, data, count=100)["projection"]
    mean = encode(net, data.batch(slice(0, 100)).x).mean
    eigenvalues = torch.linalg.eigvalsh(torch.cov(mean.T)).flip(0)
    torch.testing.assert_close(points.var(0), eigenvalues[:2], rtol=1e-4, atol=1e-6)
