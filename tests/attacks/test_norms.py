import itertools
import math

import pytest
import torch

from narrows.attacks.norms import (
    ascent,
    clip,
    dual_size,
    farthest,
    per_image,
    project,
    random_start,
    rise_left,
    size,
    sparse,
    steepest,
)

NORMS = ["linf", "l2", "l1"]
ORDER = {"linf": float("inf"), "l2": 2, "l1": 1}
DUAL = {"linf": 1, "l2": 2, "l1": float("inf")}


@pytest.fixture
def delta():
    return torch.randn(50, 3, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norm", NORMS)
def test_sizes_are_those_of_linear_algebra(norm, delta):
    flat = delta.flatten(1)
    torch.testing.assert_close(size(delta, norm), torch.linalg.vector_norm(flat, ORDER[norm], 1))
    dual = torch.linalg.vector_norm(flat, DUAL[norm], 1)
    torch.testing.assert_close(dual_size(delta, norm), dual)


@pytest.mark.parametrize("norm", NORMS)
def test_steepest_is_of_size_one_and_rises_by_the_dual_size(norm, delta):
    direction = steepest(delta, norm)
    torch.testing.assert_close(size(direction, norm), torch.ones(50))
    torch.testing.assert_close((direction * delta).flatten(1).sum(1), dual_size(delta, norm))
    other = torch.randn(50, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    other = other / per_image(size(other, norm), other)
    assert ((other * delta).flatten(1).sum(1) < dual_size(delta, norm)).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-35, 1e30])
def test_direction_survives_gradients_whose_square_does_not(norm, scale, delta):
    torch.testing.assert_close(steepest(delta * scale, norm), steepest(delta, norm))
    torch.testing.assert_close(dual_size(delta * scale, norm) / scale, dual_size(delta, norm))


@pytest.mark.parametrize("norm", NORMS)
def test_no_gradient_no_direction(norm):
    zero = torch.zeros(2, 5)
    assert torch.equal(steepest(zero, norm), zero)
    assert torch.equal(project(zero, norm, 0.0), zero)


@pytest.mark.parametrize("norm", NORMS)
def test_projection_is_the_nearest_point_of_the_ball(norm, delta):
    eps = {"linf": 0.5, "l2": 3.0, "l1": 5.0}[norm]
    inside = project(delta, norm, eps)
    assert size(inside, norm).max() <= eps * (1 + 1e-6)
    torch.testing.assert_close(project(inside, norm, eps), inside)
    small = 0.01 * delta
    torch.testing.assert_close(project(small, norm, eps), small)
    # Nearest in the Euclidean sense: the way back makes an obtuse angle with the ball.
    others = random_start(delta, norm, eps, torch.Generator().manual_seed(0))
    assert (((delta - inside) * (others - inside)).flatten(1).sum(1) <= 1e-4).all()


@pytest.mark.parametrize(("norm", "inner"), [("linf", 0.25), ("l2", 0.25), ("l1", 0.25)])
def test_random_starts_fill_the_ball_evenly(norm, inner):
    x = torch.zeros(40_000, 2, dtype=torch.float64)
    start = random_start(x, norm, 0.3, torch.Generator().manual_seed(0))
    assert start.dtype == x.dtype
    radius = size(start, norm)
    assert radius.max() <= 0.3 * (1 + 1e-12)
    # In the plane half the radius holds a quarter of the area; the standard error is .0022.
    assert (radius < 0.15).double().mean().item() == pytest.approx(inner, abs=0.01)
    torch.testing.assert_close(start.mean(0), torch.zeros(2, dtype=x.dtype), atol=0.005, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    zero, one = torch.zeros(1, 3, dtype=dtype), torch.tensor([[0.0, 3.0, 4.0]], dtype=dtype)
    assert torch.equal(steepest(zero, "l2"), zero)
    torch.testing.assert_close(steepest(one, "l2"), one / 5)
    torch.testing.assert_close(project(one, "l2", 1.0), one / 5)


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_in_ball_and_box_rises_more_than_what_is_left(norm):
    generator = torch.Generator().manual_seed(0)
    origin = torch.rand(6, 5, dtype=torch.float64, generator=generator)
    gradient = torch.randn(6, 5, dtype=torch.float64, generator=generator)
    gradient[0, 0] = 0

    def inside(count: int) -> torch.Tensor:
        flat = origin.repeat(count, 1)
        return (flat + random_start(flat, norm, 0.3, generator)).clamp(0, 1)

    x = inside(1)
    left = rise_left(gradient, x, origin, norm, 0.3)
    gained = ((inside(20_000).view(-1, 6, 5) - x) * gradient).sum(2).amax(0)
    assert (gained <= left + 1e-12).all()
    assert (gained >= (0.2 if norm == "l1" else 0.5) * left).all()


def test_what_is_left_in_l0_are_the_best_pixels_with_all_their_channels():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 2, 2, dtype=torch.float64, generator=generator)
    gradient = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    ends = (gradient > 0).double()
    pairs = itertools.combinations(range(4), 2)
    masks = [torch.isin(torch.arange(4), torch.tensor(pair)).view(2, 2) for pair in pairs]
    best = torch.stack([(gradient * (ends - x) * mask).flatten(1).sum(1) for mask in masks])
    torch.testing.assert_close(rise_left(gradient, x, x, "l0", 2), best.amax(0))


