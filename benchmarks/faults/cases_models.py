"""Models that a user may bring, from the file `strange.py`, and what has to come of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cases import Case, Place
from child import Ended, Process
from strange import BODIES, FUNCTIONS, source

__all__ = ["CASES"]

_ATTACK = ["--data", "digits", "--attack", "fgsm", "--eps", "0.1", "--images", "3"]
_AUDIT = ["--data", "digits", "--eps", "0.1", "--budget", "fast", "--images", "2"]


def _run(place: Place, words: list[str]) -> Ended:
    return Process(place.words(words), place.folder).run()


WORK = ("right", "half precision", "double precision", "noisy", "seeds the generator", "prints")
WORK += ("warns", "needs two rows", "two classes for ten", "-inf for all but one class")
EITHER = ("detached", "without gradients", "in inference mode", "remembers", "infinite", "sparse")
EITHER += ("writes into its input", "NaN on one image", "refuses more than two images")
_AUDITED = ("right", "no classes", "one logit", "twice the batch", "a tuple", "NaN", "integers")
_AUDITED += ("raises", "leaves", "needs two rows", "half precision", "warns")
_AUDITED += ("-inf for all but one class", "writes into its input", "recursion")


def _model_cases() -> Iterator[Case]:
    rule = "a model that returns no logits, or raises, is one line"
    for name, body in BODIES.items():
        codes = (0,) if name in WORK else (0, 2) if name in EITHER else (2,)
        if name == "two classes for ten":
            codes = (2,)
        for command, rest in (("attack", _ATTACK), ("audit", _AUDIT)):
            yield Case(
                f"{command} of a model: {name}",
                "models",
                rule,
                lambda place, a=(command, rest, body): _strange(place, *a[:2], source(a[2])),
                codes=codes,
                slow=command == "audit" and name not in _AUDITED,
            )
    for name, text in {
        **FUNCTIONS,
        "is interrupted": "def net():\n    raise KeyboardInterrupt",
    }.items():
        codes = {"returns a module without weights": (0, 2), "is interrupted": (130,)}.get(
            name, (2,)
        )
        for command, rest in (("attack", _ATTACK), ("audit", _AUDIT)):
            yield Case(
                f"{command} of a file that {name}",
                "models",
                "a function that returns no model is one line",
                lambda place, a=(command, rest, f"import torch\n{text}\n"): _strange(place, *a),
                codes=codes,
            )
    twins: dict[str, Callable[[Place], list[str]]] = {
        "nowhere": lambda place: ["nowhere"],
        "a function that raises": lambda place: ["strange.py:net"],
        "other inputs": lambda place: ["wide.py:net"],
    }
    for name, twin in twins.items():
        yield Case(
            f"audit with a twin: {name}",
            "models",
            "a twin that cannot be compared is one line",
            lambda place, twin=twin: _with_twin(place, twin),
            codes=(2,),
        )


def _strange(place: Place, command: str, rest: list[str], text: str) -> Ended:
    (place.folder / "strange.py").write_text(text)
    return _run(place, [command, "strange.py:net", *rest, "--out", "made"])


def _with_twin(place: Place, twin: Callable[[Place], list[str]]) -> Ended:
    (place.folder / "strange.py").write_text(f"import torch\n{FUNCTIONS['raises']}\n")
    (place.folder / "wide.py").write_text(f"import torch\n{FUNCTIONS['returns a wide one']}\n")
    words = ["audit", "net.py:net", *_AUDIT, "--out", "made", "--twin", *twin(place)]
    return _run(place, words)


CASES = list(_model_cases())
