"""Memory as the interpreter sees it: arena pages, regions the program owns, and atomics.

Results of the functions that take a Machine are left in `machine.out` (O_VALUE, O_WROTE, ...).
"""

import numpy as np

from workbench.arena import state as arena_core
from workbench.arena.events import Kind
from workbench.arena.rules import GUARD, PAGE_SHIFT
from workbench.bpf.addresses import FRAME_BYTES, MAPS_START, PART_BITS, STACK_BYTES
from workbench.bpf.isa import Op
from workbench.compiled.njit import njit
from workbench.compiled.raw import (
    LOW_32,
    load8,
    load16,
    load32,
    load64,
    store8,
    store16,
    store32,
    store64,
)
from workbench.engines.machine.state import (
    FAULT,
    MAP_REGIONS,
    O_ACCESS,
    O_ADDRESS,
    O_NEW,
    O_OLD,
    O_REG,
    O_SIZE,
    O_VALUE,
    O_WROTE,
    OUT_OF_BOUNDS,
    PACKET_REGION,
    R_BYTES,
    R_HOST,
    R_START,
    R_WRITABLE,
    READ_ONLY,
    REASON,
    STACK_REGION,
    STOP,
    UNTYPED,
)
from workbench.recording.columns import ABSENT, ATOMIC, IN_ARENA, READ, WRITE

_MAPS = np.uint64(MAPS_START)
_GUARD = np.uint64(GUARD)
_STACK, _FRAME = np.uint64(STACK_BYTES), np.uint64(FRAME_BYTES)
_0, _1 = np.uint64(0), np.uint64(1)
_PAGE_SHIFT = np.uint64(PAGE_SHIFT)
_PRESENT = np.uint8(arena_core.PRESENT)


@njit(inline=True)
def present(pages, at, size):
    """Whether all bytes of an access are on present pages; `at` counts from the first guard."""
    last = at + np.uint64(size - 1)
    return pages[at >> _PAGE_SHIFT] & pages[last >> _PAGE_SHIFT] & _PRESENT


@njit
def owned(regions, address, size, store):
    """Host address of memory that the program owns; 0 outside, 1 if it may not be written."""
    room = np.uint64(size)
    for row in range(MAP_REGIONS):
        inside, length = address - regions[row, R_START], regions[row, R_BYTES]
        if inside <= length - room and length >= room:
            if store and regions[row, R_WRITABLE] == _0:
                return _1
            return regions[row, R_HOST] + inside
    part = np.int64((address - _MAPS) >> np.uint64(PART_BITS)) + MAP_REGIONS
    if part >= regions.shape[0]:
        return _0
    inside, length = address - regions[part, R_START], regions[part, R_BYTES]
    if inside > length - room or length < room:
        return _0
    return _1 if store and regions[part, R_WRITABLE] == _0 else regions[part, R_HOST] + inside


@njit(inline=True)
def load_bytes(host, size):
    """Read a little-endian number of 1, 2, 4 or 8 bytes at a host address."""
    if size == 1:
        return np.uint64(load8(host))
    if size == 2:
        return np.uint64(load16(host))
    if size == 4:
        return np.uint64(load32(host))
    return load64(host)


@njit(inline=True)
def store_bytes(host, size, value):
    """Write the low bytes of a number at a host address."""
    if size == 1:
        store8(host, np.uint8(value))
    elif size == 2:
        store16(host, np.uint16(value))
    elif size == 4:
        store32(host, np.uint32(value))
    else:
        store64(host, value)


@njit
def fault(machine, reason, address):
    """Stop the machine for something it must not do."""
    machine.control[STOP] = FAULT
    machine.control[REASON] = reason
    machine.out[O_ADDRESS] = address


@njit
def frame_pointer(machine, depth):
    """Where the stack of a frame ends: its r10, whatever its caller made of its own."""
    return machine.regions[STACK_REGION, R_START] + _STACK - _FRAME * np.uint64(depth)


@njit
def host_of(machine, address, size, store):
    """Host address of memory that a helper is given; 0 and a fault if it is not the program's."""
    host = owned(machine.regions, address, size, store)
    if host <= _1:
        fault(machine, READ_ONLY if host == _1 else OUT_OF_BOUNDS, address)
        return _0
    return host


@njit
def _reach(machine, arena, base, off, size, access, in_arena, pc, clock):
    """Find the host memory of an access, or 0 if there is none (absent page, or fault).

    Where no verifier has typed the pointers, a base below 4 GiB can only be an arena pointer.
    """
    out = machine.out
    out[O_SIZE] = np.uint64(size)
    untyped = machine.control[UNTYPED] != 0 and arena.meta[arena_core.START] != _0
    room = machine.regions[PACKET_REGION, R_BYTES]
    packet = room != _0 and base - machine.regions[PACKET_REGION, R_START] <= room
    if in_arena or (untyped and base <= LOW_32 and not packet):
        at = (base & LOW_32) + np.uint64(off) + _GUARD
        address = (arena.meta[arena_core.START] & ~LOW_32) + at - _GUARD
        out[O_ADDRESS] = address
        if present(arena.pages, at, size):
            out[O_ACCESS] = np.uint64(access | IN_ARENA)
            return arena.meta[arena_core.HOST] + at - _GUARD
        out[O_ACCESS] = np.uint64(access | IN_ARENA | ABSENT)
        kind = Kind.DROPPED_WRITE if access & WRITE else Kind.ABSENT_READ
        arena_core.log_access(arena, kind, pc, address, size, clock)
        return _0
    address = base + np.uint64(off)
    out[O_ADDRESS] = address
    out[O_ACCESS] = np.uint64(access)
    host = owned(machine.regions, address, size, (access & WRITE) != 0)
    if host <= _1:
        fault(machine, READ_ONLY if host == _1 else OUT_OF_BOUNDS, address)
        return _0
    return host


