"""What the interpreter's loop and the jit's machine code call for an uncommon instruction.

They pass a table of where every array lies, and how long it is, from which the arrays of machine
and arena are rebuilt. So this code is compiled once, however many forms of the loop there are.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.arena.events import Ring
from workbench.arena.state import ArenaState
from workbench.bpf.functions import LAST_ARENA_KFUNC, PRINTING_HELPERS, PRINTING_KFUNCS
from workbench.bpf.isa import FIRST_ARENA_OP, INSTRUCTION, Op
from workbench.compiled.njit import callback, njit
from workbench.compiled.raw import array_at
from workbench.engines.machine.callbacks import next_round
from workbench.engines.machine.helpers import call_helper, call_kfunc
from workbench.engines.machine.observe import count_access
from workbench.engines.machine.printing import print_array, print_text
from workbench.engines.machine.state import (
    CALL,
    DEPTH,
    O_ACCESS,
    O_ADDRESS,
    O_VALUE,
    PRINT,
    REGISTERS,
    RUNNING,
    STEP,
    STOP,
    Counts,
    Machine,
)
from workbench.engines.machine.uncommon import rare
from workbench.recording.columns import IN_ARENA

_RECORD = INSTRUCTION
_SIGNATURE = "int64(uint64, int64, uint64, uint64, int64, uint64)"
_LOW = np.uint64(0xFFFFFFFF)
_MACHINE, _ARENA, _LOG, _COUNTS, _END = 0, 22, 30, 46, 52  # where the arrays' entries begin


def doors(code: np.ndarray) -> dict[int, int]:
    """The addresses, by index of `control`, of what these instructions may need: compiled now."""
    helpers = code["imm"][code["op"] == Op.CALL_HELPER]
    kfuncs = code["imm"][code["op"] == Op.CALL_KFUNC]
    found = {STEP: step.address}
    if np.any(code["op"] == Op.CALLX):  # the number of a helper may be in the register
        return found | {CALL: call.address, PRINT: show.address}
    if len(helpers) or np.any(kfuncs > LAST_ARENA_KFUNC):
        found[CALL] = call.address
    if np.isin(helpers, PRINTING_HELPERS).any() or np.isin(kfuncs, PRINTING_KFUNCS).any():
        found[PRINT] = show.address
    return found


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


@callback(_SIGNATURE)
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


@callback(_SIGNATURE)
def call(table: Any, pc: Any, a: Any, b: Any, depth: Any, clock: Any) -> Any:
    """Execute a helper or a kfunc, or the EXIT of a callback."""
    at = array_at(table, _END, np.uint64)
    machine, arena = _machine(at), _arena(at)
    ins, frame = machine.code[pc], depth * REGISTERS
    if ins.op == Op.EXIT:
        next_round(machine, depth)
    elif ins.op == Op.CALL_HELPER:
        call_helper(machine, arena, ins.imm, frame, pc, clock)
    elif ins.op == Op.CALLX:
        call_helper(machine, arena, np.int64(machine.regs[frame + ins.dst]), frame, pc, clock)
    else:
        call_kfunc(machine, ins.imm, frame, pc, clock)
    return 0


@callback(_SIGNATURE)
def show(table: Any, pc: Any, a: Any, b: Any, depth: Any, clock: Any) -> Any:
    """Execute a helper or a kfunc that prints; `a` and `b` are its first arguments."""
    at = array_at(table, _END, np.uint64)
    machine, arena = _machine(at), _arena(at)
    third = depth * REGISTERS + 3
    if machine.code[pc].op != Op.CALL_KFUNC:
        value = print_text(machine, arena, a, b, third, pc, clock)
    else:
        r3, r4 = machine.regs[third], machine.regs[third + 1]
        value = print_array(machine, arena, a, b, r3, r4, pc, clock) & _LOW
    machine.out[O_VALUE] = value
    return 0


@callback("int64(uint64, int64)")
def advance(table: Any, depth: Any) -> Any:
    """After a callback's return in the frame `depth`: whether its next round has been prepared."""
    machine = _machine(array_at(table, _END, np.uint64))
    machine.control[DEPTH] = depth
    next_round(machine, depth)
    return machine.control[DEPTH] == depth
