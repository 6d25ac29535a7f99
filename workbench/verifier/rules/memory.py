"""May these bytes be touched? One function per kind of pointer; each returns the reason why not.

Reasons are worded as Linux words them. Source: check_mem_access in kernel/bpf/verifier.c.
"""

from collections.abc import Callable

from workbench.bpf.map_types import MapFlag
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.verifier.rules.facts import Access
from workbench.verifier.rules.situation import Situation
from workbench.verifier.values import tnum
from workbench.verifier.values.domain import (
    ARENA,
    CTX,
    FRAME_BYTES,
    MAP,
    MAP_KEY,
    MAP_VALUE,
    MAX_OFFSET,
    MEM,
    NAMES,
    PACKET,
    PACKET_META,
    PACKETS,
    RDONLY_MEM,
    RECORD,
    SCALAR,
    STACK,
    Frame,
    Value,
)
from workbench.verifier.values.numbers import S32_MAX, S32_MIN, S64_MIN
from workbench.verifier.values.tnum import text_of

LOCK_BYTES = 4  # sizeof(struct bpf_spin_lock)

Reason = str | None


def access_refusal(fact: Access, situation: Situation) -> Reason:
    """Why the bytes of an Access may not be touched, or None."""
    value = situation.registers[fact.base]
    reason = _misaligned(fact, value)
    if reason is not None or value.kind == ARENA:
        return reason
    check = _BY_KIND.get(value.kind)
    if check is None:
        return f"R{fact.base} invalid mem access '{NAMES[value.kind]}'"
    return check(fact, value, situation)


_PLACES = {MAP_KEY: "key ", MAP_VALUE: "value ", CTX: "context ", STACK: "stack "}


def _misaligned(fact: Access, value: Value) -> Reason:
    """Stack accesses are aligned; others only where they are atomic, and never in the arena."""
    if fact.size == 1 or value.kind == ARENA or not (fact.atomic or value.kind == STACK):
        return None
    in_packet = value.kind in PACKETS
    fixed = value.off + fact.off + (2 if in_packet else 0)
    if tnum.aligned(tnum.add(value.number.bits, tnum.constant(fixed)), fact.size):
        return None
    where = "packet access off 2+" if in_packet else f"{_PLACES.get(value.kind, '')}access off "
    bits = text_of(value.number.bits)
    return f"misaligned {where}{bits}+{value.off}+{fact.off} size {fact.size}"


def _in_packet(fact: Access, value: Value, situation: Situation) -> Reason:
    if fact.write and "w" not in PROGRAM_TYPES[situation.setting.type].packet:
        return "cannot write into packet"
    return packet_refusal(fact.base, value, value.off + fact.off, fact.size)


def packet_refusal(base: int, value: Value, off: int, size: int, zero: bool = False) -> Reason:
    """Whether bytes of the packet are in the range that a comparison with its end has shown."""
    if value.number.smin < 0:
        return _negative(base)
    room = value.about
    fits = room >= 0 and off >= 0 and (size > 0 or zero) and off + size <= room
    if fits:
        return None
    if room < 0:
        return f"R{base} offset is outside of the packet"
    return (
        f"invalid access to packet, off={off} size={size}, "
        f"R{base}(id={value.id},off={off},r={room})\nR{base} offset is outside of the packet"
    )


def _negative(base: int) -> str:
    return f"R{base} min value is negative, either use unsigned index or do a if (index >=0) check."


def region_refusal(
    base: int, value: Value, off: int, size: int, limit: int, zero: bool = False
) -> Reason:
    """Whether `size` bytes at a variable offset stay within `limit` bytes."""
    n = value.number
    lowest = off + n.smin
    if n.smin < 0 and (n.smin == S64_MIN or not S32_MIN <= lowest <= S32_MAX or lowest < 0):
        return _negative(base)
    if reason := _outside(value, lowest, size, limit, zero):
        return f"{reason}\nR{base} min value is outside of the allowed memory range"
    if n.umax >= MAX_OFFSET:
        return f"R{base} unbounded memory access, make sure to bounds check any such access"
    if reason := _outside(value, off + n.umax, size, limit, zero):
        return f"{reason}\nR{base} max value is outside of the allowed memory range"
    return None


def _outside(value: Value, off: int, size: int, limit: int, zero: bool) -> Reason:
    if off >= 0 and (size > 0 or (size == 0 and zero)) and off + size <= limit:
        return None
    if value.kind == MAP_KEY:
        return f"invalid access to map key, key_size={limit} off={off} size={size}"
    if value.kind == MAP_VALUE:
        return f"invalid access to map value, value_size={limit} off={off} size={size}"
    return f"invalid access to memory, mem_size={limit} off={off} size={size}"


