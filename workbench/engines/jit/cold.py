"""What machine code calls for an uncommon instruction: the interpreter's own code for it.

Machine code passes a table of where every array lies, and how long it is, from which the arrays of
machine and arena are rebuilt.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.arena.state import ArenaState
from workbench.compiled import array_at, callback, njit
from workbench.engines.callbacks import next_round
from workbench.engines.machine import (
    DEPTH,
    O_ACCESS,
    O_ADDRESS,
    REGISTERS,
    RUNNING,
    STOP,
    Counts,
    Machine,
)
from workbench.engines.observe import count_access
from workbench.engines.rare import rare
from workbench.events import IN_ARENA, Ring
from workbench.isa import FIRST_ARENA_OP, INSTRUCTION

_RECORD = INSTRUCTION
_MACHINE, _ARENA, _LOG, _COUNTS, _END = 0, 22, 30, 46, 52  # where the arrays' entries begin


def address_table(machine: Machine, arena: ArenaState) -> np.ndarray:
    """Address and length of every array of a machine and an arena; of counters, none: uint64[n]."""
    arrays = [*machine, *arena[:-1], *arena.log]
    table = np.zeros(_END, np.uint64)
    table[:_COUNTS] = list(_entries(arrays))
    return table


def set_counts(table: np.ndarray, counts: Counts | None) -> None:
    """Say which counters the next run has; None for no counters."""
    table[_COUNTS:] = list(_entries(counts)) if counts else 0


def _entries(arrays: Any) -> Iterator[int]:
    for array in arrays:
        yield from (array.ctypes.data, len(array))


@njit(inline=True, allocates=True)
def _column(table, at, dtype):  # type: ignore[no-untyped-def]
    """The one-dimensional array of an entry."""
    return array_at(table[at], np.int64(table[at + 1]), dtype)


@njit(inline=True, allocates=True)
def _machine(at):  # type: ignore[no-untyped-def]
    rows = np.int64(at[9])
    return Machine(
        _column(at, 0, _RECORD),
        _column(at, 2, np.uint64),
        _column(at, 4, np.int64),
        _column(at, 6, np.int64),
        array_at(at[8], rows * 4, np.uint64).reshape((rows, 4)),
        _column(at, 10, np.uint64),
        _column(at, 12, np.uint64),
        _column(at, 14, np.uint64),
        _column(at, 16, np.uint64),
        _column(at, 18, np.uint64),
        _column(at, 20, np.uint64),
    )


@njit(inline=True, allocates=True)
def _arena(at):  # type: ignore[no-untyped-def]
    log = Ring(
        _column(at, _LOG, np.uint64),
        _column(at, _LOG + 2, np.uint8),
        _column(at, _LOG + 4, np.uint8),
        _column(at, _LOG + 6, np.int32),
        _column(at, _LOG + 8, np.int32),
        _column(at, _LOG + 10, np.uint64),
        _column(at, _LOG + 12, np.uint32),
        _column(at, _LOG + 14, np.int64),
    )
    return ArenaState(
        _column(at, _ARENA, np.uint8),
        _column(at, _ARENA + 2, np.uint8),
        _column(at, _ARENA + 4, np.int64),
        _column(at, _ARENA + 6, np.uint64),
        log,
    )


@njit(inline=True, allocates=True)
def _count(at, machine, arena, op):  # type: ignore[no-untyped-def]
    """Count an access that only turned out to be one of the arena; machine code counts the rest."""
    access = np.int64(machine.out[O_ACCESS])
    if at[_COUNTS] != np.uint64(0) and op < FIRST_ARENA_OP and access & IN_ARENA:
        counts = Counts(
            _column(at, _COUNTS, np.uint64),
            _column(at, _COUNTS + 2, np.uint64),
            _column(at, _COUNTS + 4, np.uint64),
        )
        count_access(counts, arena, access, machine.out[O_ADDRESS])


@callback("int64(uint64, int64, uint64, uint64, int64, uint64)")
def step(table: Any, pc: Any, a: Any, b: Any, depth: Any, clock: Any) -> Any:
    """Execute one instruction as `rare` does; returns control[STOP]."""
    at = array_at(table, _END, np.uint64)
    machine, arena = _machine(at), _arena(at)
    machine.control[STOP] = RUNNING
    machine.control[DEPTH] = depth
    ins = machine.code[pc]
    rare(machine, arena, pc, ins.op, ins, a, b, depth * REGISTERS, clock)
    _count(at, machine, arena, ins.op)
    return machine.control[STOP]


@callback("int64(uint64, int64)")
def advance(table: Any, depth: Any) -> Any:
    """After a callback's return in the frame `depth`: whether its next round has been prepared."""
    machine = _machine(array_at(table, _END, np.uint64))
    machine.control[DEPTH] = depth
    next_round(machine, depth)
    return machine.control[DEPTH] == depth
