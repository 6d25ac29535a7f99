"""The interpreter's compiled core: registers, memory and one loop over instructions.

The loop switches on `Op`. Common instructions are spelled out in it; rare ones go through
`rare`, which leaves its results in `machine.out`. Recording, counting and breakpoints are
arguments that may be None: numba then compiles them away.
"""

from typing import NamedTuple

import numpy as np

from workbench.arena import state as arena_core
from workbench.arena.rules import GUARD
from workbench.compiled import (
    byte_swap,
    load8,
    load16,
    load32,
    load64,
    njit,
    store8,
    store16,
    store32,
    store64,
)
from workbench.events import Actor, Kind, Ring, push
from workbench.isa import ARENA_SHIFT, FIRST_ARENA_OP, Op

REGISTERS = 13  # for each frame: r0..r10, the ZERO register, and the budget of may_goto
BUDGET = 12
MAX_FRAMES = 8
FRAME_BYTES = 512
STACK_BYTES = MAX_FRAMES * FRAME_BYTES
STACK_START = 0xFFFFC90000000000
CTX_START = 0xFFFF888000000000
MEMORY_START = 0xFFFF888100000000
PACKET_START = 0xFFFF888200000000
MAP_HANDLE = 0xFFFF888300000000
CODE_START = 0xFFFFFFFFC0000000
MAY_GOTO_LIMIT = 1 << 28  # Linux on x86 stops after 250 ms instead; about as many rounds
KEYFRAME = 256

RUNNING, EXIT, FUEL, BREAKPOINT, FAULT = range(5)
OUT_OF_BOUNDS, READ_ONLY, NOT_CODE, TOO_DEEP, UNKNOWN_CALL = range(5)
PC, DEPTH, STOP, REASON, SEED, STEPS = range(6)  # control indices
READ, WRITE, ABSENT, RMW, ARENA = 1, 2, 4, 8, 16  # access bits
O_VALUE, O_WROTE, O_ADDRESS, O_SIZE, O_ACCESS, O_OLD, O_NEW, O_REG = range(8)  # out indices

_LOW = np.uint64(0xFFFFFFFF)
_GUARD = np.uint64(GUARD)
_0, _1, _3, _7, _12 = (np.uint64(n) for n in (0, 1, 3, 7, 12))
_31, _63 = np.uint64(31), np.uint64(63)
_PRESENT = np.uint8(arena_core.PRESENT)
_STACK_START = np.uint64(STACK_START)
_FIRST_R10 = np.uint64(STACK_START + STACK_BYTES)
_CODE_START = np.uint64(CODE_START)
NO_REGISTER = 255


class Machine(NamedTuple):
    """One program being run.

    code: INSTRUCTION records with resolved references and a final INVALID. regs: uint64, 13 for
    each of 8 frames. control: int64, see PC..STEPS. returns: int64[8], return slot of each
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


@njit(inline=True)
def _present(pages, at, size):
    last = at + np.uint64(size - 1)
    return pages[at >> _12] & pages[last >> _12] & _PRESENT


@njit(inline=True)
def _signed(value):
    return np.int64(value)


@njit(inline=True)
def _signed32(value):
    return np.int32(np.uint32(value))


@njit
def _sdiv(a, b):
    """Signed division of int64, truncating; by 0 gives 0 and INT_MIN / -1 gives INT_MIN."""
    if b == 0:
        return np.uint64(0)
    if b == -1:
        return np.uint64(0) - np.uint64(a)
    quotient = np.uint64(abs(a)) // np.uint64(abs(b))
    return quotient if (a < 0) == (b < 0) else np.uint64(0) - quotient


@njit
def _smod(a, b):
    """Signed remainder with the sign of the dividend; by 0 gives the dividend."""
    if b == 0:
        return np.uint64(a)
    if b == -1:
        return np.uint64(0)
    remainder = np.uint64(abs(a)) % np.uint64(abs(b))
    return np.uint64(0) - remainder if a < 0 else remainder


@njit
def _host(regions, address, size, store):
    """Host address of memory that the program owns; 0 outside, 1 if it may not be written."""
    for row in range(regions.shape[0]):
        inside = address - regions[row, 0]
        if inside <= regions[row, 1] - np.uint64(size) and regions[row, 1] >= np.uint64(size):
            if store and regions[row, 3] == _0:
                return _1
            return regions[row, 2] + inside
    return _0


@njit
def _load(host, size):
    if size == 1:
        return np.uint64(load8(host))
    if size == 2:
        return np.uint64(load16(host))
    if size == 4:
        return np.uint64(load32(host))
    return load64(host)


@njit
def _store(host, size, value):
    if size == 1:
        store8(host, np.uint8(value))
    elif size == 2:
        store16(host, np.uint16(value))
    elif size == 4:
        store32(host, np.uint32(value))
    else:
        store64(host, value)


@njit
def missing(arena, kind, pc, address, size, clock):
    """Log a program's access to an absent page."""
    arena.meta[arena_core.CLOCK] = clock
    arena_core.record(arena, kind, Actor.PROGRAM, pc, address, size)


