"""Random changes to a program's wire form, and the smallest program that still shows something.

A change is one that a mistake could make: another number, offset, register or operation, an
instruction lost, doubled or swapped, a jump that leads elsewhere. The result need not be valid.
"""

import random
import struct
from collections.abc import Callable
from dataclasses import replace

from workbench.bpf.isa import REGISTERS
from workbench.bpf.program import Program
from workbench.errors import WorkbenchError

NOP = struct.pack("<BBhi", 5, 0, 0, 0)  # goto +0
_WIDE = 0x18  # the opcode of what takes two slots
_SMALL = (0, 1, -1, 2, 4, 7, 8, 15, 16, 31, 32, 63, 64, 255, 256, 511, 512, 4096, -8, -512)
_NUMBERS = (*_SMALL, 0x7FFFFFFF, -0x80000000, 0xFFFF, 0x10000)
_STEPS = (1, -1, 2, -2, 4, -4, 8, -8, 16, -16, 512, -512)


class _Slot:
    """One slot of wire form with its fields taken apart."""

    def __init__(self, code: bytes) -> None:
        self.op, registers, self.off, self.imm = struct.unpack("<BBhi", code)
        self.dst, self.src = registers & 15, registers >> 4

    def bytes(self) -> bytes:
        off = (self.off + 0x8000 & 0xFFFF) - 0x8000
        imm = (self.imm + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        return struct.pack("<BBhi", self.op, self.dst | self.src << 4, off, imm)

    @property
    def group(self) -> int:
        """The instruction class, the low three bits."""
        return self.op & 7


def mutated(program: Program, rng: random.Random, changes: int) -> Program:
    """Return the program with `changes` random changes; it still decodes, maybe to nonsense."""
    while True:
        code = bytearray(program.bytecode)
        for _ in range(changes):
            _change(code, rng)
        try:
            kept = _kept(program, code)
            return replace(program, bytecode=bytes(code), references=kept, lines=())
        except WorkbenchError:
            continue


def _change(code: bytearray, rng: random.Random) -> None:
    """Change one instruction in place."""
    starts = _starts(code)
    at = rng.choice(starts)
    slot = _Slot(bytes(code[8 * at : 8 * at + 8]))
    draw = rng.random()
    if draw < 0.12 and slot.op != _WIDE:
        code[8 * at : 8 * at + 8] = NOP
    elif draw < 0.2 and at + 1 in starts and slot.op != _WIDE and code[8 * at + 8] != _WIDE:
        here, there = code[8 * at : 8 * at + 8], code[8 * at + 8 : 8 * at + 16]
        code[8 * at : 8 * at + 16] = there + here
    elif draw < 0.25 and slot.op != _WIDE:
        other = rng.choice(starts)
        if code[8 * other] != _WIDE:
            code[8 * at : 8 * at + 8] = code[8 * other : 8 * other + 8]
    else:
        rng.choice(_CHANGES)(slot, rng)
        code[8 * at : 8 * at + 8] = slot.bytes()


def _other_number(slot: _Slot, rng: random.Random) -> None:
    if slot.op == _WIDE and slot.src:
        return
    slot.imm = rng.choice(_NUMBERS) if rng.random() < 0.5 else slot.imm + rng.choice(_STEPS)


def _other_offset(slot: _Slot, rng: random.Random) -> None:
    slot.off += rng.choice(_STEPS)


def _other_register(slot: _Slot, rng: random.Random) -> None:
    if rng.random() < 0.5:
        slot.dst = rng.randrange(REGISTERS)
    elif not (slot.op == _WIDE or slot.op == 0x85):
        slot.src = rng.randrange(REGISTERS)


def _other_operation(slot: _Slot, rng: random.Random) -> None:
    """Another operation of the class, the other width, or a number for a register."""
    if slot.group in (4, 7):
        slot.op = rng.choice((slot.op & 15 | rng.randrange(14) << 4, slot.op ^ 3, slot.op ^ 8))
    elif slot.group in (5, 6) and slot.op not in (0x85, 0x95):
        slot.op = rng.choice((slot.op & 15 | rng.choice((1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13)) << 4,
                              slot.op ^ 3, slot.op ^ 8))  # fmt: skip
    elif slot.group in (1, 2, 3):
        slot.op = slot.op & ~0x18 | rng.choice((0, 8, 16, 24))


_CHANGES: tuple[Callable[[_Slot, random.Random], None], ...] = (
    _other_number,
    _other_offset,
    _other_register,
    _other_register,
    _other_operation,
)


def _starts(code: bytes | bytearray) -> list[int]:
    """Slots where an instruction starts."""
    starts, at = [], 0
    while at < len(code) // 8:
        starts.append(at)
        at += 2 if code[8 * at] == _WIDE else 1
    return starts


def _kept(program: Program, code: bytes | bytearray) -> tuple:  # type: ignore[type-arg]
    """The references whose instruction is still one that has a name."""
    before = program.bytecode
    return tuple(
        reference
        for reference in program.references
        if code[8 * reference.pc] == before[8 * reference.pc]
        and code[8 * reference.pc + 1] >> 4 == before[8 * reference.pc + 1] >> 4
    )


def minimised(program: Program, still: Callable[[Program], bool]) -> Program:
    """Replace as many instructions as possible by `goto +0`, then drop them, while `still` holds.

    A jump keeps its target when instructions before it go.
    """
    slots = _starts(program.bytecode)
    size = max(1, len(slots) // 2)
    while size:
        for at in range(0, len(slots), size):
            smaller = _without(program, slots[at : at + size])
            if smaller is not None and still(smaller):
                program = smaller
        size //= 2
    dense = _dense(program)
    return dense if dense is not None and still(dense) else program


def _without(program: Program, slots: list[int]) -> Program | None:
    code = bytearray(program.bytecode)
    for at in slots:
        width = 2 if code[8 * at] == _WIDE else 1
        code[8 * at : 8 * (at + width)] = NOP * width
    if bytes(code) == program.bytecode:
        return None
    return _again(program, bytes(code), _kept(program, code))


def _dense(program: Program) -> Program | None:
    """Drop every `goto +0`, with jumps, calls and references moved along."""
    code = program.bytecode
    gone = [code[8 * at : 8 * at + 8] == NOP for at in range(len(code) // 8)]
    for at in _starts(code):
        if code[8 * at] == _WIDE:
            gone[at + 1] = False
    place = [sum(not g for g in gone[:at]) for at in range(len(gone) + 1)]
    out = b""
    for at in range(len(gone)):
        if not gone[at]:
            out += _moved(code[8 * at : 8 * at + 8], at, place)
    references = tuple(r._replace(pc=place[r.pc]) for r in program.references)
    subprograms = tuple(s._replace(pc=place[s.pc]) for s in program.subprograms)
    return _again(replace(program, subprograms=subprograms), out, references)


def _moved(code: bytes, at: int, place: list[int]) -> bytes:
    slot = _Slot(code)
    relative = (slot.op == 0x85 and slot.src == 1) or (slot.op == _WIDE and slot.src == 4)
    by_imm = relative or slot.op == 0x06
    jumps = slot.group in (5, 6) and slot.op not in (0x85, 0x95)
    if not by_imm and not jumps:
        return code
    target = at + 1 + (slot.imm if by_imm else slot.off)
    if not 0 <= target < len(place):
        return code
    distance = place[target] - place[at] - 1
    if by_imm:
        slot.imm = distance
    else:
        slot.off = distance
    return slot.bytes()


def _again(program: Program, code: bytes, references: tuple) -> Program | None:  # type: ignore[type-arg]
    try:
        return replace(program, bytecode=code, references=references, lines=())
    except WorkbenchError:
        return None
