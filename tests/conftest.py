"""What every test shares: one thread, and the folder of real data where there is one."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def data_root() -> Path:
    """The folder that NARROWS_DATA names; the test is skipped without one."""
    folder = os.environ.get("NARROWS_DATA")
    if not folder:
        pytest.skip("set NARROWS_DATA to a folder with the real data to run this test")
    return Path(folder)
