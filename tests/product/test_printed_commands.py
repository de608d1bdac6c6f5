"""Every command that README and docs print, typed as it is printed, on small stand-ins."""

import importlib
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from narrows.reproduction.tables import find_tables
from product.documents import PAGES, ROOT, Printed, blocks, commands, python_blocks
from product.recipes import PACKAGED, made
from product.runs import DEFENCE, RUNS
from product.test_printed_python import execute
from product.walk import TINY, copied, narrows, watched

PRINTED = [printed for page in PAGES for printed in commands(page)]

# What is not typed here, and why.
SKIPPED = {
    "python3 -m venv .venv": "makes the environment that this test already runs in",
    ". .venv/bin/activate": "likewise",
    "pip install -c constraints.txt torch": "downloads",
    "pip install .": "downloads",
    "bash scripts/test.sh": "would run this test",
    "bash scripts/smoke.sh": "downloads, and builds an environment",
    "python -c pass": "is no command of ours",
    "python benchmarks/faults/mutate.py": "tests/fuzz runs it",
    "python benchmarks/simulated_cluster.py": "starts a cluster, and measures for minutes",
    "bash scripts/gpu_tables.sh OUT 12": "works on a GPU, until its time is up",
    "narrows mi X Z": "names no files; docs/information.md has commands that do",
}

# What stands for something, and what is typed in its place. RUN is the run of the last recipe
# above it on the page, or else a small one of the digits.
STANDS_FOR = {
    r"figure NAME\b":          "figure vib-1",
    r"\bNAME\b":               "name",
    r"--method M\b":           "--method vib",
    r"\bMETHOD\b":             "vib",
    r"--beta B\b":             "--beta 0.01",
    r"--seed S\b":             "--seed 0",
    r"--eps E\b":              "--eps 0.1",
    r"runs/digits-4ddf399127": "{finished}",
    r"runs/mnist-e4660707ac":  "{vib-table1}",
    r"runs/imb-plane":         "{imb-plane}",
    r"runs/another":           "{diverged}",
    r"\bRUN\b":                "{above}",
    r"\bsrc/narrows/recipes\b": str(ROOT / "src/narrows/recipes"),
}  # fmt: skip

# What is typed after it, so that it takes no time: the last word on an option counts.
SHORTER = {
    r"^narrows run$":    " ".join(["--methods cross_entropy,vib", *TINY]),
    r"^narrows run --data":  " ".join(["--methods vib", *TINY]),
    r"^narrows run mine":    " ".join(["--methods vib", *TINY]),
    r"^narrows run --network": " ".join(TINY),
    r"--network resnet18": "--methods ib_rar --seeds 1 --set network.channel_share=0.0625 "
                           "--set train_images=100",
    r"^narrows audit":   "--budget fast --images 10",
    r"^narrows attack":  "--images 10",
    r"carlini_wagner":   "--set steps=3",
    r"^narrows reeval":  "--images 5",
    r"^narrows plane":   "--samples 50",
    r"^narrows sweep":   "--set train.epochs=1 --set seeds=1 --set evaluate.attack_images=10 "
                         "--set evaluate.pgd_steps=2 --quiet",
    r"float64_fgsm":     "--images 10",
    r"papers.imb":       "--epochs 2 --seeds 2",
    r"planted_defences": "--images 10 --epochs 1 --skip-honest --only rounding",
    r"estimators/bench": "--quick --only variational_rate",
    r"^narrows mi codes": "--estimators ksg_relevance",
    r"^narrows run src": "--set network.encoder=[8] --set network.decoder=[8] "
                         "--set train.epochs=1 --seeds 1 --set train.batch_size=20 "
                         "--set evaluate.attack_images=10",
}  # fmt: skip


@pytest.fixture
def folder_of(shelf, tmp_path):
    """The folder that stands for the one printed: a copy of one's own."""

    def own(name: str) -> Path:
        kept = made(shelf, name) if name in PACKAGED else shelf.get(name, RUNS[name])
        return copied(kept, tmp_path / "stand-in")

    return own


def above(printed: Printed) -> str:
    """Which run was made last above a command on its page."""
    runs = ["finished"]
    for other in commands(printed.page):
        if other.line > printed.line or other == printed:
            break
        if recipe := re.search(r"narrows run \S+/([\w-]+)\.toml", other.text):
            runs.append(recipe[1])
    return runs[-1]


