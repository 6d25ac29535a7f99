"""Page faults of any source as one frame, and the tables behind every view of them.

A fault frame has a row for each fault, in order of time:

    time        uint64    steps of the program's clock (real arenas: the number of the event)
    ns          float64   nanoseconds from the first event; NaN where nothing was measured
    cause       category  see CAUSES
    actor       category  program, user
    page        int32     relative to the arena's start; -1 outside
    address     uint64    bytes, in user form
    pc          int32     instruction slot; -1 for user space
    line        int32     line of the C source; 0 where it is not known
    repeat      bool      the page had a fault before
    after_free  bool      the page was freed, and nobody has made it again
    source      category  emulated, kernel

The emulated arena, perf's page-fault samples of a real one and the kernel's own reports of BPF
faults all come in this form.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from workbench.arena.events import Actor, Kind
from workbench.arena.rules import MAX_PAGES, PAGE_SIZE, WINDOW
from workbench.arguments import instance, takes
from workbench.errors import WorkbenchError
from workbench.models.faults.annotate import look_back
from workbench.models.requests.columns import TIME, check_names, codes, whole, why_not_whole

if TYPE_CHECKING:
    from workbench.bpf.program import Program


class Cause(NamedTuple):
    """Why a fault happened, what came of it, and the kind of event that records it."""

    name: str
    meaning: str
    kind: Kind


CAUSES = (
    Cause("fill", "user touch makes the page", Kind.USER_FAULT),
    Cause("map", "user touch maps an existing page", Kind.USER_MINOR),
    Cause("refused", "user touch refused (SIGSEGV)", Kind.SEGV),
    Cause("absent_read", "program reads absent page: 0", Kind.ABSENT_READ),
    Cause("dropped_write", "program write lost", Kind.DROPPED_WRITE),
)
NAMES = [cause.name for cause in CAUSES]
COLUMNS = ("time", "ns", "cause", "actor", "page", "address", "pc", "line", "repeat",
           "after_free", "source")  # fmt: skip
NEEDED = ("time", "kind", "actor", "page", "address", "pc", "count")
ALSO = ("ns", "source")
LIMITS = {"time": TIME, "page": (-1, MAX_PAGES - 1), "pc": (-1, (1 << 31) - 1),
          "count": (0, (1 << 32) - 1)}  # fmt: skip


@takes(events=instance(pd.DataFrame, instead="a frame of events, as arena.events or result.events"))
def fault_frame(
    events: pd.DataFrame, program: "Program | None" = None, repair: bool = False
) -> pd.DataFrame:
    """The faults among an arena's events: `arena.events`, `result.events`, `recorder.events`.

    `program` gives C lines to program counters. Raises WorkbenchError for a frame that lacks a
    column of workbench.arena.events or has others, and, with the row, for unknown kinds and actors,
    numbers that cannot be, and time that runs backwards; with `repair` such rows are left out, and
    the others sorted by time.
    """
    if repair:
        events = _repaired(events)
    kind = _kinds(events)
    place = np.full(len(Kind) + 1, -1, np.int8)
    fault = np.zeros(len(Kind) + 1, np.uint8)
    for at, cause in enumerate(CAUSES):
        place[cause.kind] = at
        fault[cause.kind] = 2 if cause.kind == Kind.USER_FAULT else 1
    page = events["page"].to_numpy(np.int32)
    count = events["count"].to_numpy()
    repeat, after_free = look_back(kind, page, count, fault, MAX_PAGES)
    kept = np.flatnonzero(place[kind] >= 0)
    pc = events["pc"].to_numpy(np.int32)[kept]
    found = pd.DataFrame({
        "time": events["time"].to_numpy(np.uint64)[kept],
        "ns": _nanoseconds(events)[kept],
        "cause": pd.Categorical.from_codes(place[kind[kept]], NAMES),
        "actor": events["actor"].array[kept],
        "page": page[kept],
        "address": events["address"].to_numpy(np.uint64)[kept],
        "pc": pc,
        "line": _lines(pc, program),
        "repeat": repeat[kept],
        "after_free": after_free[kept],
        "source": _source(events).take(kept),
    }, copy=False)  # fmt: skip
    found.attrs["lost"] = events.attrs.get("lost", 0)
    return found


REPORT = re.compile(
    r"ERROR: Arena (READ|WRITE) access at unmapped address (0x[0-9a-fA-F]+)"
    r"(?:(?!ERROR: Arena)[\s\S])*?(?: @ [^\n]*?:(\d+)\n|(?=ERROR: Arena)|\Z)"
)


def from_reports(text: str, user_start: int, pages: int = MAX_PAGES) -> pd.DataFrame:
    """Faults of BPF programs, from the text that Linux (6.18 and later) puts into their stderr.

    `text` is what `Kernel.read_stderr` gave, `user_start` the arena's. The reports have no times:
    `time` counts them. The line is that of the innermost function that has one. Linux drops reports
    for which it finds no memory. Source: kernel/bpf/arena.c, kernel/bpf/stream.c.
    """
    found = [(v == "WRITE", int(address, 16), int(line or 0))
             for v, address, line in REPORT.findall(text)]  # fmt: skip
    writes, address, line = np.array(found, np.uint64).reshape(-1, 3).T
    page = (address % WINDOW - np.uint64(user_start % WINDOW)) % WINDOW // PAGE_SIZE
    kinds = [int(Kind.ABSENT_READ), int(Kind.DROPPED_WRITE)]
    names = [kind.name.lower() for kind in Kind]
    rows = len(found)
    events = pd.DataFrame({
        "time": np.arange(rows, dtype=np.uint64),
        "kind": pd.Categorical.from_codes(np.where(writes, *kinds[::-1]).astype(np.int8), names),
        "actor": pd.Categorical.from_codes(
            np.full(rows, int(Actor.PROGRAM), np.int8), [a.name.lower() for a in Actor]
        ),
        "page": np.where(page < pages, page.astype(np.int64), -1).astype(np.int32),
        "address": address, "pc": np.full(rows, -1, np.int32), "count": np.ones(rows, np.uint32),
        "source": pd.Categorical(["kernel"] * rows, ["emulated", "kernel"]),
    })  # fmt: skip
    return fault_frame(events).assign(line=line.astype(np.int32))


def modelled(faults: pd.DataFrame, costs: Mapping[str, float]) -> pd.DataFrame:
    """Add `model_ns`: what the time would be if every step and fault cost what was calibrated.

    `costs` are ns for `step` and for each cause, such as `workbench calibrate` keeps; a cause
    without a cost adds nothing. This is a *model*: contention, caches and everything else
    are left out.
    """
    each = np.array([costs.get(name, 0.0) for name in NAMES])
    steps = faults["time"].to_numpy(np.float64)
    passed = (steps - (steps[0] if len(steps) else 0)) * costs.get("step", 0.0)
    own = np.nan_to_num(each[faults["cause"].cat.codes.to_numpy()])
    return faults.assign(model_ns=passed + np.cumsum(own))


def sequence(faults: pd.DataFrame) -> list[tuple[str, int]]:
    """Cause and page of each fault, in order: the same on an emulated and a real arena."""
    return list(zip(faults["cause"].astype(str), faults["page"].tolist(), strict=True))


def _kinds(events: pd.DataFrame) -> np.ndarray:
    """Numbers of the events' kinds; WorkbenchError for a frame that is no event frame."""
    check_names(events, NEEDED, (*NEEDED, *ALSO), "the event frame")
    kind, good = _good(events)
    strange = np.flatnonzero(~good)
    if strange.size:
        row = int(strange[0])
        reason = why_not_whole(events, row, LIMITS) or (
            f"unknown kind '{events['kind'].iloc[row]}' or actor '{events['actor'].iloc[row]}'"
        )
        raise WorkbenchError(
            f"event frame, row {events.index[row]}: {reason}; repair=True leaves it out"
        )
    time = events["time"].to_numpy()
    back = np.flatnonzero(time[1:] < time[:-1])
    if back.size:
        raise WorkbenchError(f"event frame, row {events.index[back[0] + 1]}: time runs backwards")
    return kind


