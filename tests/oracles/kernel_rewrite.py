"""From our rewritten program to the bytes of Linux 6.18's own dump (x86-64), for comparison.

Linux goes on after the steps that the verifier explains: dead code and jumps to the next
instruction go, division gets its checks for zero and -1, may_goto its counter, references become
numbers of the running kernel. Source: do_misc_fixups in kernel/bpf/verifier.c.
"""

import re
import struct
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from workbench.bpf import isa
from workbench.bpf.isa import Op

SCRATCH = 11  # BPF_REG_AX, which only the kernel may use
JMP, JMP32, ALU32, ALU64 = 5, 6, 4, 7
JEQ, JNE, JGT = 0x10, 0x50, 0x20
VISITED = re.compile(r"^(?:from \d+ to \d+: .*\n)?(\d+): \([0-9a-f]{2}\) ", re.M)


class Slot(NamedTuple):
    """Eight bytes of code; for a jump, the slot of ours that it leads to."""

    code: bytes
    target: int | None = None


def slot(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> Slot:
    return Slot(struct.pack("<BBhi", code, dst | src << 4, off, imm))


TICK = (
    slot(0x79, SCRATCH, 10),
    slot(JEQ | JMP, SCRATCH),
    slot(0x17, SCRATCH, imm=1),
    slot(JNE | JMP, SCRATCH, off=2),
    slot(0xB7, SCRATCH),
    slot(0x85),
    slot(0x7B, 10, SCRATCH),
)
EXTEND = slot(0xBC, imm=1)
SET_UP = (slot(0x7A, 10, imm=0xFFFF), slot(0x7A, 10))


def visited(log: str) -> set[int]:
    """Slots that Linux looked at, from its log at level 2, with the halves of wide loads."""
    found = {int(match[1]) for match in VISITED.finditer(log)}
    wide = {int(pc) + 1 for pc in re.findall(r"^(\d+): \(18\) ", log, re.M)}
    return found | wide


def same_program(xlated: np.ndarray, dump: bytes, base: int, log: str) -> bool:
    """Whether Linux's dump is our rewritten program, patched further; `log` is of level 2."""
    return dump_of(xlated, base, visited(log), extended(dump)) == mask(dump)


def extended(dump: bytes) -> list[bool]:
    """For each 32-bit cmpxchg, whether Linux found its result used as 64 bits and extended it."""
    slots = [dump[at : at + 8] for at in range(0, len(dump), 8)]
    exchanges = [n for n, code in enumerate(slots) if code[0] in (0xC3, 0xE3) and code[4] == 0xF1]
    return [slots[n + 1] == EXTEND.code for n in exchanges]


def dump_of(
    xlated: np.ndarray, base: int, seen: Collection[int], extended: Sequence[bool]
) -> bytes:
    """The dump that Linux gives for our rewritten program with an arena at `base`, masked.

    Of the program only the slots in `seen` remain: the others are dead.
    """
    groups = [patched(xlated, pc, base) if pc in seen else [] for pc in range(len(xlated))]
    exchanges = np.flatnonzero(np.isin(xlated["op"], (Op.CMPXCHG32, Op.ARENA_CMPXCHG32))).tolist()
    for pc, extend in zip([pc for pc in exchanges if pc in seen], extended, strict=False):
        groups[pc] += [EXTEND] if extend else []
    for pc in sorted(seen):
        drop_dead_way(xlated, pc, groups, seen)
    for pc in range(len(groups)):
        drop_nop(pc, groups)
    set_up_counters(xlated, groups)
    return mask(land(groups))


def patched(xlated: np.ndarray, pc: int, base: int) -> list[Slot]:
    """One instruction as Linux patches it."""
    op, dst, src, _, off, imm = (int(value) for value in xlated[pc])
    if op == Op.INVALID:
        above = xlated[pc - 1]
        upper = int(above["imm"]) >> 32
        return [slot(0, imm=base + upper >> 32 if above["op"] == Op.LD_MAP_VALUE else upper)]
    code, name = one(xlated, pc), Op(op).name
    if Op.JEQ64 <= op <= Op.JA32:
        return [Slot(code, pc + 1 + off)]
    if op == Op.MAY_GOTO:
        return [TICK[0], Slot(TICK[1].code, pc + 1 + off), *TICK[2:]]
    if op == Op.LD_MAP_VALUE:
        return [slot(0x18, dst, imm=signed(base + (imm >> 32)))]
    if name.startswith("ARENA_LDXS"):
        return [Slot(bytes([code[0] & 0x1F | 0xC0]) + code[1:])]
    if op >= Op.ARENA_ATOMIC_ADD32:
        return [Slot(bytes([code[0] & 0x1F | 0xE0]) + code[1:])]
    if name.startswith(("DIV", "MOD", "SDIV", "SMOD")):
        return divide(name, dst, src, imm, Slot(code))
    return [Slot(code)]


def one(xlated: np.ndarray, pc: int) -> bytes:
    """The wire form of one slot."""
    return isa.encode(xlated[pc : pc + (2 if xlated["op"][pc] in isa.WIDE else 1)])[:8]


def signed(number: int) -> int:
    return (number & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)


def divide(name: str, dst: int, src: int, imm: int, whole: Slot) -> list[Slot]:
    """Division by zero gives 0 and leaves the dividend of a remainder; by -1 it cannot trap."""
    wide, minus, remainder = name.endswith("64"), name[0] == "S", "MOD" in name
    alu, jump = (ALU64, JMP) if wide else (ALU32, JMP32)
    if src == isa.ZERO:
        if minus and imm == -1:
            return [slot(0xB0 | ALU32, dst) if remainder else slot(0x80 | alu, dst)]
        return [whole]
    skip, truncate = slot(JMP, off=1), slot(0xBC, dst, dst)
    head = [slot(0xBF, SCRATCH, src), slot(alu, SCRATCH, imm=1)]
    tail = [whole] if wide or not remainder else [whole, skip, truncate]
    if remainder and not minus:
        return [slot(jump | JEQ, src, off=1 if wide else 2), *tail]
    if not minus:
        return [slot(jump | JNE, src, off=2), slot(0xAC, dst, dst), skip, *tail]
    if remainder:
        one = slot(jump | JEQ, SCRATCH, off=3 if wide else 4, imm=1)
        return [*head, slot(jump | JGT, SCRATCH, off=3, imm=1), one, slot(0xB4, dst), skip, *tail]
    zero = slot(jump | JEQ, SCRATCH, off=1)
    quotient = [slot(0xB0 | alu, dst), slot(0x80 | alu, dst)]
    return [*head, slot(jump | JGT, SCRATCH, off=4, imm=1), zero, *quotient, skip, *tail]


def drop_dead_way(
    xlated: np.ndarray, pc: int, groups: list[list[Slot]], seen: Collection[int]
) -> None:
    """A conditional jump with one live way left no longer asks."""
    if Op.JEQ64 <= xlated["op"][pc] < Op.JA:
        target = pc + 1 + int(xlated["off"][pc])
        if pc + 1 not in seen:
            groups[pc] = [Slot(slot(JMP).code, target)]
        elif target not in seen:
            groups[pc] = [Slot(slot(JMP).code, pc + 1)]


def drop_nop(pc: int, groups: list[list[Slot]]) -> None:
    """Remove a jump to what comes next anyway; after a may_goto, also the one before it."""
    group = groups[pc]
    if not group or not (group[0].code[0] == 0x05 or ticks(group)):
        return
    target = max(code.target or 0 for code in group)
    if target > pc and not any(groups[pc + 1 : target]):
        groups[pc] = []
        before = [at for at in range(pc) if groups[at]]
        if ticks(group) and before:
            drop_nop(before[-1], groups)


def ticks(group: list[Slot]) -> bool:
    """Whether the slots are a patched may_goto."""
    return len(group) == len(TICK) and group[0] == TICK[0]


def set_up_counters(xlated: np.ndarray, groups: list[list[Slot]]) -> None:
    """A function that uses may_goto begins by setting its counter up."""
    calls = [pc for pc in np.flatnonzero(xlated["op"] == Op.CALL_LOCAL).tolist() if groups[pc]]
    starts = sorted({0} | {pc + 1 + int(xlated["off"][pc]) for pc in calls})
    for start, end in zip(starts, [*starts[1:], len(xlated)], strict=True):
        if any(ticks(group) for group in groups[start:end]):
            first = next(pc for pc in range(start, end) if groups[pc])
            groups[first] = [*SET_UP, *groups[first]]


def land(groups: list[list[Slot]]) -> bytes:
    """Join the slots, with jumps leading to where their targets have moved."""
    starts = np.cumsum([0] + [len(group) for group in groups]).tolist()
    out = b""
    for group in groups:
        for code, target in group:
            if target is not None:
                distance = starts[target] - (len(out) // 8 + 1)
                code = lead(code, distance)
            out += code
    return out


def lead(code: bytes, distance: int) -> bytes:
    """Give a jump its distance: gotol has it in imm."""
    if code[0] == 0x06:
        return slot(0x06, imm=distance).code
    return code[:2] + struct.pack("<h", distance) + code[4:]


def mask(code: bytes) -> bytes:
    """Blank what only the running kernel knows: map, function, call and counter numbers."""
    out = bytearray(code)
    for at in range(0, len(code), 8):
        if code[at] == 0x85 or code[at : at + 2] == b"\xb7\x0b":
            out[at + 2 : at + 8] = bytes(6)
        if code[at : at + 2] in (b"\x79\xab", b"\x7b\xba", b"\x7a\x0a"):
            out[at + 2 : at + 4] = bytes(2)
        if code[at] == 0x18 and code[at + 1] >> 4 in (1, 5):
            out[at + 4 : at + 8] = out[at + 12 : at + 16] = bytes(4)
    return bytes(out)
