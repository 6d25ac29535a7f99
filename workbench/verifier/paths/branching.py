"""What a conditional jump does to a path: it goes one way, or forks, and both sides learn.

Sources: check_cond_jmp_op, sync_linked_regs and find_good_pkt_pointers in kernel/bpf/verifier.c.
"""

from workbench.bpf import isa
from workbench.bpf.isa import Op
from workbench.verifier.paths.path import Path
from workbench.verifier.rules.facts import Instruction
from workbench.verifier.values import arithmetic, branches
from workbench.verifier.values.branches import COMPARISONS, FLIPPED
from workbench.verifier.values.domain import (
    AT_END,
    BEYOND_END,
    DELTA_32,
    MAP,
    MAP_KEY,
    MAP_VALUE,
    MEMORIES,
    OR_NULL,
    PACKET,
    PACKET_END,
    PACKET_META,
    PACKETS,
    SCALAR,
    STACK,
    WITH_DELTA,
    State,
    Value,
    each_value,
    is_null,
    scalar,
)

MAX_LINKED = 6  # LINKED_REGS_MAX: as many as fit into 64 bits of a path's past
MAX_PACKET = 0xFFFF  # MAX_PACKET_OFF
Link = tuple[int, int, bool]  # frame, register or slot, whether it is a register


def branch(i: Instruction, path: Path) -> int | None:
    """Follow a jump whose way is known, else go on and leave the target for later.

    Returns the next slot, None for the one that follows.
    """
    left = path.registers[i.dst]
    right = scalar(i.imm) if i.src == isa.ZERO else path.registers[i.src]
    pointers = (left.kind == STACK) | (right.kind == STACK) << 1
    if pointers:
        path.state.note().pointers |= pointers
    way = _way(i.op, left, right)
    if way is not None:
        path.rely(i.dst)
        if i.src != isa.ZERO:
            path.rely(i.src)
        return path.pc + 1 + i.off if way else None
    links = _links(i, path)
    if len(links) > 1:
        path.state.note().linked = tuple(links)
    other = path.fork(path.pc + 1 + i.off)
    if left.kind == SCALAR == right.kind:
        _learn(i, path.state, other, links)
    _learn_of_null(i, path.state, other)
    return None


def _way(op: int, left: Value, right: Value) -> bool | None:
    """Which way the jump goes, if that is known. Source: is_branch_taken."""
    if left.kind == SCALAR == right.kind:
        return branches.taken(op, left.number, right.number)
    name, bits = COMPARISONS[op]
    if bits == 64 and left.kind in _ANY_PACKET and right.kind in _ANY_PACKET:
        return _packet_way(name, left, right)
    if right.kind != SCALAR or right.number.mask & (1 << bits) - 1:
        left, right = right, left
    full = (1 << bits) - 1
    if right.kind != SCALAR or right.number.mask & full or right.number.value & full:
        return None
    if left.kind not in _NEVER_NULL:
        return None
    return {"JEQ": False, "JNE": True}.get(name)


_ANY_PACKET = PACKETS | {PACKET_END}
_NEVER_NULL = MEMORIES | {MAP, MAP_VALUE, MAP_KEY}
"""Kinds that reg_not_null knows: not the stack, contexts, packets and arenas."""


def _packet_way(name: str, left: Value, right: Value) -> bool | None:
    if right.kind != PACKET_END:
        left, right, name = right, left, FLIPPED[name]
    if right.kind != PACKET_END or left.kind not in PACKETS or left.about >= 0:
        return None
    if name in ("JLE", "JGT"):
        return name == "JGT" if left.about == BEYOND_END else None
    return name == "JGE" if name in ("JLT", "JGE") else None


def _links(i: Instruction, path: Path) -> list[Link]:
    """Registers and slots that hold the same number as an operand, or it plus a constant."""
    links: list[Link] = []
    for register in () if i.src == isa.ZERO else (i.src,):
        _collect(path, path.registers[register], links)
    _collect(path, path.registers[i.dst], links)
    return links


def _collect(path: Path, of: Value, links: list[Link]) -> None:
    if of.kind != SCALAR or not of.id:
        return
    wanted, state = of.id & ~WITH_DELTA, path.state
    for frame in reversed(state.frames):
        live = path.subject.flow.live[state.slot_of(frame.number)]
        for n, value in enumerate(frame.registers[:10]):
            if value.id & ~WITH_DELTA == wanted and value.kind == SCALAR and live >> n & 1:
                if len(links) < MAX_LINKED:
                    links.append((frame.number, n, True))
                else:
                    frame.registers[n] = value._replace(id=0)
        for n, slot in enumerate(frame.stack):
            spilled = slot.value
            if spilled is None or not slot.spilled_scalar:
                continue
            if spilled.id & ~WITH_DELTA == wanted:
                if len(links) < MAX_LINKED:
                    links.append((frame.number, n, False))
                else:
                    frame.put(n, slot._replace(value=spilled._replace(id=0)))


