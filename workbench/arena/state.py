"""The compiled heart of the emulated arena: pages, faults, and what the kfuncs do to them.

A page is known by its place in the 4 GiB window (the low half of its user address), with
eight guard pages on either side, the reach of an instruction's 16-bit offset:

    pages[0..7] guard | pages[8 + (low >> PAGE_SHIFT)] window | pages[8 + 2**20 ..] guard

The program sees byte `low` of the window at host address meta[HOST] + low, and user space sees
the same byte at high half of the arena's start : low (kernel/bpf/arena.c).

In what follows `address` is a user address (uint64), `count` a number of pages, and `pc` the slot
of the program that asks, -1 for none.
"""

from errno import EBUSY, EINVAL
from typing import NamedTuple

import numpy as np

from workbench.arena.events import Actor, Kind, Ring, push, ring
from workbench.arena.ranges import find, free_ranges, give, is_free, take
from workbench.arena.rules import GUARD, MAX_PAGES, PAGE_SHIFT, PAGE_SIZE, WINDOW, ArenaFlags
from workbench.compiled.lazy import lazy_bytes, lazy_zeros
from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32, clear_bytes, give_way, swap64
from workbench.compiled.tables import Bytes, Integers, Words

GUARD_PAGES = GUARD // PAGE_SIZE
PAGE_SLOTS = MAX_PAGES + 2 * GUARD_PAGES + 1

PRESENT, USER, DIRTY = 1, 2, 4  # page bits: the program has it; so has the user; was once used
HOST, START, END, VMA_START, VMA_END, WRITABLE, FLAGS, CLOCK, LIVE = range(9)  # meta indices
LOCK = 9  # 1 while a thread changes pages or writes events
META = 10

EVENT_CAPACITY = 1 << 20  # one for each page of the largest arena; 30 MiB, committed as they fill
_PAGE_SHIFT = np.uint64(PAGE_SHIFT)
_PAGE_MASK = np.uint64(PAGE_SIZE - 1)
_SEGV_ON_FAULT = np.uint64(int(ArenaFlags.SEGV_ON_FAULT))


class ArenaState(NamedTuple):
    """Everything compiled code needs of an arena; owned by `Arena`.

    window: the bytes, guards included. pages: page bits, uint8[PAGE_SLOTS]. ranges: free pages
    (arena.ranges). meta: uint64, see HOST..LIVE. log: page events.
    """

    window: Bytes
    pages: Bytes
    ranges: Integers
    meta: Words
    log: Ring


def arena_state(pages: int, flags: int, start: int, end: int) -> ArenaState:
    """A fresh arena of `pages` free pages at user addresses [start, end), not yet mapped.

    Raises MemoryError where the process may not have the address space of a window.
    """
    window = lazy_bytes(WINDOW + 2 * GUARD)
    meta = np.zeros(META, np.uint64)
    meta[HOST] = window.ctypes.data + GUARD
    meta[START], meta[END], meta[FLAGS] = start, end, flags
    return ArenaState(
        window, lazy_zeros(PAGE_SLOTS, np.uint8), free_ranges(pages), meta, ring(EVENT_CAPACITY)
    )


@njit(inline=True)
def page_of(state, address):
    """The page of a user address relative to the arena's start; only its low half counts."""
    return np.int64(((address - state.meta[START]) & LOW_32) >> _PAGE_SHIFT)


@njit(inline=True)
def address_of(state, page):
    """The user address of a page relative to the arena's start."""
    low = (state.meta[START] + (np.uint64(page) << _PAGE_SHIFT)) & LOW_32
    return (state.meta[START] & ~LOW_32) | low


@njit(inline=True)
def _slot(address):
    return np.int64((address & LOW_32) >> _PAGE_SHIFT) + GUARD_PAGES


@njit(inline=True)
def lock(state):
    """Wait until no other thread changes the arena's pages or writes its events."""
    word = np.uint64(state.meta.ctypes.data) + np.uint64(8 * LOCK)
    while swap64(word, np.uint64(1)) != np.uint64(0):
        give_way()


@njit(inline=True)
def unlock(state):
    """Let other threads change it."""
    swap64(np.uint64(state.meta.ctypes.data) + np.uint64(8 * LOCK), np.uint64(0))


@njit
def log_access(state, kind, pc, address, size, clock):
    """Log a program's access to an absent page."""
    lock(state)
    state.meta[CLOCK] = clock
    record(state, kind, Actor.PROGRAM, pc, address, size)
    unlock(state)


@njit
def record(state, kind, actor, pc, address, count):
    """Log one page event at the arena's clock."""
    meta = state.meta
    page = page_of(state, address)
    if page >= np.int64((meta[END] - meta[START]) >> _PAGE_SHIFT):
        page = np.int64(-1)
    push(state.log, meta[CLOCK], kind, actor, pc, page, address, count)


