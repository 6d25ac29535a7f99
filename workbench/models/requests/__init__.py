"""A log of requests for pages, to be replayed under any allocator.

A DataFrame whose columns are those of workbench.arena.events, with two more. A `block` names
what an allocation gave, wherever that lies; so the same log holds under every placement policy.

    time    uint64  never runs backwards; steps, or any clock
    kind    alloc, free, user_fault, reserve
    page    int32   alloc: -1 anywhere, else exactly there; user_fault, reserve: where
    count   uint32  pages
    block   int32   alloc, reserve, user_fault: a new number; free: whose pages; -1 none
    offset  int32   free: from which page of the block

A user_fault on page -1 touches page `offset` of the block. Other columns of workbench.arena.events
(actor, pc, address, ns, source) may be there, and `bytes` that were asked for; nothing else.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from workbench.arena import events
from workbench.arena.events import Kind
from workbench.arena.rules import MAX_PAGES, PAGE_SHIFT
from workbench.errors import WorkbenchError
from workbench.evidence import provenance
from workbench.models.requests.columns import ANY, TIME, check_names, codes, whole, why_not_whole
from workbench.models.requests.judge import (
    BACKWARDS,
    BEYOND,
    DOUBLE_FREE,
    GOOD,
    NOT_HELD,
    NOT_THERE,
    NOT_WHOLE,
    OUTSIDE,
    OVERLAPS,
    PRESENT,
    SIZE,
    STRANGER,
    TWICE,
    UNKNOWN_KIND,
    judge,
    judge_events,
    name_blocks,
)

COLUMNS = {
    "time": np.uint64,
    "kind": np.uint8,
    "page": np.int32,
    "count": np.uint32,
    "block": np.int32,
    "offset": np.int32,
}
ALSO = ("actor", "pc", "address", "ns", "source", "bytes")
NUMBERS = {"time": TIME, "page": ANY, "count": ANY, "block": ANY, "offset": ANY}
KINDS = ("alloc", "alloc_failed", "free", "reserve", "user_fault")
NAMES = [kind.name.lower() for kind in Kind]
REASONS = {
    UNKNOWN_KIND: "kind '{kind}' is not one of alloc, free, reserve, user_fault",
    BACKWARDS: "time runs backwards, to {time}",
    SIZE: f"{{kind}} of {{count}} pages; an arena has 1 to {MAX_PAGES:,}",
    TWICE: "block {block} was allocated before",
    STRANGER: "free of block {block}, which no row before it allocates",
    BEYOND: "free of {count} pages from page {offset} of block {block} goes past its end",
    DOUBLE_FREE: "double free: pages of block {block} were freed before",
    OUTSIDE: f"{{kind}} at page {{page}}; an arena's pages are 0 to {MAX_PAGES - 1:,}",
}


class Columns(NamedTuple):
    """A log as arrays; kind is the number of an events.Kind."""

    kind: np.ndarray
    page: np.ndarray
    count: np.ndarray  # type: ignore[assignment]
    block: np.ndarray
    offset: np.ndarray


def frame(
    kind: np.ndarray,
    count: np.ndarray,
    block: np.ndarray,
    page: np.ndarray | None = None,
    time: np.ndarray | None = None,
    offset: np.ndarray | None = None,
) -> pd.DataFrame:
    """Make a log of columns of one length, integers: a row for each request.

    `kind` holds events.Kind numbers, `count` pages, `block` numbers what they give or
    take back (-1: none), `page` is a fixed first one (-1: anywhere), `offset` pages into the
    block, `time` any clock (default: the number of the row).
    """
    rows = len(kind)
    columns = {
        "time": np.arange(rows) if time is None else time,
        "kind": pd.Categorical.from_codes(np.asarray(kind, np.int8), NAMES),
        "page": np.full(rows, -1) if page is None else page,
        "count": count,
        "block": block,
        "offset": np.zeros(rows) if offset is None else offset,
    }
    return pd.DataFrame({
        name: column if name == "kind" else np.asarray(column).astype(COLUMNS[name])
        for name, column in columns.items()
    })  # fmt: skip


def columns(log: pd.DataFrame) -> Columns:
    """The columns of a log that holds together; WorkbenchError with row and reason otherwise."""
    found, verdict = _judged(log)
    bad = np.flatnonzero(verdict)
    if bad.size:
        raise WorkbenchError(_complaint(log, int(bad[0]), int(verdict[bad[0]]), bad.size))
    return found


def check(log: pd.DataFrame) -> None:
    """Raise WorkbenchError, with row and reason, unless the log holds together."""
    columns(log)


def faults(log: pd.DataFrame) -> pd.DataFrame:
    """Every row that is wrong, with the reason; a row that is wrong counts as not there."""
    _, verdict = _judged(log)
    bad = np.flatnonzero(verdict)
    reasons = [_reason(log, int(row), int(verdict[row])) for row in bad]
    return pd.DataFrame({"row": log.index[bad], "reason": reasons})


def repair(log: pd.DataFrame) -> pd.DataFrame:
    """The log sorted by time, without unknown columns and without the rows that `faults` names."""
    check_names(log, COLUMNS, None, "the log")
    known = log[[name for name in log.columns if name in COLUMNS or name in ALSO]]
    known = known[whole(known, NUMBERS)[1]]
    order = np.argsort(whole(known, {"time": TIME})[0]["time"], kind="stable")
    known = known.iloc[order].reset_index(drop=True)
    _, verdict = _judged(known)
    kept = known[verdict == GOOD].reset_index(drop=True)
    return kept.astype({name: dtype for name, dtype in COLUMNS.items() if name != "kind"})


def save(log: pd.DataFrame, path: str | Path) -> Path:
    """Write a log as Parquet, with its provenance."""
    check(log)
    return provenance.save(log, path)


def load(path: str | Path) -> pd.DataFrame:
    """Read a log that `save` wrote; raises WorkbenchError for any other file."""
    log = provenance.load(path)
    check(log)
    return log


def from_events(log: pd.DataFrame, repair: bool = False) -> pd.DataFrame:
    """Make requests of what an arena recorded (`arena.events`), so that they can lie elsewhere.

    Each allocation, reservation and user fault becomes a block; a free becomes one row for each
    block that it frees pages of. Refused allocations are requests too. Fixed addresses
    and free choices alike become requests for any place. Raises WorkbenchError, with the
    row, for events that contradict each other; with `repair` those are left out.
    """
    kept = recorded(log, MAX_PAGES, repair)
    placed, time = placed_columns(kept), kept["time"].to_numpy(np.uint64)
    source, requests = name_blocks(placed.kind, placed.page, placed.count, MAX_PAGES)
    made = Columns(*requests)
    kind = np.where(made.kind == int(Kind.ALLOC_FAILED), int(Kind.ALLOC), made.kind)
    return frame(kind, made.count, made.block, made.page, time[source], made.offset)


def recorded(log: pd.DataFrame, pages: int, repair: bool = False) -> pd.DataFrame:
    """The rows of recorded events that matter to free memory, none in contradiction to another.

    `pages` is the size of the arena. Raises WorkbenchError with row and reason; with `repair` the
    rows are sorted by time and those that cannot have happened left out. A log that lost its oldest
    events is refused too, unless it is to be repaired.
    """
    if isinstance(log, pd.DataFrame) and (lost := log.attrs.get("lost", 0)) and not repair:
        raise WorkbenchError(
            f"the log lost its {lost:,} oldest events, without which nobody knows which pages were "
            "free; run fewer steps on a fresh arena, or pass repair=True for what can be known"
        )
    kept = _known_events(log, repair)
    kept = kept[kept["kind"].isin(KINDS)]
    kind, count, page = _numbers(kept)
    verdict = np.zeros(len(kept), np.uint8)
    judge_events(kind, page, count, np.zeros(pages, np.uint8), verdict)
    bad = np.flatnonzero(verdict)
    if bad.size and not repair:
        raise WorkbenchError(contradiction(kept, int(bad[0]), int(verdict[bad[0]])))
    return kept[verdict == GOOD]


def placed_columns(log: pd.DataFrame) -> Columns:
    """Recorded events as columns, each at its own page; refused allocations change nothing."""
    kind, count, page = _numbers(log)
    rows = len(log)
    return Columns(kind, page, count, np.full(rows, -1, np.int32), np.zeros(rows, np.int32))


def as_events(log: pd.DataFrame, page: np.ndarray, status: np.ndarray) -> pd.DataFrame:
    """A log with the pages that a replay gave it, as an event frame of an arena."""
    kind = log["kind"].astype(str).map({name: at for at, name in enumerate(NAMES)}).to_numpy()
    kind = np.where((kind == Kind.ALLOC) & (status == 1), int(Kind.ALLOC_FAILED), kind)
    kept = (status == 0) | (kind == int(Kind.ALLOC_FAILED))
    rows = {
        "time": log["time"].to_numpy(np.uint64),
        "kind": kind.astype(np.uint8),
        "actor": (kind == Kind.USER_FAULT).astype(np.uint8),
        "pc": np.full(len(log), -1, np.int32),
        "page": page.astype(np.int32),
        "address": np.maximum(page, 0).astype(np.uint64) << np.uint64(PAGE_SHIFT),
        "count": log["count"].to_numpy(np.uint32),
    }
    return events.frame({name: column[kept] for name, column in rows.items()})


EVENT_NUMBERS = {name: NUMBERS[name] for name in ("time", "page", "count")}


def _known_events(log: pd.DataFrame, repair: bool) -> pd.DataFrame:
    """Recorded events of known kinds, in order of time; what is none is refused, or left out."""
    check_names(log, (*EVENT_NUMBERS, "kind"), None if repair else (*COLUMNS, *ALSO), "the log")
    known, good = codes(log["kind"], NAMES) < len(NAMES), whole(log, EVENT_NUMBERS)[1]
    if repair:
        kept = log[known & good]
        return kept.iloc[np.argsort(kept["time"].to_numpy(np.int64), kind="stable")]
    bad = np.flatnonzero(~(known & good))
    if bad.size:
        row = int(bad[0])
        kind = f"unknown kind '{log['kind'].iloc[row]}'"
        reason = why_not_whole(log, row, EVENT_NUMBERS) if known[row] else kind
        raise WorkbenchError(
            f"event log, row {log.index[row]}: {reason}; repair=True leaves it out"
        )
    _refuse_backwards(log)
    return log


def _numbers(log: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kind numbers (255: none of them), counts and pages; impossible ones as -1."""
    found, _ = whole(log, EVENT_NUMBERS)
    count = np.clip(found["count"], -1, 2 * MAX_PAGES)
    return codes(log["kind"], NAMES), count, np.clip(found["page"], -2, MAX_PAGES).astype(np.int32)


