"""The compiled judge of a log: rows that cannot be, and the blocks behind recorded events."""

import numpy as np

from workbench.arena.events import Kind
from workbench.arena.rules import MAX_PAGES
from workbench.compiled.njit import njit

GOOD, UNKNOWN_KIND, BACKWARDS, SIZE, TWICE, STRANGER, BEYOND, DOUBLE_FREE, OUTSIDE = range(9)
NOT_WHOLE = 9
OVERLAPS, PRESENT, NOT_HELD, NOT_THERE = range(1, 5)  # of recorded events

_ALLOC, _FREE, _RESERVE = int(Kind.ALLOC), int(Kind.FREE), int(Kind.RESERVE)
_FAULT, _FAILED = int(Kind.USER_FAULT), int(Kind.ALLOC_FAILED)


@njit(allocates=True)
def judge(log, late, blocks, verdict):
    """Say what is wrong with each row of a log; one that is wrong counts as not there.

    `log` holds its int64[n] columns, `late` which rows run backwards, `blocks` is one past the
    highest block. Writes GOOD .. OUTSIDE into `verdict`, uint8[n].
    """
    size = np.zeros(blocks, np.int64)
    left = np.zeros(blocks, np.int64)  # pages not yet freed
    base = np.full(blocks, -1, np.int64)  # where a block freed in parts has its marks
    parts = np.int64(0)
    for row in range(log.kind.shape[0]):
        if log.kind[row] == _ALLOC and log.block[row] >= 0 and 0 < log.count[row] <= MAX_PAGES:
            size[log.block[row]] = log.count[row]
    for row in range(log.kind.shape[0]):
        block = log.block[row]
        if log.kind[row] != _FREE or block < 0 or base[block] >= 0:
            continue
        if log.count[row] < size[block]:
            base[block] = parts
            parts += size[block]
    freed = np.zeros(parts, np.bool_)
    size[:] = 0
    for row in range(log.kind.shape[0]):
        verdict[row] = _judge_row(log, row, late[row], size, left, base, freed)


@njit
def _judge_row(log, row, late, size, left, base, freed):
    kind, block, count = log.kind[row], log.block[row], log.count[row]
    if kind != _ALLOC and kind != _FREE and kind != _RESERVE and kind != _FAULT:
        return UNKNOWN_KIND
    if late:
        return BACKWARDS
    if count < 1 or count > MAX_PAGES:
        return SIZE
    if kind != _FREE:
        page = log.page[row]
        anywhere = kind == _ALLOC or (kind == _FAULT and block >= 0)
        if page + count > MAX_PAGES or page < -1 or (page < 0 and not anywhere):
            return OUTSIDE
        if kind == _FAULT and page < 0:
            return GOOD if size[block] else STRANGER
        if block >= 0:
            if size[block]:
                return TWICE
            size[block] = left[block] = count
        return GOOD
    if block < 0 or size[block] == 0:
        return STRANGER
    offset = np.int64(log.offset[row])
    if offset < 0 or offset + count > size[block]:
        return BEYOND
    if count > left[block]:
        return DOUBLE_FREE
    if base[block] >= 0:
        first = base[block] + offset
        for at in range(first, first + count):
            if freed[at]:
                return DOUBLE_FREE
        for at in range(first, first + count):
            freed[at] = True
    left[block] -= count
    return GOOD


@njit(inline=True)
def _judge_event(kind, page, count, state):
    """Whether an event can have happened to pages in these states (0 free, 1 live, 2 reserved)."""
    if page < 0 or count < 1 or page + count > state.shape[0]:
        return NOT_THERE
    taken = np.int64(0)
    for at in range(page, page + count):
        taken += state[at] != 0
    if kind == _FREE:
        return NOT_HELD if taken == 0 else GOOD
    if kind == _FAULT:
        return PRESENT if state[page] == 1 else GOOD
    return OVERLAPS if taken else GOOD


@njit
def judge_events(kind, page, count, state, verdict):
    """Judge each event in the light of the good ones before it."""
    for event in range(kind.shape[0]):
        what, start, number = kind[event], np.int64(page[event]), count[event]
        if what == _FAILED:
            continue
        verdict[event] = _judge_event(what, start, number, state)
        if verdict[event] == GOOD:
            now = 0 if what == _FREE else 2 if what == _RESERVE else 1
            state[start : start + number] = now


@njit(allocates=True)
def name_blocks(kind, page, count, pages):
    """Turn placed events into requests by block.

    Returns (the event of each request; its kind, page, count, block and offset).
    """
    state, owner = np.zeros(pages, np.uint8), np.zeros(pages, np.int32)
    rows, first = np.int64(0), np.empty(kind.shape[0], np.int32)
    out, blocks = np.empty((6, 16), np.int64), np.int64(0)
    for event in range(kind.shape[0]):
        what, start, number = kind[event], np.int64(page[event]), count[event]
        if what == _FAILED:
            out, rows = _append(out, rows, event, _FAILED, -1, number, blocks, 0)
            blocks += 1
            continue
        if what == _FREE:
            out, rows = _free_blocks(out, rows, event, start, number, state, owner, first)
            continue
        block = blocks
        if what == _FAULT and state[start] == 2:
            block = np.int64(-1)  # the reservation keeps the page
        else:
            first[block] = start
            blocks += 1
            owner[start : start + number] = block
        state[start : start + number] = 2 if what == _RESERVE else 1
        at = np.int64(-1) if what == _ALLOC else start
        out, rows = _append(out, rows, event, what, at, number, block, 0)
    out = out[:, :rows]
    columns = (
        out[1].astype(np.uint8),
        out[2].astype(np.int32),
        out[3].copy(),
        out[4].astype(np.int32),
        out[5].astype(np.int32),
    )
    return out[0].copy(), columns


@njit(allocates=True)
def _free_blocks(out, rows, event, start, number, state, owner, first):
    """One request for each run of pages of one block in what was freed."""
    at, end = start, start + number
    while at < end:
        if state[at] == 0:
            at += 1
            continue
        stop = at
        while stop < end and state[stop] != 0 and owner[stop] == owner[at]:
            state[stop] = 0
            stop += 1
        block = np.int64(owner[at])
        out, rows = _append(out, rows, event, _FREE, -1, stop - at, block, at - first[block])
        at = stop
    return out, rows


@njit(allocates=True)
def _append(out, rows, event, kind, page, count, block, offset):
    """Add a request, in twice the room where there is none left."""
    if rows == out.shape[1]:
        larger = np.empty((6, 2 * rows), np.int64)
        larger[:, :rows] = out
        out = larger
    out[0, rows], out[1, rows], out[2, rows] = event, kind, page
    out[3, rows], out[4, rows], out[5, rows] = count, block, offset
    return out, rows + 1
