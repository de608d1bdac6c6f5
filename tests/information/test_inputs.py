"""Every public function takes its numbers in whatever form they come, and nothing else.

An estimator of the registry has its row by itself. Another new name gets a row in CALLS, with an
example of each tensor that it takes, or a place in WITHOUT_TENSORS.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import narrows.information as public
from narrows.errors import NarrowsError
from narrows.information._checks import check_betas
from narrows.models import BinaryStochasticNet
from narrows.types import Batch
from scenarios import CorrelatedGaussians, generator

N = 60
X, Z = (part.float() for part in CorrelatedGaussians(0.6, d=2).sample(N))
Y = torch.arange(N) % 3
SCALE = 0.5 + torch.rand(N, 2, generator=generator(1))
KERNEL, OTHER = public.gaussian_kernel(X, 1.0), public.linear_kernel(Z) + torch.eye(N)
SCORES = torch.randn(12, 12, generator=generator(2))
# Eighths and the like, which half precision holds exactly.
JOINT = torch.tensor([[12, 2, 2], [3, 10, 3], [2, 4, 10], [4, 4, 8]]) / 64
TABLE = torch.tensor([[6, 2], [4, 4], [1, 7], [2, 6]]) / 8
BETAS = torch.tensor([0.5, 0.25, 0.125])
COVARIANCE = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
QUICK = public.CriticConfig(hidden=8, embedding=4, steps=20)
torch.manual_seed(0)
PERCEPTRON = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)).eval()
BINARY = BinaryStochasticNet(2, [3, 2], 3).eval()


@dataclass(frozen=True)
class Call:
    """A function of tensors, by the names of its parameters, and what is peculiar to it.

    `batched` takes leading axes; `shows_nan` returns NaN for NaN, as a loss does; `whole` are
    parameters that may be whole numbers; `model` runs one, in the precision of its weights; `sense`
    is junk that means something to it after all, of each parameter.
    """

    function: Callable
    tensors: dict[str, Tensor]
    batched: bool = False
    shows_nan: bool = False
    whole: tuple[str, ...] = ()
    model: bool = False
    sense: tuple[tuple[str, str], ...] = ()


def code(function, sense=(), **tensors):
    """Of samples, which may be whole numbers."""
    whole = tuple({"x", "z", "mean", "logits"} & set(tensors))
    return Call(function, tensors, whole=whole, sense=sense)


def loss(function, **tensors):
    return Call(function, tensors, batched=True, shows_nan=True)


def planes(function, model, layer):
    return Call(lambda x, y: function(model, [layer], Batch(x, y)), {"x": X, "y": Y}, model=True)


SAMPLES = {"x": X, "z": Z, "y": Y, "mean": X, "scale": SCALE}


def estimator(name):
    """Of an estimator of the registry, with the settings that end its example."""
    entry = public.ESTIMATORS[name]
    settings = entry.example.sample(N)[len(entry.inputs) :]
    return code(
        lambda **tensors: entry(*tensors.values(), *settings),
        **{key: SAMPLES[key] for key in entry.inputs},
    )


# Those of the registry whose inputs are samples have a row of themselves; others follow.
CALLS = {
    name: estimator(name)
    for name, entry in public.ESTIMATORS.items()
    if set(entry.inputs) <= SAMPLES.keys()
} | {
    "achievable_region": Call(
        lambda joint: public.achievable_region(joint).bound([0.1]), {"joint": JOINT}
    ),
    "bin_codes": code(public.bin_codes, z=Z),
    "binary_tables": Call(
        lambda x, weight, bias: public.binary_tables(x, [(weight, bias)]),
        {"x": X, "weight": COVARIANCE, "bias": COVARIANCE[0]},
        sense=(("x", "no numbers"), ("x", "one fewer")),
    ),
    "binned_plane": planes(public.binned_plane, PERCEPTRON, "1"),
    "binned_rate": code(lambda z: public.binned_rate(z, bins=7), z=Z),
    "bit_table": Call(public.bit_table, {"p": TABLE}, batched=True, sense=(("p", "no numbers"),)),
    "blahut_arimoto": Call(public.blahut_arimoto, {"joint": JOINT, "betas": BETAS}),
    "chain_information": Call(
        lambda table, joint: public.chain_information([table], joint),
        {"table": TABLE, "joint": JOINT},
    ),
    "cka": Call(public.cka, {"k": KERNEL, "other": OTHER}, batched=True),
    "code_information": Call(
        public.code_information,
        {"codes": torch.tensor([0.0, 0.0, 1.0, 2.0]), "joint": JOINT},
        batched=True,
        sense=(("codes", "infinity"),),
    ),
    "critic_bound": Call(public.critic_bound, {"scores": SCORES}),
    "deterministic_bottleneck": Call(
        public.deterministic_bottleneck, {"joint": JOINT, "betas": BETAS}
    ),
    "discrete_entropy": Call(public.discrete_entropy, {"p": JOINT}, batched=True),
    "discrete_information": Call(public.discrete_information, {"joint": JOINT}),
    "donsker_varadhan": loss(public.donsker_varadhan, scores=SCORES),
    "estimate": code(lambda x, z: public.estimate(x, z, ["ksg"], draws=1), x=X, z=Z),
    "exact_plane": planes(public.exact_plane, BINARY, "z1"),
    "gaussian_bottleneck": Call(
        public.gaussian_bottleneck,
        {
            "s_xx": COVARIANCE,
            "s_xy": torch.tensor([[0.5], [0.25]]),
            "s_yy": torch.tensor([[1.0]]),
            "betas": BETAS,
        },
    ),
    "gaussian_kernel": loss(public.gaussian_kernel, x=X),
    "hsic": Call(public.hsic, {"k": KERNEL, "other": OTHER}, batched=True),
    "infonce": loss(public.infonce, scores=SCORES),
    "information_bottleneck": Call(public.information_bottleneck, {"joint": JOINT, "betas": BETAS}),
    "kde_information": code(public.kde_information, mean=X, scale=SCALE, y=Y),
    "learnability": Call(public.learnability, {"joint": JOINT}),
    "linear_kernel": loss(public.linear_kernel, x=X),
    "normalise_kernel": loss(public.normalise_kernel, k=KERNEL),
    "nwj": loss(public.nwj, scores=SCORES),
    "pairwise_plane": planes(public.pairwise_plane, PERCEPTRON, "1"),
    "phase_transitions": Call(lambda joint: public.phase_transitions(joint, 0.1), {"joint": JOINT}),
    "PlaneRecorder": planes(
        lambda model, layers, data: public.PlaneRecorder(model, layers, data)(0), PERCEPTRON, "1"
    ),
    "posterior_information": code(
        lambda mean, scale, y: public.posterior_information(mean, scale, y, generator=generator(0)),
        mean=X,
        scale=SCALE,
        y=Y,
    ),
    "renyi_entropy": Call(lambda k: public.renyi_entropy(k), {"k": KERNEL}, batched=True),
    "smile": loss(public.smile, scores=SCORES),
    "stacked_binned_rates": Call(public.stacked_binned_rates, {"z": torch.stack([X, Z])}),
    "stacked_kde_bounds": Call(
        public.stacked_kde_bounds, {"mean": torch.stack([X, Z]), "scale": torch.tensor([0.5, 1.0])}
    ),
    "stacked_rates": Call(
        public.stacked_rates,
        {"mean": torch.stack([X, Z]), "scale": torch.stack([SCALE, SCALE])},
    ),
    "variational_rate": code(
        lambda mean, scale, centre, width: public.variational_rate(mean, scale, (centre, width)),
        mean=X,
        scale=SCALE,
        centre=Z[0],
        width=SCALE[0],
    ),
    "variational_relevance": code(
        public.variational_relevance,
        sense=(("prior", "nothing"),),
        logits=torch.cat([X, Z[:, :1]], 1),
        y=Y,
        prior=torch.tensor([0.25, 0.25, 0.5]),
    ),
}
WITHOUT_TENSORS = {
    *("CRITIC_BOUNDS", "ESTIMATORS", "Estimator", "MEASURES", "CriticConfig"),
    *("DIBSolution", "GaussianIB", "IBPoint", "IBSolution", "Knee", "LayerInformation"),
    *("LayerPoint", "Learnability", "NoClearKnee", "PhaseTransition", "Region", "SeedKnees"),
    *("KDEInformation", "PlanePoint", "PlaneRecord", "Reading", "Survey", "Trial"),
    *("binary_codes", "load_plane", "log_spaced", "plane_layers"),
    *("concave_envelope", "knee", "knee_over_seeds", "one_error_rule"),
}

every = pytest.mark.parametrize("name", CALLS)


def numbers(result) -> list[float]:
    """All numbers of a result, in order."""
    if isinstance(result, Tensor):
        return result.double().flatten().tolist()
    if isinstance(result, bool | int | float):
        return [float(result)]
    if is_dataclass(result):
        return numbers([getattr(result, field.name) for field in fields(result)])
    if isinstance(result, Mapping):
        return numbers([*result.values()])
    if isinstance(result, list | tuple):
        return [number for part in result for number in numbers(part)]
    return []


def called(name: str, change: Callable[[str, Tensor], object]) -> list[float]:
    """What a function returns where each of its tensors has been changed."""
    call = CALLS[name]
    return numbers(call.function(**{key: change(key, part) for key, part in call.tensors.items()}))


def double(key, part):
    return part.double() if part.is_floating_point() else part


def agree(found, expected, tolerance=1e-9):
    assert expected
    assert found == pytest.approx(expected, rel=tolerance, abs=tolerance, nan_ok=True)


def test_every_public_name_has_a_row():
    assert CALLS.keys() | WITHOUT_TENSORS == set(public.__all__)
    assert not CALLS.keys() & WITHOUT_TENSORS
    assert public.ESTIMATORS.keys() <= CALLS.keys()
    assert all(getattr(public, name) for name in public.__all__)


FORMS = {
    "array": lambda part: part.numpy(),
    "array, read only": lambda part: np.broadcast_to(part.numpy(), part.shape),
    "array, backwards": lambda part: part.flip(0).numpy()[::-1],
    "array, big-endian": lambda part: part.numpy().astype(part.numpy().dtype.newbyteorder(">")),
    "lists": lambda part: part.tolist(),
    "list of arrays": lambda part: [*part.numpy()],
    "list of tensors": lambda part: [*part],
    "strided": lambda part: torch.stack([part, part], -1)[..., 0],
    "transposed": lambda part: part.mT.contiguous().mT if part.dim() > 1 else part,
    "with a gradient": lambda part: part.clone().requires_grad_(part.is_floating_point()),
}


@every
@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_numbers_changes_nothing(name, form):
    found = called(name, lambda key, part: FORMS[form](double(key, part)))
    agree(found, called(name, double))


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_as_the_numbers_that_it_holds(name, dtype):
    def halved(key, part):
        return part.to(dtype) if part.is_floating_point() else part

    # In single precision at least: in half the first would be off by a thousandth or more.
    found = called(name, halved)
    agree(found, called(name, lambda key, part: halved(key, part).to(part.dtype)), 2e-5)


@every
def test_autocast_changes_nothing(name):
    expected = called(name, lambda key, part: part)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert called(name, lambda key, part: part) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.whole])
def test_whole_numbers_are_numbers(name):
    def rounded(key, part):
        return (2 * part).round() if key in CALLS[name].whole else part

    def whole(key, part):
        return rounded(key, part).long() if key in CALLS[name].whole else part

    agree(called(name, whole), called(name, rounded), 1e-6)


LABELLED = [name for name, call in CALLS.items() if "y" in call.tensors]


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "uint16", "uint32", "uint64"])
def test_labels_may_have_any_integer_type(name, dtype):
    expected = called(name, lambda key, part: part)
    for of in (lambda y: y.to(getattr(torch, dtype)), lambda y: y.numpy().astype(dtype)):
        agree(called(name, lambda key, part, of=of: of(part) if key == "y" else part), expected)


@pytest.mark.parametrize("name", LABELLED)
def test_labels_that_are_none_are_refused(name):
    wrong = [Y.float(), Y.bool(), Y[:, None], Y[:-1], Y[:0], [*Y.tolist()[:-1], 0.5], ["a"] * N]
    for labels in wrong:
        with pytest.raises(NarrowsError):
            called(name, lambda key, part, labels=labels: labels if key == "y" else part)


def with_value(value):
    def change(part):
        changed = part.clone()
        changed.view(-1)[-1] = value
        return changed

    return change


JUNK = {
    "nothing": lambda part: None,
    "a string": lambda part: "tensor",
    "strings": lambda part: [["a", "b"], ["c", "d"]],
    "a set": lambda part: {1, 2},
    "a mapping": lambda part: {"x": part},
    "an object": lambda part: object(),
    "uneven lists": lambda part: [[1.0], [1.0, 2.0]],
    "complex numbers": lambda part: part.cfloat(),
    "no numbers": lambda part: part.new_zeros((0, *part.shape[1:])),
    "nothing each": lambda part: part.new_zeros((*part.shape[:-1], 0)),
    "too many axes": lambda part: part[None, None],
    "one number": lambda part: part.sum().neg(),
    "NaN": with_value(math.nan),
    "infinity": with_value(math.inf),
}


def tolerates(call, key, junk):
    """What means something after all."""
    numbers_ = junk in ("NaN", "infinity")
    return (
        (call.batched and junk == "too many axes")
        or (call.shows_nan and numbers_)
        or (call.model and key == "x" and junk in ("too many axes", "nothing each"))
        or (not call.tensors[key].is_floating_point() and numbers_)
        or (key, junk) in call.sense
    )


@every
@pytest.mark.parametrize("junk", JUNK)
def test_what_is_no_such_tensor_is_refused_in_a_sentence(name, junk):
    call = CALLS[name]
    for key in call.tensors:
        if tolerates(call, key, junk):
            continue

        def change(other, part, key=key):
            return JUNK[junk](part) if other == key else part

        with pytest.raises(NarrowsError) as refused:
            called(name, change)
        assert "\n" not in str(refused.value)


@every
def test_unequal_lengths_are_refused(name):
    tensors = CALLS[name].tensors
    for key in tensors:
        if len(tensors) > 1 and key != "betas" and (key, "one fewer") not in CALLS[name].sense:
            with pytest.raises(NarrowsError):
                called(name, lambda other, part, key=key: part[:-1] if other == key else part)


@pytest.mark.parametrize(
    "betas",
    [
        *(
            "0.5",
            0.5,
            None,
            {0.5},
            [],
            [[0.5]],
            ["0.5"],
            [0.5j],
            [math.nan],
            [math.inf],
            [0.0],
            [-1],
        ),
        *([True], [0.5, True], np.array([True]), torch.tensor(0.5), torch.tensor([True])),
    ],
)
def test_betas_that_are_no_list_of_positive_numbers_are_refused_in_a_sentence(betas):
    with pytest.raises(NarrowsError, match="betas") as refused:
        check_betas(betas)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "betas",
    [[0.5, 2], (0.5, 2.0), np.array([0.5, 2]), torch.tensor([0.5, 2.0]), [np.float32(0.5), 2]],
)
def test_betas_may_have_any_form(betas):
    assert check_betas(betas).tolist() == [0.5, 2.0]
    with pytest.raises(NarrowsError, match=r"at least 1, got 0\.5"):
        check_betas(betas, 1.0)


@pytest.mark.parametrize("seed", [1.5, "1", None, True, -1, 2**64])
def test_a_seed_is_a_whole_number_that_a_generator_takes(seed):
    for call in (
        lambda: public.ksg(X, Z, jitter=0.1, seed=seed),
        lambda: public.ksg_relevance(X, Y, jitter=0.1, seed=seed),
        lambda: public.fit_critic(X, Z, config=QUICK, seed=seed),
    ):
        with pytest.raises(NarrowsError, match="seed must be"):
            call()


SETTINGS = {
    "bins": lambda value: public.binned_rate(Z, bins=value),
    "block": lambda value: public.kde_bounds(X, 1.0, block=value),
    "draws": lambda value: public.posterior_information(X, 1.0, Y, draws=value),
    "k": lambda value: public.ksg(X, Z, k=value),
    "steps": lambda value: public.CriticConfig(steps=value),
    "last": lambda value: public.log_spaced(value),
    "samples": lambda value: public.PlaneRecorder(PERCEPTRON, ["1"], Batch(X, Y), samples=value),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("value", [2.5, "3", True, -1, [3], math.nan])
def test_a_count_is_a_whole_number(name, value):
    with pytest.raises(NarrowsError, match=f"{name} must be"):
        SETTINGS[name](value)
    SETTINGS[name](np.int16(7))


REAL = {
    "alpha": lambda value: public.renyi_entropy(KERNEL, alpha=value),
    "bandwidth": lambda value: public.gaussian_kernel(X, value),
    "clip": lambda value: public.smile(SCORES, value),
    "eps": lambda value: public.normalise_kernel(KERNEL, value),
    "jitter": lambda value: public.ksg(X, Z, jitter=value),
    "scale": lambda value: public.kde_bounds(X, value),
    "width": lambda value: public.binned_rate(Z, width=value),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("value", ["1", True, -1.0, math.nan, math.inf, 1j])
def test_a_setting_is_a_number(name, value):
    with pytest.raises(NarrowsError, match=f"{name} must"):
        REAL[name](value)
    REAL[name](np.float32(1.5))
    REAL[name](1)
