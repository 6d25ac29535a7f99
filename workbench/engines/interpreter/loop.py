"""The interpreter's loop: one `if` for each operation, which LLVM turns into a jump table.

Recording, counting and breakpoints are arguments that may be None: numba then compiles them
away. What is uncommon is done by `entries.step`, which leaves its results in `machine.out`; it is
reached through its address, so that it is compiled once and LLVM keeps it out of this loop.
"""

import numpy as np

from workbench.arena import state as arena_core
from workbench.arena.rules import GUARD
from workbench.bpf.isa import Op
from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32, byte_swap
from workbench.engines.machine.memory import UNCOMMON, extend, load_arena, store_arena
from workbench.engines.machine.observe import (
    count_access,
    keep_access,
    keep_bytes,
    keep_changes,
    keep_registers,
    keep_step,
)
from workbench.engines.machine.state import (
    ACCESSES_KEPT,
    BREAKPOINT,
    BUDGET,
    DEPTH,
    EXIT,
    FRAME_REGISTERS,
    FUEL,
    O_ACCESS,
    O_ADDRESS,
    O_NEW,
    O_OLD,
    O_REG,
    O_SIZE,
    O_VALUE,
    O_WROTE,
    PC,
    RUNNING,
    STEP,
    STEPS,
    STEPS_KEPT,
    STOP,
    by_address,
)
from workbench.maps.layout import NOTED
from workbench.recording.columns import IN_ARENA, KEYFRAME, NO_REGISTER

_GUARD, _KEYFRAME = np.uint64(GUARD), np.uint64(KEYFRAME)
_0, _1, _31, _63 = (np.uint64(n) for n in (0, 1, 31, 63))


@njit(inline=True)
def signed(value):
    """The bits of a uint64 as int64."""
    return np.int64(value)


@njit(inline=True)
def signed32(value):
    """The low bits of a uint64 as int32."""
    return np.int32(np.uint32(value))


@njit
def sdiv(a, b):
    """Signed division of int64, truncating; by 0 gives 0 and INT_MIN / -1 gives INT_MIN."""
    if b == 0:
        return np.uint64(0)
    if b == -1:
        return np.uint64(0) - np.uint64(a)
    quotient = np.uint64(abs(a)) // np.uint64(abs(b))
    return quotient if (a < 0) == (b < 0) else np.uint64(0) - quotient


@njit
def smod(a, b):
    """Signed remainder with the sign of the dividend; by 0 gives the dividend."""
    if b == 0:
        return np.uint64(a)
    if b == -1:
        return np.uint64(0)
    remainder = np.uint64(abs(a)) % np.uint64(abs(b))
    return np.uint64(0) - remainder if a < 0 else remainder


