"""The less common instructions: calls, generic memory, atomics, packet loads.

Of the functions that a program calls only those of arenas are here; the others are compiled when
the first program needs them.
"""

from errno import EINVAL

import numpy as np

from workbench.arena import state as arena_core
from workbench.bpf.addresses import CODE_START, MAP_HANDLE, MAX_FRAMES
from workbench.bpf.functions import HELPERS, LAST_ARENA_KFUNC, Kfunc
from workbench.bpf.isa import ARENA_SHIFT, FIRST_ARENA_OP, Op
from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32, byte_swap
from workbench.engines.machine.callbacks import KIND, NO_LOOP, ROW
from workbench.engines.machine.memory import (
    acquire,
    atomic,
    fault,
    frame_pointer,
    load_bytes,
    plain_load,
    plain_store,
)
from workbench.engines.machine.state import (
    BUDGET,
    CALL,
    CTX_REGION,
    DEPTH,
    EXIT,
    FAULT,
    FRAME_REGISTERS,
    MAY_GOTO_LIMIT,
    NOT_CODE,
    O_ACCESS,
    O_NEW,
    O_OLD,
    O_REG,
    O_SIZE,
    O_VALUE,
    O_WROTE,
    PACKET_REGION,
    PC,
    R_BYTES,
    R_HOST,
    STOP,
    TOO_DEEP,
    UNKNOWN_CALL,
    by_address,
)

_0, _1, _3, _7 = (np.uint64(n) for n in (0, 1, 3, 7))
_CODE_START, _HANDLE = np.uint64(CODE_START), np.uint64(MAP_HANDLE)
_LAST_HELPER = np.uint64(max(HELPERS))


@njit
def _push_frame(machine, pc, target):
    """Enter a local function: it sees r0..r9 and has a stack frame of its own."""
    control, regs = machine.control, machine.regs
    depth = control[DEPTH] + 1
    if depth >= MAX_FRAMES:
        fault(machine, TOO_DEEP, np.uint64(target))
        return
    frame = depth * FRAME_REGISTERS
    for register in range(10):
        regs[frame + register] = regs[frame - FRAME_REGISTERS + register]
    regs[frame + 10] = frame_pointer(machine, depth)
    machine.returns[depth] = pc + 1
    regs[frame + BUDGET] = np.uint64(MAY_GOTO_LIMIT)
    control[DEPTH] = depth
    control[PC] = target


@njit
def _pop_frame(machine, pc, clock):
    """Return from a local function: r0..r5 are handed back, as on the real machine."""
    control, regs = machine.control, machine.regs
    depth = control[DEPTH]
    if machine.loops[depth * ROW + KIND] != NO_LOOP:
        by_address(control, CALL, pc, _0, _0, clock)
        return
    frame = depth * FRAME_REGISTERS
    for register in range(6):
        regs[frame - FRAME_REGISTERS + register] = regs[frame + register]
    control[PC] = machine.returns[depth]
    control[DEPTH] = depth - 1


@njit
def _call(machine, arena, op, which, frame, pc, clock):
    """Call a helper or a kfunc."""
    regs, out = machine.regs, machine.out
    arena.meta[arena_core.CLOCK] = clock
    out[O_REG] = _0
    if op != Op.CALL_KFUNC or which > LAST_ARENA_KFUNC:
        if machine.control[CALL] == 0:
            fault(machine, UNKNOWN_CALL, np.uint64(which))
        else:
            by_address(machine.control, CALL, pc, _0, _0, clock)
        return
    r2, r3, known = regs[frame + 2], regs[frame + 3], regs[frame + 1] == _HANDLE
    status = np.uint64(-EINVAL) & LOW_32 if which == Kfunc.ARENA_RESERVE_PAGES else _0
    if which == Kfunc.ARENA_ALLOC_PAGES and known:
        node, flags = np.int64(np.int32(np.uint32(regs[frame + 4]))), regs[frame + 5]
        status = arena_core.alloc_pages(arena, r2, r3, node, flags, pc)
    elif which == Kfunc.ARENA_FREE_PAGES and known:
        arena_core.free_pages(arena, r2, r3, pc)
    elif which == Kfunc.ARENA_RESERVE_PAGES and known:
        status = np.uint64(arena_core.reserve_pages(arena, r2, r3, pc)) & LOW_32
    out[O_WROTE] = _0 if which == Kfunc.ARENA_FREE_PAGES else _1
    out[O_VALUE] = status


