"""What names a model, and what is said of what does not."""

import hashlib
import sys

import pytest
import torch

from narrows.errors import ConfigError, StoreError
from narrows.experiments.targets import Target, load_relatives, load_target
from narrows.runs import Member, Run
from scenarios_runs import copied
from scenarios_targets import DEFENCE


@pytest.fixture
def defence(tmp_path):
    path = tmp_path / "defence.py"
    path.write_text(DEFENCE)
    return path


def test_a_model_of_a_run_by_folder_or_weights(small_run):
    target = load_target(str(small_run.path), method="vib", beta=0.1, seed=1)
    assert target.member == Member("vib", 0.1, 1)
    assert target.run is not None
    assert target.run.config == small_run.config
    assert target.name == f"vib, beta = 0.1, seed 1, of {small_run.path.name}"
    assert (target.test.name, target.source) == ("digits", "")
    weights = str(small_run.files("vib").models)
    again = load_target(weights, beta=0.1, seed=1)
    assert again.name == target.name
    pairs = zip(again.model.parameters(), target.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    chosen = load_target(weights).member
    assert chosen == Member("vib", small_run.summary["vib"].chosen_beta or -1, 0)


def test_a_function_of_a_file_is_called_on_named_data(defence):
    target = load_target(f"{defence}:net", "digits")
    assert type(target.model).__name__ == "Scaled"
    assert (target.run, target.member) == (None, None)
    assert target.source == hashlib.sha256(defence.read_bytes()).hexdigest()
    assert str(defence.parent) not in sys.path


def test_a_file_can_import_its_neighbours(tmp_path):
    (tmp_path / "neighbour_of_ours.py").write_text("width = 10\n")
    file = tmp_path / "model.py"
    file.write_text(
        "import torch, neighbour_of_ours\n"
        "def net():\n    return torch.nn.LazyLinear(neighbour_of_ours.width)\n"
    )
    assert load_target(f"{file}:net", "digits").model.out_features == 10
    sys.modules.pop("neighbour_of_ours")


@pytest.mark.parametrize(
    ("function", "data", "message"),
    [
        ("net", None, "does not say on which images; name a data set with --data"),
        ("net", "toy1", "toy1 has no images in [0, 1] that could be attacked"),
        ("net", "mnits", "unknown data set 'mnits'; did you mean 'mnist'?"),
        ("nett", "digits", "has no function 'nett'"),
        ("torch", "digits", "has no function 'torch'"),
        ("nothing", "digits", "returned int, expected a torch.nn.Module"),
        ("fails", "digits", "failed in line 24 with RuntimeError: no such weights anywhere;"),
        ("leaves", "digits", "failed in line 27 with SystemExit: 3"),
    ],
)
def test_what_a_file_does_not_give_is_named(defence, function, data, message):
    with pytest.raises(ConfigError) as raised:
        load_target(f"{defence}:{function}", data)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(defence.parent) not in sys.path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def net(:\n", "SyntaxError"),
        ("import no_such_module_of_ours\n", "ModuleNotFoundError"),
        ("1 / 0\n", "in line 1 with ZeroDivisionError"),
        ("\0", "failed with"),
    ],
)
def test_a_file_that_does_not_run_is_named(tmp_path, content, message):
    (tmp_path / "broken.py").write_text(content)
    with pytest.raises(ConfigError) as raised:
        load_target(f"{tmp_path / 'broken.py'}:net", "digits")
    assert message in str(raised.value)


def test_what_is_no_target_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no folder .*expected a run's folder, its mod"):
        load_target(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="there is no file"):
        load_target(f"{tmp_path}/gone.py:net", "digits")
    with pytest.raises(StoreError, match=r"it has no config\.json"):
        load_target(str(tmp_path))
    for target in ("", "a\0b"):
        with pytest.raises(ConfigError, match="TARGET must be a path"):
            load_target(target)


def test_the_relatives_are_the_plain_network_of_the_seed_and_the_other_seeds(small_run):
    target = load_target(str(small_run.path), method="vib", beta=0.1, seed=1)
    relatives = load_relatives(target)
    twin = small_run.model(Member("cross_entropy", 0.0, 1))
    sibling = small_run.model(Member("vib", 0.1, 0))
    assert relatives.twin is not None
    for found, expected in ((relatives.twin, twin), (relatives.siblings[0], sibling)):
        pairs = zip(found.parameters(), expected.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert len(relatives.siblings) == 1
    plain = load_relatives(load_target(str(small_run.path), method="cross_entropy"))
    assert plain.twin is None
    assert len(plain.siblings) == 1
    assert len(relatives.to("cpu").siblings) == 1


def test_another_twin_can_be_named(small_run, defence):
    target = load_target(str(small_run.path), method="vib", beta=0.1)
    assert type(load_relatives(target, f"{defence}:net").twin).__name__ == "Scaled"
    foreign = load_target(f"{defence}:net", "digits")
    relatives = load_relatives(foreign)
    assert (relatives.twin, relatives.siblings) == (None, ())
    with pytest.raises(ConfigError, match="there is no file"):
        load_relatives(target, "gone.py:net")


def test_methods_that_are_not_finished_are_no_relatives(small_run, tmp_path):
    run = copied(small_run, tmp_path)
    run.files("cross_entropy").done.unlink()
    relatives = load_relatives(load_target(str(run.path), method="vib", beta=0.1))
    assert relatives.twin is None
    assert len(relatives.siblings) == 1


def test_a_device_that_cannot_be_used_is_named(small_run):
    run = Run.open(small_run.path)
    target = Target(torch.nn.Linear(2, 2), "it", run.splits.test, run.splits.train)
    assert target.to("cpu").name == "it"
    with pytest.raises(ConfigError, match="device 'cuda:99' cannot be used here"):
        target.to("cuda:99")


def test_normalisation_is_put_in_front_of_a_users_model(tmp_path, small_run):
    (tmp_path / "net.py").write_text(
        "import torch\ndef net():\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    name = f"{tmp_path}/net.py:net"
    target = load_target(name, "digits", normalisation=([0.5], [0.25]))
    x = target.test.batch(slice(0, 3)).x
    inner = target.model.model
    assert torch.allclose(target.model(x).logits, inner((x - 0.5) / 0.25))
    twin = load_relatives(target, name).twin
    assert twin.mean.tolist() == [0.5]
    with pytest.raises(ConfigError, match="a model of a run normalises its images itself"):
        load_target(str(small_run.path), normalisation=([0.5], [0.25]))
