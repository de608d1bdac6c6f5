"""What tests of the whole product share: small data, one thread, folders made once."""

import pytest

from narrows.data import DATASETS
from product.stand_ins import SHAPES, stand_in
from product.walk import Shelf


@pytest.fixture(autouse=True)
def small_world(monkeypatch, tmp_path):
    """No downloads: data sets that have files are stand-ins; a wide terminal; an empty folder."""
    for name, (*_, quick) in SHAPES.items():
        if not quick:
            monkeypatch.setitem(DATASETS, name, stand_in(name))
    monkeypatch.setenv("COLUMNS", "400")
    # The priority of a process cannot be raised again.
    monkeypatch.setattr("narrows.reproduction.queue._step_back", lambda: None)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory, request) -> Shelf:
    """Folders that are made once, whichever worker asks first."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if hasattr(request.config, "workerinput") else base) / "shelf"
    root.mkdir(exist_ok=True)
    return Shelf(root)
