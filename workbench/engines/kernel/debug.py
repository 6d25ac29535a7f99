"""A minimal BTF for a program: one function record per subprogram, one line record per slot.

The kernel then keeps the address of each instruction's machine code, and accepts callbacks.
Source: Documentation/bpf/btf.rst, sections 2.2 and 4.1.
"""

import struct

from workbench.engines.kernel.syscall import DebugInfo
from workbench.isa import WIDE, Op
from workbench.program import Program

_INT, _FUNC, _FUNC_PROTO = 1, 12, 13
_HEADER = 24
_SIGNED = 1 << 24
_LINE = 1 << 10  # line numbers are stored above a 10-bit column


def debug_info(program: Program) -> DebugInfo:
    """Describe the functions of `program`, and number its instructions as source lines."""
    starts = functions(program)
    strings = b"\0int\0program\0" + b"".join(b"f%d\0" % pc for pc in starts)
    names = {pc: strings.index(b"\0f%d\0" % pc) + 1 for pc in starts}
    types = struct.pack("<4I", strings.index(b"int"), _INT << 24, 4, _SIGNED | 32)
    types += struct.pack("<3I", 0, _FUNC_PROTO << 24, 1)
    types += b"".join(struct.pack("<3I", names[pc], _FUNC << 24, 2) for pc in starts)
    header = struct.pack("<HBBI4I", 0xEB9F, 1, 0, _HEADER, 0, len(types), len(types), len(strings))
    records = b"".join(struct.pack("<2I", pc, 3 + index) for index, pc in enumerate(starts))
    return DebugInfo(header + types + strings, records, _lines(program, strings))


def functions(program: Program) -> list[int]:
    """First slot of each function, in order: the program itself and what it calls or refers to."""
    records = program.instructions
    starts = {0}
    for pc, op, off in zip(
        range(len(records)), records["op"].tolist(), records["off"].tolist(), strict=True
    ):
        if op in (Op.CALL_LOCAL, Op.LD_FUNC):
            starts.add(pc + 1 + off)
    return sorted(start for start in starts if 0 <= start < len(records))


def _lines(program: Program, strings: bytes) -> bytes:
    """One line record per instruction, whose line number is its slot plus 1."""
    name = strings.index(b"program")
    second = False
    parts = []
    for pc, op in enumerate(program.instructions["op"].tolist()):
        if not second:
            parts.append(struct.pack("<4I", pc, name, name, (pc + 1) * _LINE))
        second = op in WIDE and not second
    return b"".join(parts)
