"""What the interpreter's loop and the jit's machine code call for an uncommon instruction.

They pass a table of where every array lies, and how long it is, from which the arrays of machine
and arena are rebuilt. So this code is compiled once, however many forms of the loop there are.
"""

from typing import Any

import numpy as np

from workbench.arena.state import ArenaState
from workbench.bpf.functions import LAST_ARENA_KFUNC, PRINTING_HELPERS, PRINTING_KFUNCS
from workbench.bpf.isa import FIRST_ARENA_OP, Op
from workbench.compiled.njit import callback, njit
from workbench.compiled.raw import LOW_32, load64
from workbench.compiled.tables import table_of, table_reader, table_words
from workbench.engines.machine.callbacks import next_round
from workbench.engines.machine.helpers import call_helper, call_kfunc
from workbench.engines.machine.observe import count_access
from workbench.engines.machine.printing import print_array, print_text
from workbench.engines.machine.state import (
    CALL,
    DEPTH,
    FRAME_REGISTERS,
    O_ACCESS,
    O_ADDRESS,
    O_VALUE,
    PRINT,
    RUNNING,
    STEP,
    STOP,
    Counts,
    Machine,
)
from workbench.engines.machine.uncommon import uncommon
from workbench.recording.columns import IN_ARENA

_SIGNATURE = "int64(uint64, int64, uint64, uint64, int64, uint64)"
_ARENA = table_words(Machine)  # where its words begin, after those of the machine
_COUNTS = _ARENA + table_words(ArenaState)
_machine, _arena = table_reader(Machine, 0), table_reader(ArenaState, _ARENA)
_counts = table_reader(Counts, _COUNTS)


def entries(code: np.ndarray) -> dict[int, int]:
    """Addresses of the functions that these instructions may need, by their index in `control`.

    `code` are INSTRUCTION records; what is needed for the first time is compiled now.
    """
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
    table = np.zeros(_COUNTS + table_words(Counts), np.uint64)
    table[:_COUNTS] = list(table_of((machine, arena)))
    return table


def set_counts(table: np.ndarray, counts: Counts | None) -> None:
    """Say which counters the next run has; None for no counters."""
    table[_COUNTS:] = list(table_of(counts)) if counts else 0


@njit(inline=True, allocates=True)
def _count(table, machine, arena, op):  # type: ignore[no-untyped-def]
    """Count an access that only turned out to be one of the arena; machine code counts the rest."""
    access = np.int64(machine.out[O_ACCESS])
    counting = load64(table + np.uint64(8 * _COUNTS)) != np.uint64(0)
    if counting and op < FIRST_ARENA_OP and access & IN_ARENA:
        count_access(_counts(table), arena, access, machine.out[O_ADDRESS])


@callback(_SIGNATURE)
def step(table: Any, pc: Any, a: Any, b: Any, depth: Any, clock: Any) -> Any:
    """Execute the uncommon instruction at slot `pc` on operands `a`, `b`; returns control[STOP]."""
    machine, arena = _machine(table), _arena(table)
    machine.control[STOP] = RUNNING
    machine.control[DEPTH] = depth
    ins = machine.code[pc]
    uncommon(machine, arena, pc, ins.op, ins, a, b, depth * FRAME_REGISTERS, clock)
    _count(table, machine, arena, ins.op)
    return machine.control[STOP]


@callback(_SIGNATURE)
def call(table: Any, pc: Any, a: Any, b: Any, depth: Any, clock: Any) -> Any:
    """Execute a helper or a kfunc, or the EXIT of a callback; the result is in machine.out."""
    machine, arena = _machine(table), _arena(table)
    ins, frame = machine.code[pc], depth * FRAME_REGISTERS
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
    machine, arena = _machine(table), _arena(table)
    third = depth * FRAME_REGISTERS + 3
    if machine.code[pc].op != Op.CALL_KFUNC:
        value = print_text(machine, arena, a, b, third, pc, clock)
    else:
        r3, r4 = machine.regs[third], machine.regs[third + 1]
        value = print_array(machine, arena, a, b, r3, r4, pc, clock) & LOW_32
    machine.out[O_VALUE] = value
    return 0


@callback("int64(uint64, int64)")
def advance(table: Any, depth: Any) -> Any:
    """After a callback's return in the frame `depth`: whether its next round has been prepared."""
    machine = _machine(table)
    machine.control[DEPTH] = depth
    next_round(machine, depth)
    return machine.control[DEPTH] == depth
