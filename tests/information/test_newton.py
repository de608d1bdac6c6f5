import pytest
import torch

from narrows.information._clusters import encode, start, update
from narrows.information._joint import Source, spread
from narrows.information._newton import climb
from scenarios import BinarySymmetric, generator


def source(rows, classes, seed=0):
    joint = torch.rand(rows, classes, dtype=torch.float64, generator=generator(seed)) ** 4
    joint = joint / joint.sum()
    return Source(joint.sum(1), joint / joint.sum(1, keepdim=True))


def height(given, t, clusters):
    return encode(given, t, clusters)[1] @ given.p_x


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("rows", [5, 40])
def test_it_reaches_at_least_what_thousands_of_plain_updates_do(classes, rows):
    given = source(rows, classes)
    t = torch.tensor([1.5, 4.0, 15.0]).double()
    begun = start(spread(given.p_y, 4), len(t))
    for _ in range(5):
        begun = update(given, encode(given, t, begun)[0], begun)
    climbed, steps = climb(given, t, begun, 0.01, 60)
    plain = begun
    for _ in range(3000):
        plain = update(given, encode(given, t, plain)[0], plain)
    # With fewer clusters than the optimum has, it converges linearly, and ends within a millionth.
    assert (height(given, t, climbed) >= height(given, t, plain) - 1e-6).all()
    assert (steps <= 60).all()
    assert climbed.w.sum(1).tolist() == pytest.approx([1] * 3)


def test_the_result_stands_still():
    given = source(12, 3)
    t = torch.tensor([8.0]).double()
    climbed, _ = climb(given, t, start(spread(given.p_y, 3), 1), 0.01, 60)
    after = update(given, encode(given, t, climbed)[0], climbed)
    used = climbed.w[0] > 0
    assert torch.allclose(after.w[0, used], climbed.w[0, used], atol=1e-9)
    assert torch.allclose(after.q[0, used], climbed.q[0, used], atol=1e-9)


@pytest.mark.parametrize("q", [0.05, 0.2, 0.4])
def test_the_symmetric_channel_is_solved_in_few_steps(q):
    """Its decoders are the flip probability of both flips in a row, at the beta of its formula."""
    target = BinarySymmetric(0.1)
    p_y = 2 * target.joint
    given = Source(torch.full((2,), 0.5).double(), p_y)
    t = torch.tensor([1 / target.beta(q)]).double()
    climbed, steps = climb(given, t, start(p_y, 1), 1e-4, 60)
    assert sorted(climbed.q[0, :, 1].tolist()) == pytest.approx(
        sorted([target.twice(q), 1 - target.twice(q)]), abs=1e-7
    )
    assert steps.item() < 25


def test_clusters_that_are_not_needed_go():
    """At a weak t the best code passes nothing and has one cluster."""
    given = source(10, 3)
    t = torch.tensor([0.9]).double()
    climbed, _ = climb(given, t, start(spread(given.p_y, 5), 1), 0.3, 60)
    assert (climbed.w > 1e-9).sum().item() == 1
    assert torch.allclose(climbed.q[0, climbed.w[0].argmax()], given.p_x @ given.p_y)
