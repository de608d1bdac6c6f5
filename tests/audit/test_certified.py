"""What is certified is never fooled, is exact for linear models, and is not invented."""

import pytest
import torch
from torch import nn

from narrows.audit import Case, audit
from narrows.audit._intervals import UnboundedError, interval_logits
from narrows.audit.certified import certify
from narrows.audit.planted import Detached, JPEGLike, Stopped
from narrows.data import load
from narrows.models.bottleneck import as_classifier
from narrows.models.networks import NetworkConfig, build_network
from scenarios_attacks import NoisyInput, exact_radius, linear_case
from scenarios_audit import SMALL, Around, BatchStatistics, case_of, undefended

BUDGET = SMALL.with_images(100)


def brute_force(model, x, y, eps, points=4000):
    """Whether any of many points of each box is of another class; corners among them."""
    generator = torch.Generator().manual_seed(0)
    fooled = torch.zeros(len(x), dtype=torch.bool)
    for number in range(points // 50):
        unit = 2 * torch.rand(50, *x.shape, generator=generator) - 1
        unit = unit.sign() if number % 2 else unit
        moved = (x + eps * unit).clamp(0, 1)
        with torch.no_grad():
            fooled |= (model(moved.flatten(0, 1)).argmax(1).view(50, -1) != y).any(0)
    return fooled


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("eps", [0.01, 0.02, 0.05])
def test_a_linear_model_is_certified_to_the_truth(norm, eps):
    model, x, y = linear_case(5, count=100)
    certificate = certify(Case(model, x, y, eps=eps, norm=norm, budget=BUDGET))
    truth = exact_radius(model, x, y, norm) > eps
    assert certificate.method == ("exact" if norm != "l2" else "linear bounds")
    if norm == "linf":
        assert (certificate.safe == truth).double().mean() > 0.98
    assert not (certificate.safe & ~truth).any()


class Small(nn.Module):
    """Every kind of layer that bounds are known for."""

    def __init__(self, *, pooled=False):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.norm.running_mean += 0.1
        self.norm.weight.data[1] = -0.7
        self.second, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(12, 3)
        self.pooled = pooled

    def forward(self, x):
        hidden = self.norm(self.first((x - 0.3) / 0.5)).relu()
        hidden = hidden + torch.relu(self.second(hidden))[:, :3]
        if self.pooled:
            hidden = nn.functional.max_pool2d(hidden, 2)
        hidden = nn.functional.avg_pool2d(hidden, hidden.shape[-1] // 2)
        return self.last(hidden.flatten(1))


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("eps", [0.01, 0.05, 0.1])
def test_what_is_certified_withstands_brute_force(pooled, eps):
    model = Small(pooled=pooled).eval()
    x = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    certificate = certify(Case(model, x, y, eps=eps, budget=BUDGET))
    assert certificate.method == ("intervals" if pooled else "linear bounds")
    assert not (certificate.safe & brute_force(model, x, y, eps)).any()
    if eps == 0.01:
        assert certificate.accuracy > 0.4


def test_linear_bounds_are_nearly_what_attacks_leave():
    model, x, y = undefended()
    found = audit(model, x, y, eps=0.04, budget=SMALL)
    assert found.verdict.reached - 0.1 <= found.verdict.certified <= found.verdict.reached
    assert 0.3 < found.verdict.certified < 1
    assert found.verdict.certified_by == "linear bounds"
    assert found.verdict.sentence.endswith(
        f"certified: {found.verdict.certified:.1%} (linear bounds)."
    )


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet18"])
def test_networks_of_this_library_are_understood(name):
    torch.manual_seed(0)
    config = (
        NetworkConfig(name, channel_share=0.0625) if name == "resnet18" else NetworkConfig(name)
    )
    model = as_classifier(build_network(config, (1, 28, 28), 10)).eval()
    x = torch.rand(4, 1, 28, 28)
    case = Case(model, x, model(x).argmax(1), eps=1e-8, budget=BUDGET)
    certificate = certify(case)
    assert certificate.method == ("intervals" if name == "cnn" else "linear bounds")
    assert certificate.accuracy > 0 or name == "resnet18"  # whose bounds are loose


def test_a_rectifier_in_place_is_certified_as_what_it_is():
    class InPlace(Around):
        def forward(self, x):
            hidden = self.model[:2](x)
            torch.relu_(hidden)
            return self.model[3:](hidden)

    case, plain = case_of(InPlace, eps=0.03), certify(case_of(eps=0.03))
    certificate = certify(case)
    assert certificate is None or torch.equal(certificate.safe, plain.safe)


def test_intervals_hold_every_value_of_the_box():
    model = Small().eval()
    x = torch.rand(20, 1, 4, 4)
    with torch.no_grad():
        logits, layers, straight = interval_logits(model, x - 0.1, x + 0.1)
        assert straight
        assert len(layers) == 2
        for _ in range(200):
            inside = model(x + 0.1 * (2 * torch.rand(x.shape) - 1).sign())
            assert (inside >= logits.low - 1e-5).all()
            assert (inside <= logits.high + 1e-5).all()


class Forked(Around):
    """Decides by the image what to do."""

    def forward(self, x):
        return self.model(x) if x.mean() > 0.1 else 2 * self.model(x)


class Products(Around):
    def forward(self, x):
        return self.model(x * x)


@pytest.mark.parametrize("wrap", [Forked, Products, Stopped, Detached, JPEGLike, BatchStatistics])
def test_nothing_is_certified_that_is_not_understood(wrap):
    case = case_of(wrap, eps=0.01)
    case.escalate(case.pgd(loss="margin"), "core")
    assert certify(case) is None


def test_noise_has_no_certificate():
    assert certify(case_of(lambda model: NoisyInput(model, 0.1), eps=0.01)) is None


def test_a_backward_pass_that_lies_is_caught():
    case = case_of(Around, eps=0.02)
    handle = case.model.model[1].register_full_backward_hook(
        lambda module, given, made: (None if given[0] is None else 0 * given[0],)
    )
    try:
        certificate = certify(case)
    finally:
        handle.remove()
    assert certificate is None


def test_products_of_intervals_are_refused_with_a_reason():
    with pytest.raises(UnboundedError, match="product of two intervals"):
        interval_logits(Products(nn.Flatten()), torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2))


def test_certified_is_never_above_what_is_left():
    splits = load("digits")
    x, y = splits.test.batch(slice(0, 60))
    for norm, eps in (("linf", 0.02), ("l2", 0.15)):
        case = Case(undefended()[0], x, y, eps=eps, norm=norm, budget=BUDGET)
        case.escalate(case.pgd(loss="margin"))
        certificate = certify(case)
        assert 0.2 < certificate.accuracy <= len(case.survivors) / len(case.x)


def test_an_attack_that_reaches_the_bound_does_not_break_it():
    model, x, y = linear_case(5, count=100)
    case = Case(model, x, y, eps=0.02, budget=BUDGET)
    case.escalate(case.pgd(loss="margin", steps=40))
    certificate = certify(case)
    assert certificate.method == "exact"
    assert torch.equal(certificate.safe, ~case.ledger.fooled)
