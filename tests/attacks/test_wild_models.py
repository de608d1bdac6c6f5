"""Models as they are found: every attack runs on each form, or says in one line why not."""

import copy
import os

import pytest
import torch
from torch import nn

from narrows.attacks import ATTACKS, FGSM, PGD, DeepFool, Square
from narrows.errors import InputError

EXAMPLES = {name: kind.example() for name, kind in ATTACKS.items()}


def plain() -> nn.Sequential:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 5))
    model[3].weight.data *= 4
    return model.eval()


X = 0.2 + 0.6 * torch.rand(12, 3, 2, 2, generator=torch.Generator().manual_seed(0))
Y = plain()(X).argmax(1)
N = torch.export.Dim("n", min=1)


class Around(nn.Module):
    """A model behind something that is done around its pass."""

    def __init__(self, run) -> None:
        super().__init__()
        self.model, self.run = plain(), run

    def forward(self, x):
        return self.run(self.model, x)


def autocast(kind):
    def run(model, x):
        with torch.autocast("cpu", dtype=kind):
            return model(x)

    return Around(run)


class Bare(nn.Module):
    """No parameters: weights that a module doesn't know of."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [plain()]

    def forward(self, x):
        return self.parts[0](x)


def hooked():
    model = plain()
    model[1].register_forward_hook(lambda module, args, output: 2 * output)
    model[1].register_forward_pre_hook(lambda module, args: (args[0] / 2,))
    return model


def frozen_script():
    return torch.jit.freeze(torch.jit.script(plain()))


def exported():
    return torch.export.export(plain(), (X,), dynamic_shapes=({0: N},)).module()


FORMS = {
    "script": lambda: torch.jit.script(plain()),
    "trace": lambda: torch.jit.trace(plain(), X),
    "freeze": frozen_script,
    "export": exported,
    "fx": lambda: torch.fx.symbolic_trace(plain()),
    "compile": lambda: torch.compile(plain(), backend="eager"),
    "data parallel": lambda: nn.DataParallel(plain()),
    "autocast bfloat16": lambda: autocast(torch.bfloat16),
    "autocast float16": lambda: autocast(torch.float16),
    "half": lambda: plain().half(),
    "bfloat16": lambda: plain().bfloat16(),
    "double": lambda: plain().double(),
    "without parameters": Bare,
    "hooks": hooked,
    "inference parameters": lambda: Around(lambda model, x: model(x)).requires_grad_(False),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.parametrize("form", FORMS)
def test_every_attack_runs_on_every_form_of_a_model(form):
    model = FORMS[form]()
    kind = next((p.dtype for p in model.parameters()), torch.float32)
    for name, attack in EXAMPLES.items():
        result = attack(model, X, Y)
        assert result.x_adv.dtype == X.dtype, name
        with torch.no_grad():
            says = model(result.x_adv.to(kind)).argmax(1)
        assert torch.equal(result.success, says != Y), name
        assert result.success.sum() >= 3, name


def test_replicas_of_distributed_training_run():
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(plain())
        for name, attack in EXAMPLES.items():
            assert torch.equal(attack(model, X, Y).success, attack(plain(), X, Y).success), name
        assert model.require_backward_grad_sync
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_quantised_model_is_attacked_without_gradients_or_named(name):
    engine = torch.backends.quantized.supported_engines
    if engine == ["none"]:
        pytest.skip("no engine for quantised layers here")
    model = torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear}, torch.qint8)
    if not EXAMPLES[name].uses_gradients:
        assert EXAMPLES[name](model, X, Y).success.sum() >= 3
        return
    with pytest.raises(InputError, match=r"no gradient|a gradient is needed|needs a gradient"):
        EXAMPLES[name](model, X, Y)


@pytest.mark.parametrize("attack", [FGSM(eps=0.1), Square(eps=0.1, queries=5)])
def test_a_batch_of_fixed_size_is_named(attack):
    model = torch.export.export(plain(), (X,)).module()
    with pytest.raises(InputError, match="batch of 12 images and not on one of 16") as caught:
        attack(model, X, Y)
    assert "\n" not in str(caught.value)


class InPlace(nn.Module):
    """Overwrites its images in one of several ways."""

    def __init__(self, how) -> None:
        super().__init__()
        self.how, self.model = how, plain()

    def forward(self, x):
        self.how(x)
        return self.model(x)


def shifted(x):
    with torch.no_grad():
        x.sub_(0.1)


@pytest.mark.parametrize("attack", [FGSM(eps=0.1), PGD(eps=0.1), Square(eps=0.1, queries=5)])
@pytest.mark.parametrize(
    "how", [lambda x: x.data.clamp_(0.4, 0.6), shifted, lambda x: x.detach().mul_(0.5)]
)
def test_a_model_that_overwrites_its_images_is_refused_and_they_stay(attack, how):
    given = X.clone()
    with pytest.raises(InputError, match="overwrites the images"):
        attack(InPlace(how), given, Y)
    assert torch.equal(given, X)


class Late(InPlace):
    """Overwrites only what is given to it in large batches."""

    def forward(self, x):
        if len(x) > 16:
            self.how(x)
        return self.model(x)


def test_a_model_that_overwrites_large_batches_only_is_noticed_too():
    x = X.repeat(5, 1, 1, 1)
    with pytest.raises(InputError, match="overwrites the images"):
        FGSM(eps=0.1)(Late(shifted), x, Y.repeat(5))


class Normed(nn.Module):
    """Normalises with the statistics of the batch, whatever its mode."""

    def __init__(self, norm: nn.Module, dims: int) -> None:
        super().__init__()
        self.norm, self.dims, self.model = norm, dims, plain()

    def forward(self, x):
        return self.model(self.norm(x.flatten(1) if self.dims == 1 else x).view(x.shape))


class Forced(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = plain()

    def forward(self, x):
        return self.model(nn.functional.batch_norm(x, None, None, training=True))


class Mixing(nn.Module):
    """Each image looks at the mean of all."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share, self.model = share, plain()

    def forward(self, x):
        logits = self.model(x)
        return logits + self.share * logits.mean(0)


