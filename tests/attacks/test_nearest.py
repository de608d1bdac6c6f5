import math

import pytest
import torch

from narrows.attacks._nearest import Nearest
from narrows.attacks.norms import size
from narrows.attacks.query import Query
from scenarios_attacks import Lucky, NoisyInput, exact_radius, linear_case


def test_the_nearest_success_is_kept_and_the_latest_of_a_stochastic_model():
    x, rows = torch.zeros(2, 3), torch.tensor([0, 1])
    yes, no = torch.tensor([True, True]), torch.tensor([True, False])
    nearest, latest = Nearest(x, "linf"), Nearest(x, "linf", latest=True)
    assert nearest.distance.tolist() == [math.inf] * 2
    for distance, fooled in ((0.5, no), (0.25, yes), (0.75, yes)):
        for kept in (nearest, latest):
            kept.offer(rows, x + distance, fooled)
    assert nearest.distance.tolist() == [0.25, 0.25]
    assert latest.distance.tolist() == [0.75, 0.75]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_success_moves_back_to_the_boundary_of_a_deterministic_model(norm):
    model, x, y = linear_case(2, dtype=torch.float64)
    radius = exact_radius(model, x, y, norm)
    normal = (model.layer.weight[1] - model.layer.weight[0]).detach().view(1, 4, 5)
    normal = normal * torch.where(y == 0, 1, -1).view(-1, 1, 1, 1)
    direction = normal.sign() if norm == "linf" else normal / normal.flatten(1).norm(dim=1)[0]
    far = x + 3 * radius.view(-1, 1, 1, 1) * direction
    nearest, query, rows = Nearest(x, norm), Query(model, y), torch.arange(len(x))
    inside = ((far >= 0) & (far <= 1)).flatten(1).all(1)
    nearest.offer(rows, far, inside)
    result = nearest.finish(query)
    assert inside.sum() > 50
    assert torch.equal(result[~inside], x[~inside])
    distance = size(result - x, norm)[inside]
    assert (distance >= radius[inside]).all()
    assert (distance <= 1.003 * radius[inside]).all()
    assert query.fooled(model(result), rows)[inside].all()


def test_a_success_is_enlarged_until_a_stochastic_model_confirms_it():
    model, x, y = linear_case(2, count=50)
    noisy, rows = NoisyInput(model, 0.05), torch.arange(50)
    query = Query(noisy, y, stochastic=True, verify_draws=200)
    nearest = Nearest(x, "linf", latest=True)
    direction = (model.layer.weight[1] - model.layer.weight[0]).detach().sign().view(1, 4, 5)
    direction = direction * torch.where(y == 0, 1, -1).view(-1, 1, 1, 1)
    radius = exact_radius(model, x, y, "linf").view(-1, 1, 1, 1).detach()
    nearest.offer(rows, x + radius * direction, torch.ones(50, dtype=torch.bool))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        result = nearest.finish(query)
        rate = query.verdict(result, rows).fooled_rate
    assert (rate > 0.5).double().mean() > 0.95
    assert ((result - x).abs().flatten(1).amax(1) >= 0.99 * radius.flatten()).all()


def test_a_lucky_draw_is_never_confirmed():
    x, y = torch.full((5, 1, 2, 2), 0.5), torch.zeros(5, dtype=torch.int64)
    query = Query(Lucky(0.1), y, stochastic=True)
    nearest = Nearest(x, "linf", latest=True)
    nearest.offer(torch.arange(5), x + 0.01, torch.ones(5, dtype=torch.bool))
    result = nearest.finish(query)
    assert not query.verdict(result, torch.arange(5)).fooled.any()
