"""Recordings of format version 1, which kept less: as version 2 with what can be known filled in.

Version 1 had no maps, no BTF, the names of functions alone, no report of the verifier, and of a
page event its step, kind and pages: the rest follows from these, as the engines make them.
"""

from typing import Any

import numpy as np

from workbench.arena.events import Kind
from workbench.arena.rules import PAGE_SIZE
from workbench.bpf.declarations import Subprogram

_BY_USER = (Kind.USER_FAULT, Kind.USER_MINOR, Kind.SEGV)


def upgraded(
    meta: dict[str, Any], columns: dict[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Meta and columns of version 2 from those of version 1."""
    functions = [Subprogram(**row)._asdict() for row in meta.get("functions", ())]
    absent = [] if meta["arena"] else ["initial", "free"]
    absent += [] if columns["region_bytes"].any() else ["stack"]
    new = {
        "subprograms": functions,
        "structures": meta.get("structures", []),
        "variables": meta.get("variables", []),
        "part": meta.get("part"),
        "program": meta.get("program", {}) | {"maps": [], "btf": ""},
        "absent": absent,
        "report": None,
    }
    return meta | new, columns | _events(meta, columns)


def _events(meta: dict[str, Any], columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Time, actor, slot and address of the page events."""
    step, page, pc = columns["event_step"], columns["event_page"], columns["pc"]
    slots = np.full(len(step), -1, np.int32)
    if len(pc):
        slots = pc[np.minimum(step, len(pc) - 1)].astype(np.int32)
    start = np.uint64(meta["arena"]["user_start"] if meta["arena"] else 0)
    return {
        "event_time": step.astype(np.uint64) + np.uint64(meta.get("clock", 0) + 1),
        "event_actor": np.isin(columns["event_kind"], _BY_USER).astype(np.uint8),
        "event_pc": slots,
        "event_address": start + page.astype(np.uint64) * np.uint64(PAGE_SIZE),
    }