@njit
def _fault(machine, reason, address):
    machine.control[STOP] = FAULT
    machine.control[REASON] = reason
    machine.out[O_ADDRESS] = address


@njit
def _reach(machine, arena, base, off, size, access, in_arena, pc, clock):
    """Find the host memory of an access, or 0 if there is none (absent page, or fault).

    A base below 4 GiB that no verifier has typed can only be an arena pointer.
    """
    out = machine.out
    out[O_SIZE] = np.uint64(size)
    if in_arena or (base <= _LOW and arena.meta[arena_core.START] != _0):
        at = (base & _LOW) + np.uint64(off) + _GUARD
        address = (arena.meta[arena_core.START] & ~_LOW) + at - _GUARD
        out[O_ADDRESS] = address
        if _present(arena.pages, at, size):
            out[O_ACCESS] = np.uint64(access | ARENA)
            return arena.meta[arena_core.HOST] + at - _GUARD
        out[O_ACCESS] = np.uint64(access | ARENA | ABSENT)
        kind = Kind.DROPPED_WRITE if access & WRITE else Kind.ABSENT_READ
        missing(arena, kind, pc, address, size, clock)
        return _0
    address = base + np.uint64(off)
    out[O_ADDRESS] = address
    out[O_ACCESS] = np.uint64(access)
    host = _host(machine.regions, address, size, (access & WRITE) != 0)
    if host <= _1:
        _fault(machine, READ_ONLY if host == _1 else OUT_OF_BOUNDS, address)
        return _0
    return host


@njit
def _extend(value, size):
    """Sign-extend the low bytes of a value to 64 bits."""
    if size == 1:
        return np.uint64(np.int64(np.int8(np.uint8(value))))
    if size == 2:
        return np.uint64(np.int64(np.int16(np.uint16(value))))
    return np.uint64(np.int64(np.int32(np.uint32(value))))


@njit
def _plain_load(machine, arena, op, ins, base, in_arena, pc, clock):
    """LDX and LDXS on memory that is not known to be arena memory."""
    signed = op >= Op.LDXS8
    size = 1 << (op - Op.LDXS8 if signed else op - Op.LDX8)
    host = _reach(machine, arena, base, ins.off, size, READ, in_arena, pc, clock)
    if host == _0:
        machine.out[O_VALUE] = _0
        return
    value = _load(host, size)
    machine.out[O_VALUE] = _extend(value, size) if signed else value


@njit
def _plain_store(machine, arena, size, ins, base, value, in_arena, pc, clock):
    """STX, ST and STORE_RELEASE."""
    machine.out[O_WROTE] = _0
    host = _reach(machine, arena, base, ins.off, size, WRITE, in_arena, pc, clock)
    if host == _0:
        return
    machine.out[O_OLD] = _load(host, size)
    _store(host, size, value)
    machine.out[O_NEW] = _load(host, size)


