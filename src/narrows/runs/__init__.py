"""Runs: configure, train, measure, store, and read back.

`load_config` makes a `ResolvedConfig`, `carry_out` runs it and writes a folder, and `Run.open`
reads that folder: its configuration, its models (`Member`) and their records.

Rule: this package trains and stores; `narrows.experiments` measures stored models further;
`narrows.papers` has what a single paper needs; `narrows.report` draws records and nothing else.
"""

from narrows.runs.config import EvaluateConfig, ResolvedConfig, RunConfig
from narrows.runs.engine import carry_out
from narrows.runs.exporting import export_member, load_exported
from narrows.runs.loading import load_config
from narrows.runs.progress import Progress
from narrows.runs.records import Member, MemberRecord
from narrows.runs.run import Run, load_member
from narrows.runs.together import carry_out_together

__all__ = [
    "EvaluateConfig",
    "Member",
    "MemberRecord",
    "Progress",
    "ResolvedConfig",
    "Run",
    "RunConfig",
    "carry_out",
    "carry_out_together",
    "export_member",
    "load_config",
    "load_exported",
    "load_member",
]
