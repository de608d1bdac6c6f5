"""The short versions of the harnesses of `benchmarks/faults`; each names what it finds.

To see a mutation again: `python benchmarks/faults/mutate.py --fast --seed SEED --replay NAME`. To
see a case: `python benchmarks/faults/terminal.py --case NAME`.
"""

import pytest


@pytest.mark.parametrize("seed", [0, 1])
def test_mutations_end_well(run_harness, seed):
    run_harness("mutate.py", "--count", 100, "--seed", seed, "--fast", "--workers", 1)


def test_commands_that_are_killed_end_as_if_nothing_had_happened(run_harness):
    run_harness("sigkill.py", "--rounds", 4, "--only", "run", "--only", "attack")


def test_a_sweep_whose_processes_are_killed_ends_as_if_nothing_had_happened(run_alone):
    pytest.importorskip("distributed", reason="the extra narrows[dask] is not installed")
    run_alone("sweep_kills.py", "--rounds", 2)


@pytest.mark.parametrize(
    "groups",
    [("streams", "disk", "signals", "rights"), ("names", "numbers", "devices", "models")],
    ids=", ".join,
)
def test_rules_of_what_happens_around_a_command(run_harness, groups):
    options = [word for group in groups for word in ("--only", group)]
    run_harness("terminal.py", "--fast", "--workers", 1, *options)