def write_samples(folder: Path) -> None:
    """The files that `narrows mi` is shown with."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(60, 2, generator=draw).numpy()
    np.save(folder / "codes.npy", x)
    np.savez(folder / "activations.npz", layer1=x, layer2=x + 1)
    labels = (x[:, 0] > 0).astype(int)
    (folder / "labels.csv").write_text("\n".join(map(str, labels)))


def words_of(printed: Printed, folder_of) -> list[str]:
    text = printed.text
    for pattern, stand_in in STANDS_FOR.items():
        text = re.sub(pattern, stand_in.replace("{above}", f"{{{above(printed)}}}"), text)
    folders = {name: str(folder_of(name)) for name in set(re.findall(r"{([\w-]+)}", text))}
    words = [re.sub(r"{([\w-]+)}", lambda m: folders[m[1]], word) for word in text.split()]
    more = [text for pattern, text in SHORTER.items() if re.search(pattern, printed.text)]
    return [*words, *" ".join(more).split()]


def typed() -> list[Printed]:
    """What is typed: a command that two pages print alike only once, unless it is about a run."""
    once = {p.text if "RUN" not in p.text else str(p): p for p in PRINTED}
    return [printed for printed in once.values() if printed.text not in SKIPPED]


@pytest.mark.parametrize("printed", typed(), ids=str)
def test_a_printed_command_runs(printed, folder_of, shelf, tmp_path):
    (tmp_path / "defence.py").write_text(DEFENCE.replace("digits", "mnist"))
    write_samples(tmp_path)
    write_own_data(tmp_path)
    (tmp_path / "grid.toml").write_text(blocks("docs/scaling.md")[0].text)
    if printed.inline and re.fullmatch(r"narrows \w+", printed.text):  # names a command, no more
        assert narrows(printed.text.split()[1], "--help").code == 0
        return
    if recipe := re.fullmatch(r"narrows run (\S+/([\w-]+)\.toml)", printed.text):
        assert (ROOT / recipe[1]).samefile(PACKAGED[recipe[2]])
        assert (made(shelf, recipe[2]) / "report.html").exists()
        return
    if table := re.fullmatch(r"narrows reproduce (\w[\w-]*)( --scale \w+)?", printed.text):
        assert find_tables(table[1])  # test_reproduce.py runs each
        return
    if "seed0.json" in printed.text:  # what the block above it has saved
        (block,) = (each for each in python_blocks(printed.page) if "seed0.json" in each.text)
        for seed in (1, 0):
            execute(block.page, [block])
            Path("seed0.json").rename(f"seed{seed}.json")
    if printed.text.startswith("narrows runs"):
        copied(folder_of("finished"), tmp_path / "runs")
    program, *words = words_of(printed, folder_of)
    if program == "narrows":
        words, into = (words[:-2], words[-1]) if ">" in words else (words, None)
        said = narrows(*words)
        assert (said.code, said.err) == (0, "")
        if into:
            Path(into).write_text(said.out)
    elif words[0] == "-m":
        module = importlib.import_module(words[1])
        module.main.main(words[2:], standalone_mode=False)
    else:
        script(ROOT / words[0], words[1:])


def write_own_data(home: Path) -> None:
    """What the pages on own data and networks speak of: functions, a file, images."""
    for page in ("docs/own-data.md", "docs/own-network.md", "docs/examples.md"):
        for block in python_blocks(page):
            if name := re.match(r"# (\w+\.py)\n", block.text):
                (home / name[1]).write_text(block.text)
    x = np.random.default_rng(0).integers(0, 256, (40, 4, 4)).astype(np.uint8)
    (home / "mine.toml").write_text('data = "digits"\n')
    np.savez(home / "mine.npz", x=x, y=np.arange(40) % 2)
    for i, pixels in enumerate(x):
        folder = home / "photos" / ("cat", "dog")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i}.png")


def script(path: Path, words: list[str]) -> None:
    """Run a script as Python does, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(path), *words])
        patch.syspath_prepend(path.parent)
        # Click's programs end with an exit code, others by themselves.
        patch.setattr(sys, "exit", ended)
        runpy.run_path(str(path), run_name="__main__")


def ended(code: object = None) -> None:
    """In place of `sys.exit` at the end of a script."""
    assert not code


def test_a_block_is_of_a_language_that_is_tried():
    languages = {block.language for page in PAGES for block in blocks(page)}
    assert languages <= {"sh", "python", "text"}


def test_nothing_is_skipped_that_is_not_printed():
    assert sorted(set(SKIPPED) - {printed.text for printed in PRINTED}) == []


def test_the_folder_that_is_printed_is_that_of_the_first_command(tmp_path):
    with watched(break_at=1):
        assert narrows("run", "--out", tmp_path).code == 130
    (folder,) = tmp_path.iterdir()
    printed = {name for page in PAGES for name in re.findall(r"digits-\w{10}", text_of(page))}
    assert printed == {folder.name}


def text_of(page: str) -> str:
    return (ROOT / page).read_text()