@njit
def _acquire(machine, arena, size, ins, base, in_arena, pc, clock):
    """LOAD_ACQUIRE; on an absent page 6.18 leaves the register as it was."""
    host = _reach(machine, arena, base, ins.off, size, READ | RMW, in_arena, pc, clock)
    if host == _0:
        machine.out[O_WROTE] = _0
    else:
        machine.out[O_VALUE] = _load(host, size)


@njit
def _combine(op, old, operand):
    """The new memory content of an atomic operation on the first four of each family."""
    if op == 0:
        return old + operand
    if op == 1:
        return old & operand
    if op == 2:
        return old | operand
    return old ^ operand


@njit
def _atomic(machine, arena, op, ins, base, operand, frame, in_arena, pc, clock):
    """Read-modify-write; results register: src for fetches and xchg, r0 for cmpxchg.

    On an absent page memory and, on 6.18, the result register stay as they were.
    """
    out = machine.out
    wide = op >= Op.ATOMIC_ADD64
    size = 8 if wide else 4
    family = op - Op.ATOMIC_ADD64 if wide else op - Op.ATOMIC_ADD32
    access = READ | WRITE | RMW
    host = _reach(machine, arena, base, ins.off, size, access, in_arena, pc, clock)
    out[O_WROTE] = _0
    if host == _0:
        return
    old = _load(host, size)
    if family < 4:
        new = _combine(family, old, operand)
    elif family < 8:
        new = _combine(family - 4, old, operand)
    else:
        new = operand
    if family >= 4:
        out[O_WROTE] = _1
        out[O_VALUE] = old
        out[O_REG] = np.uint64(ins.src)
    if family == 9:
        expected = machine.regs[frame]
        out[O_REG] = _0
        if old != (expected if wide else expected & _LOW):
            new = old
        elif not wide and out[O_ACCESS] & np.uint64(ARENA):
            out[O_WROTE] = _0  # Linux forgets its `w0 = w0` here, so r0 keeps its upper half
    _store(host, size, new)
    out[O_OLD] = old
    out[O_NEW] = _load(host, size)


@njit
def _push_frame(machine, pc, target):
    """Enter a local function: it sees r0..r9 and has a stack frame of its own."""
    control, regs = machine.control, machine.regs
    depth = control[DEPTH] + 1
    if depth >= MAX_FRAMES:
        _fault(machine, TOO_DEEP, np.uint64(target))
        return
    frame = depth * REGISTERS
    for register in range(10):
        regs[frame + register] = regs[frame - REGISTERS + register]
    regs[frame + 10] = _FIRST_R10 - np.uint64(depth * FRAME_BYTES)
    machine.returns[depth] = pc + 1
    regs[frame + BUDGET] = np.uint64(MAY_GOTO_LIMIT)
    control[DEPTH] = depth
    control[PC] = target


@njit
def _pop_frame(machine):
    """Return from a local function: r0..r5 are handed back, as on the real machine."""
    control, regs = machine.control, machine.regs
    depth = control[DEPTH]
    frame = depth * REGISTERS
    for register in range(6):
        regs[frame - REGISTERS + register] = regs[frame + register]
    control[PC] = machine.returns[depth]
    control[DEPTH] = depth - 1


