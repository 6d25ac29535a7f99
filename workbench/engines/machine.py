"""A program being run, as values: registers, memory, counters and recordings.

Numba kernels take these apart; Python makes them and looks at them.
"""

from typing import NamedTuple

import numpy as np

from workbench.addresses import MAX_FRAMES
from workbench.arena import state as arena_core
from workbench.events import ring
from workbench.memory import lazy_zeros

REGISTERS = 13  # for each frame: r0..r10, the ZERO register, and the budget of may_goto
BUDGET = 12
MAY_GOTO_LIMIT = 1 << 28  # Linux on x86 stops after 250 ms instead; about as many rounds
KEYFRAME = 256

RUNNING, EXIT, FUEL, BREAKPOINT, FAULT = range(5)
OUT_OF_BOUNDS, READ_ONLY, NOT_CODE, TOO_DEEP, UNKNOWN_CALL = range(5)
PC, DEPTH, STOP, REASON, SEED, STEPS, UNTYPED = range(7)  # control indices
READ, WRITE, ABSENT, RMW, ARENA = 1, 2, 4, 8, 16  # access bits
O_VALUE, O_WROTE, O_ADDRESS, O_SIZE, O_ACCESS, O_OLD, O_NEW, O_REG = range(8)  # out indices

NO_REGISTER = 255


class Machine(NamedTuple):
    """One program being run.

    code: INSTRUCTION records with resolved references and a final INVALID. regs: uint64, 13 for
    each of 8 frames. control: int64, see PC..UNTYPED. returns: int64[8], return slot of each
    frame. regions: uint64[n, 4], (start, bytes, host address, writable)
    of the memory a program owns. out: uint64, results of `rare`.
    """

    code: np.ndarray
    regs: np.ndarray
    control: np.ndarray
    returns: np.ndarray
    regions: np.ndarray
    out: np.ndarray


class Counts(NamedTuple):
    """Cheap counters: executions of each slot; arena reads and writes of each page slot."""

    executed: np.ndarray
    reads: np.ndarray
    writes: np.ndarray


class Recording(NamedTuple):
    """Columns of recorded steps, of their memory accesses, and keyframes of all registers.

    length: steps filled, accesses filled. address, old and new have a row for each step whose
    size is not 0: most steps touch no memory, and writing fresh memory is what recording costs.
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
    length: np.ndarray


def no_arena() -> arena_core.ArenaState:
    """The state of a program without an arena: nothing is ever present, START is 0."""
    empty = np.zeros(0, np.uint8)
    pages = lazy_zeros(arena_core.PAGE_SLOTS, np.uint8)
    meta = np.zeros(arena_core.LIVE + 1, np.uint64)
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
    return Recording(
        pc=np.empty(capacity, np.uint32),
        key_regs=np.empty((keys, MAX_FRAMES * 11), np.uint64),
        key_depth=np.empty(keys, np.uint8),
        length=np.zeros(2, np.int64),
        **columns,
    )
