"""The kernel's rewritten program, freed of what differs from load to load.

A dump holds map numbers, kernel addresses and two opcodes of the kernel's own for arena accesses;
`normalise` puts back what stands in wire form, so that two dumps, or a dump and our verifier's
result, can be compared byte by byte. Source: bpf_insn_prepare_dump() in kernel/bpf/syscall.c.
"""

import numpy as np

from workbench.bpf import isa
from workbench.bpf.text import instruction_text
from workbench.errors import DecodeError

_CALL, _IMM64 = 0x85, 0x18
_LOCAL, _KFUNC = 1, 2
_MAP_KINDS = (1, 2, 5, 6)
_CLASS, _MODE = 0x07, 0xE0
_LDX, _STX = 1, 3
# BPF_PROBE_MEM32SX and BPF_PROBE_ATOMIC, and the modes MEMSX and ATOMIC that they replaced
_ARENA_MODES = {(_LDX, 0xC0): 0x80, (_STX, 0xE0): 0xC0}


def normalise(code: bytes) -> bytes:
    """Return xlated bytes in wire form: see the module's text.

    Local calls get their relative target back (the kernel keeps it in `off`), kfunc calls -1 and
    map loads 0 as number, signed and atomic arena accesses their ordinary mode. Helper numbers
    are lost: the kernel stores addresses, and the dump has them.
    """
    wire = np.frombuffer(bytearray(code), isa.WIRE)
    opcodes, registers, offsets, numbers = (wire[name] for name in ("opcode", "regs", "off", "imm"))
    sources = registers >> 4
    second = np.zeros(len(wire), bool)
    second[1:] = opcodes[:-1] == _IMM64
    local = (opcodes == _CALL) & (sources == _LOCAL) & ~second
    numbers[local], offsets[local] = offsets[local], 0
    numbers[(opcodes == _CALL) & (sources == _KFUNC)] = -1
    numbers[(opcodes == _IMM64) & np.isin(sources, _MAP_KINDS)] = 0
    for (group, mode), ordinary in _ARENA_MODES.items():
        leaked = ((opcodes & _CLASS) == group) & ((opcodes & _MODE) == mode) & ~second
        opcodes[leaked] = opcodes[leaked] & ~np.uint8(_MODE) | ordinary
    return wire.tobytes()


def listing(code: bytes) -> list[str]:
    """One text per slot of normalised code, "" for second halves.

    What only the kernel has (register 11, per-CPU moves) is shown as its eight bytes.
    """
    texts, pc = [], 0
    while pc < len(code) // 8:
        slots = 2 if code[8 * pc] == _IMM64 else 1
        texts += [_text(code[8 * pc : 8 * (pc + slots)], pc), *[""] * (slots - 1)]
        pc += slots
    return texts


def _text(piece: bytes, pc: int) -> str:
    try:
        return instruction_text(isa.decode(piece)[0], pc)
    except DecodeError:
        return f".bytes {piece.hex(' ')}"
