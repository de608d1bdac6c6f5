import pytest
import torch

from narrows.errors import InputError
from narrows.information import blahut_arimoto, information_bottleneck
from scenarios import BinarySymmetric, generator


def random_joint(x=6, y=3, seed=0):
    joint = torch.rand(x, y, dtype=torch.float64, generator=generator(seed)) ** 4
    return joint / joint.sum()


@pytest.mark.parametrize("classes", [2, 3])
def test_it_agrees_with_the_exact_solver_and_is_never_below_it(classes):
    joint, betas = random_joint(y=classes), [0.05, 0.2, 0.5]
    exact = information_bottleneck(joint, betas)
    plain = blahut_arimoto(joint, betas, tolerance=1e-9)
    above = (plain.betas * plain.rate - plain.relevance) - (
        exact.betas * exact.rate - exact.relevance
    )
    assert above.min() >= -1e-9
    assert above.max() < 1e-6
    assert torch.equal(plain.converged, plain.gap <= 1e-9)
    assert (plain.gap >= above - 1e-9).all()


def test_a_solution_that_stopped_too_early_says_so_by_its_gap():
    target = BinarySymmetric(0.1)
    beta = target.critical_beta / 1.01
    early = blahut_arimoto(target.joint, [beta], tolerance=1e-2, restarts=1)
    late = blahut_arimoto(target.joint, [beta], tolerance=1e-10, restarts=1)
    exact = information_bottleneck(target.joint, [beta])
    truth = (exact.betas * exact.rate - exact.relevance).item()
    for solution in (early, late):
        above = (solution.betas * solution.rate - solution.relevance).item() - truth
        assert -1e-9 <= above <= solution.gap.item() + 1e-9
    assert early.gap > 1e-6
    assert early.gap > 10 * late.gap
    assert early.iterations < late.iterations


def test_a_start_is_repeated_by_its_seed_and_more_starts_are_never_worse():
    joint = random_joint(8, 3)
    one, again, more = (
        blahut_arimoto(joint, [0.05], 4, restarts=count, seed=3) for count in (1, 1, 6)
    )
    assert torch.equal(one.encoder, again.encoder)
    values = [(s.betas * s.rate - s.relevance).item() for s in (one, more)]
    assert values[1] <= values[0] + 1e-12


@pytest.mark.parametrize(
    "settings", [{"clusters": 0}, {"tolerance": 0.0}, {"restarts": 0}, {"max_iterations": 0}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"must be (at least 1|finite and larger than 0), got 0"):
        blahut_arimoto(BinarySymmetric().joint, [0.5], **settings)


@pytest.mark.parametrize(
    "joint",
    [
        [[0.2, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.1, 0.1], [0.1, 0.0, 0.2]],
        [[0.2, 0.0], [0.0, 0.3], [0.2, 0.0], [0.0, 0.0], [0.1, 0.2]],
        [[0.1, 0.2], [0.1, 0.2], [0.2, 0.2]],
        [[0.5], [0.5]],
        [[0.3, 0.7]],
    ],
)
def test_zeros_ties_and_single_rows_or_classes_agree_with_the_exact_solver(joint):
    betas = [0.05, 0.4]
    exact = information_bottleneck(joint, betas)
    plain = blahut_arimoto(joint, betas, 4, tolerance=1e-9, restarts=20)
    values = [solution.betas * solution.rate - solution.relevance for solution in (plain, exact)]
    assert torch.allclose(*values, atol=1e-6)
    assert (values[0] >= values[1] - 1e-9).all()


def test_too_few_clusters_are_never_called_converged():
    few = blahut_arimoto(random_joint(), [0.01], 2)
    assert few.gap > 1e-3
    assert not few.converged.any()
    assert "give more clusters" in few.warning
