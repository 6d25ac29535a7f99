"""Hypothesis strategies for wire instructions, from the instruction table's rows."""

import struct

from hypothesis import strategies as st

from workbench.bpf import isa

REGISTERS = st.integers(0, 10)
S16 = st.integers(-0x8000, 0x7FFF)
S32 = st.integers(-0x80000000, 0x7FFFFFFF)
FIELDS = {"dst": REGISTERS, "src": REGISTERS, "off": S16, "imm": S32}
LOW_HALF_ONLY = (isa.Op.LD_MAP_FD, isa.Op.LD_MAP_IDX, isa.Op.LD_FUNC)


def pack(opcode: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """Eight wire bytes."""
    return struct.pack("<BBhi", opcode, src << 4 | dst, off, imm)


def free_fields(row: isa.Row) -> list[str]:
    """The wire fields that a row leaves to the program."""
    if row.group == "imm64":
        return ["dst", "imm"]
    named = [name for name in FIELDS if f"{{{name}}}" in row.syntax]
    return [*named, row.target_field] if "{target}" in row.syntax else named


@st.composite
def encodings(draw: st.DrawFn, row: isa.Row) -> bytes:
    """The wire bytes of one instruction of a row, with any operands."""
    fields = {**row.pinned, **{name: draw(FIELDS[name]) for name in free_fields(row)}}
    first = pack(row.opcode, **fields)
    if row.group != "imm64":
        return first
    return first + pack(0, imm=0 if row.op in LOW_HALF_ONLY else draw(S32))


def instructions() -> st.SearchStrategy[bytes]:
    """The wire bytes of any instruction."""
    return st.sampled_from(isa.TABLE).flatmap(encodings)


def programs() -> st.SearchStrategy[bytes]:
    """Wire bytes of encodable programs; what they do makes no sense."""
    return st.lists(instructions(), min_size=1, max_size=12).map(b"".join)
