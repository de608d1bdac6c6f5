import math

import pytest
import torch
from torch import nn

from narrows import AIB, CrossEntropy
from narrows.data import Dataset
from narrows.errors import ConfigError, DivergedError
from narrows.methods import METHODS, Sizes
from narrows.methods.adversarial import WRAPPERS
from narrows.training import (
    Looped,
    Objective,
    Solo,
    Stacked,
    TrainConfig,
    Trainer,
    accuracies,
    fit,
)
from narrows.training.batches import seeded_batches
from narrows.training.records import Divergence
from narrows.types import LossTerms
from scenarios_training import prototypes

SIZES = Sizes(inputs=20, latent=3, classes=4, hidden=(8, 3))
DATA = prototypes(n=96)


def objective(name="cross_entropy", seed=0, beta=0.01, **options) -> Objective:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        kind = METHODS[name]
        if kind.latent == "binary":
            options = {"samples": 4, **options}
        method, model, _ = kind.example(beta, **options)
        return Objective(model, method)


def trainer(*objectives: Objective, data=DATA, **config) -> Trainer:
    seeds = list(range(len(objectives)))
    members = Stacked(objectives, seeds) if len(seeds) > 1 else Solo(objectives[0], 0)
    return Trainer(members, data, DATA, TrainConfig(**{"epochs": 3, "batch_size": 32, **config}))


def weights(running: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in running.members.named_tensors().items()}


@pytest.mark.parametrize("name", list(METHODS))
def test_a_separable_problem_is_learned(name):
    config = TrainConfig(epochs=60, batch_size=32, learning_rate=1e-2)
    members = Stacked([objective(name, seed, beta=1e-3) for seed in range(3)], [0, 1, 2])
    done = fit(members, DATA, prototypes(n=40), config)
    # Of three networks of 3 units one may lose a class; a few coins err now and then.
    wanted = 0.85 if METHODS[name].latent == "binary" else 0.95
    assert accuracies(done.best_members(), DATA).median() > wanted
    if name == "greedy_imb":  # whose loss is another one at each turn
        return
    losses = [record.losses["loss"] for record in done.history]
    assert all(last < 0.5 * first for first, last in zip(losses[0], losses[-1], strict=True))


def test_the_record_of_an_epoch_holds_the_mean_of_its_batches():
    running = trainer(objective(), objective(seed=1), learning_rate=1e-9)
    record = running.run_epoch()
    for index in range(2):
        expected = CrossEntropy()(running.members.member(index).model, *DATA.all()).item()
        assert record.losses["loss"][index] == pytest.approx(expected, rel=1e-4)
    assert record.losses["loss"] == record.losses["prediction"]
    assert (
        (record.epoch, running.epoch, running.steps) == (0, 1, running.steps_per_epoch) == (0, 1, 3)
    )
    assert record.validation_accuracy == accuracies(running.members, DATA).tolist()


def test_one_step_is_one_step_of_adam():
    made = objective()
    running = trainer(made, data=DATA.take(slice(32)), learning_rate=0.01, adam_beta1=0.5)
    by_hand = running.members.member(0)
    optimiser = torch.optim.Adam(by_hand.parameters(), 0.01, betas=(0.5, 0.999))
    x, y = running.train.all()
    for _ in range(2):
        optimiser.zero_grad()
        by_hand.method(by_hand.model, x, y).backward()
        optimiser.step()
        running.run_epoch()
    for (name, a), b in zip(by_hand.named_parameters(), weights(running).values(), strict=False):
        torch.testing.assert_close(b[0], a, msg=name, rtol=1e-4, atol=1e-6)


def test_the_learning_rates_of_model_and_critic_fall_with_the_epochs():
    running = trainer(
        objective("aib"), learning_rate=0.1, critic_learning_rate=0.2, decay=0.5, decay_every=2
    )
    rates = []
    for _ in range(3):
        running.run_epoch()
        (descent,) = running._descents
        rates.append([descent.optimisers[w].param_groups[0]["lr"] for w in ("model", "critic")])
    assert rates == [[0.1, 0.2], [0.1, 0.2], [0.05, 0.1]]


