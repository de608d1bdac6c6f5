"""Progress as it reads off a terminal and on one."""

import io
import re

import pytest
from rich.console import Console

from narrows.runs import Progress, progress
from narrows.runs.progress import Bar


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def console(**options) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=100, **options), file


def test_off_a_terminal_there_is_a_line_now_and_then_and_one_at_the_end(clock):
    screen, file = console()
    with Progress(screen).bar("vib: training", 40) as bar:
        for _ in range(10):
            clock.now += 1
            bar.advance()
        assert file.getvalue() == ""  # nothing before more than ten seconds have passed
        clock.now += 1
        bar.show(11, "epoch 1")
        assert file.getvalue() == "vib: training: 11/40, 1.0/s, 29 s left  epoch 1\n"
        clock.now += 9
        bar.show(40, "epoch 4")
    lines = file.getvalue().splitlines()
    assert lines[1:] == ["vib: training: 40/40, 0.0/s  epoch 4"]


def test_steps_of_an_earlier_attempt_do_not_count_for_the_rate(clock):
    screen, file = console()
    bar = Bar(screen, "it", 100, None)
    bar.show(50, "resumed")
    clock.now += 10
    bar.show(51, "")
    assert bar._line() == "it: 51/100, 0.1/s, 490 s left"
    clock.now += 5
    bar.finish()
    assert file.getvalue().startswith("it: 51/100, 0.1/s")


def test_advancing_keeps_the_text(clock):
    bar = Bar(console()[0], "it", 4, None)
    bar.show(1, "as it stands")
    bar.advance()
    assert "2/4" in bar._line()
    assert bar._line().endswith("as it stands")


def test_a_quiet_console_shows_nothing(clock):
    screen, file = console(quiet=True)
    shown = Progress(screen)
    shown.note("a note")
    with shown.bar("it", 3) as bar:
        clock.now += 60
        bar.advance()
    assert file.getvalue() == ""
    Progress().note("nowhere")


def test_a_note_is_one_line_as_it_is():
    screen, file = console()
    text = "a [bold]note[/bold] " + "that is longer than the console is wide " * 5
    Progress(screen).note(text)
    assert file.getvalue() == text + "\n"


def test_on_a_terminal_there_is_a_live_bar():
    screen, file = console(force_terminal=True)
    with Progress(screen).bar("vib [1]: measuring", 3) as bar:
        for _ in range(3):
            bar.advance()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    assert "vib [1]: measuring" in shown
    assert "3/3" in shown