@njit(inline=True)
def extend(value, size):
    """Sign-extend the low bytes of a value to 64 bits."""
    if size == 1:
        return np.uint64(np.int64(np.int8(np.uint8(value))))
    if size == 2:
        return np.uint64(np.int64(np.int16(np.uint16(value))))
    return np.uint64(np.int64(np.int32(np.uint32(value))))


@njit
def plain_load(machine, arena, op, ins, base, in_arena, pc, clock):
    """LDX and LDXS on memory that is not known to be arena memory."""
    signed = op >= Op.LDXS8
    size = 1 << (op - Op.LDXS8 if signed else op - Op.LDX8)
    host = _reach(machine, arena, base, ins.off, size, READ, in_arena, pc, clock)
    if host == _0:
        machine.out[O_VALUE] = _0
        return
    value = load_bytes(host, size)
    machine.out[O_VALUE] = extend(value, size) if signed else value


@njit
def plain_store(machine, arena, size, ins, base, value, in_arena, pc, clock):
    """STX, ST and STORE_RELEASE."""
    machine.out[O_WROTE] = _0
    host = _reach(machine, arena, base, ins.off, size, WRITE, in_arena, pc, clock)
    if host == _0:
        return
    machine.out[O_OLD] = load_bytes(host, size)
    store_bytes(host, size, value)
    machine.out[O_NEW] = load_bytes(host, size)


@njit
def acquire(machine, arena, size, ins, base, in_arena, pc, clock):
    """LOAD_ACQUIRE; on an absent page 6.18 leaves the register as it was."""
    host = _reach(machine, arena, base, ins.off, size, READ | ATOMIC, in_arena, pc, clock)
    if host == _0:
        machine.out[O_WROTE] = _0
    else:
        machine.out[O_VALUE] = load_bytes(host, size)


@njit
def _combine(op, old, operand):
    """The new memory content of an atomic operation on the first four of each family."""
    if op == 0:
        return old + operand
    if op == 1:
        return old & operand
    if op == 2:
        return old | operand
    return old ^ operand


@njit
def atomic(machine, arena, op, ins, base, operand, frame, in_arena, pc, clock):
    """Read-modify-write; results register: src for fetches and xchg, r0 for cmpxchg.

    On an absent page memory and, on 6.18, the result register stay as they were.
    """
    out = machine.out
    wide = op >= Op.ATOMIC_ADD64
    size = 8 if wide else 4
    family = op - Op.ATOMIC_ADD64 if wide else op - Op.ATOMIC_ADD32
    access = READ | WRITE | ATOMIC
    host = _reach(machine, arena, base, ins.off, size, access, in_arena, pc, clock)
    out[O_WROTE] = _0
    if host == _0:
        return
    old = load_bytes(host, size)
    if family < 4:
        new = _combine(family, old, operand)
    elif family < 8:
        new = _combine(family - 4, old, operand)
    else:
        new = operand
    if family >= 4:
        out[O_WROTE] = _1
        out[O_VALUE] = old
        out[O_REG] = np.uint64(ins.src)
    if family == 9:
        expected = machine.regs[frame]
        out[O_REG] = _0
        if old != (expected if wide else expected & LOW_32):
            new = old
        elif not wide and out[O_ACCESS] & np.uint64(IN_ARENA):
            out[O_WROTE] = _0  # Linux forgets its `w0 = w0` here, so r0 keeps its upper half
    store_bytes(host, size, new)
    out[O_OLD] = old
    out[O_NEW] = load_bytes(host, size)


UNCOMMON = -1
"""Instead of an access: the loop leaves the instruction to `entries.step`."""


@njit(inline=True)
def load_arena(arena, window, base, off, size):
    """Load through an arena pointer: (value, user address, access); UNCOMMON for absent pages."""
    at = (base & LOW_32) + np.uint64(off) + _GUARD
    address = (arena.meta[arena_core.START] & ~LOW_32) + at - _GUARD
    if present(arena.pages, at, size):
        return load_bytes(window + at, size), address, READ | IN_ARENA
    return _0, address, UNCOMMON


@njit(inline=True)
def store_arena(arena, window, base, off, size, value):
    """Store through an arena pointer: (bytes before, user address, access).

    The access is UNCOMMON for absent pages, and nothing is stored.
    """
    at = (base & LOW_32) + np.uint64(off) + _GUARD
    address = (arena.meta[arena_core.START] & ~LOW_32) + at - _GUARD
    if present(arena.pages, at, size):
        old = load_bytes(window + at, size)
        store_bytes(window + at, size, value)
        return old, address, WRITE | IN_ARENA
    return _0, address, UNCOMMON