def test_the_best_epoch_of_each_member_is_handed_out(monkeypatch):
    scripted = iter([[0.5, 0.1], [0.7, 0.3], [0.6, 0.4], [0.7, 0.4]])
    monkeypatch.setattr(
        "narrows.training.trainer.accuracies",
        lambda members, data: torch.tensor(next(scripted), dtype=torch.float64),
    )
    running = trainer(objective(), objective(seed=1), epochs=4)
    after = []
    for _ in range(4):
        running.run_epoch()
        after.append(weights(running))
    assert running.history[-1].best_epoch == [1, 2]
    for name, tensor in running.best_members().named_tensors().items():
        assert torch.equal(tensor[0], after[1][name][0])
        assert torch.equal(tensor[1], after[2][name][1])


@pytest.mark.parametrize(("patience", "epochs"), [(0, 10), (1, 4), (3, 6)])
def test_training_stops_when_no_member_has_improved_for_so_long(monkeypatch, patience, epochs):
    scripted = iter([[0.5, 0.1], [0.6, 0.1], [0.6, 0.2], *[[0.6, 0.2]] * 7])
    monkeypatch.setattr(
        "narrows.training.trainer.accuracies",
        lambda members, data: torch.tensor(next(scripted), dtype=torch.float64),
    )
    config = TrainConfig(epochs=10, batch_size=32, patience=patience)
    done = fit(Stacked([objective(), objective(seed=1)], [0, 1]), DATA, DATA, config)
    assert (done.epoch, done.finished) == (epochs, True)


def test_averaged_weights_are_validated_and_handed_out_while_training_goes_on_without():
    plain, averaged = (trainer(objective(), averaging=a, epochs=2) for a in (0.0, 0.9))
    seen = []
    for running in (plain, averaged):
        running.run_epoch(on_step=lambda running=running: seen.append(weights(running)))
    steps, again = seen[:3], seen[3:]
    for one, other in zip(steps, again, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    importance = torch.tensor([0.81, 0.9, 1.0])
    for name, tensor in averaged.best_members().named_tensors().items():
        trail = torch.stack([step[name] for step in steps], -1)
        expected = (trail * importance).sum(-1) / importance.sum()
        torch.testing.assert_close(tensor, expected, rtol=1e-4, atol=1e-6)
    assert averaged.history[0].validation_accuracy == accuracies(averaged.members, DATA).tolist()


def first_batch(running: Trainer) -> tuple[torch.Tensor, torch.Tensor]:
    return next(seeded_batches(running.train, running.members, running.config))


def moved(running: Trainer, which: str) -> set[str]:
    """Tensors that a descent of `which` alone changes."""
    (x, y), before = first_batch(running), weights(running)
    (descent,) = running._descents
    seen = running.members.run("observe", x, y)
    if which == "critic":
        descent.descend("critic", running.members.run("critic_loss", seen, x, y))
    else:
        descent.descend("model", running.members.run("terms", seen, x, y)["total"])
    after = weights(running)
    return {n for n in before if not torch.equal(before[n].nan_to_num(), after[n].nan_to_num())}


@pytest.mark.parametrize("count", [1, 2])
def test_critic_and_model_are_trained_in_steps_of_their_own(count):
    made = [objective("aib", seed, hidden=[5]) for seed in range(count)]
    parameters = {name for name, _ in made[0].named_parameters()}
    critic = {name for name in parameters if name.startswith("method.critic.")}
    assert moved(trainer(*made), "critic") == critic | {"method.log_partition"}
    assert moved(trainer(*made), "model") == parameters - critic


def test_the_critic_is_updated_as_often_as_the_method_says():
    running = trainer(objective("aib", steps=3), data=DATA.take(slice(32)))
    running.run_epoch()
    steps = {
        which: {slot["step"].item() for slot in optimiser.state.values()}
        for which, optimiser in running._descents[0].optimisers.items()
    }
    assert steps == {"model": {1.0}, "critic": {3.0}}


def test_validation_uses_no_dropout_and_leaves_running_statistics_alone():
    made = Objective(
        nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.Dropout(0.9), nn.Linear(8, 4)),
        CrossEntropy(),
    )
    running = trainer(made, epochs=1)
    statistics = []
    record = running.run_epoch(lambda: statistics.append(made.model[1].running_mean.clone()))
    assert torch.equal(made.model[1].running_mean, statistics[-1])
    assert made.model.training
    predicted = made.model.eval()(DATA.x).argmax(1)
    assert record.validation_accuracy == [(predicted == DATA.y).double().mean().item()]


