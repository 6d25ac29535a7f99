"""Wire bytes of BPF programs for tests, independent of the workbench's own encoder."""

import struct
from typing import NamedTuple

ADD, SUB, MUL, DIV, OR, AND, LSH, RSH = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70
NEG, MOD, XOR, MOV, ARSH, END = 0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0
JA, JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70
JLT, JLE, JSLT, JSLE, MAY_GOTO = 0xA0, 0xB0, 0xC0, 0xD0, 0xE0
ALU32, JMP64, JMP32, ALU64 = 4, 5, 6, 7
SIZE_BITS = {4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18}
FETCH, XCHG, CMPXCHG, LOAD_ACQUIRE, STORE_RELEASE = 0x01, 0xE1, 0xF1, 0x100, 0x110
CAST_KERN, CAST_USER = 1, 0x10000


class Reference(NamedTuple):
    """The arena, map or kernel function that instruction `pc` refers to."""

    pc: int
    kind: str
    name: str


class Writer:
    """Appends instructions; operands named `src` are registers, `imm` numbers of 32 bits."""

    def __init__(self) -> None:
        self.slots: list[list[int]] = []  # opcode, dst, src, off, imm
        self.references: list[Reference] = []

    def __len__(self) -> int:
        return len(self.slots)

    def emit(self, code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> int:
        """Append one slot and give its position."""
        self.slots.append([code, dst, src, off, imm])
        return len(self.slots) - 1

    def alu(
        self,
        operation: int,
        dst: int,
        imm: int = 0,
        src: int | None = None,
        bits: int = 64,
        off: int = 0,
    ) -> None:
        """`dst op= src`, or `dst op= imm` without a source register."""
        family = ALU64 if bits == 64 else ALU32
        if src is None:
            self.emit(family | operation, dst, 0, off, imm)
        else:
            self.emit(family | operation | 8, dst, src, off)

    def constant(self, dst: int, value: int) -> None:
        """`dst = value ll`."""
        self.emit(0x18, dst, 0, 0, value)
        self.emit(0, imm=value >> 32)

    def arena_map(self, dst: int) -> None:
        """`dst = arena ll`."""
        self.references.append(Reference(len(self), "arena", "arena"))
        self.emit(0x18, dst, 1)
        self.emit(0)

    def arena_value(self, dst: int, offset: int) -> None:
        """`dst = arena[offset] ll`: the user address."""
        self.references.append(Reference(len(self), "arena", "arena"))
        self.emit(0x18, dst, 2)
        self.emit(0, imm=offset)

    def cast(self, dst: int, src: int, kind: int) -> None:
        self.emit(0xBF, dst, src, 1, kind)

    def load(self, size: int, dst: int, base: int, off: int, signed: bool = False) -> None:
        self.emit((0x81 if signed else 0x61) | SIZE_BITS[size], dst, base, off)

    def store(self, size: int, base: int, off: int, src: int) -> None:
        self.emit(0x63 | SIZE_BITS[size], base, src, off)

    def store_constant(self, size: int, base: int, off: int, imm: int) -> None:
        self.emit(0x62 | SIZE_BITS[size], base, 0, off, imm)

    def atomic(self, size: int, operation: int, base: int, off: int, register: int) -> None:
        """Any atomic; the two registers change places in a load-acquire."""
        dst, src = (register, base) if operation == LOAD_ACQUIRE else (base, register)
        self.emit(0xC3 | SIZE_BITS[size], dst, src, off, operation)

    def jump(
        self, operation: int, dst: int, imm: int = 0, src: int | None = None, bits: int = 64
    ) -> int:
        """A conditional jump whose target `land` fills in."""
        family = JMP64 if bits == 64 else JMP32
        if src is None:
            return self.emit(family | operation, dst, 0, 0, imm)
        return self.emit(family | operation | 8, dst, src)

    def land(self, position: int, target: int | None = None) -> None:
        """Let the jump at `position` go to `target`, by default to the next instruction written."""
        distance = (len(self) if target is None else target) - position - 1
        far = self.slots[position][0] in (0x06, 0x18, 0x85)  # gotol, functions: distance in imm
        self.slots[position][4 if far else 3] = distance

    def map(self, dst: int, name: str) -> None:
        """`dst = name ll`: the map."""
        self.references.append(Reference(len(self), "map", name))
        self.emit(0x18, dst, 1)
        self.emit(0)

    def map_value(self, dst: int, name: str, offset: int) -> None:
        """`dst = name[offset] ll`: an address in the only value of an array."""
        self.references.append(Reference(len(self), "map", name))
        self.emit(0x18, dst, 2)
        self.emit(0, imm=offset)

    def function(self, dst: int) -> int:
        """`dst = function ll`, which `land` fills in."""
        position = self.emit(0x18, dst, 4)
        self.emit(0)
        return position

    def helper(self, number: int) -> None:
        self.emit(0x85, imm=number)

    def kfunc(self, name: str) -> None:
        self.references.append(Reference(len(self), "kfunc", name))
        self.emit(0x85, 0, 2, 0, -1)

    def bytes(self) -> bytes:
        return b"".join(
            struct.pack("<BBhI", code, dst | src << 4, off, imm & 0xFFFFFFFF)
            for code, dst, src, off, imm in self.slots
        )
