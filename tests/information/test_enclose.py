import pytest
import torch
import torch.nn.functional as F

from narrows.information._enclose import enclose
from scenarios import generator


def problem(t, rows=9, seed=0):
    """Rows p(y=1|x), logs of their weights and t, for one function."""
    p = torch.rand(rows, dtype=torch.float64, generator=generator(seed))
    log_m = torch.randn(1, rows, dtype=torch.float64, generator=generator(seed + 1))
    return p, log_m, torch.tensor([t], dtype=torch.float64)


def height(p, log_m, t, a):
    """f(a), by its definition, on a grid."""
    terms = log_m[0, :, None] + t * (p[:, None] * a - F.softplus(a, threshold=80))
    return terms.logsumexp(0)


@pytest.mark.parametrize("t", [0.1, 1.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize("seed", range(3))
def test_the_maximum_of_a_fine_grid_lies_between_value_and_bound(t, seed):
    p, log_m, t_ = problem(t, seed=seed)
    slack = 1e-9 * t_
    top = enclose(p, log_m, t_, torch.zeros(1, 1).double(), slack)
    grid = torch.linspace(p.min().logit().item(), p.max().logit().item(), 400_001).double()
    highest = height(p, log_m, t_, grid).max()
    rounding = 1e-14 * highest.abs()
    assert highest <= top.bound + rounding
    assert top.bound <= top.value + slack + rounding
    # The value is one that the function takes, at the logit that is returned.
    at_logit = height(p, log_m, t_, top.logit)
    assert top.value.item() == pytest.approx(at_logit.item(), rel=1e-12, abs=1e-9)
    assert top.value >= highest - 1e-3 * t_


def test_functions_that_are_enclosed_together_are_those_enclosed_alone():
    p, first, t = problem(100.0)
    second = first.flip(1)
    hints = torch.tensor([[0.3], [-0.5]]).double()
    both = enclose(p, torch.cat([first, second]), t.repeat(2), hints, 1e-9 * t.repeat(2))
    for i, log_m in enumerate((first, second)):
        alone = enclose(p, log_m, t, hints[i : i + 1], 1e-9 * t)
        for part, part_alone in zip(both, alone, strict=True):
            assert part[i].item() == pytest.approx(part_alone[0].item(), abs=1e-6)


def test_a_function_of_one_row_has_its_top_at_that_row():
    p, log_m = torch.tensor([0.3]).double(), torch.zeros(1, 1).double()
    top = enclose(
        p, log_m, torch.ones(1).double(), torch.zeros(1, 1).double(), torch.ones(1) * 1e-9
    )
    assert top.logit.sigmoid().item() == pytest.approx(0.3)
    entropy = -(0.3 * torch.tensor(0.3).log() + 0.7 * torch.tensor(0.7).log()).item()
    assert top.value.item() == pytest.approx(-entropy, abs=1e-6)
