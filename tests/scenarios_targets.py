"""A user's own file with models for `narrows attack` and `narrows audit`."""

DEFENCE = '''
import torch

class Scaled(torch.nn.Module):
    """A linear classifier of the digits whose logits are too far apart for float32."""
    def __init__(self):
        super().__init__()
        from narrows.data import load
        train = load("digits").train.all()
        means = torch.stack([train.x[train.y == c].flatten(1).mean(0) for c in range(10)])
        self.layer = torch.nn.Linear(64, 10)
        self.layer.weight.data = 2 * means
        self.layer.bias.data = -means.square().sum(1)
    def forward(self, x):
        return 1e4 * self.layer(x.flatten(1))

def net():
    return Scaled()

def nothing():
    return 3

def fails():
    raise RuntimeError("no such weights\\nanywhere")

def leaves():
    raise SystemExit(3)

def blocked():
    return torch.nn.Sequential(Scaled(), Detached())

class Detached(torch.nn.Module):
    def forward(self, x):
        return x.detach()

def wide():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(99, 10))
'''