@njit
def _packet(machine, op, ins, b):
    """LD_ABS and LD_IND: big-endian packet bytes; beyond the packet the program ends with 0."""
    indirect = op >= Op.LD_IND8
    size = 1 << (op - Op.LD_IND8 if indirect else op - Op.LD_ABS8)
    offset = (b if indirect else np.uint64(ins.imm)) & LOW_32
    row = PACKET_REGION if machine.regions[PACKET_REGION, R_BYTES] != _0 else CTX_REGION
    length = machine.regions[row, R_BYTES]
    machine.out[O_REG] = _0
    if offset + np.uint64(size) > length:
        machine.control[STOP] = EXIT
        machine.out[O_VALUE] = _0
        return
    value = load_bytes(machine.regions[row, R_HOST] + offset, size)
    machine.out[O_VALUE] = byte_swap(value) >> np.uint64(64 - 8 * size)


@njit
def uncommon(machine, arena, pc, op, ins, a, b, frame, clock):
    """Execute one of the less common instructions; results go to machine.out and control."""
    control, out = machine.control, machine.out
    control[PC] = pc + 1
    out[O_WROTE] = _1
    out[O_REG] = np.uint64(ins.dst)
    out[O_SIZE] = _0
    out[O_ACCESS] = _0
    out[O_OLD] = _0
    out[O_NEW] = _0
    in_arena = FIRST_ARENA_OP <= op < Op.INVALID
    plain = op - ARENA_SHIFT if in_arena else op
    if Op.LDX8 <= plain <= Op.LDXS32:
        plain_load(machine, arena, plain, ins, b, in_arena, pc, clock)
    elif Op.STX8 <= plain <= Op.STX64:
        size = 1 << (plain - Op.STX8)
        plain_store(machine, arena, size, ins, a, b, in_arena, pc, clock)
    elif Op.STORE_RELEASE8 <= plain <= Op.STORE_RELEASE64:
        size = 1 << (plain - Op.STORE_RELEASE8)
        plain_store(machine, arena, size, ins, a, b, in_arena, pc, clock)
    elif Op.LOAD_ACQUIRE8 <= plain <= Op.LOAD_ACQUIRE64:
        size = 1 << (plain - Op.LOAD_ACQUIRE8)
        acquire(machine, arena, size, ins, b, in_arena, pc, clock)
    elif Op.ATOMIC_ADD32 <= plain <= Op.CMPXCHG64:
        atomic(machine, arena, plain, ins, a, b, frame, in_arena, pc, clock)
    elif op == Op.CALL_LOCAL:
        out[O_WROTE] = _0
        _push_frame(machine, pc, pc + 1 + ins.off)
    elif op == Op.EXIT:
        out[O_WROTE] = _0
        _pop_frame(machine, pc, clock)
    elif op == Op.CALLX and a > _LAST_HELPER:
        out[O_WROTE] = _0
        slot = (a - _CODE_START) >> _3
        if a & _7 or slot >= np.uint64(machine.code.shape[0] - 1):
            fault(machine, NOT_CODE, a)
        else:
            _push_frame(machine, pc, np.int64(slot))
    elif op == Op.CALLX:  # as in other virtual machines: the register has a helper's number
        _call(machine, arena, op, np.int64(a), frame, pc, clock)
    elif op == Op.CALL_HELPER or op == Op.CALL_KFUNC:
        _call(machine, arena, op, ins.imm, frame, pc, clock)
    elif op == Op.LD_FUNC:
        out[O_VALUE] = _CODE_START + (np.uint64(pc + 1 + ins.off) << _3)
        control[PC] = pc + 2
    elif Op.LD_ABS8 <= op <= Op.LD_IND32:
        _packet(machine, op, ins, b)
    else:
        fault(machine, NOT_CODE, np.uint64(pc))
    if control[STOP] == FAULT:
        out[O_WROTE] = _0
        control[PC] = pc