@njit
def _populate(state, page, count):
    """Insert zeroed pages; those never used before are zero already."""
    for at in range(page, page + count):
        address = address_of(state, at)
        slot = _slot(address)
        if state.pages[slot] & DIRTY:
            clear_bytes(state.meta[HOST] + (address & LOW_32), np.uint64(PAGE_SIZE))
        state.pages[slot] = PRESENT | DIRTY
    state.meta[LIVE] += np.uint64(count)


@njit(inline=True)
def _arena_pages(state):
    return np.int64((state.meta[END] - state.meta[START]) >> _PAGE_SHIFT)


@njit
def _place(state, address, count):
    """Choose the first page of an allocation, else -1 (arena_alloc_pages)."""
    if count > _arena_pages(state):
        return np.int64(-1)
    if address == np.uint64(0):
        return find(state.ranges, count)
    page = page_of(state, address)
    if address & _PAGE_MASK or page > _arena_pages(state) - count:
        return np.int64(-1)
    return page if is_free(state.ranges, page, count) else np.int64(-1)


@njit
def _alloc_pages(state, address, count, node, flags, pc):
    """Allocate, with the arena locked."""
    count = np.int64(np.uint32(count))
    node = np.int32(node)
    page = np.int64(-1)
    if count > 0 and flags == np.uint64(0) and -1 <= node <= 0:
        page = _place(state, address, count)
    if page < 0:
        record(state, Kind.ALLOC_FAILED, Actor.PROGRAM, pc, address, count)
        return np.uint64(0)
    take(state.ranges, page, count)
    _populate(state, page, count)
    result = address_of(state, page)
    record(state, Kind.ALLOC, Actor.PROGRAM, pc, result, count)
    return result


@njit
def alloc_pages(state, address, count, node, flags, pc):
    """bpf_arena_alloc_pages: the user address of the first new page, or 0."""
    lock(state)
    result = _alloc_pages(state, address, count, node, flags, pc)
    unlock(state)
    return result


@njit
def _free_pages(state, address, count, pc):
    """Free, with the arena locked."""
    meta = state.meta
    count = np.uint64(np.uint32(count))
    first = (meta[START] & ~LOW_32) | (address & LOW_32 & ~_PAGE_MASK)
    end = min(meta[END], first + (count << _PAGE_SHIFT))
    if address == np.uint64(0) or count == np.uint64(0) or first < meta[START] or first >= end:
        return
    number = np.int64((end - first) >> _PAGE_SHIFT)
    page = page_of(state, first)
    give(state.ranges, page, number)
    for at in range(page, page + number):
        slot = _slot(address_of(state, at))
        if state.pages[slot] & PRESENT:
            state.pages[slot] = DIRTY
            meta[LIVE] -= np.uint64(1)
    record(state, Kind.FREE, Actor.PROGRAM, pc, first, number)


@njit
def free_pages(state, address, count, pc):
    """bpf_arena_free_pages: silent on every input; clamped at the arena's end.

    An address below the arena's start is ignored, as in 7.3; 6.18 corrupts the arena instead.
    """
    lock(state)
    _free_pages(state, address, count, pc)
    unlock(state)


@njit
def _reserve_pages(state, address, count, pc):
    """Reserve, with the arena locked."""
    count = np.int64(np.uint32(count))
    if count == 0 or address & _PAGE_MASK:
        return np.int64(0)
    page = page_of(state, address)
    if page + count > _arena_pages(state):
        return np.int64(-EINVAL)
    if not is_free(state.ranges, page, count):
        return np.int64(-EBUSY)
    take(state.ranges, page, count)
    record(state, Kind.RESERVE, Actor.PROGRAM, pc, address, count)
    return np.int64(0)


@njit
def reserve_pages(state, address, count, pc):
    """bpf_arena_reserve_pages: 0, or a negative errno."""
    lock(state)
    result = _reserve_pages(state, address, count, pc)
    unlock(state)
    return result


@njit
def _user_touch(state, address, size, store):
    """Touch, with the arena locked."""
    meta = state.meta
    at = address
    while at < address + size:
        if at < meta[VMA_START] or at >= meta[VMA_END] or (store and not meta[WRITABLE]):
            record(state, Kind.SEGV, Actor.USER, -1, at, 0)
            return True, at
        slot = _slot(at)
        base = at & ~_PAGE_MASK
        if not state.pages[slot] & PRESENT:
            if meta[FLAGS] & _SEGV_ON_FAULT:
                record(state, Kind.SEGV, Actor.USER, -1, at, 0)
                return True, at
            page = page_of(state, at)
            take(state.ranges, page, 1)
            _populate(state, page, 1)
            record(state, Kind.USER_FAULT, Actor.USER, -1, base, 1)
        elif not state.pages[slot] & USER:
            record(state, Kind.USER_MINOR, Actor.USER, -1, base, 1)
        state.pages[slot] |= USER
        at = base + np.uint64(PAGE_SIZE)
    return False, at


@njit
def user_touch(state, address, size, store):
    """Let user space touch [address, address + size): fault pages in, or refuse.

    Returns (whether it was refused, the address that SIGSEGV would report); see arena_vm_fault.
    """
    lock(state)
    result = _user_touch(state, address, size, store)
    unlock(state)
    return result