def _learn(i: Instruction, here: State, there: State, links: list[Link]) -> None:
    """Narrow both operands on both ways, and what is linked to them."""
    for state, jumped in ((here, False), (there, True)):
        registers = state.frames[-1].registers
        left = registers[i.dst]
        right = scalar(i.imm) if i.src == isa.ZERO else registers[i.src]
        if i.src == i.dst:
            alone = branches.refined_with_itself(i.op, jumped, left.number)
            registers[i.dst] = left._replace(number=alone)
        else:
            a, b = branches.refined(i.op, jumped, left.number, right.number)
            registers[i.dst] = left._replace(number=a)
            if i.src != isa.ZERO:
                registers[i.src] = right._replace(number=b)
        if links and i.src != isa.ZERO:
            _sync(state, registers[i.src], i.src, links)
        if links:
            _sync(state, registers[i.dst], i.dst, links)


def _sync(state: State, known: Value, register: int, links: list[Link]) -> None:
    """Copy what is known of a register to all that are linked to it."""
    if not known.id:
        return
    innermost = len(state.frames) - 1
    for number, n, is_register in links:
        frame = state.frames[number]
        if is_register:
            if (number, n) != (innermost, register):
                frame.registers[n] = _linked(frame.registers[n], known)
            continue
        slot = frame.stack[n]
        if slot.value is not None:
            frame.put(n, slot._replace(value=_linked(slot.value, known)))


def _linked(value: Value, known: Value) -> Value:
    """A value that equals a known one, or differs by a constant."""
    if value.kind != SCALAR or (value.id ^ known.id) & ~WITH_DELTA:
        return value
    if (value.id ^ known.id) & WITH_DELTA == WITH_DELTA:
        return value  # added in 64 bits there and in 32 here
    if not (value.id | known.id) & WITH_DELTA or value.off == known.off:
        return known
    bits = 32 if (value.id | known.id) & DELTA_32 else 64
    number = arithmetic.shifted_by(known.number, value.off - known.off, bits)
    return value._replace(number=number)


def _learn_of_null(i: Instruction, here: State, there: State) -> None:
    """A pointer that may be NULL was compared, or a packet pointer with the packet's end."""
    name, bits = COMPARISONS[i.op]
    registers = here.frames[-1].registers
    left = registers[i.dst]
    if bits != 64:
        return
    if i.src == isa.ZERO:
        if left.kind & OR_NULL and i.imm == 0 and name in ("JEQ", "JNE"):
            mark_null(here, left, name == "JNE")
            mark_null(there, left, name == "JEQ")
        return
    right = registers[i.src]
    if left.kind == SCALAR or right.kind == SCALAR:
        return
    if name in ("JEQ", "JNE") and (left.kind ^ right.kind) & OR_NULL:
        equal = (there if name == "JEQ" else here).frames[-1].registers
        nullable = i.src if right.kind & OR_NULL else i.dst
        equal[nullable] = not_null(equal[nullable])
    _learn_of_packet(i, name, left, right, here, there)


def not_null(value: Value) -> Value:
    """The pointer without NULL; the value of a map of maps is a map."""
    kind = value.kind & ~OR_NULL
    if kind == MAP_VALUE and value.about.inner is not None:
        return value._replace(kind=MAP, about=value.about.inner)
    return value._replace(kind=kind)


def mark_null(state: State, pointer: Value, null: bool) -> None:
    """All copies of a pointer turn out to be NULL, or not to be."""
    if null and pointer.reference and pointer.reference == pointer.id:
        left = tuple(r for r in state.locks.references if r.id != pointer.reference)
        state.locks = state.locks._replace(references=left)

    def change(value: Value) -> Value:
        if not value.kind & OR_NULL or value.id != pointer.id:
            return value
        if null:
            return Value(SCALAR, value.number)
        changed = not_null(value)
        locked = changed.kind == MAP_VALUE and changed.about.lock >= 0
        return changed if locked else changed._replace(id=0)

    each_value(state, change)


def _learn_of_packet(
    i: Instruction, name: str, left: Value, right: Value, here: State, there: State
) -> None:
    """Where a pointer into the packet does not pass the end, the bytes before it may be read."""
    if name not in ("JGT", "JLT", "JGE", "JLE"):
        return
    if _bounds(left, right):
        pointer, register = left, i.dst
    elif _bounds(right, left):
        pointer, register, name = right, i.src, FLIPPED[name]
    else:
        return
    # pointer > end and pointer >= end: bytes are readable where the jump is not taken
    inside, outside = (here, there) if name in ("JGT", "JGE") else (there, here)
    strict = name in ("JGE", "JLT")
    _extend_range(inside, pointer, strict)
    registers = outside.frames[-1].registers
    if pointer.kind == PACKET:
        passed = BEYOND_END if name in ("JGT", "JLE") else AT_END
        registers[register] = registers[register]._replace(about=passed)


def _bounds(pointer: Value, end: Value) -> bool:
    if pointer.kind == PACKET:
        return end.kind == PACKET_END
    start = end.kind == PACKET and not (end.id or end.off or end.number.mask or end.number.value)
    return pointer.kind == PACKET_META and start


def _extend_range(state: State, pointer: Value, strict: bool) -> None:
    """Source: find_good_pkt_pointers; `strict` means that the pointer is below the end."""
    if pointer.off < 0 or (pointer.off == 0 and strict):
        return
    if pointer.number.umax > MAX_PACKET or pointer.number.umax + pointer.off > MAX_PACKET:
        return
    room = pointer.off + strict

    def change(value: Value) -> Value:
        if value.kind != pointer.kind or value.id != pointer.id or value.about >= room:
            return value
        return value._replace(about=room)

    each_value(state, change)


__all__ = ["Op", "branch", "is_null", "mark_null", "not_null"]
