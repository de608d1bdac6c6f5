"""What is walked: one line an entry of a registry. `test_registries.py` names what is missing."""

from typing import NamedTuple

# ---------------------------------------------------------------------------------------------
# Networks: the settings that make each as small as it gets, and the data set it is tried on.

# What makes each large network narrow.
NARROW = {
    "vgg16":           "network.channel_share=0.0625",
    "resnet18":        "network.channel_share=0.0625",
    "preact_resnet18": "network.channel_share=0.0625",
    "wide_resnet":     "network.depth=10 network.width=1",
}  # fmt: skip
SMALLEST = {
    "mlp":     "network.encoder=[8] network.bottleneck=4 network.decoder=[8]",
    "cnn":     "network.encoder=[4,8] network.bottleneck=4 network.decoder=[8]",
    "lenet":   "network.encoder=[4,8] network.bottleneck=4 network.decoder=[8]",
    "carlini": "network.encoder=[4,8] network.bottleneck=4 network.decoder=[8,8]",
    "binary":  "network.encoder=[8,6]",
    **{name: f"network.bottleneck=4 {narrow}" for name, narrow in NARROW.items()},
}  # fmt: skip
SMALL = ("mlp", "cnn", "lenet", "carlini")  # on images of mnist's shape, stacked and looped
LARGE = tuple(NARROW)  # on images of cifar10's shape
IMAGES_ONLY = (*SMALL[1:], *LARGE)  # these take no other inputs than images

# ---------------------------------------------------------------------------------------------
# Methods: the networks that each trains, and the settings that make it small. Every network that
# is not listed must be refused.

PLAIN = (*SMALL, "binary", *LARGE)  # any network; a binary one as its deterministic twin
CODED = (*SMALL, *LARGE)  # a random code, which a binary network does not have
METHOD_CASES = {
    "cross_entropy":      (PLAIN, ""),
    "dropout":            (PLAIN, ""),
    "label_smoothing":    (PLAIN, ""),
    "confidence_penalty": (PLAIN, ""),
    "jacobian_penalty":   (PLAIN, ""),
    "vib":                (CODED, ""),
    "ceb":                (CODED, ""),
    "nib":                (CODED, ""),
    "aib":                (PLAIN, "options.aib.hidden=[8,8]"),
    "hbar":               (PLAIN, ""),
    "ib_rar":             (PLAIN, ""),
    "sfnn":               (("binary",), "options.sfnn.samples=2"),
    "joint_imb":          (("binary",), "options.joint_imb.samples=2"),
    "greedy_imb":         (("binary",), "options.greedy_imb.samples=2"),
}  # fmt: skip
LATENT = ("vib", "ceb", "nib")  # these and AIB have nothing to regularise in a plain network

WRAPPER_CASES = {
    "pgd_training": "options.pgd_training.steps=2 options.pgd_training.eps=0.1",
    "trades":       "options.trades.steps=2 options.trades.eps=0.1",
    "mart":         "options.mart.steps=2 options.mart.eps=0.1",
}  # fmt: skip

# ---------------------------------------------------------------------------------------------
# Attacks of `narrows attack`: the norms of each, whether it takes a radius, and what makes it
# small. A norm that is not listed must be refused, and so must a radius.


class AttackCase(NamedTuple):
    """One attack of the command."""

    norms: tuple[str, ...]
    radius: str  # "must", "may" or "none": whether it is searched within one
    settings: str


BOTH = ("linf", "l2")
SPARSE = ("l1", "l0")
ATTACK_CASES = {
    "fgsm":           AttackCase(BOTH, "must", ""),
    "tgs":            AttackCase(BOTH, "must", "steps=3"),
    "pgd":            AttackCase((*BOTH, *SPARSE), "must", "steps=3 restarts=2"),
    "nifgsm":         AttackCase(BOTH, "must", "steps=3"),
    "apgd":           AttackCase((*BOTH, "l1"), "must", "steps=5 restarts=1"),
    "multi_targeted": AttackCase((*BOTH, *SPARSE), "must", "steps=2 restarts=1"),
    "square":         AttackCase((*BOTH, "l1"), "must", "queries=20"),
    "sparse_rs":      AttackCase(("l0",), "must", "queries=20"),
    "boundary_attack": AttackCase(("l2",), "may", "queries=100"),
    "hop_skip_jump":  AttackCase(BOTH, "may", "queries=100 probes=10"),
    "adaptive":       AttackCase(BOTH, "must", "steps=3 objective=rate"),
    "deepfool":       AttackCase(BOTH, "none", "steps=3"),
    "fab":            AttackCase((*BOTH, "l1"), "may", "steps=3 restarts=1"),
    "ddn":            AttackCase(("l2",), "none", "steps=5"),
    "carlini_wagner": AttackCase(("l2",), "none", "steps=5 searches=2"),
    "standard":       AttackCase((*BOTH, *SPARSE), "must", ""),
    "reevaluation":   AttackCase((*BOTH, "l1"), "must", ""),
}  # fmt: skip
NO_COMMAND = {"backend": "wraps a function, which no word of a command line can hold"}
EPS = {"linf": "0.1", "l2": "0.5", "l1": "2", "l0": "3"}

