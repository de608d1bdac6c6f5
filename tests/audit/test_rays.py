"""RayS reaches a linear model's exact radius by classes alone, within the radius it was given."""

import pytest
import torch

from narrows.audit._rays import RayS, _blocks, _towards_others
from narrows.errors import ConfigError
from scenarios_attacks import exact_radius, linear_case


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_fooled_could_be_fooled(norm):
    model, x, y = linear_case(3, count=60)
    radius = exact_radius(model, x, y, norm)
    eps = radius.median().item()
    result = RayS(norm=norm, eps=eps, queries=300)(model, x, y)
    assert not result.success[radius > eps * 1.001].any()
    size = (result.x_adv - x).flatten(1)
    reached = size.abs().amax(1) if norm == "linf" else size.norm(dim=1)
    assert (reached <= eps + 1e-6).all()
    if norm == "linf":  # whose nearest boundary lies along a ray of signs
        assert result.success[radius < 0.8 * eps].double().mean() > 0.9


def test_only_classes_are_asked_for():
    class Labels(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            logits = self.model(x)
            return torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(x)

    model, x, y = linear_case(3, count=30)
    attack = RayS(eps=0.03, queries=100)
    assert torch.equal(attack(model, x, y).x_adv, attack(Labels(model), x, y).x_adv)


def test_blocks_are_halves_of_halves():
    blocks = _blocks(4)
    assert [next(blocks) for _ in range(9)] == [
        *[(0, 4), (0, 2), (2, 4), (0, 1), (1, 2), (2, 3), (3, 4), (0, 1), (1, 2)]
    ]


def test_no_queries_are_refused():
    with pytest.raises(ConfigError, match="queries must be at least 1"):
        RayS(eps=0.1, queries=0)


def test_the_first_ray_points_to_the_nearest_image_of_another_class():
    x = torch.tensor([[0.5, 0.5], [0.6, 0.6], [0.7, 0.2], [0.0, 0.0]])
    signs = _towards_others(x, torch.tensor([0, 0, 1, 1]))
    assert signs.tolist() == [[1, -1], [1, -1], [-1, 1], [1, 1]]
