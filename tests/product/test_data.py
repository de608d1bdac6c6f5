"""Every data set: a run on it, on a stand-in of its shape and on what is in the package."""

import pytest

from narrows import Run
from narrows.data import DATASETS
from narrows.training.published import PUBLISHED
from product.cases import SMALLEST
from product.stand_ins import OWN, SHAPES
from product.walk import TINY, check_measured, methods_of, narrows, run, settings, watched

KINDS = ["--methods", "cross_entropy,vib"]


@pytest.mark.parametrize("name", SHAPES)
def test_a_run_on_every_data_set(name, tmp_path):
    *_, image, _ = SHAPES[name]
    small = ["--network", "mlp", *settings(SMALLEST["mlp"])]
    folder = run(tmp_path, *TINY, *KINDS, "--data", name, *small)
    assert methods_of(folder) == ["cross_entropy", "vib"]
    for method in methods_of(folder):
        check_measured(folder, method, 2, attacked=image)


@pytest.mark.parametrize("name", SHAPES)
def test_the_network_and_the_recipe_that_a_data_set_brings(name, tmp_path):
    """Without a word about either: they are resolved, built, tried, and training begins."""
    with watched(break_at=1):
        said = narrows("run", "--out", tmp_path, "--data", name, "--quiet", "--seeds", "1")
    assert said.code == 130, said.err
    (folder,) = tmp_path.iterdir()
    config = Run.open(folder).config
    assert folder.name.startswith(name)
    assert all(network.name in SMALLEST for network in config.networks.values())
    assert config.train.epochs > 1


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_data_in_files(name, tmp_path, data_root, monkeypatch):
    monkeypatch.setitem(DATASETS, name, lambda root=None: OWN[name](data_root))
    small = ["--network", "mlp", *settings(SMALLEST["mlp"]), "--set", "train.batch_size=500"]
    folder = run(tmp_path, *TINY, "--methods", "vib", "--data", name, *small)
    check_measured(folder, "vib", 2, attacked=True)


@pytest.mark.parametrize("share", ["0.1", "0.5"])
@pytest.mark.parametrize("name", ["digits", "mnist", "twelve-bit"])
def test_another_share_for_validation(name, share, tmp_path):
    small = ["--network", "mlp", *settings(SMALLEST["mlp"]), "--set", "train.batch_size=5"]
    words = [*TINY, "--methods", "vib", "--data", name, "--seeds", "1", *small]
    run(tmp_path, *words, "--set", f"validation_share={share}", "--set", "evaluate.attack=false")


@pytest.mark.parametrize("name", PUBLISHED)
def test_all_published_settings_by_their_name(name, tmp_path):
    small = ["--network", "mlp", *settings(SMALLEST["mlp"]), "--data", "cifar10"]
    # A ramp of beta is as long as it is: only epochs after it are chosen from.
    ramp = PUBLISHED[name].beta_ramp
    words = ["--settings", name, "--epochs", str(ramp + 1), "--methods", "vib", "--seeds", "1"]
    folder = run(tmp_path, *TINY, *small, *words, "--set", "evaluate.attack=false")
    config = Run.open(folder).config
    assert config.train.optimiser == PUBLISHED[name].optimiser
    assert config.train.learning_rate == PUBLISHED[name].learning_rate