def _in_key(fact: Access, value: Value, situation: Situation) -> Reason:
    if fact.write:
        return f"write to change key R{fact.base} not allowed"
    off = value.off + fact.off
    return region_refusal(fact.base, value, off, fact.size, value.about.key_size)


def _in_value(fact: Access, value: Value, situation: Situation) -> Reason:
    return map_value_refusal(fact.base, value, value.off + fact.off, fact.size, fact.write)


def map_value_refusal(
    base: int, value: Value, off: int, size: int, write: bool, zero: bool = False
) -> Reason:
    """Whether bytes of a map value may be touched: inside, permitted, and not its lock."""
    row = value.about
    closed = MapFlag.RDONLY_PROG if write else MapFlag.WRONLY_PROG
    if row.map_flags & closed or (write and row.frozen):
        what = "write into" if write else "read from"
        return f"{what} map forbidden, value_size={row.value_size} off={off} size={size}"
    if reason := region_refusal(base, value, off, size, row.value_size, zero):
        return reason
    n = value.number
    if row.lock >= 0 and n.smin + off < row.lock + LOCK_BYTES and row.lock < n.umax + off + size:
        return "bpf_spin_lock cannot be accessed directly by load/store"
    return None


def _in_memory(fact: Access, value: Value, situation: Situation) -> Reason:
    if fact.write and value.kind == RDONLY_MEM:
        return f"R{fact.base} cannot write into {NAMES[value.kind]}"
    return region_refusal(fact.base, value, value.off + fact.off, fact.size, value.about)


def unmodified_refusal(base: int, value: Value, fixed_allowed: bool = False) -> Reason:
    """Whether a pointer is as it was given out. Source: __check_ptr_off_reg."""
    name = NAMES[value.kind]
    if value.off < 0:
        return f"negative offset {name} ptr R{base} off={value.off} disallowed"
    if value.off and not fixed_allowed:
        return f"dereference of modified {name} ptr R{base} off={value.off} disallowed"
    if value.number.mask or value.number.value:
        return f"variable {name} access var_off={text_of(value.number.bits)} disallowed"
    return None


def _in_context(fact: Access, value: Value, situation: Situation) -> Reason:
    if reason := unmodified_refusal(fact.base, value):
        return reason
    context = PROGRAM_TYPES[situation.setting.type].context
    if context and context.field_at(fact.off, fact.size, fact.write):
        return None
    return f"invalid bpf_context access off={fact.off} size={fact.size}"


def _in_map(fact: Access, value: Value, situation: Situation) -> Reason:
    if fact.write:
        return f"only read from bpf_{value.about.type} is supported"
    return f"R{fact.base} reading the fields of a map is not supported by the workbench"


def _in_stack(fact: Access, value: Value, situation: Situation) -> Reason:
    off = value.off + fact.off
    if reason := stack_refusal(fact.base, value, off, fact.size, fact.write):
        return reason
    frame = situation.state.frames[value.about]
    if fact.write:
        return _spill_refusal(fact, value, off, frame, situation)
    return _stack_read_refusal(fact, value, off, frame)


def stack_refusal(base: int, value: Value, off: int, size: int, write: bool) -> Reason:
    """Whether bytes lie within the 512 of a frame. Source: check_stack_access_within_bounds."""
    what, n = "write to" if write else "read from", value.number
    if n.known:
        low = signed64(n.value) + off
        if -FRAME_BYTES <= low <= -1 and low + size <= 0:
            return None
        return f"invalid {what} stack R{base} off={off} size={size}"
    if n.smax >= MAX_OFFSET or n.smin <= -MAX_OFFSET:
        return f"invalid unbounded variable-offset {what} stack R{base}"
    low = n.smin + off
    if -FRAME_BYTES <= low <= -1 and n.smax + off + size <= 0:
        return None
    bits = text_of(n.bits)
    return f"invalid variable-offset {what} stack R{base} var_off={bits} off={off} size={size}"


def signed64(number: int) -> int:
    """Read 64 bits as two's complement."""
    return number - (1 << 64) if number >> 63 else number