@njit
def _random(machine):
    """xorshift64*: the next pseudo-random number of this run."""
    x = np.uint64(machine.control[SEED])
    x ^= x >> _12
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    machine.control[SEED] = np.int64(x)
    return (x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(32)


@njit
def _call(machine, arena, op, number, frame, pc, clock):
    """Helpers and kfuncs; numbers are those of workbench.functions."""
    regs, out = machine.regs, machine.out
    arena.meta[arena_core.CLOCK] = clock
    r1, r2, r3 = regs[frame + 1], regs[frame + 2], regs[frame + 3]
    out[O_REG] = _0
    is_arena = r1 == np.uint64(MAP_HANDLE)
    if op == Op.CALL_KFUNC and number == 1:
        node, flags = np.int64(_signed32(regs[frame + 4])), regs[frame + 5]
        if is_arena:
            out[O_VALUE] = arena_core.alloc_pages(arena, r2, r3, node, flags, pc)
        else:
            out[O_VALUE] = _0
    elif op == Op.CALL_KFUNC and number == 2:
        if is_arena:
            arena_core.free_pages(arena, r2, r3, pc)
        out[O_WROTE] = _0
    elif op == Op.CALL_KFUNC and number == 3:
        status = np.int64(-arena_core.EINVAL)
        if is_arena:
            status = arena_core.reserve_pages(arena, r2, r3, pc)
        out[O_VALUE] = np.uint64(status) & _LOW
    elif op == Op.CALL_HELPER and number == 5:
        out[O_VALUE] = clock
    elif op == Op.CALL_HELPER and number == 7:
        out[O_VALUE] = _random(machine)
    elif op == Op.CALL_HELPER and (number == 8 or number == 14):
        out[O_VALUE] = _0
    else:
        _fault(machine, UNKNOWN_CALL, np.uint64(number))


@njit
def _packet(machine, op, ins, b):
    """LD_ABS and LD_IND: big-endian packet bytes; beyond the packet the program ends with 0."""
    indirect = op >= Op.LD_IND8
    size = 1 << (op - Op.LD_IND8 if indirect else op - Op.LD_ABS8)
    offset = (b if indirect else np.uint64(ins.imm)) & _LOW
    length = machine.regions[1, 1]
    machine.out[O_REG] = _0
    if offset + np.uint64(size) > length:
        machine.control[STOP] = EXIT
        machine.out[O_VALUE] = _0
        return
    value = _load(machine.regions[1, 2] + offset, size)
    machine.out[O_VALUE] = byte_swap(value) >> np.uint64(64 - 8 * size)


@njit
def rare(machine, arena, pc, op, ins, a, b, frame, clock):
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
        _plain_load(machine, arena, plain, ins, b, in_arena, pc, clock)
    elif Op.STX8 <= plain <= Op.STX64:
        size = 1 << (plain - Op.STX8)
        _plain_store(machine, arena, size, ins, a, b, in_arena, pc, clock)
    elif Op.STORE_RELEASE8 <= plain <= Op.STORE_RELEASE64:
        size = 1 << (plain - Op.STORE_RELEASE8)
        _plain_store(machine, arena, size, ins, a, b, in_arena, pc, clock)
    elif Op.LOAD_ACQUIRE8 <= plain <= Op.LOAD_ACQUIRE64:
        size = 1 << (plain - Op.LOAD_ACQUIRE8)
        _acquire(machine, arena, size, ins, b, in_arena, pc, clock)
    elif Op.ATOMIC_ADD32 <= plain <= Op.CMPXCHG64:
        _atomic(machine, arena, plain, ins, a, b, frame, in_arena, pc, clock)
    elif op == Op.CALL_LOCAL:
        out[O_WROTE] = _0
        _push_frame(machine, pc, pc + 1 + ins.off)
    elif op == Op.CALLX:
        out[O_WROTE] = _0
        slot = (a - _CODE_START) >> _3
        if a & _7 or slot >= np.uint64(machine.code.shape[0] - 1):
            _fault(machine, NOT_CODE, a)
        else:
            _push_frame(machine, pc, np.int64(slot))
    elif op == Op.CALL_HELPER or op == Op.CALL_KFUNC:
        _call(machine, arena, op, ins.imm, frame, pc, clock)
    elif op == Op.LD_FUNC:
        out[O_VALUE] = _CODE_START + (np.uint64(pc + 1 + ins.off) << _3)
        control[PC] = pc + 2
    elif Op.LD_ABS8 <= op <= Op.LD_IND32:
        _packet(machine, op, ins, b)
    else:
        _fault(machine, NOT_CODE, np.uint64(pc))
    if control[STOP] == FAULT:
        out[O_WROTE] = _0
        control[PC] = pc


@njit(inline=True)
def _keep(recording, at, pc, depth, reg, size, access, value, address, old, new):
    """Record one step."""
    recording.pc[at] = pc
    recording.depth[at] = depth
    recording.reg[at] = reg
    recording.size[at] = size
    recording.access[at] = access
    recording.value[at] = value
    recording.length[0] = at + 1
    if size:
        row = recording.length[1]
        recording.address[row] = address
        recording.old[row] = old
        recording.new[row] = new
        recording.length[1] = row + 1


@njit
def _keyframe(recording, at, regs, depth):
    row = at // KEYFRAME
    recording.key_depth[row] = depth
    for frame in range(MAX_FRAMES):
        for register in range(11):
            recording.key_regs[row, frame * 11 + register] = regs[frame * REGISTERS + register]


@njit
def _access_event(accesses, arena, clock, pc, op, access, address, size, value):
    """Log an access or a cast."""
    page = np.int64(-1)
    if access & ARENA or not access:
        page = arena_core.page_of(arena, address)
        pages = (arena.meta[arena_core.END] - arena.meta[arena_core.START]) >> _12
        if page >= np.int64(pages):
            page = np.int64(-1)
    if not access:
        kind = Kind.CAST_KERN if op == Op.CAST_KERN else Kind.CAST_USER
    elif access & RMW and access & WRITE:
        kind = Kind.ATOMIC
    else:
        kind = Kind.STORE if access & WRITE else Kind.LOAD
    push(accesses, clock, kind, Actor.PROGRAM, pc, page, address, size)


@njit
def _count_access(counts, arena, access, address):
    """Count one arena access; guard pages count too."""
    slot = np.int64(address - (arena.meta[arena_core.START] & ~_LOW) + _GUARD) >> 12
    if access & READ:
        counts.reads[slot] += 1
    if access & WRITE:
        counts.writes[slot] += 1


@njit
def execute(machine, arena, limit, counts, accesses, recording, breaks):
    """Run until exit, fault, breakpoint or `limit` steps; returns why (RUNNING..FAULT).

    State is left in `machine`, so a run can be resumed. With `breaks` (not None), an instruction
    with mark != 0 stops the run before it, except as the first of this call.
    """
    code, regs, control, out = machine.code, machine.regs, machine.control, machine.out
    pages = arena.pages
    window = arena.meta[arena_core.HOST] - _GUARD
    high = arena.meta[arena_core.START] & ~_LOW
    start_clock = arena.meta[arena_core.CLOCK]
    pc = np.int64(control[PC])
    frame = np.uint64(control[DEPTH] * REGISTERS)
    steps = np.int64(0)
    control[STOP] = RUNNING
    while steps < limit:
        ins = code[pc]
        if breaks is not None:
            if ins.mark and steps > 0:
                control[STOP] = BREAKPOINT
                break
        if counts is not None:
            counts.executed[pc] += 1
        if recording is not None:
            done = recording.length[0]
            if done % KEYFRAME == 0:
                _keyframe(recording, done, regs, control[DEPTH])
        op = ins.op
        dst = frame + np.uint64(ins.dst)
        a = regs[dst]
        b = regs[frame + np.uint64(ins.src)] + np.uint64(ins.imm)
        steps += 1
        here = pc
        pc += 1
        wrote = True
        value = b
        size = 0
        access = 0
        address, old, new = _0, _0, _0
        moved = False

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
            value = _sdiv(_signed(a), _signed(b))
        elif op == Op.SMOD64:
            value = _smod(_signed(a), _signed(b))
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
            value = np.uint64(_signed(a) >> np.int64(b & _63))
        elif op == Op.MOV64:
            value = b
        elif op == Op.ADD32:
            value = (a + b) & _LOW
        elif op == Op.SUB32:
            value = (a - b) & _LOW
        elif op == Op.MUL32:
            value = (a * b) & _LOW
        elif op == Op.DIV32:
            value = (a & _LOW) // (b & _LOW) if b & _LOW else _0
        elif op == Op.MOD32:
            value = (a & _LOW) % (b & _LOW) if b & _LOW else a & _LOW
        elif op == Op.SDIV32:
            value = _sdiv(np.int64(_signed32(a)), np.int64(_signed32(b))) & _LOW
        elif op == Op.SMOD32:
            value = _smod(np.int64(_signed32(a)), np.int64(_signed32(b))) & _LOW
        elif op == Op.OR32:
            value = (a | b) & _LOW
        elif op == Op.AND32:
            value = a & b & _LOW
        elif op == Op.XOR32:
            value = (a ^ b) & _LOW
        elif op == Op.LSH32:
            value = (a << (b & _31)) & _LOW
        elif op == Op.RSH32:
            value = (a & _LOW) >> (b & _31)
        elif op == Op.ARSH32:
            value = np.uint64(np.int64(_signed32(a)) >> np.int64(b & _31)) & _LOW
        elif op == Op.MOV32 or op == Op.CAST_KERN:
            value = b & _LOW
        elif op == Op.CAST_USER:
            value = b & _LOW
            value = high | value if value != _0 else _0
        elif op == Op.NEG64:
            value = _0 - a
        elif op == Op.NEG32:
            value = (_0 - a) & _LOW
        elif op == Op.MOVSX8_64:
            value = _extend(b, 1)
        elif op == Op.MOVSX16_64:
            value = _extend(b, 2)
        elif op == Op.MOVSX32_64:
            value = _extend(b, 4)
        elif op == Op.MOVSX8_32:
            value = _extend(b, 1) & _LOW
        elif op == Op.MOVSX16_32:
            value = _extend(b, 2) & _LOW
        elif op == Op.LE16:
            value = a & np.uint64(0xFFFF)
        elif op == Op.LE32:
            value = a & _LOW
        elif op == Op.LE64:
            value = a
        elif op == Op.BE16 or op == Op.BSWAP16:
            value = byte_swap(a) >> np.uint64(48)
        elif op == Op.BE32 or op == Op.BSWAP32:
            value = byte_swap(a) >> np.uint64(32)
        elif op == Op.BE64 or op == Op.BSWAP64:
            value = byte_swap(a)

        elif op == Op.JEQ64:
            wrote = False
            pc += ins.off if a == b else 0
        elif op == Op.JNE64:
            wrote = False
            pc += ins.off if a != b else 0
        elif op == Op.JGT64:
            wrote = False
            pc += ins.off if a > b else 0
        elif op == Op.JGE64:
            wrote = False
            pc += ins.off if a >= b else 0
        elif op == Op.JLT64:
            wrote = False
            pc += ins.off if a < b else 0
        elif op == Op.JLE64:
            wrote = False
            pc += ins.off if a <= b else 0
        elif op == Op.JSET64:
            wrote = False
            pc += ins.off if a & b else 0
        elif op == Op.JSGT64:
            wrote = False
            pc += ins.off if _signed(a) > _signed(b) else 0
        elif op == Op.JSGE64:
            wrote = False
            pc += ins.off if _signed(a) >= _signed(b) else 0
        elif op == Op.JSLT64:
            wrote = False
            pc += ins.off if _signed(a) < _signed(b) else 0
        elif op == Op.JSLE64:
            wrote = False
            pc += ins.off if _signed(a) <= _signed(b) else 0
        elif op == Op.JEQ32:
            wrote = False
            pc += ins.off if a & _LOW == b & _LOW else 0
        elif op == Op.JNE32:
            wrote = False
            pc += ins.off if a & _LOW != b & _LOW else 0
        elif op == Op.JGT32:
            wrote = False
            pc += ins.off if a & _LOW > b & _LOW else 0
        elif op == Op.JGE32:
            wrote = False
            pc += ins.off if a & _LOW >= b & _LOW else 0
        elif op == Op.JLT32:
            wrote = False
            pc += ins.off if a & _LOW < b & _LOW else 0
        elif op == Op.JLE32:
            wrote = False
            pc += ins.off if a & _LOW <= b & _LOW else 0
        elif op == Op.JSET32:
            wrote = False
            pc += ins.off if a & b & _LOW else 0
        elif op == Op.JSGT32:
            wrote = False
            pc += ins.off if _signed32(a) > _signed32(b) else 0
        elif op == Op.JSGE32:
            wrote = False
            pc += ins.off if _signed32(a) >= _signed32(b) else 0
        elif op == Op.JSLT32:
            wrote = False
            pc += ins.off if _signed32(a) < _signed32(b) else 0
        elif op == Op.JSLE32:
            wrote = False
            pc += ins.off if _signed32(a) <= _signed32(b) else 0
        elif op == Op.JA or op == Op.JA32:
            wrote = False
            pc += ins.off
        elif op == Op.MAY_GOTO:
            wrote = False
            budget = regs[frame + np.uint64(BUDGET)]
            if budget == _0:
                pc += ins.off
            else:
                regs[frame + np.uint64(BUDGET)] = budget - _1
        elif op == Op.LD_IMM64:
            value = np.uint64(ins.imm)
            pc += 1

        elif op == Op.ARENA_LDX8:
            at = (b & _LOW) + np.uint64(ins.off) + _GUARD
            address, size, access = high + at - _GUARD, 1, READ | ARENA
            if _present(pages, at, 1):
                value = np.uint64(load8(window + at))
            else:
                value, access = _0, READ | ARENA | ABSENT
                missing(arena, Kind.ABSENT_READ, here, address, 1, start_clock + np.uint64(steps))
        elif op == Op.ARENA_LDX16:
            at = (b & _LOW) + np.uint64(ins.off) + _GUARD
            address, size, access = high + at - _GUARD, 2, READ | ARENA
            if _present(pages, at, 2):
                value = np.uint64(load16(window + at))
            else:
                value, access = _0, READ | ARENA | ABSENT
                missing(arena, Kind.ABSENT_READ, here, address, 2, start_clock + np.uint64(steps))
        elif op == Op.ARENA_LDX32:
            at = (b & _LOW) + np.uint64(ins.off) + _GUARD
            address, size, access = high + at - _GUARD, 4, READ | ARENA
            if _present(pages, at, 4):
                value = np.uint64(load32(window + at))
            else:
                value, access = _0, READ | ARENA | ABSENT
                missing(arena, Kind.ABSENT_READ, here, address, 4, start_clock + np.uint64(steps))
        elif op == Op.ARENA_LDX64:
            at = (b & _LOW) + np.uint64(ins.off) + _GUARD
            address, size, access = high + at - _GUARD, 8, READ | ARENA
            if _present(pages, at, 8):
                value = load64(window + at)
            else:
                value, access = _0, READ | ARENA | ABSENT
                missing(arena, Kind.ABSENT_READ, here, address, 8, start_clock + np.uint64(steps))
        elif op == Op.ARENA_STX8:
            wrote = False
            at = (a & _LOW) + np.uint64(ins.off) + _GUARD
            address, size, access = high + at - _GUARD, 1, WRITE | ARENA
            if _present(pages, at, 1):
                old, new = np.uint64(load8(window + at)), b & np.uint64(0xFF)
                store8(window + at, np.uint8(b))
            else:
                access = WRITE | ARENA | ABSENT
                missing(arena, Kind.DROPPED_WRITE, here, address, 1, start_clock + np.uint64(steps))
        elif op == Op.ARENA_STX16:
            wrote = False
            at = (a & _LOW) + np.uint64(ins.off) + _GUARD
            address, size, access = high + at - _GUARD, 2, WRITE | ARENA
            if _present(pages, at, 2):
                old, new = np.uint64(load16(window + at)), b & np.uint64(0xFFFF)
                store16(window + at, np.uint16(b))
            else:
                access = WRITE | ARENA | ABSENT
                missing(arena, Kind.DROPPED_WRITE, here, address, 2, start_clock + np.uint64(steps))
        elif op == Op.ARENA_STX32:
            wrote = False
            at = (a & _LOW) + np.uint64(ins.off) + _GUARD
            address, size, access = high + at - _GUARD, 4, WRITE | ARENA
            if _present(pages, at, 4):
                old, new = np.uint64(load32(window + at)), b & _LOW
                store32(window + at, np.uint32(b))
            else:
                access = WRITE | ARENA | ABSENT
                missing(arena, Kind.DROPPED_WRITE, here, address, 4, start_clock + np.uint64(steps))
        elif op == Op.ARENA_STX64:
            wrote = False
            at = (a & _LOW) + np.uint64(ins.off) + _GUARD
            address, size, access = high + at - _GUARD, 8, WRITE | ARENA
            if _present(pages, at, 8):
                old, new = load64(window + at), b
                store64(window + at, b)
            else:
                access = WRITE | ARENA | ABSENT
                missing(arena, Kind.DROPPED_WRITE, here, address, 8, start_clock + np.uint64(steps))

        elif op == Op.EXIT:
            wrote, moved = False, True
            if control[DEPTH] == 0:
                control[STOP] = EXIT
                pc = here
            else:
                _pop_frame(machine)
                pc = control[PC]
        else:
            clock = start_clock + np.uint64(steps)
            rare(machine, arena, here, op, ins, a, b, np.int64(frame), clock)
            pc, moved = control[PC], True
            value, wrote = out[O_VALUE], out[O_WROTE] != _0
            dst = frame + out[O_REG]
            address, old, new = out[O_ADDRESS], out[O_OLD], out[O_NEW]
            size, access = np.int64(out[O_SIZE]), np.int64(out[O_ACCESS])

        if recording is not None:
            reg = np.int64(dst - frame) if wrote else NO_REGISTER
            depth = np.int64(frame) // REGISTERS
            _keep(recording, done, here, depth, reg, size, access, value, address, old, new)
        if accesses is not None:
            if size > 0 or op == Op.CAST_KERN or op == Op.CAST_USER:
                shown = address if size > 0 else value
                now = start_clock + np.uint64(steps)
                _access_event(accesses, arena, now, here, op, access, shown, size, value)
        if counts is not None:
            if access & ARENA:
                _count_access(counts, arena, access, address)
        if wrote:
            regs[dst] = value
        if moved:
            frame = np.uint64(control[DEPTH] * REGISTERS)
            if control[STOP] != RUNNING:
                break

    if control[STOP] == RUNNING:
        control[STOP] = FUEL
    control[PC] = pc
    control[STEPS] += steps
    arena.meta[arena_core.CLOCK] = start_clock + np.uint64(steps)
    return control[STOP]


def no_arena() -> arena_core.ArenaState:
    """The state of a program without an arena: nothing is ever present, START is 0."""
    from workbench.events import ring

    empty = np.zeros(0, np.uint8)
    pages = arena_core.lazy_zeros(arena_core.PAGE_SLOTS, np.uint8)
    meta = np.zeros(arena_core.LIVE + 1, np.uint64)
    return arena_core.ArenaState(empty, pages, np.zeros(0, np.int64), meta, ring(1))


def new_counts(slots: int) -> Counts:
    """Zeroed counters for a program of `slots` instruction slots."""
    return Counts(
        np.zeros(slots + 1, np.uint64),
        arena_core.lazy_zeros(arena_core.PAGE_SLOTS, np.uint64),
        arena_core.lazy_zeros(arena_core.PAGE_SLOTS, np.uint64),
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


__all__ = ["Counts", "Machine", "Recording", "Ring", "execute", "new_counts", "new_recording"]
