"""The recipes in the package, and what makes each small; runs of them are made once."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from narrows.methods import METHODS
from product.cases import NARROW
from product.walk import Shelf, run, settings

__all__ = ["PACKAGED", "SHRUNK", "made", "words"]

PACKAGED = {
    path.name.removesuffix(".toml"): Path(str(path))
    for path in files("narrows").joinpath("recipes").iterdir()
    if path.name.endswith(".toml")
}

# Widths of the network; methods, options, optimiser, losses and attacks stay the recipe's own.
_MLP = "network.encoder=[8] network.decoder=[8]"
_VIB = "network.encoder=[8]"
_PREACT = "network.channel_share=0.03125 network.encoder=[8] train.beta_ramp=0"
SHRUNK = {
    "aib-cifar10":                f"{NARROW['vgg16']} network.decoder=[8]",
    "aib-curves":                 _MLP,
    "aib-curves-fashion":         _MLP,
    "aib-fashion-cnn":            "network.encoder=[2,2] network.bottleneck=4 network.decoder=[8]",
    "aib-mnist":                  _MLP,
    "aib-relu":                   _MLP,
    "aib-table1":                 _MLP,
    "aib-twelve-bit":             "",
    "ceb-cifar10-reevaluation":   _PREACT,
    "hbar-mnist":                 "network.encoder=[4,8] network.decoder=[16]",
    "ib-rar-cifar10":             NARROW["vgg16"],
    "ib-rar-cifar10-adversarial": NARROW["vgg16"],
    "ib-rar-cifar10-quarter":     NARROW["vgg16"],
    "imb-cifar10":                "network.encoder=[8,6]",
    "imb-mnist":                  "network.encoder=[8,6]",
    "imb-mnist-32":               "network.encoder=[8,6]",
    "imb-vib-mnist":              _VIB,
    "vib-cifar10-reevaluation":   _PREACT,
    "vib-figure1":                _VIB,
    "vib-figure2":                _VIB,
    "vib-mnist":                  _VIB,
    "vib-reevaluation":           _VIB,
    "vib-table1":                 _VIB,
}  # fmt: skip
# Those whose figures or attacks need several betas keep three of each grid.
CURVES = ("aib-curves", "aib-curves-fashion", "aib-twelve-bit", "vib-figure1", "vib-figure2",
          "vib-reevaluation", "vib-table1")  # fmt: skip
_FEW = ("train.batch_size=20 evaluate.attack_images=10 evaluate.pgd_steps=2 "
        "evaluate.information_samples=40 evaluate.samples=2 seeds=1 train.epochs=1")  # fmt: skip


class Words(NamedTuple):
    """What is said after `narrows run RECIPE`, and how many betas are left of each method."""

    said: list[str]
    betas: dict[str, int]


def words(name: str) -> Words:
    """What makes a recipe small."""
    recipe, left = tomllib.loads(PACKAGED[name].read_text()), 3 if name in CURVES else 1
    grids = {method: grid[:left] for method, grid in recipe.get("grids", {}).items()}
    said = [*settings(SHRUNK[name]), *settings(_FEW), "--quiet"]
    for method, grid in grids.items():
        said += ["--set", f"grids.{method}=[{','.join(map(str, grid))}]"]
    betas = recipe.get("betas", [])[:left]
    if betas:
        said += ["--betas", ",".join(map(str, betas))]
    counts = {method: len(grids.get(method, betas) or [0.0]) for method in recipe["methods"]}
    return Words(
        said, {m: n if METHODS[m].default_betas != (0.0,) else 1 for m, n in counts.items()}
    )


def made(shelf: Shelf, name: str) -> Path:
    """The folder of a small run of a recipe; to read only."""
    return shelf.get(f"recipe-{name}", lambda home: run(home, PACKAGED[name], *words(name).said))
