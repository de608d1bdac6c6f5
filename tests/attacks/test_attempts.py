import math
from pathlib import Path

import pytest
import torch

from narrows.attacks._attempts import (
    Attempts,
    Entry,
    Header,
    check_form,
    read_ledger,
    write_ledger,
)
from narrows.errors import CheckpointError
from narrows.storage import load_tensors, save_tensors

X = torch.zeros(4, 2)
ENTRY = Entry("pgd", "PGD(eps=0.1)", 4, 2, 0.5, 40, 20)
HEADER = Header(digest="abc", norm="l2", eps=0.5, looked=16, entries=[ENTRY])
CPU = torch.device("cpu")


def test_better_attempts_are_stored_and_rates_only_rise():
    attempts = Attempts.none_at(X)
    assert attempts.size.tolist() == [math.inf] * 4
    assert attempts.by.tolist() == [-1] * 4
    rows, x = torch.tensor([3, 1, 0]), torch.tensor([[3.0, 3], [1, 1], [9, 9]])
    sizes, rates = torch.tensor([[0.3, 0.1, 0.9], [0.7, 0.2, 0.9]], dtype=torch.float64)
    better, among = torch.tensor([True, False, True]), torch.tensor([True, True, False])
    attempts.offer(rows, x, sizes, rates, 5, better=better, among=among)
    assert attempts.x.tolist() == [[9, 9], [0, 0], [0, 0], [3, 3]]
    assert attempts.size.tolist() == [0.9, math.inf, math.inf, 0.3]
    assert attempts.by.tolist() == [5, -1, -1, 5]
    assert attempts.rate.tolist() == [0, 0.2, 0, 0.7]
    attempts.offer(rows, x, sizes, rates / 2, 6, better=~better, among=among)
    assert attempts.by.tolist() == [5, 6, -1, 5]
    assert attempts.rate.tolist() == [0, 0.2, 0, 0.7]


def test_attempts_come_back_from_their_tensors():
    attempts = Attempts.none_at(X)
    attempts.size[1] = 0.5
    again = Attempts.of(attempts.named("hit"), "hit")
    assert torch.equal(again.size, attempts.size)


def test_a_ledgers_file_comes_back(tmp_path: Path):
    path, tensors = tmp_path / "ledger", Attempts.none_at(X).named("hit")
    for header in (HEADER, Header("abc", "linf", None, 0, [])):
        write_ledger(path, tensors, header)
        read, again = read_ledger(path, CPU)
        assert again == header
        check_form(path, read, tensors)


@pytest.mark.parametrize(
    "change",
    [
        {"digest": 3},
        {"norm": "l3"},
        {"eps": "wide"},
        {"looked": 1.5},
        {"looked": None},
        {"entries": None},
        {"entries": [1]},
        {"entries": [{"name": "a"}]},
        {"entries": [{**vars(ENTRY), "attacked": "many"}]},
    ],
    ids=str,
)
def test_a_header_of_another_form_is_named(tmp_path: Path, change):
    path = tmp_path / "ledger"
    write_ledger(path, {"x": X}, HEADER)
    tensors, header = load_tensors(path)
    save_tensors(path, tensors, {**header, **change})
    with pytest.raises(CheckpointError, match="another content: .*" + next(iter(change))):
        read_ledger(path, CPU)
    del header[next(iter(change))]
    save_tensors(path, tensors, header)
    with pytest.raises(CheckpointError, match="missing required field"):
        read_ledger(path, CPU)
    save_tensors(path, tensors, {**header, "kind": "checkpoint"})
    with pytest.raises(CheckpointError, match="not a ledger"):
        read_ledger(path, CPU)


def test_tensors_of_another_form_are_named():
    like = {"x": X, "by": torch.zeros(4, dtype=torch.int64)}
    check_form(Path("f"), like, like)
    for changed in ({"x": X}, {**like, "by": torch.zeros(4)}, {**like, "by": like["by"][:3]}):
        with pytest.raises(CheckpointError, match="f is no ledger of these images: by is"):
            check_form(Path("f"), changed, like)
