import pytest
import torch

from narrows.attacks.norms import (
    dual_size,
    per_image,
    project,
    random_start,
    rise_left,
    size,
    steepest,
)

NORMS = ["linf", "l2"]
ORDER = {"linf": float("inf"), "l2": 2}
DUAL = {"linf": 1, "l2": 2}


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
    eps = {"linf": 0.5, "l2": 3.0}[norm]
    inside = project(delta, norm, eps)
    assert size(inside, norm).max() <= eps * (1 + 1e-6)
    torch.testing.assert_close(project(inside, norm, eps), inside)
    small = 0.01 * delta
    torch.testing.assert_close(project(small, norm, eps), small)
    # Nearest in the Euclidean sense: the way back makes an obtuse angle with the ball.
    others = random_start(delta, norm, eps, torch.Generator().manual_seed(0))
    assert (((delta - inside) * (others - inside)).flatten(1).sum(1) <= 1e-4).all()


@pytest.mark.parametrize(("norm", "inner"), [("linf", 0.25), ("l2", 0.25)])
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
    assert (gained >= 0.5 * left).all()
