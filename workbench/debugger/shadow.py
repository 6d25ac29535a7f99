"""Which allocation every pointer of a run belongs to, followed through registers and memory.

Each register and each 8-byte word has a *shadow*: the number of the allocation that its value
points into. Shadows follow the values: moves, casts, loads and stores copy them, adding a number
keeps them, anything else clears them.

    0  no pointer      1  the arena itself (its start, or pages from before the run)
    2, 3, ...          the run's allocations, in order
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.arena.events import Kind
from workbench.arena.rules import MAX_PAGES, PAGE_SHIFT, PAGE_SIZE
from workbench.bpf.addresses import CPU_BYTES, MAX_FRAMES, STACK_BYTES, STACK_START
from workbench.bpf.isa import REGISTERS, ZERO
from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32
from workbench.recording.columns import ABSENT, ATOMIC, IN_ARENA, READ, WRITE

NONE, ARENA = 0, 1
FIRST = 2  # the number of the first allocation

CLEARS, COPIES, KEEPS, CONSTANT, CALLS, EXITS, ALLOCATES, CAST = range(8)
WORDS = PAGE_SIZE // 8
_0, _3, _7 = (np.uint64(n) for n in (0, 3, 7))
_PAGE_SHIFT = np.uint64(PAGE_SHIFT)
_STACK_START, _STACK_BYTES = np.uint64(STACK_START), np.uint64(STACK_BYTES)
_CPU_BYTES = np.uint64(CPU_BYTES)


class Shadow(NamedTuple):
    """What was found out, with a row for each step unless it says otherwise.

    pointer: allocation of the address accessed. owner, former: allocation that the page accessed
    belonged to, and the last one it belonged to before. stored: allocation of the value stored.
    null: whether the address was NULL. needless: whether a cast_user changed nothing.
    Per allocation (number - FIRST): page, pages, step, pc; beside: the allocation at a distance
    from which it was asked for, NONE if anywhere; touched: pages that the program used; freed:
    pages given back; kept: whether something still points to it at the end.
    """

    pointer: NDArray[np.int32]
    owner: NDArray[np.int32]
    former: NDArray[np.int32]
    stored: NDArray[np.int32]
    null: NDArray[np.bool_]
    needless: NDArray[np.bool_]
    page: NDArray[np.int64]
    pages: NDArray[np.int64]
    step: NDArray[np.int64]
    pc: NDArray[np.int64]
    beside: NDArray[np.int64]
    touched: NDArray[np.int64]
    freed: NDArray[np.int64]
    kept: NDArray[np.bool_]


class Steps(NamedTuple):
    """Columns of recorded steps, as in recording.trace; following: the frame of the next step."""

    pc: np.ndarray
    depth: np.ndarray
    following: np.ndarray
    reg: np.ndarray
    size: np.ndarray
    access: np.ndarray
    value: np.ndarray
    address: np.ndarray
    new: np.ndarray


class Code(NamedTuple):
    """Per slot: what it does to shadows, its registers, and the register that holds its address."""

    flow: np.ndarray
    dst: np.ndarray
    src: np.ndarray
    base: np.ndarray


class Pages(NamedTuple):
    """Page events as columns: step, kind, first page, pages."""

    step: np.ndarray
    kind: np.ndarray
    page: np.ndarray
    count: np.ndarray  # type: ignore[assignment]


class Words(NamedTuple):
    """Shadows of memory: each CPU's stack, and the words of each arena page that was stored to."""

    stack: np.ndarray
    row: np.ndarray
    arena: np.ndarray


@njit(allocates=True)
def follow(steps, code, pages, facts, owner, registers, words, found):
    """Follow every pointer through the steps, once and forwards, and fill `found`.

    facts: uint64[2], the arena's start and end. owner: int32[MAX_PAGES], the allocation that each
    page belongs to, before step 0 and then after the last. registers: uint64[frames, 11], those
    before step 0, then changed. words: the shadows of memory, all NONE at first.
    """
    start, end = facts[0], facts[1]
    shadows = np.zeros((registers.shape[0], 12), np.int32)
    former = np.zeros(MAX_PAGES, np.int32)
    touched = np.zeros(MAX_PAGES, np.uint8)
    kept = np.zeros(found.kept.shape[0] + FIRST, np.uint8)
    kept[ARENA] = 1
    event = allocations = 0
    for at in range(steps.pc.shape[0]):
        pc, depth = np.int64(steps.pc[at]), np.int64(steps.depth[at])
        flow, mine = code.flow[pc], shadows[depth]
        born, mark = np.int64(NONE), np.int64(NONE)
        while event < pages.step.shape[0] and pages.step[event] <= at:
            if pages.kind[event] == Kind.ALLOC:
                place = ARENA if mine[2] == NONE and registers[depth, 2] else np.int64(mine[2])
                born = _born(event, allocations, at, pc, pages, place, found)
                allocations += 1
            _settle(event, pages, born, owner, former, touched, words, found)
            event += 1
        if steps.size[at]:
            base = code.base[pc]
            found.pointer[at] = mine[base]
            if steps.access[at] & IN_ARENA:
                found.null[at] = mine[base] == NONE and registers[depth, base] & LOW_32 == _0
                _visit(at, steps.address[at] - start, owner, former, touched, found)
            mark = _memory(steps, at, mine[code.src[pc]], start, words, found, kept)
        reg = np.int64(steps.reg[at])
        if reg < REGISTERS:
            if mark == NONE:
                mark = _result(steps, at, flow, code.src[pc], reg, born, mine, start, end, owner)
            if flow == CAST and steps.value[at] >> np.uint64(32):
                found.needless[at] = registers[depth, code.src[pc]] == steps.value[at]
            mine[reg] = mark
            registers[depth, reg] = steps.value[at]
        _change_frame(flow, depth, np.int64(steps.following[at]), shadows, registers)
    for frame in range(0, shadows.shape[0], MAX_FRAMES):
        kept[shadows[frame, 0]] = 1
    _reach(owner, words, found, kept)
    for number in range(found.kept.shape[0]):
        found.kept[number] = kept[FIRST + number] != 0


