"""What a run leaves behind as it goes: recorded steps, events and counts."""

import numpy as np

from workbench.arena import state as arena_core
from workbench.arena.events import Actor, Kind, push
from workbench.arena.rules import GUARD, PAGE_SHIFT
from workbench.bpf.addresses import MAX_FRAMES
from workbench.bpf.isa import REGISTERS, Op
from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32, load8
from workbench.engines.machine.state import CHANGES_KEPT, FRAME_REGISTERS
from workbench.maps.layout import JOURNAL_ROW, NOTE_ROOM, NOTED, NOTES
from workbench.recording.columns import ATOMIC, IN_ARENA, KEYFRAME, READ, WRITE

_GUARD = np.uint64(GUARD)
_PAGE_SHIFT = np.uint64(PAGE_SHIFT)


@njit(inline=True)
def keep_step(recording, step, pc, depth, reg, size, access, value):
    """Record a step at this number; the caller counts them."""
    recording.pc[step] = pc
    recording.depth[step] = depth
    recording.reg[step] = reg
    recording.size[step] = size
    recording.access[step] = access
    recording.value[step] = value


@njit(inline=True)
def keep_bytes(recording, row, address, old, new):
    """Record in a row what a step did to memory: user address, words before and after."""
    recording.address[row] = address
    recording.old[row] = old
    recording.new[row] = new


@njit
def keep_registers(recording, step, regs, depth):
    """Record a keyframe: the registers of every frame before a step."""
    row = np.int64(step) // KEYFRAME
    recording.key_depth[row] = depth
    for frame in range(MAX_FRAMES):
        to, source = frame * REGISTERS, frame * FRAME_REGISTERS
        for register in range(REGISTERS):
            recording.key_regs[row, to + register] = regs[source + register]


@njit
def keep_changes(recording, step, journal):
    """Move what the helpers of a step noted from the journal to the recording.

    Returns whether there may be no room for those of another step: then recording must end.
    """
    room = np.int64(journal[NOTE_ROOM])
    first = recording.length[CHANGES_KEPT]
    left = recording.change_step.shape[0] - first
    rows = min(np.int64(journal[NOTED]), room, left)
    for row in range(rows):
        noted = NOTES + JOURNAL_ROW * row
        host, size = journal[noted], journal[noted + 1]
        new = np.uint64(0)
        for byte in range(np.int64(size)):
            part = np.uint64(load8(host + np.uint64(byte)))
            new |= part << np.uint64(8 * byte)
        recording.change_step[first + row] = step
        recording.change_host[first + row] = host
        recording.change_size[first + row] = size
        recording.change_old[first + row] = journal[noted + 2]
        recording.change_new[first + row] = new
    recording.length[CHANGES_KEPT] = first + rows
    journal[NOTED] = 0
    return left - rows < room


@njit
def keep_access(accesses, arena, clock, pc, op, access, address, size, value):
    """Log an access or a cast as an event of the arena's clock; page -1 outside the arena."""
    page = np.int64(-1)
    if access & IN_ARENA or not access:
        page = arena_core.page_of(arena, address)
        pages = (arena.meta[arena_core.END] - arena.meta[arena_core.START]) >> _PAGE_SHIFT
        if page >= np.int64(pages):
            page = np.int64(-1)
    if not access:
        kind = Kind.CAST_KERN if op == Op.CAST_KERN else Kind.CAST_USER
    elif access & ATOMIC and access & WRITE:
        kind = Kind.ATOMIC
    else:
        kind = Kind.STORE if access & WRITE else Kind.LOAD
    push(accesses, clock, kind, Actor.PROGRAM, pc, page, address, size)


@njit
def count_access(counts, arena, access, address):
    """Count one arena access; guard pages count too."""
    slot = np.int64(address - (arena.meta[arena_core.START] & ~LOW_32) + _GUARD) >> PAGE_SHIFT
    if access & READ:
        counts.reads[slot] += 1
    if access & WRITE:
        counts.writes[slot] += 1