@pytest.mark.parametrize("attack", [FGSM(eps=0.1), DeepFool(), Square(eps=0.1, queries=5)])
@pytest.mark.parametrize(
    "model",
    [
        Normed(nn.BatchNorm1d(12, track_running_stats=False), 1),
        Normed(nn.BatchNorm2d(3, track_running_stats=False), 2),
        Forced(),
        Mixing(1.0),
    ],
    ids=["BatchNorm1d", "BatchNorm2d", "functional", "mean"],
)
def test_an_answer_that_depends_on_the_rest_of_the_batch_is_refused(attack, model):
    with pytest.raises(InputError, match="depend on the others of its batch") as caught:
        attack(model, X, Y)
    assert "\n" not in str(caught.value)


def test_a_little_dependence_is_told(caplog):
    FGSM(eps=0.1)(Mixing(0.02), X, Y)
    assert "depend on the others of its batch" in caplog.text


class Pairs(nn.Module):
    """Two rows are needed, though each is answered alone."""

    def forward(self, x):
        if len(x) < 2:
            raise ValueError("Expected more than 1 value per channel when training")
        return plain()(x)


def test_a_model_that_needs_two_rows_is_named():
    with pytest.raises(InputError, match=r"cannot be run on a single image.*track_running_stats"):
        PGD(eps=0.1)(Pairs(), X, Y)


class Exits(nn.Module):
    def __init__(self, error, after: int = 0) -> None:
        super().__init__()
        self.error, self.looks, self.after, self.model = error, 0, after, plain()

    def forward(self, x):
        self.looks += 1
        if self.looks > self.after:
            raise self.error
        return self.model(x)


@pytest.mark.parametrize("after", [0, 7])
@pytest.mark.parametrize(
    "error",
    [SystemExit(3), SystemExit(), ValueError("odd"), AssertionError(), MemoryError("full")],
    ids=repr,
)
def test_whatever_a_model_raises_is_one_line(error, after):
    with pytest.raises(InputError, match=type(error).__name__) as caught:
        PGD(eps=0.1)(Exits(error, after), X, Y)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("after", [0, 7])
