"""BPF in plain numbers: the fields of an instruction, arithmetic, comparisons (RFC 9669)."""

from typing import NamedTuple

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
ST, STX, ALU32, JMP64, JMP32, ALU64 = 2, 3, 4, 5, 6, 7  # instruction classes
MODE_MEM, MODE_MEMSX, MODE_ATOMIC = 0x60, 0x80, 0xC0
SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
FETCH, XCHG, CMPXCHG, LOAD_ACQUIRE, STORE_RELEASE = 0x01, 0xE1, 0xF1, 0x100, 0x110


class Instruction(NamedTuple):
    """One 8-byte slot of the wire format: opcode, registers, signed offset and immediate."""

    code: int
    dst: int
    src: int
    off: int
    imm: int


def decode(bytecode: bytes) -> list[Instruction]:
    """Split wire bytes into slots: opcode:8, dst:4, src:4, off:16, imm:32, little endian."""
    return [decode_slot(bytecode[at : at + 8]) for at in range(0, len(bytecode), 8)]


def decode_slot(raw: bytes) -> Instruction:
    off = int.from_bytes(raw[2:4], "little", signed=True)
    return Instruction(
        raw[0], raw[1] & 15, raw[1] >> 4, off, int.from_bytes(raw[4:8], "little", signed=True)
    )


def signed(value: int, bits: int) -> int:
    """The low `bits` of a number, read as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def swapped(value: int, bits: int) -> int:
    """The low `bits` of a number with their bytes reversed."""
    return int.from_bytes((value & ((1 << bits) - 1)).to_bytes(bits // 8, "little"), "big")


def divide(a: int, b: int, bits: int, is_signed: bool) -> int:
    """Quotient rounded toward zero; 0 for a divisor of zero (RFC 9669, 4.1)."""
    if b == 0:
        return 0
    if not is_signed:
        return a // b
    a, b = signed(a, bits), signed(b, bits)
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def remainder(a: int, b: int, bits: int, is_signed: bool) -> int:
    """Remainder with the sign of the dividend; the dividend itself for a divisor of zero."""
    if b == 0:
        return a
    if not is_signed:
        return a % b
    a, b = signed(a, bits), signed(b, bits)
    return abs(a) % abs(b) * (1 if a >= 0 else -1)


def arithmetic(operation: int, a: int, b: int, bits: int, off: int) -> int:
    """Result of a two-operand ALU instruction of 32 or 64 bits, zero-extended to 64."""
    mask = (1 << bits) - 1
    a, b = a & mask, b & mask
    count = b % bits
    results = {
        0x00: lambda: a + b,
        0x10: lambda: a - b,
        0x20: lambda: a * b,
        0x30: lambda: divide(a, b, bits, off == 1),
        0x40: lambda: a | b,
        0x50: lambda: a & b,
        0x60: lambda: a << count,
        0x70: lambda: a >> count,
        0x90: lambda: remainder(a, b, bits, off == 1),
        0xA0: lambda: a ^ b,
        0xB0: lambda: signed(b, off) if off else b,
        0xC0: lambda: signed(a, bits) >> count,
    }
    return results[operation]() & mask


def holds(operation: int, a: int, b: int, bits: int) -> bool:
    """Whether a conditional jump is taken."""
    mask = (1 << bits) - 1
    a, b, sa, sb = a & mask, b & mask, signed(a, bits), signed(b, bits)
    tests = {
        0x10: a == b,
        0x20: a > b,
        0x30: a >= b,
        0x40: bool(a & b),
        0x50: a != b,
        0x60: sa > sb,
    }
    tests |= {0x70: sa >= sb, 0xA0: a < b, 0xB0: a <= b, 0xC0: sa < sb, 0xD0: sa <= sb}
    return tests[operation]


def modified(operation: int, old: int, operand: int, bits: int) -> int:
    """New memory content of a read-modify-write other than compare-and-exchange."""
    if operation == XCHG:
        return operand & ((1 << bits) - 1)
    return arithmetic(operation & ~FETCH, old, operand, bits, 0)


def byte_order(code: int, value: int, bits: int) -> int:
    """le truncates on a little-endian machine; be and bswap reverse the bytes."""
    return value & ((1 << bits) - 1) if code == 0xD4 else swapped(value, bits)


def form(instruction: Instruction) -> tuple[int, ...]:
    """What distinguishes an instruction from others with the same opcode byte."""
    code, _, src, off, imm = instruction
    if code & 7 in (ALU32, ALU64):
        return (code, off, imm if (off == 1 and code == 0xBF) or code & 0xF0 == 0xD0 else 0)
    if code & 7 == STX and code & 0xE0 == MODE_ATOMIC:
        return (code, imm)
    return (code, src) if code in (0x85, 0x18) else (code,)