# ---------------------------------------------------------------------------------------------
# Commands: words and the run they are said on. RUN is its folder, OUT an empty one, FILE.toml a
# configuration, FILE.py a defence, FILE.csv two columns of numbers. Every option of every command
# occurs at least once.


class CommandCase(NamedTuple):
    """One way to say a command, and on which of the runs of `runs.py`."""

    words: str
    run: str = "finished"


ATTACKED = "--eps 0.1 --images 10 --out OUT/found"
COMMAND_CASES = [
    CommandCase("run FILE.toml --data digits --methods vib --betas 0.1,1 --seeds 1 --eps 0.1 "
                "--network mlp --adversarial mart --settings aib --epochs 1 --device cpu --out OUT "
                "--set train.batch_size=50 --set evaluate.attack_images=10 "
                "--set options.mart.steps=1 --set evaluate.pgd_steps=2 --quiet"),
    CommandCase("config FILE.toml --data digits --methods vib --betas 0.1,1 --seeds 1 --eps 0.1 "
                "--network mlp --adversarial mart --settings aib --epochs 1 --device cpu "
                "--set train.batch_size=50"),
    CommandCase("config RUN/config.json"),
    CommandCase("config RUN/config.json --betas 0.1 --json"),
    CommandCase("run --methods vib --betas 0.1 --seeds 1 --eps 0.1 --epochs 1 --out OUT "
                "--set evaluate.attack_images=5 --set evaluate.pgd_steps=1 --json"),
    CommandCase("train --method cross_entropy --epochs 1 --out OUT --json"),
    CommandCase("train FILE.toml --data digits --method vib --beta 0.1 --seed 1 --network mlp "
                "--adversarial trades --settings vib --epochs 1 --device cpu --out OUT "
                "--set options.trades.steps=1 --quiet"),
    CommandCase("sweep FILE.toml --engine local --out OUT --set seeds=1 --set betas=[0.1] "
                "--set train.epochs=1 --set evaluate.attack=false --yes --quiet"),
    CommandCase("sweep FILE.toml --out OUT --set seeds=1 --set train.epochs=1 "
                "--set attacks.fgsm.eps=0.1 --json"),
    CommandCase("sweep FILE.toml --engine dask --workers 1 --address tcp://127.0.0.1:8786 "
                "--set seeds=1 --dry-run"),
    CommandCase("sweep FILE.toml --dry-run --json"),
    CommandCase("runs RUN/.. --where state=complete --where seeds=2"),
    CommandCase("runs RUN/.. --where data=digits --json"),
    CommandCase("runs RUN/.. --verify"),
    CommandCase("runs RUN --compare . ."),
    CommandCase("runs RUN/.. --export OUT.csv"),
    CommandCase("runs RUN/.. --export OUT.csv --json"),
    CommandCase("runs RUN/.. --export OUT.txt --format csv"),
    CommandCase("runs RUN/.. --where state=unfinished --prune --yes --json"),
    CommandCase("runs RUN/.. --where state=unfinished --prune --yes"),
    CommandCase(f"attack RUN --method vib --beta 0.1 --seed 1 --data digits --device cpu "
                f"--attack pgd --norm linf --mode mean --set steps=3 --set restarts=1 {ATTACKED}"),
    CommandCase(f"attack RUN --method vib --attack fgsm --target least_likely {ATTACKED}"),
    CommandCase(f"attack RUN/vib/models.safetensors --attack fgsm --mode sample {ATTACKED}"),
    CommandCase(f"attack FILE.py:net --data digits --attack fgsm {ATTACKED}"),
    CommandCase("attack RUN --method vib --attack deepfool --set steps=2 --images 10 "
                "--out OUT/found --json"),
    CommandCase(f"audit RUN --method vib --budget fast {ATTACKED} --json"),
    CommandCase(f"audit RUN --method vib --beta 0.1 --seed 1 --data digits --device cpu "
                f"--norm l2 --budget fast --claimed 0.9 {ATTACKED}"),
    CommandCase(f"audit RUN --method vib --budget fast --twin RUN/aib/models.safetensors "
                f"{ATTACKED}"),
    CommandCase(f"audit FILE.py:net --data digits --budget fast --mean 0.0 --std 1.0 {ATTACKED}"),
    CommandCase("run --methods vib --network FILE.py:build --set network.at=2 --seeds 1 "
                "--betas 0.1 --epochs 1 --out OUT --set evaluate.attack=false "
                "--quiet", run="own network"),
    CommandCase("attack FILE.py:net --data FILE.npz --attack fgsm --mean 0 --std 1 "
                f"{ATTACKED}"),
    CommandCase("reevaluate RUN --methods vib --betas 0.1 --images 5 --device cpu --png --quiet"),
    CommandCase("reevaluate RUN --methods cross_entropy --images 5"),
    CommandCase("reevaluate RUN --methods cross_entropy --images 5 --png --json"),
    CommandCase("knee RUN --split train"),
    CommandCase("knee RUN --split test --json"),
    CommandCase("plane RUN --methods vib --betas 0.1 --layers latent --measure pairwise "
                "--noise 0.5 --samples 50 --out OUT/plane.html"),
    CommandCase("plane RUN --measure binned --bins 5 --samples 50 --json"),
    CommandCase("plane RUN --samples 50"),
    CommandCase("plane RUN --measure exact --json", run="binary"),
    CommandCase("plane RUN --samples 50", run="binary"),
    CommandCase("figure vib-1 RUN --png --quiet"),
    CommandCase("figure vib-2 RUN --png"),
    CommandCase("figure vib-2 RUN --png --json"),
    CommandCase("figure aib-4 RUN --png"),
    CommandCase("figure aib-4 RUN", run="twelve-bit"),
    CommandCase("figure aib-5 RUN --png"),
    CommandCase("figure aib-6 RUN --png"),
    CommandCase("figure imb-1 RUN --png", run="imb-plane"),
    CommandCase("figure ib-rar-3 RUN --png"),
    CommandCase("figure ib-rar-5 RUN --png", run="ib-rar-plane"),
    CommandCase("figure reevaluation-5 RUN --png", run="toys"),
    CommandCase("figure reevaluation-7 RUN --png", run="toys"),
    CommandCase("report RUN"),
    CommandCase("report RUN --markdown"),
    CommandCase("report RUN --json"),
    CommandCase("report RUN --png OUT/png --pdf OUT/pdf"),
    CommandCase("report RUN --out OUT/page.html --json", run="pair"),
    CommandCase("report RUN", run="binary"),
    CommandCase("report RUN", run="twelve-bit"),
    CommandCase("export RUN --method vib --beta 0.1 --seed 1 --formats safetensors --out OUT"),
    CommandCase("export RUN --method cross_entropy"),
    CommandCase("export RUN --method vib --json"),
    CommandCase("reproduce reevaluation-figure7 --scale smoke --device cpu --out OUT --results "
                "OUT/records --quiet --json"),
    CommandCase("reproduce vib-table1 --scale smoke --use main=RUN --out OUT"),
    CommandCase("reproduce reevaluation-figure7 --queue --scale smoke --out OUT"),
    CommandCase("reproduce --list"),
    CommandCase("reproduce --list --json"),
    CommandCase("reproduce reevaluation-figure7 --queue --scale smoke --out OUT --json"),
    CommandCase("reproduce vib-table1 --markdown"),
    CommandCase("methods"),
    CommandCase("methods --markdown"),
    CommandCase("methods --json"),
    CommandCase("estimators"),
    CommandCase("estimators --markdown"),
    CommandCase("estimators --json"),
    CommandCase("mi FILE.csv FILE.csv --estimators ksg --draws 1 --seed 1"),
    CommandCase("mi FILE.csv FILE.csv --estimators ksg --draws 1 --json"),
]  # fmt: skip

