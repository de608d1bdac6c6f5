"""The example of the page on methods that stands by itself."""

import re
from pathlib import Path

import torch

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_example_of_a_bottleneck_in_a_network_of_ones_own_runs():
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (example,) = [text for text in examples if "insert_bottleneck" in text]
    names: dict[str, object] = {}
    exec(example, names)
    assert isinstance(logits := names["logits"], torch.Tensor)
    assert logits.shape == (32, 10)
