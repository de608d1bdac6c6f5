"""Sweeps: a grid of ordinary runs, planned first, then carried out here or on a cluster.

`read_grid` makes a `Sweep`, whose `units()` are runs; an engine carries each of them out. A unit
that a killed process has begun continues from its folder.
"""

from narrows.sweeps.engines import ENGINES, carry_out_sweep
from narrows.sweeps.grid import Sweep, Unit, read_grid
from narrows.sweeps.plan import SweepPlan, plan_sweep
from narrows.sweeps.units import UnitResult, carry_out_unit

__all__ = [
    "ENGINES",
    "Sweep",
    "SweepPlan",
    "Unit",
    "UnitResult",
    "carry_out_sweep",
    "carry_out_unit",
    "plan_sweep",
    "read_grid",
]
