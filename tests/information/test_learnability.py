import math

import pytest
import torch

from narrows.data import twelve_bit
from narrows.errors import InputError
from narrows.information import gaussian_bottleneck, information_bottleneck, learnability
from scenarios import BinarySymmetric, NoiselessLabels, generator

# A rare x whose label is sure: worth passing on long before the correlation says so.
SKEWED = torch.tensor([[0.02, 0.0], [0.18, 0.8]], dtype=torch.float64)


def slow_threshold(joint):
    """Largest KL(r_y || p_y) / KL(r_x || p_x) over a fine grid of r_x, for two x."""
    p_x = joint.sum(1)
    p_y = joint / p_x[:, None]
    grid = torch.linspace(1e-6, 1 - 1e-6, 100_001, dtype=torch.float64)
    r_x = torch.stack([grid, 1 - grid], 1)
    r_y = r_x @ p_y

    def divergence(r, p):
        return (torch.special.xlogy(r, r) - r * p.log()).sum(1)

    far = (r_x[:, 0] - p_x[0]).abs() > 1e-3
    return (divergence(r_y, joint.sum(0)) / divergence(r_x, p_x))[far].max().item()


@pytest.mark.parametrize("flip", [0.02, 0.1, 0.3])
def test_the_symmetric_channel_has_its_critical_beta(flip):
    target = BinarySymmetric(flip)
    found = learnability(target.joint)
    assert found.beta_0 == pytest.approx(target.critical_beta, abs=1e-6)
    assert found.local == pytest.approx(target.critical_beta, abs=1e-12)
    assert found.certified


@pytest.mark.parametrize("joint", [SKEWED, torch.tensor([[0.3, 0.1], [0.15, 0.45]]).double()])
def test_two_inputs_reach_the_largest_contraction_of_a_grid(joint):
    assert learnability(joint).beta_0 == pytest.approx(slow_threshold(joint), abs=1e-5)


def test_a_rare_sure_label_is_learned_where_the_local_condition_sees_nothing():
    found = learnability(SKEWED)
    assert found.beta_0 > 1.1 * found.local
    between = (found.beta_0 + found.local) / 2
    assert information_bottleneck(SKEWED, [between]).rate.item() > 1e-3


@pytest.mark.parametrize("joint", [SKEWED, twelve_bit.joint(0.5)])
def test_the_bottleneck_passes_something_below_and_nothing_above(joint):
    beta_0 = learnability(joint).beta_0
    solution = information_bottleneck(joint, [0.99 * beta_0, min(1.0, 1.01 * beta_0)])
    assert solution.rate[0] > 1e-4
    if 1.01 * beta_0 < 1:
        assert solution.rate[1].item() == pytest.approx(0, abs=1e-9)


def test_certain_labels_are_learned_up_to_one_and_independent_ones_never():
    assert learnability(NoiselessLabels().joint).beta_0 == pytest.approx(1, abs=1e-9)
    assert not learnability(NoiselessLabels().joint).certified
    independent = torch.outer(torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.4, 0.6]))
    assert learnability(independent).beta_0 == pytest.approx(0, abs=1e-6)


def test_an_absent_class_changes_nothing():
    wider = torch.cat([SKEWED, torch.zeros(2, 1).double()], 1)
    assert learnability(wider).beta_0 == pytest.approx(learnability(SKEWED).beta_0)
    alone = torch.tensor([[0.5, 0.0], [0.5, 0.0]])
    assert learnability(alone).beta_0 == pytest.approx(0, abs=1e-9)


def test_a_fine_grid_of_gaussians_comes_near_their_largest_critical_beta():
    rho = 0.7
    edges = torch.linspace(-4, 4, 31, dtype=torch.float64)
    x, y = torch.meshgrid(edges, edges, indexing="ij")
    joint = torch.exp(-(x**2 - 2 * rho * x * y + y**2) / (2 * (1 - rho**2)))
    exact = gaussian_bottleneck(torch.ones(1, 1), torch.tensor([[rho]]), torch.ones(1, 1), [0.1])
    found = learnability(joint / joint.sum())
    assert found.local == pytest.approx(exact.critical_betas.item(), abs=1e-3)


def climbed_threshold(joint, seed):
    """The largest ratio that gradient ascent over r_x finds from many starts."""
    p_x, p_y = joint.sum(1), joint.sum(0)
    logits = 3 * torch.randn(200, len(p_x), dtype=torch.float64, generator=generator(seed))
    logits.requires_grad_()

    def divergence(r, p):
        off = (r - p) / p
        return (p * ((1 + off) * off.log1p() - off)).sum(1)

    optimiser, best = torch.optim.Adam([logits], 0.05), torch.zeros(())
    for _ in range(400):
        r_x = logits.softmax(1)
        below = divergence(r_x, p_x)
        ratio = divergence(r_x @ (joint / p_x[:, None]), p_y)[below > 1e-6] / below[below > 1e-6]
        best = ratio.max()
        optimiser.zero_grad()
        (-ratio.sum()).backward()
        optimiser.step()
    return best.item()


@pytest.mark.parametrize("draw", [5, 7, 8])
def test_three_classes_reach_the_largest_ratio_that_another_search_finds(draw):
    """Of these the threshold is close to the local one, where climbing is slow."""
    rand = generator(2)
    joint = [torch.rand(4, 3, dtype=torch.float64, generator=rand) ** 5 for _ in range(9)][draw]
    joint = joint / joint.sum()
    found = learnability(joint)
    assert found.beta_0 == pytest.approx(climbed_threshold(joint, draw), abs=1e-8)
    between = (found.local + found.beta_0) / 2
    solution = information_bottleneck(joint, [between, 1.0001 * found.beta_0])
    assert solution.rate[0] > 1e-4
    assert solution.rate[1] == 0


def test_random_joints_keep_the_order_of_both_thresholds():
    for seed in range(5):
        joint = torch.rand(6, 3, dtype=torch.float64, generator=generator(seed)) ** 4
        found = learnability(joint / joint.sum())
        assert 0 < found.local <= found.beta_0 <= 1


def test_what_is_no_joint_distribution_is_refused():
    with pytest.raises(InputError, match="NaN"):
        learnability(torch.tensor([[math.nan, 1.0]]))


def test_an_x_that_never_occurs_changes_nothing():
    joint = [[0.02, 0.0], [0.0, 0.0], [0.18, 0.8]]
    assert learnability(joint) == learnability(SKEWED)