def _judged(log: pd.DataFrame) -> tuple[Columns, np.ndarray]:
    """The columns of a log, and for each row GOOD or what is wrong with it."""
    check_names(log, COLUMNS, (*COLUMNS, *ALSO), "the log")
    numbers, good = whole(log, NUMBERS)
    kind, count, page = _numbers(log)
    block = np.where(good, _int32(numbers["block"]), np.int32(-1))
    found = Columns(np.where(good, kind, 255).astype(np.uint8), page, count, block,
                    _int32(numbers["offset"]))  # fmt: skip
    time = numbers["time"]
    late = np.zeros(len(log), bool)
    late[1:] = time[1:] < np.maximum.accumulate(time)[:-1] if len(time) else False
    verdict = np.zeros(len(log), np.uint8)
    blocks = int(block.max(initial=-1)) + 1
    if blocks > max(4 * len(log), 1024):
        raise WorkbenchError(f"block {blocks - 1} in a log of {len(log)} rows; number them from 0")
    judge(found, late, blocks, verdict)
    verdict[~good] = NOT_WHOLE
    return found, verdict


def _int32(column: np.ndarray) -> np.ndarray:
    limits = np.iinfo(np.int32)
    return np.clip(column, limits.min, limits.max).astype(np.int32)


def _refuse_backwards(log: pd.DataFrame) -> None:
    time = log["time"].to_numpy()
    back = np.flatnonzero(time[1:] < time[:-1])
    if back.size:
        raise WorkbenchError(f"event log, row {log.index[back[0] + 1]}: time runs backwards")


