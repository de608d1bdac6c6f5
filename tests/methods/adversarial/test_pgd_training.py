import torch
import torch.nn.functional as F
from torch import nn

from narrows import CrossEntropy, PGDTraining, as_classifier
from narrows.attacks import PGD
from narrows.types import Batch


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def batch(n=16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.rand(n, 4, generator=generator, dtype=torch.float64), torch.arange(n) % 3)


def test_the_loss_is_that_of_images_found_step_by_step():
    model, (x, y) = net(), batch()
    method = PGDTraining(CrossEntropy(), eps=0.2, steps=3, step_size=0.07)
    torch.manual_seed(2)
    loss = method(model, x, y)
    torch.manual_seed(2)
    uniform = 2 * torch.distributions.Normal(0.0, 1.0).cdf(torch.randn_like(x)) - 1
    total = 0.0
    for i in range(len(x)):
        moved = (x[i] + 0.2 * uniform[i]).clamp(0, 1)
        for _ in range(3):
            moved = moved.detach().requires_grad_()
            value = -torch.log_softmax(model(moved), 0)[y[i]]
            moved = moved + 0.07 * torch.autograd.grad(value, moved)[0].sign()
            moved = torch.clamp(torch.clamp(moved, x[i] - 0.2, x[i] + 0.2), 0, 1)
        total -= torch.log_softmax(model(moved.detach()), 0)[y[i]] / len(x)
    torch.testing.assert_close(loss, total)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.passes = net(), 0

    def forward(self, x):
        self.passes += 1
        return self.inner(x)


def test_without_a_regulariser_a_step_costs_one_pass_more_than_its_attack():
    model = Counting()
    PGDTraining(CrossEntropy(), steps=5)(model, *batch())
    assert model.passes == 6


def test_it_buys_robustness_at_its_radius():
    torch.manual_seed(0)
    x = torch.rand(256, 64)
    y = (x[:, 0] > 0.5).long()
    x[:, 0] = 0.5 + 0.2 * (2 * y - 1)  # safe within 0.1
    x[:, 1:] = (0.5 + 0.05 * (2 * y - 1)[:, None] + 0.02 * torch.randn(256, 63)).clamp(0, 1)
    robust = {}
    for method in (CrossEntropy(), PGDTraining(CrossEntropy(), eps=0.1, steps=5)):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))
        optimiser = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(150):
            optimiser.zero_grad()
            method(model, x, y).backward()
            optimiser.step()
        found = PGD(eps=0.1, steps=10, restarts=1)(as_classifier(model), x, y)
        robust[type(method).__name__] = found.robust_accuracy
    assert F.cross_entropy(model(x), y) < 0.5
    assert robust["PGDTraining"] > 0.95 > 0.5 > robust["CrossEntropy"]
