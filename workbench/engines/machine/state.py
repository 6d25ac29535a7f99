"""A program being run, as values: registers, memory, counters and recordings.

Numba kernels take these apart; Python makes them and looks at them.
"""

from typing import Annotated, NamedTuple

import numpy as np

from workbench.arena import state as arena_core
from workbench.arena.events import ring
from workbench.bpf.addresses import MAX_FRAMES
from workbench.bpf.isa import INSTRUCTION, REGISTERS
from workbench.compiled.lazy import lazy_zeros
from workbench.compiled.njit import njit
from workbench.compiled.raw import call_address
from workbench.compiled.tables import Integers, Words
from workbench.maps.layout import JOURNAL_ROW, NOTE_ROOM, NOTES
from workbench.recording.columns import KEYFRAME

FRAME_REGISTERS = REGISTERS + 2  # r0..r10, the ZERO register, and the budget of may_goto
BUDGET = REGISTERS + 1
MAY_GOTO_LIMIT = 1 << 28  # rounds; Linux on x86 stops after 250 ms instead, about as many

RUNNING, EXIT, FUEL, BREAKPOINT, FAULT = range(5)
OUT_OF_BOUNDS, READ_ONLY, NOT_CODE, TOO_DEEP, UNKNOWN_CALL, NOT_A_MAP = range(6)
PC, DEPTH, STOP, REASON, SEED, STEPS, UNTYPED, CPU = range(8)  # control indices
TAIL_CALLS, JOURNAL, PROCESS, REGS_AT, TABLE, STEP, CALL, PRINT, ADDRESS_BITS = range(8, 17)
STACK_REGION, CTX_REGION, PACKET_REGION, MAP_REGIONS = range(4)  # rows of regions
R_START, R_BYTES, R_HOST, R_WRITABLE = range(4)  # columns of regions
O_VALUE, O_WROTE, O_ADDRESS, O_SIZE, O_ACCESS, O_OLD, O_NEW, O_REG = range(8)  # out indices
CONTROLS, OUTS = ADDRESS_BITS + 1, O_REG + 1  # how many there are
STEPS_KEPT, ACCESSES_KEPT, CHANGES_KEPT = range(3)  # indices of length in a Recording


class Machine(NamedTuple):
    """One program being run.

    code: INSTRUCTION records with resolved references and a final INVALID. regs: uint64, 13 for
    each of 8 frames. control: int64, see PC..ADDRESS_BITS. returns: int64[9], return slot of each
    frame, and room for what the jit's deepest frame writes as it leaves. regions: uint64[n, 4], the
    memory that a program owns, see R_START..R_WRITABLE: stack, context, packet, and from
    MAP_REGIONS on values and keys of each map. out: uint64[8], results of `uncommon`. maps: uint64,
    the address of each map's header by number, 0 for the arena. programs: uint64, what a program
    array may hold: its number and first slot, in turns. loops: uint64, 8 for each frame, what a
    callback's frame comes back to. journal: uint64, memory that helpers are changing, see
    `maps.layout`. printed: uint64, see `machine.printing`.
    """

    code: Annotated[np.ndarray, INSTRUCTION]
    regs: Words
    control: Integers
    returns: Integers
    regions: Annotated[np.ndarray, "(4,)u8"]
    out: Words
    maps: Words
    programs: Words
    loops: Words
    journal: Words
    printed: Words


class Counts(NamedTuple):
    """Cheap counters: executions of each slot; arena reads and writes of each page slot.

    executed: uint64[slots + 1]. reads, writes: uint64[PAGE_SLOTS], guard pages included.
    """

    executed: Words
    reads: Words
    writes: Words


class Recording(NamedTuple):
    """Columns of recorded steps, of their memory accesses, and keyframes of all registers.

    length: int64[3], rows filled, see STEPS_KEPT..CHANGES_KEPT. address, old and new have a row for
    each step whose size is not 0: most steps touch no memory, and writing fresh memory is what
    recording costs. The change_ columns have a row for each word of memory or register of another
    frame that a helper changed: the step, its host address, bytes, content before and after.
    """

    pc: np.ndarray
    depth: np.ndarray
    reg: np.ndarray
    size: np.ndarray
    access: np.ndarray
    value: np.ndarray
    address: np.ndarray
    old: np.ndarray
    new: np.ndarray
    key_regs: np.ndarray
    key_depth: np.ndarray
    change_step: np.ndarray
    change_host: np.ndarray
    change_size: np.ndarray
    change_old: np.ndarray
    change_new: np.ndarray
    length: np.ndarray


@njit(inline=True)
def by_address(control, entry, pc, a, b, clock):  # type: ignore[no-untyped-def]
    """Call a function of `entries`, compiled on its own, through its address in control[entry]."""
    table, depth = np.uint64(control[TABLE]), control[DEPTH]
    return call_address(np.uint64(control[entry]), (table, pc, a, b, depth, clock))


JOURNAL_ROOM = 1 << 16
"""Changes of 8 bytes that are recorded of one instruction: half a megabyte.

Bounds what a recording must keep free for its next step; not measured."""


def new_journal() -> np.ndarray:
    """An empty journal: rows filled, rows there are, then the rows of workbench.maps.layout."""
    journal = lazy_zeros(NOTES + JOURNAL_ROW * JOURNAL_ROOM, np.uint64)
    journal[NOTE_ROOM] = JOURNAL_ROOM
    return journal


def no_arena() -> arena_core.ArenaState:
    """The state of a program without an arena: nothing is ever present, START is 0."""
    empty = np.zeros(0, np.uint8)
    pages = lazy_zeros(arena_core.PAGE_SLOTS, np.uint8)
    meta = np.zeros(arena_core.META, np.uint64)
    return arena_core.ArenaState(empty, pages, np.zeros(0, np.int64), meta, ring(1))


def new_counts(slots: int) -> Counts:
    """Zeroed counters for a program of `slots` instruction slots."""
    return Counts(
        np.zeros(slots + 1, np.uint64),
        lazy_zeros(arena_core.PAGE_SLOTS, np.uint64),
        lazy_zeros(arena_core.PAGE_SLOTS, np.uint64),
    )


def new_recording(capacity: int) -> Recording:
    """Room for `capacity` steps, committed as it is filled."""
    words = ("value", "address", "old", "new")
    columns = {name: np.empty(capacity, np.uint64) for name in words}
    columns |= {name: np.empty(capacity, np.uint8) for name in ("depth", "reg", "size", "access")}
    keys = (capacity + KEYFRAME - 1) // KEYFRAME
    changes = 2 * capacity + JOURNAL_ROOM  # two a step; more end the recording early. Not measured
    return Recording(
        pc=np.empty(capacity, np.uint32),
        key_regs=np.empty((keys, MAX_FRAMES * REGISTERS), np.uint64),
        key_depth=np.empty(keys, np.uint8),
        change_step=np.empty(changes, np.uint32),
        change_host=np.empty(changes, np.uint64),
        change_size=np.empty(changes, np.uint8),
        change_old=np.empty(changes, np.uint64),
        change_new=np.empty(changes, np.uint64),
        length=np.zeros(3, np.int64),
        **columns,
    )
