"""The oracles: each fault is found in a call that has it, and none in a call that has not."""

import json
import os
import pickle
import subprocess
import sys
import time

import click
import pytest

from narrows.errors import ConfigError


class Payload:
    """Unpickling it calls a function."""

    def __reduce__(self):
        return os.getcwd, ()


def leave(code, err=""):
    sys.stderr.write(err)
    sys.exit(code)


def fill():
    return bytearray(b"\1") * (60 * 2**20)


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda: leave(0), ""),
        (lambda: leave(2, "narrows: no such thing\n"), ""),
        (lambda: leave(2, "Usage: narrows run\n\nError: no such option\n"), ""),
        (lambda: leave(2), "lines: 0 on stderr"),
        (lambda: leave(2, "narrows: no\nsuch thing\n"), "lines: 2 on stderr"),
        (lambda: leave(2, "Traceback (most recent call last):\n"), "lines: a traceback"),
        (lambda: leave(1), "code: 1"),
        (lambda: leave("enough"), "code: 'enough'"),
        (lambda: leave(130, "narrows: interrupted\n"), "code: 130 without an interrupt"),
        (lambda: json.loads("{"), "raised: JSONDecodeError"),
        (lambda: open("../up", "w").close(), "outside:"),
        (lambda: os.mkdir("../up"), "outside:"),
        (lambda: pickle.loads(pickle.dumps(Payload())), "executed: pickle"),  # noqa: S301
        (lambda: subprocess.run(["true"]), "executed: subprocess.Popen"),
        (lambda: open("EXECUTED", "w").close(), "executed: a planted payload"),
        (fill, "memory:"),
        (lambda: time.sleep(30), "hang: not done in time"),
    ],
)
def test_a_fault_is_found(call, fault, harness, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    waiting = 0.5 if "hang" in fault else 60
    limits = harness.judge.Limits(seconds=20, waiting=waiting, memory=40 * 2**20)
    found = harness.judge.fault_of(harness.judge.run_call(call, limits), limits)
    assert found.startswith(fault) if fault else found == ""


def test_an_interrupt_is_no_fault_where_work_was_asked_for(harness, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    @click.command()
    def forever():
        while True:
            pass

    def call():
        try:
            forever.main([], standalone_mode=False)
        except click.Abort:
            leave(130, "narrows: interrupted\n")

    limits = harness.judge.Limits(seconds=0.05, may_be_interrupted=True)
    outcome = harness.judge.run_call(call, limits)
    assert harness.judge.fault_of(outcome, limits) == ""


def test_the_error_of_a_function_is_a_refusal(harness, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call():
        raise ConfigError("no such key")

    limits = harness.judge.Limits()
    outcome = harness.judge.run_call(call, limits)
    assert harness.judge.fault_of(outcome, limits, command=False) == ""


def test_damage_is_the_same_for_the_same_seed(harness):
    from random import Random

    value = {"a": [1, {"b": None}], "c": "text"}
    for seed in range(200):
        first = harness.values.damage_json(Random(seed), value)
        assert harness.values.dump(first) == harness.values.dump(
            harness.values.damage_json(Random(seed), value)
        )
        content = json.dumps(value).encode()
        assert harness.values.damage_bytes(Random(seed), content) == harness.values.damage_bytes(
            Random(seed), content
        )
    assert value == {"a": [1, {"b": None}], "c": "text"}


@pytest.mark.parametrize(
    "options", [{}, {"sort_keys": True}, {"sort_keys": True, "separators": (",", ":")}]
)
def test_a_checksum_is_found_and_made_again(options, harness):
    from hashlib import sha256

    content = {"b": 1, "a": [2.5]}
    whole = {"sha256": sha256(json.dumps(content, **options).encode()).hexdigest(), **content}
    assert harness.seals.seal_of(whole).part is None
    envelope = {"kind": "x", "sha256": whole["sha256"], "content": content}
    assert harness.seals.seal_of(envelope).part == "content"
    damaged = {**envelope, "content": {"b": 2}}
    signed = harness.seals.reseal_record(envelope, damaged)
    assert signed["sha256"] == sha256(json.dumps({"b": 2}, **options).encode()).hexdigest()


def test_a_checksum_in_another_file_is_made_again(harness, tmp_path):
    from hashlib import sha256

    record, listing = tmp_path / "a.json", tmp_path / "sums.json"
    record.write_text("1")
    listing.write_text(json.dumps({"a.json": sha256(b"1").hexdigest()}))
    harness.seals.replace(record, b"2")
    harness.seals.reseal(tmp_path, record, b"1")
    assert json.loads(listing.read_text())["a.json"] == sha256(b"2").hexdigest()
