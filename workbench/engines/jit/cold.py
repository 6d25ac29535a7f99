"""What machine code calls for an uncommon instruction: the interpreter's own code for it.

Machine code passes a table of addresses, from which the arrays of machine and arena are rebuilt.
"""

from typing import Any

import numpy as np

from workbench.arena.state import LIVE, PAGE_SLOTS, ArenaState
from workbench.compiled import array_at, callback
from workbench.engines.machine import REGISTERS, RUNNING, STOP, Machine
from workbench.engines.rare import rare
from workbench.events import Ring
from workbench.isa import INSTRUCTION

_FRAMES = 8
_RECORD = INSTRUCTION


def address_table(machine: Machine, arena: ArenaState) -> np.ndarray:
    """Where every array of a machine and an arena lies, with their variable lengths: uint64[n]."""
    arrays = [*machine, arena.window, arena.pages, arena.ranges, arena.meta, *arena.log]
    lengths = [len(machine.code), len(arena.log.time), len(arena.ranges)]
    return np.array([*(array.ctypes.data for array in arrays), *lengths], np.uint64)


@callback("int64(uint64, int64, uint64, uint64, int64, uint64)")
def step(table: Any, pc: Any, a: Any, b: Any, depth: Any, clock: Any) -> Any:
    """Execute one instruction as `rare` does; returns control[STOP]."""
    at = array_at(table, 21, np.uint64)
    slots, capacity, ranges = np.int64(at[18]), np.int64(at[19]), np.int64(at[20])
    machine = Machine(
        array_at(at[0], slots, _RECORD),
        array_at(at[1], _FRAMES * REGISTERS, np.uint64),
        array_at(at[2], 8, np.int64),
        array_at(at[3], _FRAMES, np.int64),
        array_at(at[4], 8, np.uint64).reshape((2, 4)),
        array_at(at[5], 8, np.uint64),
    )
    log = Ring(
        array_at(at[10], capacity, np.uint64),
        array_at(at[11], capacity, np.uint8),
        array_at(at[12], capacity, np.uint8),
        array_at(at[13], capacity, np.int32),
        array_at(at[14], capacity, np.int32),
        array_at(at[15], capacity, np.uint64),
        array_at(at[16], capacity, np.uint32),
        array_at(at[17], 1, np.int64),
    )
    arena = ArenaState(
        array_at(at[6], 0, np.uint8),
        array_at(at[7], PAGE_SLOTS, np.uint8),
        array_at(at[8], ranges, np.int64),
        array_at(at[9], LIVE + 1, np.uint64),
        log,
    )
    machine.control[STOP] = RUNNING
    ins = machine.code[pc]
    rare(machine, arena, pc, ins.op, ins, a, b, depth * REGISTERS, clock)
    return machine.control[STOP]
