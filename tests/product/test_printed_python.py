"""Every block of Python that README and docs print, in the order of its page, after a prelude."""

import re
from pathlib import Path

import pytest
import torch

from product.documents import PAGES, Block, blocks, python_blocks
from product.walk import TINY, run
from scenarios_frameworks import framework

# What a reader has before she comes to the blocks of a page: her model and her data, small.
_CODED = """
import torch
from narrows import Bottleneck, load
train, validation, test = (part.take(slice(0, 200)) for part in load("digits"))

def build_model(latent="deterministic"):
    encoder = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8)
    )
    return Bottleneck(encoder, torch.nn.Linear(8, 10), latent=latent)

model = build_model()
"""
PRELUDES = {
    "README.md": "",
    "docs/runs.md": """
from pathlib import Path
from narrows.runs import Progress, carry_out, load_config
small = {"methods": ["vib"], "betas": [0.1], "seeds": 1, "train": {"epochs": 1}}
small["evaluate"] = {"attack": False, "information_samples": 40}
made = carry_out(load_config(values=small), Path("runs"), Progress())
made.path.rename("runs/digits-4ddf399127")
""",
    "docs/examples.md": "",
    "docs/own-data.md": "",
    "docs/own-network.md": "",
    "docs/own-loop.md": """
import os
import warnings
warnings.filterwarnings("ignore", "The .grad attribute")  # torch.compile itself reads it
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29531", "RANK": "0", "WORLD_SIZE": "1"}
""",
    "docs/attacks.md": "",
    "docs/audit.md": _CODED + "x, y = test.batch(slice(0, 20))\n",
    "docs/information.md": _CODED
    + "data, epochs, train_one = train.all(), 3, lambda model: None\n",
    "docs/methods.md": """
import torch
from narrows import Bottleneck, load
from narrows.data import DATASETS
train, validation, test = load("mnist")

def build_model():
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(784, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
    )

encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
model = Bottleneck(encoder, torch.nn.Linear(10, 10))
optimiser = torch.optim.Adam(model.parameters())
batches = [train.all()] * 2
""",
}


# Libraries that no page needs, and that only single blocks use.
_FRAMEWORKS = ("lightning", "timm", "torchvision", "transformers")


def needs(block: Block) -> list[str]:
    """The frameworks that a block imports."""
    return [name for name in _FRAMEWORKS if re.search(rf"^import {name}$", block.text, re.M)]


def execute(page: str, blocks: list[Block]) -> dict[str, object]:
    """Run the blocks of a page in one namespace; a traceback names page and line."""
    names: dict[str, object] = {}
    exec(compile(PRELUDES[page], f"<prelude of {page}>", "exec"), names)
    for block in blocks:
        code = "\n" * (block.line - 1) + block.text
        exec(compile(code, block.page, "exec"), names)
    return names


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)])
def test_the_python_of_a_page_runs(page):
    torch.manual_seed(0)
    assert page in PRELUDES, f"say in PRELUDES what a reader of {page} has before its blocks"
    execute(page, [block for block in python_blocks(page) if not needs(block)])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "block",
    [block for page in PAGES for block in python_blocks(page) if needs(block)],
    ids=lambda block: f"{block.page}:{block.line}",
)
def test_a_block_with_a_framework_runs(block):
    for name in needs(block):
        framework(name)
    torch.manual_seed(0)
    execute(block.page, [block])


@pytest.mark.filterwarnings("ignore")
def test_a_network_of_torchvision_is_run_by_the_command_that_is_printed(tmp_path):
    framework("torchvision")
    page = "docs/own-network.md"
    (build,) = (block for block in python_blocks(page) if block.text.startswith("# resnet.py"))
    (printed,) = (block.text for block in blocks(page) if "resnet.py:build" in block.text
                  and block.language == "text")  # fmt: skip
    Path("resnet.py").write_text(build.text)
    _, _, *words = printed.split()
    assert (run(tmp_path / "out", *words, *TINY, "--seeds", "1") / "report.html").exists()