@njit
def execute(machine, arena, limit, counts, accesses, recording, breaks):
    """Run until exit, fault, breakpoint or `limit` steps; returns why (RUNNING..FAULT).

    State is left in `machine`, so a run can be resumed. With `breaks` (not None), an instruction
    with breakpoint != 0 stops the run before it, except as the first of this call.
    """
    code, regs, control, out = machine.code, machine.regs, machine.control, machine.out
    window = arena.meta[arena_core.HOST] - _GUARD
    high = arena.meta[arena_core.START] & ~LOW_32
    start_clock = arena.meta[arena_core.CLOCK]
    pc = np.uint64(control[PC])
    depth = control[DEPTH]
    frame = np.uint64(depth * FRAME_REGISTERS)
    left = limit
    done, rows = _0, _0
    if recording is not None:
        done = np.uint64(recording.length[STEPS_KEPT])
        rows = np.uint64(recording.length[ACCESSES_KEPT])
    control[STOP] = RUNNING
    while left > 0:
        ins = code[pc]
        if breaks is not None:
            if ins.breakpoint and left < limit:
                control[STOP] = BREAKPOINT
                break
        if counts is not None:
            counts.executed[pc] += 1
        if recording is not None:
            if done % _KEYFRAME == _0:
                keep_registers(recording, done, regs, depth)
        op = ins.op
        dst = frame + np.uint64(ins.dst)
        a = regs[dst]
        b = regs[frame + np.uint64(ins.src)] + np.uint64(ins.imm)
        left -= 1
        here = pc
        pc += _1
        wrote = True
        value = b
        size = 0
        access = 0
        address, old, new = _0, _0, _0
        taken, moved = False, False

        if op == Op.ADD64:
            value = a + b
        elif op == Op.SUB64:
            value = a - b
        elif op == Op.MUL64:
            value = a * b
        elif op == Op.DIV64:
            value = a // b if b != _0 else _0
        elif op == Op.MOD64:
            value = a % b if b != _0 else a
        elif op == Op.SDIV64:
            value = sdiv(signed(a), signed(b))
        elif op == Op.SMOD64:
            value = smod(signed(a), signed(b))
        elif op == Op.OR64:
            value = a | b
        elif op == Op.AND64:
            value = a & b
        elif op == Op.XOR64:
            value = a ^ b
        elif op == Op.LSH64:
            value = a << (b & _63)
        elif op == Op.RSH64:
            value = a >> (b & _63)
        elif op == Op.ARSH64:
            value = np.uint64(signed(a) >> np.int64(b & _63))
        elif op == Op.MOV64:
            value = b
        elif op == Op.ADD32:
            value = (a + b) & LOW_32
        elif op == Op.SUB32:
            value = (a - b) & LOW_32
        elif op == Op.MUL32:
            value = (a * b) & LOW_32
        elif op == Op.DIV32:
            value = (a & LOW_32) // (b & LOW_32) if b & LOW_32 else _0
        elif op == Op.MOD32:
            value = (a & LOW_32) % (b & LOW_32) if b & LOW_32 else a & LOW_32
        elif op == Op.SDIV32:
            value = sdiv(np.int64(signed32(a)), np.int64(signed32(b))) & LOW_32
        elif op == Op.SMOD32:
            value = smod(np.int64(signed32(a)), np.int64(signed32(b))) & LOW_32
        elif op == Op.OR32:
            value = (a | b) & LOW_32
        elif op == Op.AND32:
            value = a & b & LOW_32
        elif op == Op.XOR32:
            value = (a ^ b) & LOW_32
        elif op == Op.LSH32:
            value = (a << (b & _31)) & LOW_32
        elif op == Op.RSH32:
            value = (a & LOW_32) >> (b & _31)
        elif op == Op.ARSH32:
            value = np.uint64(np.int64(signed32(a)) >> np.int64(b & _31)) & LOW_32
        elif op == Op.MOV32 or op == Op.CAST_KERN:
            value = b & LOW_32
        elif op == Op.CAST_USER:
            value = b & LOW_32
            value = high | value if value != _0 else _0
        elif op == Op.NEG64:
            value = _0 - a
        elif op == Op.NEG32:
            value = (_0 - a) & LOW_32
        elif op == Op.MOVSX8_64:
            value = extend(b, 1)
        elif op == Op.MOVSX16_64:
            value = extend(b, 2)
        elif op == Op.MOVSX32_64:
            value = extend(b, 4)
        elif op == Op.MOVSX8_32:
            value = extend(b, 1) & LOW_32
        elif op == Op.MOVSX16_32:
            value = extend(b, 2) & LOW_32
        elif op == Op.LE16:
            value = a & np.uint64(0xFFFF)
        elif op == Op.LE32:
            value = a & LOW_32
        elif op == Op.LE64:
            value = a

        elif op == Op.JEQ64:
            wrote, taken = False, a == b
        elif op == Op.JNE64:
            wrote, taken = False, a != b
        elif op == Op.JGT64:
            wrote, taken = False, a > b
        elif op == Op.JGE64:
            wrote, taken = False, a >= b
        elif op == Op.JLT64:
            wrote, taken = False, a < b
        elif op == Op.JLE64:
            wrote, taken = False, a <= b
        elif op == Op.JSET64:
            wrote, taken = False, a & b != _0
        elif op == Op.JSGT64:
            wrote, taken = False, signed(a) > signed(b)
        elif op == Op.JSGE64:
            wrote, taken = False, signed(a) >= signed(b)
        elif op == Op.JSLT64:
            wrote, taken = False, signed(a) < signed(b)
        elif op == Op.JSLE64:
            wrote, taken = False, signed(a) <= signed(b)
        elif op == Op.JEQ32:
            wrote, taken = False, a & LOW_32 == b & LOW_32
        elif op == Op.JNE32:
            wrote, taken = False, a & LOW_32 != b & LOW_32
        elif op == Op.JGT32:
            wrote, taken = False, a & LOW_32 > b & LOW_32
        elif op == Op.JGE32:
            wrote, taken = False, a & LOW_32 >= b & LOW_32
        elif op == Op.JLT32:
            wrote, taken = False, a & LOW_32 < b & LOW_32
        elif op == Op.JLE32:
            wrote, taken = False, a & LOW_32 <= b & LOW_32
        elif op == Op.JSET32:
            wrote, taken = False, a & b & LOW_32 != _0
        elif op == Op.JSGT32:
            wrote, taken = False, signed32(a) > signed32(b)
        elif op == Op.JSGE32:
            wrote, taken = False, signed32(a) >= signed32(b)
        elif op == Op.JSLT32:
            wrote, taken = False, signed32(a) < signed32(b)
        elif op == Op.JSLE32:
            wrote, taken = False, signed32(a) <= signed32(b)
        elif op == Op.JA or op == Op.JA32:
            wrote, taken = False, True
        elif op == Op.MAY_GOTO:
            wrote = False
            budget = regs[frame + np.uint64(BUDGET)]
            taken = budget == _0
            regs[frame + np.uint64(BUDGET)] = budget - _1 if budget else _0
        elif op == Op.LD_IMM64:
            value = np.uint64(ins.imm)
            pc += _1

        elif op == Op.ARENA_LDX8:
            size = 1
            value, address, access = load_arena(arena, window, b, ins.off, 1)
        elif op == Op.ARENA_LDX16:
            size = 2
            value, address, access = load_arena(arena, window, b, ins.off, 2)
        elif op == Op.ARENA_LDX32:
            size = 4
            value, address, access = load_arena(arena, window, b, ins.off, 4)
        elif op == Op.ARENA_LDX64:
            size = 8
            value, address, access = load_arena(arena, window, b, ins.off, 8)
        elif op == Op.ARENA_STX8:
            wrote, size, new = False, 1, b & np.uint64(0xFF)
            old, address, access = store_arena(arena, window, a, ins.off, 1, b)
        elif op == Op.ARENA_STX16:
            wrote, size, new = False, 2, b & np.uint64(0xFFFF)
            old, address, access = store_arena(arena, window, a, ins.off, 2, b)
        elif op == Op.ARENA_STX32:
            wrote, size, new = False, 4, b & LOW_32
            old, address, access = store_arena(arena, window, a, ins.off, 4, b)
        elif op == Op.ARENA_STX64:
            wrote, size, new = False, 8, b
            old, address, access = store_arena(arena, window, a, ins.off, 8, b)

        elif op == Op.BE16 or op == Op.BSWAP16:
            value = byte_swap(a) >> np.uint64(48)
        elif op == Op.BE32 or op == Op.BSWAP32:
            value = byte_swap(a) >> np.uint64(32)
        elif op == Op.BE64 or op == Op.BSWAP64:
            value = byte_swap(a)
        elif op == Op.EXIT and control[DEPTH] == 0:
            wrote, moved = False, True
            control[STOP] = EXIT
            pc = here
        else:
            access = UNCOMMON

        if access == UNCOMMON:
            clock = start_clock + np.uint64(limit - left)
            by_address(control, STEP, here, a, b, clock)
            pc, moved = np.uint64(control[PC]), True
            value, wrote = out[O_VALUE], out[O_WROTE] != _0
            dst = frame + out[O_REG]
            address, old, new = out[O_ADDRESS], out[O_OLD], out[O_NEW]
            size, access = np.int64(out[O_SIZE]), np.int64(out[O_ACCESS])
        if taken:
            pc += np.uint64(np.int64(ins.off))
        if recording is not None:
            reg = np.int64(dst - frame) if wrote else NO_REGISTER
            keep_step(recording, done, here, depth, reg, size, access, value)
            if size > 0:
                keep_bytes(recording, rows, address, old, new)
                rows += _1
            if moved and machine.journal[NOTED] != _0:
                if keep_changes(recording, done, machine.journal):
                    limit, left = limit - left, 0
            done += _1
        if accesses is not None:
            if size > 0 or op == Op.CAST_KERN or op == Op.CAST_USER:
                shown = address if size > 0 else value
                clock = start_clock + np.uint64(limit - left)
                keep_access(accesses, arena, clock, here, op, access, shown, size, value)
        if counts is not None:
            if access & IN_ARENA:
                count_access(counts, arena, access, address)
        if wrote:
            regs[dst] = value
        if moved:
            depth = control[DEPTH]
            frame = np.uint64(depth * FRAME_REGISTERS)
            if control[STOP] != RUNNING:
                break

    if control[STOP] == RUNNING:
        control[STOP] = FUEL
    if recording is not None:
        recording.length[STEPS_KEPT] = np.int64(done)
        recording.length[ACCESSES_KEPT] = np.int64(rows)
    steps = limit - left
    control[PC] = pc
    control[STEPS] += steps
    arena.meta[arena_core.CLOCK] = start_clock + np.uint64(steps)
    return control[STOP]