def slow_l1(x_adv: torch.Tensor, x: torch.Tensor, eps: float) -> torch.Tensor:
    """The nearest point of the L1 ball and [0, 1] to one image: t by bisection, value by value."""
    goal, centre = x_adv.flatten().tolist(), x.flatten().tolist()

    def moved(t: float) -> list[float]:
        result = []
        for a, b in zip(goal, centre, strict=True):
            room = 1 - b if a > b else b
            result.append(math.copysign(min(max(abs(a - b) - t, 0), room), a - b))
        return result

    low, high = 0.0, max(abs(a - b) for a, b in zip(goal, centre, strict=True))
    if sum(map(abs, moved(low))) <= eps:
        high = low
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(map(abs, moved(middle))) <= eps else (middle, high)
    return x + x.new_tensor(moved(high)).view_as(x)


@pytest.mark.parametrize("eps", [0.0, 0.05, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("spread", [0.05, 1.0, 30.0])
def test_the_l1_ball_meets_the_box_where_the_slow_twin_says(eps, spread):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(20, 2, 3, 4, dtype=torch.float64, generator=generator)
    x[3:6] = x[3:6].round()  # no room on one side
    x_adv = x + spread * torch.randn(x.shape, dtype=x.dtype, generator=generator)
    x_adv[7] = x[7]
    x_adv[8] = x[8] + 0.5  # many equal breakpoints
    result = clip(x_adv, x, "l1", eps)
    for row in range(20):
        expected = slow_l1(x_adv[row], x[row], eps)
        torch.testing.assert_close(result[row], expected, atol=1e-12, rtol=0)
    assert size(result - x, "l1").max() <= eps * (1 + 1e-12)
    assert result.min() >= 0
    assert result.max() <= 1


def test_the_l1_ball_alone_is_where_the_box_is_far():
    x = torch.full((10, 6), 0.5, dtype=torch.float64)
    step = 0.05 * torch.randn(10, 6, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(clip(x + step, x, "l1", 0.1), x + project(step, "l1", 0.1))


def test_l1_in_single_precision_stays_in_the_ball():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50, 3072, generator=generator)
    result = clip(x + torch.randn(x.shape, generator=generator), x, "l1", 12.0)
    assert size(result - x, "l1").max() <= 12 * (1 + 1e-5)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_no_other_pixels_of_l0_come_nearer(count):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(15, 7, dtype=torch.float64, generator=generator)
    x_adv = x + torch.randn(x.shape, dtype=x.dtype, generator=generator)
    result = clip(x_adv, x, "l0", count)
    assert (size(result - x, "l0") <= count).all()
    masks = torch.cartesian_prod(*[torch.tensor([False, True])] * 7)
    masks = masks[masks.sum(1) <= count]
    every = torch.where(masks, x_adv.clamp(0, 1).unsqueeze(1), x.unsqueeze(1))
    nearest = (every - x_adv.unsqueeze(1)).square().sum(2).amin(1)
    torch.testing.assert_close((result - x_adv).square().sum(1), nearest)


def test_a_pixel_of_l0_has_all_channels():
    x = torch.full((1, 3, 2, 2), 0.5)
    x_adv = x.clone()
    x_adv[0, :, 0, 0] += torch.tensor([0.1, 0.2, 0.1])
    x_adv[0, 1, 1, 1] += 0.21
    assert size(x_adv - x, "l0").item() == 2
    assert size((x_adv - x).flatten(1), "l0").item() == 4
    expected = x.clone()
    expected[0, :, 0, 0] = x_adv[0, :, 0, 0]
    assert torch.equal(clip(x_adv, x, "l0", 1), expected)


def test_random_pixels_of_l0():
    x = torch.zeros(1000, 2, 3, 3)
    start = random_start(x, "l0", 4, torch.Generator().manual_seed(0))
    assert (size(start, "l0") == 4).all()
    assert (start != 0).double().mean().item() == pytest.approx(4 / 9, abs=1e-6)
    assert start.mean().abs() < 0.01


def test_the_farthest_images():
    x = torch.zeros(1, 3, 4, 5)
    far = {norm: farthest(x, norm) for norm in ("linf", "l2", "l1", "l0")}
    assert far == {"linf": 1, "l2": math.sqrt(60), "l1": 60, "l0": 20}
    assert all(size(x + 1, norm).item() == pytest.approx(value) for norm, value in far.items())


def test_sparse_directions_leave_out_what_cannot_move():
    gradient = torch.tensor([[3.0, -2.0, 1.0, 0.0], [3.0, -2.0, 1.0, 0.0]])
    x = torch.tensor([[0.5, 0.5, 0.5, 0.5], [1.0, 0.5, 0.5, 0.5]])
    direction = sparse(gradient, x, torch.tensor([2, 1]))
    assert direction.tolist() == [[0.5, -0.5, 0, 0], [0, -1, 0, 0]]
    assert torch.equal(sparse(torch.zeros(2, 4), x, torch.tensor([2, 1])), torch.zeros(2, 4))


def test_steps_of_each_norm(delta):
    x = torch.full_like(delta, 0.5)
    for norm in ("linf", "l2"):
        assert torch.equal(ascent(delta, x, norm), steepest(delta, norm))
    assert torch.equal(ascent(delta, x, "l1"), steepest(delta, "l1"))  # 1 % of 48 is one
    mean = ascent(delta, x, "l0").flatten(1).abs().mean(1)
    torch.testing.assert_close(mean, torch.ones(50))