def _reason(log: pd.DataFrame, row: int, verdict: int) -> str:
    if verdict == NOT_WHOLE:
        return why_not_whole(log, row, NUMBERS)
    values = {str(name): value for name, value in log.iloc[row].items()}
    return REASONS[verdict].format(**values)


def _complaint(log: pd.DataFrame, row: int, verdict: int, count: int) -> str:
    more = f" (and {count - 1:,} more rows)" if count > 1 else ""
    return (
        f"request log, row {log.index[row]}: {_reason(log, row, verdict)}{more}; "
        "requests.repair(log) leaves such rows out"
    )


CONTRADICTIONS = {
    OVERLAPS: "{kind} of {count} page(s) at page {page}, not all free; is the log complete?",
    PRESENT: "user_fault on page {page}, which has memory already",
    NOT_HELD: "free of page {page}, which is free already (a double free); Linux ignores it",
    NOT_THERE: "{kind} of {count} pages at page {page}, outside the arena",
}


def contradiction(log: pd.DataFrame, row: int, verdict: int) -> str:
    """Say which row of recorded events cannot have happened, and why."""
    values = {str(name): value for name, value in log.iloc[row].items()}
    reason = CONTRADICTIONS[verdict].format(**values)
    return f"event log, row {log.index[row]}: {reason}; repair=True leaves such rows out"
