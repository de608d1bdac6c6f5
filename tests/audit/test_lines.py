"""The backward pass of a line bounds a rectifier from below, whatever the sign of what follows."""

import pytest
import torch

from narrows.audit._lines import Layer, Lines, StopError


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (-3.0, 1.0), (0.5, 2.0), (-2.0, -0.5)])
def test_a_line_is_below_the_rectifier_all_along(sign, low, high):
    layer = Layer(torch.tensor([[low]]), torch.tensor([[high]]))
    at = torch.tensor([[(2 * low + high) / 3]], requires_grad=True)
    with Lines([layer]) as lines:
        value = sign * torch.relu(at)
    (slope,) = torch.autograd.grad(value.sum(), at)
    points = torch.linspace(low, high, 41)
    line = slope.item() * (points - at.item()) + (value.detach() - lines.correction).item()
    truth = sign * points.relu()
    assert (line <= truth + 1e-6).all()
    assert (truth - line).min() < 1e-6  # and touches it


@pytest.mark.parametrize(("low", "high", "slope"), [(-1.0, 3.0, 1.0), (-3.0, 1.0, 0.0)])
def test_of_the_lines_below_the_nearer_one_is_taken(low, high, slope):
    at = torch.zeros(1, 1, requires_grad=True)
    with Lines([Layer(torch.tensor([[low]]), torch.tensor([[high]]))]):
        value = torch.relu(at)
    assert torch.autograd.grad(value.sum(), at)[0].item() == slope


@pytest.mark.parametrize(("low", "high", "slope"), [(-1.0, 3.0, -0.75), (-3.0, 1.0, -0.25)])
def test_the_line_above_joins_both_ends(low, high, slope):
    at = torch.zeros(1, 1, requires_grad=True)
    with Lines([Layer(torch.tensor([[low]]), torch.tensor([[high]]))]):
        value = -torch.relu(at)
    assert torch.autograd.grad(value.sum(), at)[0].item() == slope


def test_a_pass_can_be_stopped_and_begun_again():
    layer = Layer(-torch.ones(1, 2), torch.ones(1, 2))
    x = torch.ones(1, 2, requires_grad=True)
    with pytest.raises(StopError) as stopped, Lines([layer, layer], stop=1):
        torch.relu(torch.relu(x) - 0.25)
    assert stopped.value.value.tolist() == [[0.75, 0.75]]
    x = torch.full((1, 2), 0.5, requires_grad=True)
    lines = Lines([layer])
    with lines:
        value = torch.nn.functional.relu(x)
    torch.autograd.grad(-value.sum(), x)
    assert lines.correction.tolist() != [0.0]
    lines.forget()
    assert lines.correction == 0.0
