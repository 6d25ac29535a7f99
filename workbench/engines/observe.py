"""What a run leaves behind as it goes: recorded steps, events and counts."""

import numpy as np

from workbench.addresses import MAX_FRAMES
from workbench.arena import state as arena_core
from workbench.arena.rules import GUARD
from workbench.compiled import njit
from workbench.engines.machine import ARENA, KEYFRAME, READ, REGISTERS, RMW, WRITE
from workbench.events import Actor, Kind, push
from workbench.isa import Op

_LOW = np.uint64(0xFFFFFFFF)
_GUARD = np.uint64(GUARD)
_12 = np.uint64(12)


@njit(inline=True)
def keep_step(recording, at, pc, depth, reg, size, access, value, address, old, new):
    """Record one step."""
    recording.pc[at] = pc
    recording.depth[at] = depth
    recording.reg[at] = reg
    recording.size[at] = size
    recording.access[at] = access
    recording.value[at] = value
    recording.length[0] = at + 1
    if size:
        row = recording.length[1]
        recording.address[row] = address
        recording.old[row] = old
        recording.new[row] = new
        recording.length[1] = row + 1


@njit
def keep_registers(recording, at, regs, depth):
    """Record a keyframe: the registers of every frame before step `at`."""
    row = at // KEYFRAME
    recording.key_depth[row] = depth
    for frame in range(MAX_FRAMES):
        for register in range(11):
            recording.key_regs[row, frame * 11 + register] = regs[frame * REGISTERS + register]


@njit
def keep_access(accesses, arena, clock, pc, op, access, address, size, value):
    """Log an access or a cast."""
    page = np.int64(-1)
    if access & ARENA or not access:
        page = arena_core.page_of(arena, address)
        pages = (arena.meta[arena_core.END] - arena.meta[arena_core.START]) >> _12
        if page >= np.int64(pages):
            page = np.int64(-1)
    if not access:
        kind = Kind.CAST_KERN if op == Op.CAST_KERN else Kind.CAST_USER
    elif access & RMW and access & WRITE:
        kind = Kind.ATOMIC
    else:
        kind = Kind.STORE if access & WRITE else Kind.LOAD
    push(accesses, clock, kind, Actor.PROGRAM, pc, page, address, size)


@njit
def count_access(counts, arena, access, address):
    """Count one arena access; guard pages count too."""
    slot = np.int64(address - (arena.meta[arena_core.START] & ~_LOW) + _GUARD) >> 12
    if access & READ:
        counts.reads[slot] += 1
    if access & WRITE:
        counts.writes[slot] += 1
