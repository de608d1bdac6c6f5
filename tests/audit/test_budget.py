"""A budget holds whole numbers, and is named or made."""

import pytest

from narrows.audit import Budget
from narrows.audit._budget import BUDGETS, resolve_budget
from narrows.errors import ConfigError

NUMBERS = {"images": 5, "steps": 4, "restarts": 3, "queries": 2, "draws": 1, "verify_draws": 2}


def test_a_larger_budget_is_larger_in_every_number():
    fast, standard, full = (vars(BUDGETS[name]) for name in ("fast", "standard", "full"))
    for name in set(fast) - {"thorough"}:
        assert fast[name] < standard[name] <= full[name], name
    assert [BUDGETS[name].thorough for name in BUDGETS] == [False, False, True]


def test_a_name_or_a_budget():
    own = Budget(**NUMBERS, directions=7)
    assert resolve_budget(own) is own
    assert resolve_budget("fast") is BUDGETS["fast"]
    with pytest.raises(ConfigError, match="unknown budget 'fas'; did you mean 'fast'"):
        resolve_budget("fas")
    with pytest.raises(ConfigError, match="must be a Budget or one of fast, standard, full, got 3"):
        resolve_budget(3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", [*NUMBERS, "directions"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True])
def test_numbers_are_whole_and_positive(name, value):
    with pytest.raises(ConfigError, match=f"a budget's {name} must be"):
        Budget(**{**NUMBERS, "directions": 7, name: value})


def test_only_the_number_of_images_changes():
    changed = BUDGETS["full"].with_images(3)
    assert vars(changed) == {**vars(BUDGETS["full"]), "images": 3}