def _good(events: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the kinds, and which rows can be."""
    kind = codes(events["kind"], [kind.name.lower() for kind in Kind])
    actor = codes(events["actor"], [actor.name.lower() for actor in Actor])
    return kind, (kind != 255) & (actor != 255) & whole(events, LIMITS)[1]


def _repaired(events: pd.DataFrame) -> pd.DataFrame:
    """The rows that can be, in order of time, and the columns that are known."""
    check_names(events, NEEDED, None, "the event frame")
    kept = events[[name for name in events.columns if name in NEEDED or name in ALSO]]
    kept = kept[_good(kept)[1]]
    return kept.iloc[np.argsort(kept["time"].to_numpy(np.int64), kind="stable")]


def _nanoseconds(events: pd.DataFrame) -> np.ndarray:
    """Measured ns from the first event; NaN for events that nobody measured."""
    emulated = "source" in events and (events["source"] == "emulated").all()
    if "ns" not in events or emulated or events.empty:
        return np.full(len(events), np.nan)
    ns = events["ns"].to_numpy()
    return (ns - ns.min()).astype(np.float64)


def _source(events: pd.DataFrame) -> pd.Categorical:
    if "source" in events:
        return pd.Categorical(events["source"])
    return pd.Categorical(["emulated"] * len(events), ["emulated", "kernel"])


def _lines(pc: np.ndarray, program: "Program | None") -> np.ndarray:
    """The source line of each program counter, 0 where there is none."""
    known = np.zeros(pc.max(initial=-1) + 2, np.int32)  # the last is for -1
    if program is None:
        return known[np.broadcast_to(np.int64(-1), pc.shape)]
    for at in np.unique(pc[pc >= 0]).tolist():
        line = program.line_of(at)
        known[at] = line.line if line else 0
    return known[pc]