# What is said on runs in every other state; the same words, and what each state answers.
STATE_WORDS = [
    "report RUN",
    "report RUN --markdown",
    "knee RUN",
    "knee RUN --json",
    "plane RUN --samples 50",
    "plane RUN --samples 50 --json",
    "reevaluate RUN --methods vib --images 5 --png",
    f"attack RUN --method vib --attack fgsm {ATTACKED}",
    f"audit RUN --method vib --budget fast {ATTACKED}",
    "figure vib-1 RUN --png",
    "figure vib-2 RUN --quiet",
    "figure aib-4 RUN --quiet",
    "figure aib-5 RUN --quiet",
    "figure aib-6 RUN --quiet",
    "figure imb-1 RUN",
    "report RUN --json",
    "export RUN --method vib --json",
]
DONE = ""  # the command succeeds
STATES = {
    "audited":      DONE,  # attacked, audited, re-evaluated and drawn before
    "older":        DONE,  # of an earlier version: older.zip
    "diverged":     DONE,  # at one beta: the others are there
    "unfinished":   "finished",  # interrupted while its last method trained
    "all-diverged": DONE,  # every model of VIB and AIB: the plain network is there
}  # fmt: skip
# Refused in every state, and what the message names.
NOT_OF_A_RUN = {"figure imb-1 RUN": "narrows.papers.imb"}
# Refused in one state.
NOT_IN_STATE = {
    ("all-diverged", "reevaluate RUN --methods vib --images 5 --png"): "no trained model",
    ("all-diverged", STATE_WORDS[7]): "has diverged",
    ("all-diverged", STATE_WORDS[8]): "has diverged",
    ("all-diverged", "export RUN --method vib --json"): "has diverged",
    ("all-diverged", "figure vib-1 RUN --png"): "no model",
    ("all-diverged", "figure vib-2 RUN --quiet"): "no model",
    ("all-diverged", "figure aib-6 RUN --quiet"): "more than one beta",
}
