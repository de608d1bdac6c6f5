"""What a folder holds is read back, or refused in one line."""

import hashlib
import json

import pytest

from narrows.audit._record import Record
from narrows.errors import CheckpointError
from narrows.storage import json_bytes
from narrows.types import Finding
from scenarios_audit import case_of

SETTINGS = {"eps": 0.2}


def written(folder):
    case = case_of()
    case.stateful = True
    case.subject.undefined[3] = True
    case.wavering[[1, 2]] = True
    record = Record(case, SETTINGS, folder)
    record.tried.append("margin")
    record.add(Finding("noise", False, "evidence", "remedy", {"cosine": 0.1}))
    return record


def signed(state):
    """The state with a checksum that fits it, if it has any fields."""
    if not isinstance(state, dict):
        return state
    state = {name: value for name, value in state.items() if name != "sha256"}
    return {**state, "sha256": hashlib.sha256(json_bytes(state)).hexdigest()}


def test_everything_is_read_back(tmp_path):
    before = written(tmp_path)
    case = case_of()
    record = Record(case, SETTINGS, tmp_path)
    assert record.findings == before.findings
    assert record.failed == ["noise"]
    assert record.tried == ["margin"]
    assert case.witnessed() == before.case.witnessed()
    assert case.stateful
    assert case.subject.undefined.nonzero().tolist() == [[3]]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: [],
        lambda state: 3,
        lambda state: None,
        lambda state: {},
        lambda state: {**state, "findings": 3},
        lambda state: {**state, "findings": [{"check": 3}]},
        lambda state: {**state, "findings": [{**state["findings"][0], "passed": "yes"}]},
        lambda state: {**state, "findings": [{**state["findings"][0], "data": []}]},
        lambda state: {**state, "tried": None},
        lambda state: {**state, "entered": [[]]},
        lambda state: {**state, "ledger": 3},
        lambda state: {**state, "witnessed": {"stateful": 1}},
        lambda state: {**state, "witnessed": {**state["witnessed"], "wavering": [True]}},
        lambda state: {**state, "witnessed": {**state["witnessed"], "undefined": "x"}},
    ],
)
def test_json_of_another_shape_is_damaged(change, tmp_path):
    written(tmp_path)
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(signed(change(json.loads(path.read_text())))))
    with pytest.raises(CheckpointError, match="is damaged") as raised:
        Record(case_of(), SETTINGS, tmp_path)
    assert "changed since" not in str(raised.value)


@pytest.mark.parametrize(("old", "new"), [('"passed": false', '"passed": true'), ("0.1", "0.2")])
def test_a_changed_value_is_damaged(old, new, tmp_path):
    written(tmp_path)
    path = tmp_path / "audit.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(CheckpointError, match="changed since they were written"):
        Record(case_of(), SETTINGS, tmp_path)


def test_another_audit_is_refused(tmp_path):
    written(tmp_path)
    with pytest.raises(CheckpointError, match="other settings"):
        Record(case_of(), {"eps": 0.3}, tmp_path)
    with pytest.raises(CheckpointError, match="another twin"):
        Record(case_of(twin=case_of().model), SETTINGS, tmp_path)


def test_other_training_data_is_another_audit(tmp_path):
    x, y = case_of().x, case_of().y
    Record(case_of(training=(x, y)), SETTINGS, tmp_path).save()
    assert Record(case_of(training=(x, y)), SETTINGS, tmp_path).findings == {}
    with pytest.raises(CheckpointError, match="other training data"):
        Record(case_of(training=(x[:-1], y[:-1])), SETTINGS, tmp_path)


def test_without_a_folder_a_record_is_kept_in_memory():
    record = Record(case_of(), SETTINGS, None)
    finding = Finding("noise", True, "evidence")
    record.add(finding)
    record.save()
    assert record.findings == {"noise": finding}
    assert record.failed == []
