"""What every test shares: one thread, real data where there are some, and a run to read."""

import os
from pathlib import Path

import pytest
import torch

from narrows.runs import Run
from scenarios_runs import ATTACKED, tiny_run

torch.set_num_threads(1)


@pytest.fixture
def data_root() -> Path:
    """The folder that NARROWS_DATA names; the test is skipped without one."""
    folder = os.environ.get("NARROWS_DATA")
    if not folder:
        pytest.skip("set NARROWS_DATA to a folder with the real data to run this test")
    return Path(folder)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Cross-entropy and VIB at three betas, two seeds each, attacked. Copy it to change it."""
    return tiny_run(tmp_path_factory.mktemp("small"), evaluate=ATTACKED)