@njit
def _born(event, number, at, pc, pages, place, found):
    """Note a new allocation; returns what marks pointers into it."""
    found.beside[number] = place
    found.page[number], found.pages[number] = pages.page[event], pages.count[event]
    found.step[number], found.pc[number] = at, pc
    return np.int64(FIRST + number)


@njit
def _visit(at, distance, owner, former, touched, found):
    """Note whose page an access met, and that the page was used."""
    page = np.int64((distance & LOW_32) >> _PAGE_SHIFT)
    if page >= MAX_PAGES:
        return
    found.owner[at], found.former[at] = owner[page], former[page]
    if owner[page] >= FIRST and not touched[page]:
        touched[page] = 1
        found.touched[owner[page] - FIRST] += 1


@njit
def _result(steps, at, flow, src, reg, born, mine, start, end, owner):
    """The shadow of what a step put into a register."""
    value = steps.value[at]
    if flow == KEEPS:
        left = np.int64(mine[reg])
        right = np.int64(NONE) if src == ZERO else np.int64(mine[src])
        if left == NONE:
            return right
        return left if right == NONE else np.int64(NONE)
    if flow == ALLOCATES:
        return born
    if flow == COPIES or (flow == CAST and mine[src] != NONE):
        return np.int64(mine[src])
    if flow in (CAST, CONSTANT) or steps.size[at] == 8:
        return _recognised(value, start, end, owner, flow == CONSTANT)
    return np.int64(NONE)


@njit
def _settle(event, pages, born, owner, former, touched, words, found):
    """Let pages change hands: allocated by the program, faulted in by the user, or freed."""
    kind, page = pages.kind[event], pages.page[event]
    if page < 0 or (kind != Kind.ALLOC and kind != Kind.FREE and kind != Kind.USER_FAULT):
        return
    for at in range(page, page + pages.count[event]):
        if owner[at] != NONE:
            former[at] = owner[at]
        if kind == Kind.FREE and owner[at] >= FIRST:
            found.freed[owner[at] - FIRST] += 1
        if kind == Kind.FREE:
            owner[at] = NONE
        else:
            owner[at] = born if kind == Kind.ALLOC else ARENA
        touched[at] = 0
        if words.row[at] >= 0:
            words.arena[words.row[at]] = NONE


@njit
def _recognised(value, start, end, owner, constant):
    """The allocation that a whole user address lies in, for pointers from before the run."""
    if start == _0 or value < start or value >= end:
        return np.int64(NONE)
    page = np.int64((value - start) >> _PAGE_SHIFT)
    return np.int64(ARENA) if constant or not owner[page] else np.int64(owner[page])


@njit
def _memory(steps, at, source, start, words, found, kept):
    """Copy shadows to or from memory; returns that of the value read."""
    access, address = np.int64(steps.access[at]), steps.address[at]
    if access & ABSENT:
        return np.int64(NONE)
    whole = steps.size[at] == 8 and address & _7 == _0
    row, cell = np.int64(-1), np.int64(0)
    on_stack = _on_stack(address, words.stack.shape[0])
    if access & IN_ARENA:
        offset = (address - start) & LOW_32
        row = np.int64(words.row[np.int64(offset >> _PAGE_SHIFT)])
        cell = np.int64((offset & np.uint64(PAGE_SIZE - 1)) >> _3)
    elif on_stack:
        cell = np.int64((address - _STACK_START) % _CPU_BYTES >> _3)
    stack = words.stack[np.int64((address - _STACK_START) // _CPU_BYTES) if on_stack else 0]
    cells = words.arena[row] if row >= 0 else stack
    known = whole and (row >= 0 or on_stack)
    before = np.int64(cells[cell]) if known else np.int64(NONE)
    if access & WRITE:
        if not known:
            kept[source] = 1  # into a context or a map, or in another form: it may be used
        if whole and access & IN_ARENA:
            found.stored[at] = source
        if row >= 0 or on_stack:
            kept_before = access & ATOMIC and source == NONE
            cells[cell] = before if kept_before else (source if whole else NONE)
    return before if access & READ else np.int64(NONE)


@njit
def _on_stack(address, cpus):
    """Whether an address lies on the stack of one of the CPUs."""
    distance = address - _STACK_START
    return distance < np.uint64(cpus) * _CPU_BYTES and distance % _CPU_BYTES < _STACK_BYTES


@njit
def _change_frame(flow, depth, following, shadows, registers):
    """Hand registers to a function that is entered, and back to its caller."""
    count = 0
    if flow == CALLS and following > depth:
        count = REGISTERS
    elif flow == EXITS and following < depth:
        count = 6
    for register in range(count):
        shadows[following, register] = shadows[depth, register]
        registers[following, register] = registers[depth, register]


@njit
def _reach(owner, words, found, kept):
    """Mark what can be reached at the end from what stays: by pointers, or by a fixed distance."""
    changed = True
    while changed:
        changed = False
        for number in range(found.kept.shape[0]):
            place = found.beside[number]
            if place != NONE and kept[place] and not kept[FIRST + number]:
                kept[FIRST + number] = 1
                changed = True
        for page in range(MAX_PAGES):
            row, holder = words.row[page], owner[page]
            if row < 0 or holder == NONE or (holder >= FIRST and not kept[holder]):
                continue
            for cell in range(WORDS):
                target = words.arena[row, cell]
                if target >= FIRST and not kept[target]:
                    kept[target] = 1
                    changed = True