def test_an_interrupt_passes(after):
    with pytest.raises(KeyboardInterrupt):
        PGD(eps=0.1)(Exits(KeyboardInterrupt(), after), X, Y)


class Ends(nn.Module):
    """Logits as some function makes them of the plain ones."""

    def __init__(self, end) -> None:
        super().__init__()
        self.model, self.end = plain(), end

    def forward(self, x):
        return self.end(self.model(x), x)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("pick", [lambda z: z[:, :1], lambda z: z[:, 0], lambda z: z.sum()])
def test_a_single_logit_is_refused_by_every_attack(name, pick):
    with pytest.raises(InputError, match="a model must return"):
        EXAMPLES[name](Ends(lambda z, x: pick(z)), X, torch.zeros_like(Y))


@pytest.mark.parametrize("name", EXAMPLES)
def test_more_labels_than_classes_are_refused_by_every_attack(name):
    model = Ends(lambda z, x: z[:, :3])
    with pytest.raises(InputError, match=r"labels must lie in 0\.\.2, got"):
        EXAMPLES[name](model, X, torch.arange(12) % 4)
    with pytest.raises(InputError, match=r"labels must lie in 0\.\.2, got"):
        EXAMPLES[name](model, X, torch.full((12,), 3), torch.zeros(12, dtype=torch.int64))


def saturated(z, x):
    return (200 * z).softmax(1).log()  # minus infinity for most classes


def masked(z, x):
    return z.masked_fill(torch.tensor([False, False, False, False, True]), -torch.inf)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("end", [saturated, masked])
def test_probabilities_of_zero_are_legal(name, end):
    model = Ends(end)
    y = model(X).argmax(1)
    assert (model(X) == -torch.inf).any()
    result = EXAMPLES[name](model, X, y)
    assert torch.equal(result.success, model(result.x_adv).argmax(1) != y)
    assert torch.isfinite(result.x_adv).all()
    if end is masked:
        assert result.success.sum() >= 3


def test_classes_that_are_masked_hide_no_gradient_of_the_others():
    model, cut = Ends(masked), Ends(lambda z, x: z[:, :4])
    y = cut(X).argmax(1)
    attack = PGD(eps=0.05, steps=10, restarts=1)
    assert torch.equal(attack(model, X, y).x_adv, attack(cut, X, y).x_adv)


def test_nan_at_single_images_is_named_by_their_numbers():
    bright = X[[3, 7]].flatten(1).sum(1)

    def sometimes(z, x):
        bad = torch.isin(x.flatten(1).sum(1), bright)
        return z.where(~bad[:, None], torch.nan)

    for chunk in (512, 5):
        numbers = "3, 7" if chunk == 512 else "3"
        with pytest.raises(InputError, match=rf"NaN or infinite logits for .* number {numbers} "):
            PGD(eps=0.1, chunk=chunk)(Ends(sometimes), X, Y)


def test_a_copy_of_the_model_is_left_as_it_was():
    model = plain().train()
    before = copy.deepcopy(model.state_dict())
    FGSM(eps=0.1)(model, X, Y)
    assert all(torch.equal(before[name], part) for name, part in model.state_dict().items())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("name", ["pgd", "deepfool"])
def test_weights_that_are_not_there_or_have_no_gradient_are_named(name):
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(InputError, match="lazy layers whose weights are not there yet"):
        EXAMPLES[name](lazy, X, Y)
    y = lazy(X).argmax(1)
    assert len(EXAMPLES[name](lazy, X, y).success) == len(X)
    with torch.inference_mode():
        useless = copy.deepcopy(lazy)
    with pytest.raises(InputError, match=r"made in inference mode.*copy.deepcopy\(model\)"):
        EXAMPLES[name](useless, X, y)
    assert EXAMPLES["square"](useless, X, y).success.dtype == torch.bool
