"""The instruction table, its decoder and its encoder."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bpf_words import FIELDS, encodings, free_fields, instructions, pack, programs

from workbench.bpf import isa
from workbench.bpf.assembler import assemble
from workbench.bpf.disassembler import disassemble, listing
from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.bpf.reference import reference
from workbench.errors import DecodeError

EXIT = pack(0x95)


def row_name(row: isa.Row) -> str:
    return f"{row.op.name}-{row.opcode:#04x}"


def all_text(bytecode: bytes) -> bytes:
    """Bytecode through text and back."""
    return assemble(disassemble(Program("p", "raw", bytecode)), "raw").bytecode


# The round trip


@pytest.mark.parametrize("row", isa.TABLE, ids=row_name)
def test_each_row_goes_through_records_and_text_unchanged(row: isa.Row) -> None:
    @settings(max_examples=10)
    @given(encodings(row))
    def check(bytecode: bytes) -> None:
        records = isa.decode(bytecode)
        assert records[0]["op"] == row.op
        assert isa.encode(records) == bytecode
        assert all_text(bytecode) == bytecode

    check()


@given(programs())
def test_programs_go_through_records_and_text_unchanged(bytecode: bytes) -> None:
    assert isa.encode(isa.decode(bytecode)) == bytecode
    assert all_text(bytecode) == bytecode


@given(st.binary(max_size=64) | st.binary(min_size=1, max_size=8).map(lambda b: b * 8))
def test_bytes_are_refused_or_survive_unchanged(bytecode: bytes) -> None:
    try:
        records = isa.decode(bytecode)
    except DecodeError:
        return
    assert isa.encode(records) == bytecode


@given(programs(), st.data())
def test_damaged_programs_are_refused_or_unchanged(bytecode: bytes, data: st.DataObject) -> None:
    damaged = bytearray(bytecode)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
    try:
        again = all_text(cut)
    except DecodeError:
        return
    assert again == cut


# Records, by hand

RECORDS = [
    ("b701000005000000", (Op.MOV64, 1, isa.ZERO, 0, 0, 5)),
    ("bf12000000000000", (Op.MOV64, 2, 1, 0, 0, 0)),
    ("bf12010001000000", (Op.CAST_KERN, 2, 1, 0, 0, 0)),
    ("bf12010000000100", (Op.CAST_USER, 2, 1, 0, 0, 0)),
    ("bf12080000000000", (Op.MOVSX8_64, 2, 1, 0, 0, 0)),
    ("9f21010000000000", (Op.SMOD64, 1, 2, 0, 0, 0)),
    ("3400010007000000", (Op.SDIV32, 0, isa.ZERO, 0, 0, 7)),
    ("8703000000000000", (Op.NEG64, 3, 0, 0, 0, 0)),
    ("d703000040000000", (Op.BSWAP64, 3, 0, 0, 0, 0)),
    ("7b21f8ff00000000", (Op.STX64, 1, 2, 0, -8, 0)),
    ("7a010800ffffffff", (Op.STX64, 1, isa.ZERO, 0, 8, -1)),
    ("db210800f1000000", (Op.CMPXCHG64, 1, 2, 0, 8, 0)),
    ("d312000000010000", (Op.LOAD_ACQUIRE8, 2, 1, 0, 0, 0)),
    ("0600000000000100", (Op.JA32, 0, 0, 0, 0x10000, 0)),
    ("e500fdff00000000", (Op.MAY_GOTO, 0, 0, 0, -3, 0)),
    ("8510000002000000", (Op.CALL_LOCAL, 0, 0, 0, 2, 0)),
    ("85200000ffffffff", (Op.CALL_KFUNC, 0, 0, 0, 0, -1)),
    ("8500000005000000", (Op.CALL_HELPER, 0, 0, 0, 0, 5)),
    ("5010000004000000", (Op.LD_IND8, 0, 1, 0, 0, 4)),
]


@pytest.mark.parametrize(("wire", "record"), RECORDS)
def test_records(wire: str, record: tuple) -> None:
    assert isa.decode(bytes.fromhex(wire))[0].item() == record


def test_the_two_slots_of_a_wide_load_become_one_number() -> None:
    first, second = isa.decode(bytes.fromhex("1801000078563412 00000000f0debc9a"))
    assert first.item() == (Op.LD_IMM64, 1, 0, 0, 0, 0x9ABCDEF012345678 - (1 << 64))
    assert second["op"] == Op.INVALID


def test_arena_accesses_are_written_as_the_plain_accesses_they_were() -> None:
    plain = isa.decode(bytes.fromhex("7b21f8ff00000000"))
    arena = plain.copy()
    arena["op"] += isa.ARENA_SHIFT
    assert arena["op"][0] == Op.ARENA_STX64
    assert isa.encode(arena) == isa.encode(plain)


# Refusals

REFUSED = [
    ("95000000000000", 0, "truncated: an instruction has 8 bytes"),
    ("9500000000000000 95", 1, "truncated: an instruction has 8 bytes"),
    ("ff00000000000000", 0, "unknown opcode 0xff"),
    ("9500000000000000 8e00000000000000", 1, "unknown opcode 0x8e"),
    ("b70b000000000000", 0, "register r11 does not exist"),
    ("bfc1000000000000", 0, "register r12 does not exist"),
    ("1801000000000000", 0, "LD_IMM64 needs two slots but the program ends after the first"),
    ("1801000000000000 0000010000000000", 0, "LD_IMM64 has non-zero reserved fields"),
    ("1801000000000000 b700000000000000", 0, "LD_IMM64 has non-zero reserved fields"),
    ("1801010000000000 0000000000000000", 0, "LD_IMM64 has non-zero reserved fields"),
    ("1811000005000000 0000000001000000", 0, "LD_IMM64 has non-zero reserved fields"),
    ("1871000000000000 0000000000000000", 0, "LD_IMM64 has no source kind 7"),
    ("0f21000001000000", 0, "opcode 0x0f cannot have imm = 1"),
    ("0721000001000000", 0, "opcode 0x07 cannot have src = 2"),
    ("0701010001000000", 0, "opcode 0x07 cannot have off = 1"),
    ("3f21020000000000", 0, "opcode 0x3f cannot have off = 2"),
    ("bf21030000000000", 0, "opcode 0xbf cannot have off = 3"),
    ("bf21010002000000", 0, "opcode 0xbf cannot have imm = 2"),
    ("d701000018000000", 0, "opcode 0xd7 cannot have imm = 24"),
    ("9501000000000000", 0, "opcode 0x95 cannot have dst = 1"),
    ("8530000001000000", 0, "opcode 0x85 cannot have src = 3"),
    ("0500010001000000", 0, "opcode 0x05 cannot have imm = 1"),
    ("7921000001000000", 0, "opcode 0x79 cannot have imm = 1"),
    ("db21000002000000", 0, "opcode 0xdb cannot have imm = 2"),
    ("d321000000000000", 0, "opcode 0xd3 cannot have imm = 0"),
]


@pytest.mark.parametrize(("wire", "pc", "message"), REFUSED)
def test_refused_bytes(wire: str, pc: int, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        isa.decode(bytes.fromhex(wire))
    assert str(caught.value) == f"instruction {pc}: {message}"
    assert caught.value.pc == pc


RESERVED = [
    pytest.param(row, field, id=f"{row_name(row)}-{field}")
    for row in isa.TABLE
    for field in FIELDS
    if field not in free_fields(row)
]


@pytest.mark.parametrize(("row", "field"), RESERVED)
def test_a_reserved_field_is_0_or_means_another_instruction(row: isa.Row, field: str) -> None:
    values = (1, 2, 7, 10) if field in ("dst", "src") else (1, 2, 8, 16, 255, 0x100, 0x7FFF, -1)
    tail = pack(0) if row.group == "imm64" else b""
    for value in values:
        if value == row.pinned.get(field, 0):
            continue
        fields = {**row.pinned, field: value}
        try:
            records = isa.decode(pack(row.opcode, **fields) + tail)
        except DecodeError:
            continue
        found = isa.row_of(records[0]["op"], records[0]["src"])
        assert found.op != row.op
        assert found.opcode == row.opcode
        assert field in found.pinned or field in free_fields(found)


# The table itself


def test_operations_are_dense_and_all_encodable() -> None:
    assert [int(op) for op in Op] == list(range(len(Op)))
    assert {row.op for row in isa.TABLE} == {op for op in Op if op < isa.FIRST_ARENA_OP}


def test_each_access_has_an_arena_twin() -> None:
    plain = [op for op in Op if isa.FIRST_MEMORY_OP <= op < isa.FIRST_ARENA_OP]
    assert [Op(op + isa.ARENA_SHIFT).name for op in plain] == [f"ARENA_{op.name}" for op in plain]


def test_no_two_rows_share_text_or_encoding() -> None:
    texts = list(chain.from_iterable((row.syntax, *row.aliases) for row in isa.TABLE))
    assert len(texts) == len(set(texts))
    fixed = [(row.opcode, *sorted(row.pinned.items()), "{imm}" in row.syntax) for row in isa.TABLE]
    assert len(fixed) == len(set(fixed))


def test_a_listing_has_one_line_for_each_slot() -> None:
    program = assemble("r1 = 5 ll\nif r1 == 0 goto -3\nexit")
    assert listing(program) == ["r1 = 0x5 ll", "", "if r1 == 0 goto -3", "exit"]


def test_the_reference_has_a_line_for_each_row() -> None:
    lines = [line for line in reference().splitlines() if line.endswith("|")]
    assert sum(" | `0x" in line for line in lines) == len(isa.TABLE)
    assert "| `rD = cast_user(rS)` | `0xbf` | off = 0x1, imm = 0x10000 | CAST_USER |" in lines


@given(instructions())
def test_decoding_does_not_depend_on_what_follows(bytecode: bytes) -> None:
    alone, followed = isa.decode(bytecode), isa.decode(bytecode + EXIT)
    assert np.array_equal(alone, followed[: len(alone)])
