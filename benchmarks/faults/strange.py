"""Models that a user could bring, each with something that an attack or an audit stumbles over."""

from __future__ import annotations

__all__ = ["BODIES", "FUNCTIONS", "source"]

BODIES = {
    "right": "return z",
    "no classes": "return z[:, :0]",
    "one logit": "return z[:, :1]",
    "two classes for ten": "return z[:, :2]",
    "twice the batch": "return torch.cat([z, z])",
    "half the batch": "return z[: len(z) // 2]",
    "one row": "return z[:1]",
    "a tuple": "return z, z",
    "a list": "return [z]",
    "a dict": "return {'logits': z}",
    "nothing": "return None",
    "a number": "return 3",
    "NumPy": "return z.detach().numpy()",
    "integers": "return (100 * z).long()",
    "booleans": "return z > 0",
    "complex": "return z.to(torch.complex64)",
    "half precision": "return z.half()",
    "double precision": "return z.double()",
    "NaN": "return z * float('nan')",
    "NaN on one image": "z = z.clone(); z[0] = float('nan'); return z",
    "infinite": "return z * float('inf')",
    "-inf for all but one class": "return (1e4 * z).softmax(1).log()",
    "labels": "return z.argmax(1)",
    "an axis more": "return z[:, None]",
    "maps": "return z[:, :, None, None]",
    "a vector": "return z.sum(1)",
    "a scalar": "return z.sum()",
    "raises": "raise RuntimeError('no such\\nlayer')",
    "raises without words": "raise KeyError",
    "raises StopIteration": "raise StopIteration",
    "asserts": "assert False",
    "leaves": "import sys; sys.exit(3)",
    "leaves with words": "raise SystemExit('enough')",
    "recursion": "return self(x)",
    "writes into its input": "x.clamp_(0.4, 0.6); return self.net(x)",
    "detached": "return z.detach()",
    "without gradients": "\n        with torch.no_grad(): return self.net(x)",
    "in inference mode": "\n        with torch.inference_mode(): return self.net(x)",
    "meta": "return z.to('meta')",
    "sparse": "return z.to_sparse()",
    "noisy": "return z + torch.randn_like(z)",
    "seeds the generator": "torch.manual_seed(0); return z + torch.randn_like(z)",
    "remembers": "self.net[1].bias.data += 1; return z",
    "needs two rows": "return torch.nn.functional.batch_norm(z, None, None, training=True)",
    "refuses more than two images": "assert len(x) <= 2; return z",
    "prints": "print('[/red]', x.shape); return z",
    "warns": "import warnings; warnings.warn('strange'); return z",
}
"""What `forward(self, x)` does after `z = self.net(x)`."""

FUNCTIONS = {
    "is no function": "net = 3",
    "raises": "def net():\n    raise RuntimeError('no such\\nweights')",
    "leaves": "def net():\n    import sys\n    sys.exit(3)",
    "leaves happily": "def net():\n    raise SystemExit(0)",
    "leaves on import": "import sys\nsys.exit(0)",
    "asks for an argument": "def net(width):\n    return torch.nn.Linear(width, 10)",
    "returns a number": "def net():\n    return 3",
    "returns nothing": "def net():\n    pass",
    "returns a class": "def net():\n    return torch.nn.Linear",
    "returns a function": "def net():\n    return lambda x: x",
    "returns a module without weights": "def net():\n    return torch.nn.Flatten()",
    "returns a wide one": "def net():\n    return torch.nn.Linear(99, 10)",
    "is no Python": "def net(:",
    "imports nothing": "import no_such_module",
    "is empty": "",
    "has NUL": "net = 1\0",
    "recurses": "def net():\n    return net()",
    "has markup": "def net():\n    raise RuntimeError('[/red] [bold')",
}
"""What the file holds that should have a function `net`."""


def source(body: str) -> str:
    """A file whose function `net` returns a small classifier of the digits with that body."""
    return f"""
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))

    def forward(self, x):
        z = self.net(x)
        {body}

def net():
    return Net()
"""
