"""A run that was broken off, wherever, goes on to the same numbers, bit for bit."""

import pytest

from narrows.attacks import DeepFool
from product.cases import LARGE, METHOD_CASES, SMALLEST, WRAPPER_CASES
from product.walk import TINY, narrows, run, same_numbers, settings, watched

LONG = ["--epochs", "3", "--set", "train.checkpoint_seconds=0"]
# method, its first network, adversarial training around it, stacked
CASES = [
    *((method, networks[0], None, True) for method, (networks, _) in METHOD_CASES.items()),
    *((method, networks[0], None, False) for method, (networks, _) in METHOD_CASES.items()),
    *(("vib", "mlp", wrapper, True) for wrapper in WRAPPER_CASES),
    *(
        pytest.param("cross_entropy", network, None, True, marks=pytest.mark.slow if late else ())
        for late, network in enumerate(LARGE)
    ),
]


def words(method: str, network: str, wrapper: str | None, stack: bool) -> list[str]:
    data = "cifar10" if network in LARGE else "mnist"
    said = ["--methods", method, "--network", network, "--data", data, *TINY, *LONG]
    said += [*settings(SMALLEST[network]), *settings(METHOD_CASES[method][1])]
    if wrapper:
        said += ["--adversarial", wrapper, *settings(WRAPPER_CASES[wrapper])]
    if network in LARGE:
        said += ["--seeds", "1", "--epochs", "2", "--set", "evaluate.attack=false"]
    return [*said, "--set", f"stack={str(stack).lower()}"]


@pytest.mark.parametrize(("method", "network", "wrapper", "stack"), CASES)
def test_ctrl_c_while_training(method, network, wrapper, stack, tmp_path):
    said = words(method, network, wrapper, stack)
    with watched() as steps:
        undisturbed = run(tmp_path / "one", *said)
    # In the middle of an epoch that is neither the first nor the last one.
    with watched(break_at=2 * steps.count // 3):
        assert narrows("run", "--out", tmp_path / "other", *said).code == 130
    same_numbers(run(tmp_path / "other", *said), undisturbed)


@pytest.mark.parametrize("method", METHOD_CASES)
def test_ctrl_c_while_measuring(method, tmp_path, monkeypatch):
    said = words(method, METHOD_CASES[method][0][0], None, stack=True)
    undisturbed = run(tmp_path / "one", *said)

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DeepFool, "perturb", interrupted)
        assert narrows("run", "--out", tmp_path / "other", *said).code == 130
    with watched() as steps:
        same_numbers(run(tmp_path / "other", *said), undisturbed)
    assert steps.count == 0, "it was trained again"


def test_ctrl_c_between_methods(tmp_path):
    said = [*TINY, *LONG, "--methods", "cross_entropy,vib,aib", *settings(SMALLEST["mlp"])]
    with watched() as steps:
        undisturbed = run(tmp_path / "one", *said)
    with watched(break_at=steps.count // 2):
        assert narrows("run", "--out", tmp_path / "other", *said).code == 130
    with watched() as rest:
        same_numbers(run(tmp_path / "other", *said), undisturbed)
    assert rest.count < steps.count / 2 + steps.count / 9, "a finished method was trained again"


def test_a_finished_run_is_kept(tmp_path):
    said = [*TINY, "--methods", "cross_entropy,vib", *settings(SMALLEST["mlp"])]
    first = run(tmp_path, *said)
    with watched() as steps:
        assert run(tmp_path, *said) == first
    assert steps.count == 0