class Poisoned(CrossEntropy):
    """Becomes infinite or NaN at a step of its own; -1 for never."""

    def __init__(self, at: int, value: float = math.nan):
        super().__init__()
        self.register_buffer("at", torch.tensor(at))
        self.register_buffer("value", torch.tensor(value))
        self.register_buffer("count", torch.tensor(0))

    def terms(self, output, batch):
        terms = super().terms(output, batch)
        poison = torch.where(self.count == self.at, self.value, 1.0)
        self.count.add_(1)
        return LossTerms(terms.prediction * poison, terms.regularisers)


@pytest.mark.parametrize("batches", [1, 7, 50, 53, 100])
def test_any_number_of_batches_makes_an_epoch(batches):
    running = trainer(objective(), data=prototypes(n=4 * batches + 1), batch_size=4)
    assert running.steps_per_epoch == batches
    running.run_epoch()
    assert running.steps == batches


@pytest.mark.parametrize(
    ("batches", "step", "epoch", "batch"),
    [(3, 0, 0, 0), (3, 7, 2, 1), (50, 49, 0, 49), (53, 52, 0, 52), (53, 50, 0, 50), (53, 53, 1, 0)],
)
def test_divergence_names_member_seed_epoch_and_batch(batches, step, epoch, batch):
    made = [
        Objective(objective(seed=seed).model, Poisoned(at))
        for seed, at in ((0, step + 1), (1, step))
    ]
    members = Stacked(made, [11, 22])
    config = TrainConfig(epochs=3, batch_size=4)
    message = rf"loss of member 1 \(seed 22\) became nan in epoch {epoch}, batch {batch}; lower"
    with pytest.raises(DivergedError, match=message):
        fit(members, prototypes(n=4 * batches), DATA, config)


def test_the_first_of_several_diverging_members_is_named():
    made = [Objective(objective().model, Poisoned(at, math.inf)) for at in (5, 2, 2, 9)]
    config = TrainConfig(epochs=1, batch_size=4)
    with pytest.raises(DivergedError, match=r"member 1 \(seed 8\) became inf in epoch 0, batch 2"):
        fit(Stacked(made, [9, 8, 7, 6]), prototypes(n=40), DATA, config)


@pytest.mark.parametrize("kind", [Stacked, Looped])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_a_diverged_member_leaves_the_others_as_they_would_have_been(kind, clip):
    def train(*at: int) -> Trainer:
        made = [Objective(objective(seed=s).model, Poisoned(a)) for s, a in enumerate(at)]
        config = TrainConfig(epochs=3, batch_size=32, clip_norm=clip)
        return fit(kind(made, list(range(len(at)))), DATA, DATA, config)

    whole, broken = train(-1, -1, -1), train(-1, 4, -1)
    assert (whole.diverged, broken.diverged) == ({}, {1: Divergence(1, 1, "nan")})
    assert [record.losses["loss"][1] is None for record in broken.history] == [False, True, True]
    assert broken.history[-1].validation_accuracy[1] is None
    assert broken.history[-1].best_epoch[1] == 0
    for name, tensor in broken.best_members().named_tensors().items():
        expected = whole.best_members().named_tensors()[name]
        if name.startswith("model"):
            assert torch.equal(tensor[[0, 2]], expected[[0, 2]]), name
            assert torch.isfinite(tensor).all(), name


@pytest.mark.parametrize("kind", [Stacked, Looped])
def test_where_all_members_diverge_each_is_recorded_and_none_is_trained_again(tmp_path, kind):
    def members() -> Stacked | Looped:
        made = [Objective(objective(seed=s).model, Poisoned(at)) for s, at in ((0, 2), (1, 4))]
        return kind(made, [5, 6])

    config, seen = TrainConfig(epochs=9, batch_size=32), []
    for _ in range(2):
        with pytest.raises(DivergedError, match=r"loss of member 0 \(seed 5\) became nan"):
            fit(members(), DATA, DATA, config, checkpoint=tmp_path / "a", on_epoch=seen.append)
    first, second = seen[-2:]
    for trainer in (first, second):
        assert trainer.lost
        assert trainer.finished
        assert trainer.diverged == {0: Divergence(0, 2, "nan"), 1: Divergence(1, 1, "nan")}
        assert "member 1 (seed 6) became nan in epoch 1, batch 1" in trainer.why_diverged(1)
        assert [record.epoch for record in trainer.history] == [0, 1]
        assert trainer.history[-1].validation_accuracy == [None, None]
    assert (first.epoch, first.steps) == (second.epoch, second.steps)


