"""The options of `narrows reproduce`; tests/product runs it on every table."""

from pathlib import Path

import click
import pytest

from narrows.commands.reproduce import _folders


def test_finished_runs_are_named():
    assert _folders(("main=a/b", "x=c=d")) == {"main": Path("a/b"), "x": Path("c=d")}
    assert _folders(()) == {}


@pytest.mark.parametrize("text", ["main", "=a", "main="])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(click.BadParameter, match="expected RUN=FOLDER"):
        _folders((text,))
