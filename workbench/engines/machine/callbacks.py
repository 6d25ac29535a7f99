"""Functions of the program that helpers call: bpf_loop and bpf_for_each_map_elem; bpf_throw.

A callback runs in the next frame. `machine.loops` keeps, for that frame, what its EXIT does next:
another round, or back to the caller with the number of rounds in r0.
"""

from errno import E2BIG, EINVAL

import numpy as np

from workbench.bpf.addresses import CODE_START, HANDLE_STEP, MAP_HANDLE, MAX_FRAMES, PART_BITS
from workbench.bpf.isa import INLINED
from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32
from workbench.engines.machine.memory import fault, frame_pointer
from workbench.engines.machine.state import (
    BUDGET,
    CPU,
    DEPTH,
    EXIT,
    FRAME_REGISTERS,
    JOURNAL,
    MAP_REGIONS,
    MAY_GOTO_LIMIT,
    NOT_CODE,
    O_VALUE,
    O_WROTE,
    PC,
    R_HOST,
    R_START,
    REGS_AT,
    STOP,
    TOO_DEEP,
    UNTYPED,
)
from workbench.maps import operations
from workbench.maps.layout import Field, get, note, value_at, write32

KIND, ROUND, ROUNDS, MAP, SLOT, NEXT, CONTEXT, TARGET = range(8)  # words of a frame's row
NO_LOOP, LOOP, FOR_EACH = range(3)
ROW = 8
_0, _1, _3, _7, _8 = (np.uint64(n) for n in (0, 1, 3, 7, 8))
_CODE_START = np.uint64(CODE_START)
MOST_ROUNDS = 8 << 20  # BPF_MAX_LOOPS
_MOST = np.uint64(MOST_ROUNDS)


@njit
def _set(machine, at, value):
    """Change a register of any frame; a recording learns of it."""
    if machine.control[JOURNAL] != 0:
        host = np.uint64(machine.control[REGS_AT] + 8 * at)
        note(np.uint64(machine.control[JOURNAL]), host, _8)
    machine.regs[at] = value


@njit
def _enter(machine, kind, rounds, number, context, target, pc):
    """Prepare the frame of a callback; False and a fault if that cannot be."""
    depth = machine.control[DEPTH] + 1
    slot = (target - _CODE_START) >> _3
    if target & _7 or slot >= np.uint64(machine.code.shape[0] - 1):
        fault(machine, NOT_CODE, target)
        return False
    if depth >= MAX_FRAMES:
        fault(machine, TOO_DEEP, slot)
        return False
    row = machine.loops[depth * ROW : (depth + 1) * ROW]
    row[KIND], row[ROUND], row[ROUNDS], row[MAP] = kind, 0, rounds, number
    row[CONTEXT], row[TARGET] = context, slot
    frame = depth * FRAME_REGISTERS
    _set(machine, frame + 10, frame_pointer(machine, depth))
    machine.returns[depth] = pc + 1
    machine.control[DEPTH] = depth
    return True


@njit
def _begin_round(machine, depth):
    """Give the callback its arguments and go to its first instruction."""
    row = machine.loops[depth * ROW : (depth + 1) * ROW]
    frame = depth * FRAME_REGISTERS
    if machine.control[UNTYPED] != 0:  # such a program may read what no one has set
        for register in range(10):
            _set(machine, frame + register, _0)
    if row[KIND] == np.uint64(LOOP):
        _set(machine, frame + 1, row[ROUND])
        _set(machine, frame + 2, row[CONTEXT])
    else:
        _give_entry(machine, row, frame)
    machine.regs[frame + BUDGET] = np.uint64(MAY_GOTO_LIMIT)
    machine.control[PC] = np.int64(row[TARGET])


@njit
def _give_entry(machine, row, frame):
    """r1 to r4: map, key, value, context; the next entry is looked up first, as Linux does."""
    number, slot = np.int64(row[MAP]), row[SLOT] - _1
    m = machine.maps[number]
    row[NEXT] = operations.following(m, row[SLOT])
    cpu = np.uint64(machine.control[CPU]) if get(m, Field.CPUS) > _1 else _0
    values = MAP_REGIONS + 2 * (number - 1)
    key = slot * get(m, Field.KEY)
    if operations.is_array(m):
        write32(get(m, Field.KEYS) + key, slot)
    value = value_at(m, slot, cpu) - machine.regions[values, R_HOST]
    _set(machine, frame + 1, np.uint64(MAP_HANDLE + number * HANDLE_STEP))
    _set(machine, frame + 2, machine.regions[values, R_START] + (_1 << np.uint64(PART_BITS)) + key)
    _set(machine, frame + 3, machine.regions[values, R_START] + value)
    _set(machine, frame + 4, row[CONTEXT])


@njit
def loop(machine, rounds, target, context, flags, pc):
    """bpf_loop: r0 is the number of rounds, or a negative errno.

    Where Linux writes the loop out in place it looks at all 64 bits of the number, and the errno
    has only 32. Source: inline_bpf_loop in kernel/bpf/verifier.c.
    """
    out, inlined = machine.out, machine.code[pc].off == INLINED
    if inlined and rounds > _MOST:
        out[O_VALUE] = np.uint64(-E2BIG) & LOW_32
        return
    rounds &= LOW_32
    if flags != _0 or rounds > _MOST or rounds == _0:
        out[O_VALUE] = np.uint64(-EINVAL if flags != _0 else -E2BIG if rounds != _0 else 0)
        return
    out[O_WROTE] = _0
    if _enter(machine, LOOP, rounds, _0, context, target, pc):
        _begin_round(machine, machine.control[DEPTH])


@njit
def for_each(machine, number, target, context, flags, pc):
    """bpf_for_each_map_elem: r0 is the number of entries seen, or -EINVAL."""
    out, m = machine.out, machine.maps[number]
    first = operations.first(m)
    if flags != _0 or first == _0:
        out[O_VALUE] = np.uint64(-EINVAL if flags != _0 else 0)
        return
    out[O_WROTE] = _0
    if _enter(machine, FOR_EACH, _0, np.uint64(number), context, target, pc):
        machine.loops[machine.control[DEPTH] * ROW + SLOT] = first
        _begin_round(machine, machine.control[DEPTH])


@njit
def next_round(machine, depth):
    """A callback has returned: another round, or back to who called the helper."""
    row = machine.loops[depth * ROW : (depth + 1) * ROW]
    frame = depth * FRAME_REGISTERS
    row[ROUND] += _1
    if row[KIND] == np.uint64(LOOP):
        more = row[ROUND] < row[ROUNDS]
    else:
        row[SLOT] = row[NEXT]
        more = row[NEXT] != _0
    if more and machine.regs[frame] == _0:
        _begin_round(machine, depth)
        return
    row[KIND] = NO_LOOP
    _set(machine, frame - FRAME_REGISTERS, row[ROUND])
    machine.control[PC] = machine.returns[depth]
    machine.control[DEPTH] = depth - 1


@njit
def throw(machine, cookie, pc):
    """bpf_throw: the program ends here, whatever its depth, and returns the cookie."""
    machine.out[O_WROTE] = _0
    _set(machine, 0, cookie)
    for depth in range(MAX_FRAMES):
        machine.loops[depth * ROW + KIND] = NO_LOOP
    machine.control[DEPTH] = 0
    machine.control[STOP] = EXIT
    machine.control[PC] = pc