class Steep(CrossEntropy):
    """A finite loss whose gradient is not, in one step of one member."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.register_buffer("at", torch.tensor(at))
        self.register_buffer("count", torch.tensor(0))

    def terms(self, output, batch):
        terms = super().terms(output, batch)
        nothing = output.logits.sum() * 0
        edge = torch.where(self.count == self.at, nothing, nothing + 1).sqrt()
        self.count.add_(1)
        return LossTerms(terms.prediction + edge, terms.regularisers)


@pytest.mark.parametrize("kind", [Stacked, Looped])
def test_weights_that_the_last_step_breaks_are_found_before_they_are_offered(kind):
    def of(*at: int) -> Trainer:
        made = [Objective(objective().model, Steep(step)) for step in at]
        seeds = [11 * (step + 1) for step in at]
        return Trainer(kind(made, seeds), DATA, DATA, TrainConfig(epochs=1, batch_size=32))

    running = of(-1, 2)
    record = running.run_epoch()
    assert None not in record.losses["loss"]
    assert running.diverged == {1: Divergence(0, 2, "infinite or nan", "weights")}
    assert (record.best_epoch, record.validation_accuracy[1]) == ([0, -1], None)
    with pytest.raises(DivergedError, match=r"the weights of member 0 \(seed 33\) became infinite"):
        of(2).run_epoch()


def test_a_diverged_member_is_remembered_by_the_checkpoint(tmp_path):
    def members() -> Stacked:
        made = [Objective(objective(seed=s).model, Poisoned(a)) for s, a in ((0, 1), (1, -1))]
        return Stacked(made, [0, 1])

    config = TrainConfig(epochs=3, batch_size=32)
    running = Trainer(members(), DATA, DATA, config)
    running.run_epoch()
    running.save(tmp_path / "a", "")
    resumed = Trainer(members(), DATA, DATA, config)
    resumed.resume(tmp_path / "a", "")
    assert resumed.diverged == running.diverged == {0: Divergence(0, 1, "nan")}


def test_mixed_precision_comes_near_and_keeps_weights_and_losses_in_float32():
    exact, mixed = (
        trainer(objective(), precision=precision) for precision in ("float32", "bfloat16")
    )
    seen = mixed._descents[0]._observe(*first_batch(mixed))
    assert {value.dtype for value in seen.values()} == {torch.float32}
    first, second = (running.run_epoch().losses["loss"][0] for running in (exact, mixed))
    assert first != second
    assert first == pytest.approx(second, rel=0.02)
    assert {t.dtype for t in weights(mixed).values()} == {torch.float32}


@pytest.mark.parametrize("wrapper", list(WRAPPERS))
def test_gradients_pass_where_an_attack_ran_without_them_in_mixed_precision(wrapper):
    made = objective()
    made.method = WRAPPERS[wrapper](made.method, eps=0.05, steps=2)
    running = trainer(made, precision="bfloat16")
    before = weights(running)
    running.run_epoch()
    after = weights(running)
    assert all(not torch.equal(before[name], after[name]) for name in before if "beta" not in name)


def test_mixed_precision_is_refused_in_a_stack():
    with pytest.raises(ConfigError, match="no effect in a vectorised step; train the members with"):
        trainer(objective(), objective(seed=1), precision="bfloat16")
    with pytest.raises(ConfigError, match=r"channels_last is true.*or set it to false"):
        trainer(objective(), objective(seed=1), channels_last=True)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_kernels_with_channels_last_train_to_nearly_the_same(precision, tmp_path):
    def make(channels_last: bool) -> Trainer:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = [nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, (2, 3))]
            model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 4))
        config = {"channels_last": channels_last, "precision": precision, "learning_rate": 0.01}
        config = TrainConfig(**config, epochs=3, batch_size=32)
        return Trainer(Solo(Objective(model, CrossEntropy()), 0), IMAGES, IMAGES, config)

    plain, last = make(False), make(True)
    kernel = last.members.parameters(critic=False)[0]
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    first, second = (running.run_epoch().losses["loss"][0] for running in (plain, last))
    assert first == pytest.approx(second, rel=1e-5 if precision == "float32" else 0.02)
    last.save(tmp_path / "half", "")
    resumed = make(True)
    resumed.resume(tmp_path / "half", "")
    for running in (last, resumed):
        running.run_epoch()
    for one, other in zip(weights(last).values(), weights(resumed).values(), strict=True):
        assert torch.equal(one, other)
    assert resumed.members.parameters(critic=False)[0].is_contiguous(
        memory_format=torch.channels_last
    )


IMAGES = Dataset("images", DATA.x.view(-1, 1, 4, 5), DATA.y, DATA.classes)


def test_augmentation_goes_on_where_it_stopped(tmp_path):
    config = TrainConfig(epochs=4, batch_size=32, augment="crop_flip")
    whole, broken, resumed = (
        Trainer(Solo(objective(), 3), IMAGES, IMAGES, config) for _ in range(3)
    )
    for _ in range(4):
        whole.run_epoch()
    for _ in range(2):
        broken.run_epoch()
    broken.save(tmp_path / "a", "")
    resumed.resume(tmp_path / "a", "")
    for _ in range(2):
        resumed.run_epoch()
    first, second = weights(whole), weights(resumed)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_images_are_augmented():
    with pytest.raises(ConfigError, match=r"prototypes has inputs of shape \[20\]; set it to none"):
        trainer(objective(), augment="crop_flip")


class Staged(CrossEntropy):
    """Looks at the share of training that is over."""

    def __init__(self):
        super().__init__()
        self.register_buffer("progress", torch.tensor(0.0))
        self.register_buffer("seen", torch.zeros(4))

    def prediction_loss(self, output, y):
        self.seen[(self.progress * 4).long().item()] += 1
        return super().prediction_loss(output, y)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_method_in_stages_is_told_how_far_training_is(wrapped):
    staged = Staged()
    method = WRAPPERS["pgd_training"](staged, steps=1) if wrapped else staged
    running = trainer(Objective(objective().model, method), epochs=4)
    for _ in range(4):
        running.run_epoch()
    assert staged.seen.tolist() == [3] * 4


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("epochs", "first"), [(6, 3), (5, 3), (1, 0)])
def test_the_best_epoch_of_greedy_layers_is_one_of_the_last_turn(
    monkeypatch, epochs, first, wrapped
):
    falling = iter(range(9, 0, -1))
    monkeypatch.setattr(
        "narrows.training.trainer.accuracies",
        lambda members, data: torch.tensor([next(falling) / 10], dtype=torch.float64),
    )
    made = objective("greedy_imb")  # of two layers
    if wrapped:
        made = Objective(made.model, WRAPPERS["pgd_training"](made.method, steps=1))
    running = trainer(made, epochs=epochs)
    last = []
    for _ in range(epochs):
        running.run_epoch()
        method = running.members.member(0).method
        last.append((method.method if wrapped else method).active[-1].item())
    assert [record.best_epoch for record in running.history] == [[-1]] * first + [[first]] * (
        epochs - first
    )
    assert last == [False] * max(first, 1) + [True] * (epochs - max(first, 1))


def test_patience_begins_with_the_last_turn(monkeypatch):
    monkeypatch.setattr(
        "narrows.training.trainer.accuracies",
        lambda members, data: torch.zeros(1, dtype=torch.float64),
    )
    running = trainer(objective("greedy_imb"), epochs=10, patience=2)
    while not running.finished:
        running.run_epoch()
    assert running.epoch == 5 + 1 + 2


def test_layers_that_are_frozen_or_never_run_stay_as_they_are():
    made = objective()
    made.model.unused = nn.Linear(2, 2)
    made.model.decoder.requires_grad_(False)
    running = trainer(made)
    before = weights(running)
    running.run_epoch()
    after = weights(running)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {n for n, _ in made.named_parameters() if n.startswith("model.encoder")}


def test_training_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    made = Objective(
        nn.Sequential(nn.Linear(20, 8), nn.Dropout(0.5), nn.Linear(8, 4)), CrossEntropy()
    )
    before = torch.get_rng_state()
    fit(Solo(made, 3), DATA, DATA, TrainConfig(epochs=1, batch_size=32))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_gradient_of_the_critic_never_reaches_the_model():
    running = trainer(objective("aib"))
    x, y = first_batch(running)
    seen = {k: v.detach() for k, v in running.members.run("observe", x, y).items()}
    running.members.run("critic_loss", seen, x, y).sum().backward()
    assert all(p.grad is None for p in running.members.parameters(critic=False))
    assert isinstance(running.members.member(0).method, AIB)
