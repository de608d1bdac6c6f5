"""Output that cannot be written must not end a command that has results to store."""

import errno
import io
import os
import subprocess
import sys

import pytest

from narrows.streams import TolerantStream, tolerant_output


class Failing(io.StringIO):
    """Takes some writes, then refuses like a full disk or a closed pipe."""

    def __init__(self, error: Exception, after: int = 0, at_flush: bool = False) -> None:
        super().__init__()
        self.failure, self.left, self.at_flush = error, after, at_flush

    def write(self, text: str) -> int:
        if not self.at_flush:
            if not self.left:
                raise self.failure
            self.left -= 1
        return super().write(text)

    def flush(self) -> None:
        if self.at_flush:
            raise self.failure


FULL = OSError(errno.ENOSPC, "No space left on device")
CLOSED = BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("error", [FULL, CLOSED, ValueError("I/O operation on closed file")])
def test_what_cannot_be_written_is_dropped_and_the_first_error_kept(error):
    target = Failing(error, after=2)
    stream = TolerantStream(target)
    assert [stream.write(text) for text in ("one ", "two ", "three ", "four")] == [4, 4, 6, 4]
    assert target.getvalue() == "one two "
    assert stream.error is error
    target.failure = OSError("another")
    stream.write("more")
    stream.flush()
    assert stream.error is error
    assert not stream.isatty()


def test_an_error_of_flushing_is_kept_too():
    stream = TolerantStream(Failing(FULL, at_flush=True))
    stream.write("text")
    assert stream.error is None
    stream.flush()
    assert stream.error is FULL


def test_a_healthy_stream_is_written_as_it_is():
    target = io.StringIO()
    stream = TolerantStream(target)
    print("± 0.1", file=stream, flush=True)
    assert target.getvalue() == "± 0.1\n"
    assert (stream.error, stream.writable(), stream.isatty()) == (None, True, False)
    assert stream.encoding == "utf-8"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_characters_that_the_encoding_lacks_are_replaced(encoding):
    buffer = io.BytesIO()
    target = io.TextIOWrapper(buffer, encoding=encoding)
    stream = TolerantStream(target)
    assert stream.encoding == encoding
    text = "beta = 0.1 ± 0.02 … 测 \ud800"
    assert stream.write(text) == len(text)
    stream.flush()
    assert stream.error is None
    written = buffer.getvalue().decode(encoding)
    assert written.startswith("beta = 0.1 ")
    assert len(written) == len(text)
    assert ("±" in written) == (encoding != "ascii")
    assert ("测" in written) == (encoding == "utf-8")
    assert written.endswith("?")


def test_an_attribute_of_the_target_is_its_own():
    with open(os.devnull, "w") as target:
        stream = TolerantStream(target)
        assert stream.fileno() == target.fileno()
        assert not stream.isatty()
    assert not stream.isatty()  # closed
    with pytest.raises(io.UnsupportedOperation):
        TolerantStream(io.StringIO()).fileno()


def test_both_streams_are_tolerant_inside_the_block_and_as_before_after_it(monkeypatch):
    out, err = Failing(CLOSED), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with tolerant_output() as stream:
        assert sys.stdout is stream
        sys.stdout.write("lost\n")
        sys.stderr.write("kept\n")
    assert (sys.stdout, sys.stderr) == (out, err)
    assert stream.error is CLOSED
    assert err.getvalue() == "kept\n"


def test_streams_come_back_after_an_error(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(KeyboardInterrupt), tolerant_output():
        raise KeyboardInterrupt
    assert sys.stdout is out


def test_a_process_without_streams_can_still_print(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with tolerant_output() as stream:
        stream.write("nowhere\n")
    assert stream.error is None
    assert sys.stdout is None


WRITER = """
import sys
from narrows.streams import tolerant_output
with tolerant_output() as output:
    for _ in range(20_000):
        print("a line of text")
    output.flush()
print("done", type(output.error).__name__, file=sys.stderr)
"""


def test_a_reader_that_goes_away_ends_nothing():
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "a line of text\n"
    process.stdout.close()
    assert process.stderr.read() == "done BrokenPipeError\n"
    process.stderr.close()
    assert process.wait() == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_ends_nothing():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", WRITER], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (result.returncode, result.stderr) == (0, "done OSError\n")