def _stack_read_refusal(fact: Access, value: Value, off: int, frame: Frame) -> Reason:
    """Bytes of a spilled pointer are read as a whole; bytes of an iterator not at all."""
    if value.number.mask:
        if fact.filled < 0:
            return (
                "variable offset stack pointer cannot be passed into helper function; "
                f"var_off={text_of(value.number.bits)} off={off} size={fact.size}"
            )
        return readable_refusal(fact.base, value, off, fact.size, frame)
    off += signed64(value.number.value)
    at = (-off - 1) // 8
    if at >= len(frame.stack):
        return None
    slot = frame.stack[at]
    first = (-off - 1) % 8
    touched = slot.types[first - fact.size + 1 : first + 1]
    if slot.spilled and (fact.size != 8 or slot.types[0] != "r"):
        if not slot.spilled_scalar:
            return "invalid size of register fill"
        if fact.filled < 0:
            return None
    for n, kind in enumerate(reversed(touched)):
        if kind in "if":
            return f"invalid read from stack off {off}+{n} size {fact.size}"
    return None


def readable_refusal(base: int, value: Value, off: int, size: int, frame: Frame) -> Reason:
    """Whether a function, or a load at a variable offset, may read these bytes of a stack."""
    n = value.number
    low = n.smin + off if n.mask else signed64(n.value) + off
    high = n.smax + off if n.mask else low
    for at in range(low, high + size):
        place = -at - 1
        slot = frame.stack[place // 8] if place // 8 < len(frame.stack) else None
        if slot is not None and slot.types[place % 8] in "if":
            if n.known:
                return f"invalid read from stack R{base} off {low}+{at - low} size {size}"
            bits = text_of(n.bits)
            return f"invalid read from stack R{base} var_off {bits}+{at - low} size {size}"
    return None


def _spill_refusal(
    fact: Access, value: Value, off: int, frame: Frame, situation: Situation
) -> Reason:
    """A pointer goes to the stack as a whole, and a stack pointer not into an older frame."""
    if fact.stored < 0 or value.number.mask:
        return None
    stored = situation.registers[fact.stored]
    if stored.kind == SCALAR:
        return None
    if fact.size < 8:
        return "invalid size of register spill"
    if stored.kind == STACK and frame is not situation.frame:
        return "cannot spill pointers to stack into stack frame of the caller"
    return None


_BY_KIND: dict[int, Callable[[Access, Value, Situation], Reason]] = {
    PACKET: _in_packet,
    PACKET_META: _in_packet,
    MAP_KEY: _in_key,
    MAP_VALUE: _in_value,
    MEM: _in_memory,
    RDONLY_MEM: _in_memory,
    RECORD: _in_memory,
    CTX: _in_context,
    MAP: _in_map,
    STACK: _in_stack,
}


def buffer_refusal(
    base: int, value: Value, size: int, write: bool, zero: bool, raw: bool, situation: Situation
) -> Reason:
    """Whether a function may touch `size` bytes at a pointer. Source: check_helper_mem_access.

    `raw` memory is filled by the function and need not be readable before.
    """
    kind, off = value.kind, value.off
    if kind in PACKETS:
        return packet_refusal(base, value, off, size, zero)
    if kind == MAP_KEY:
        if write:
            return f"R{base} cannot write into {NAMES[kind]}"
        return region_refusal(base, value, off, size, value.about.key_size)
    if kind == MAP_VALUE:
        return map_value_refusal(base, value, off, size, write, zero)
    if kind in (MEM, RDONLY_MEM, RECORD):
        if write and kind == RDONLY_MEM:
            return f"R{base} cannot write into {NAMES[kind]}"
        return region_refusal(base, value, off, size, value.about, zero)
    if kind == STACK:
        return _stack_buffer_refusal(base, value, size, write, zero, raw, situation)
    if kind == CTX and not _converted(situation.setting.type):
        return _context_buffer_refusal(base, value, size, write, zero, situation)
    if zero and size == 0 and kind == SCALAR and value.number.known and not value.number.value:
        return None
    return f"R{base} type={NAMES[kind]} expected=fp"


def _converted(type: str) -> bool:
    """Whether Linux rewrites accesses to the context to structures of its own."""
    context = PROGRAM_TYPES[type].context
    return context is None or bool(context.fields)


def _stack_buffer_refusal(
    base: int, value: Value, size: int, write: bool, zero: bool, raw: bool, situation: Situation
) -> Reason:
    if size == 0 and not zero:
        return "invalid zero-sized read"
    if reason := stack_refusal(base, value, value.off, size, write):
        return reason
    if raw and value.number.known:
        return None
    frame = situation.state.frames[value.about]
    return readable_refusal(base, value, value.off, size, frame)


def _context_buffer_refusal(
    base: int, value: Value, size: int, write: bool, zero: bool, situation: Situation
) -> Reason:
    if size == 0:
        return None if zero else "invalid zero-sized read"
    return access_refusal(Access(base, size - 1, 1, write), situation)
