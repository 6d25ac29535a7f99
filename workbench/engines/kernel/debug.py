"""BTF for a program that is loaded: its functions with their types, and a source line per slot.

A program from an object file brings its own; for any other one is made of what is declared. With
it the kernel keeps the address of each instruction's machine code, accepts callbacks, prints source
lines in its log, and verifies global functions on their own. Source: Documentation/bpf/btf.rst,
sections 2.2 and 4.1.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from workbench.bpf.declarations import Subprogram
from workbench.bpf.isa import WIDE, Op
from workbench.bpf.program import Program
from workbench.engines.kernel.syscall import DebugInfo
from workbench.objects.btf import GLOBAL, STATIC, Kind, Member, Type
from workbench.objects.writing import write_btf

_SIGNED = 1 << 24  # in the extra word of an integer type
_TAGS = {"ctx": "arg:ctx", "arena": "arg:arena", "mem": "arg:nonnull"}
_LINE = 1 << 10  # line numbers are stored above a 10-bit column
_MAX_LINE = (1 << 22) - 1  # what the other bits hold


class _Line(NamedTuple):
    """One record: a slot, and the file, number and text of its line."""

    pc: int
    file: str
    number: int
    text: str


def debug_info(program: Program, numbered: bool = False) -> DebugInfo:
    """Describe the functions of `program` and its lines.

    `numbered` gives every instruction a line of its own, whose number is its slot plus 1.
    """
    own = bool(program.btf) and all(s.type for s in program.subprograms)
    if own:
        btf, starts = program.btf, sorted((s.pc, s.type) for s in program.subprograms)
    else:
        btf, starts = _described(program)
    lines = _numbered(program) if numbered else _of_source(program)
    if not {pc for pc, _ in starts} <= {line.pc for line in lines}:
        lines = []  # Linux wants one at the start of each function, or none
    btf, records = _with_lines(btf, lines)
    return DebugInfo(btf, b"".join(struct.pack("<2I", *start) for start in starts), records)


def _described(program: Program) -> tuple[bytes, list[tuple[int, int]]]:
    """BTF of the functions as they are declared, or else without types, and its numbers by slot."""
    types = [Type(Kind.INT, "int", 4, extra=_SIGNED | 32), Type(Kind.INT, "u64", 8, extra=64)]
    declared = {function.pc: function for function in program.subprograms}
    starts = []
    for pc in functions(program):
        starts.append((pc, _function(types, declared.get(pc) or Subprogram(pc, f"f{pc}"))))
    return write_btf(types), starts


def _function(types: list[Type], function: Subprogram) -> int:
    """Add one function with its prototype and tags; returns its number."""
    kinds = function.arguments if function.is_global else ()
    members = tuple(Member(f"a{n}", _argument(types, kind)) for n, kind in enumerate(kinds))
    result = 0 if function.is_global and function.returns == "void" else 1
    types.append(Type(Kind.FUNC_PROTO, "", target=result, members=members))
    linkage = GLOBAL if function.is_global else STATIC
    types.append(Type(Kind.FUNC, function.name, target=len(types), extra=linkage))
    number = len(types)
    for at, kind in enumerate(kinds):
        if tag := _TAGS.get(kind.partition(":")[0]):
            types.append(Type(Kind.DECL_TAG, tag, target=number, extra=at))
    return number


def _argument(types: list[Type], kind: str) -> int:
    """Add the type of an argument: u64, or a pointer to as many bytes as it says."""
    if kind == "scalar":
        return 2
    size = int(kind.partition(":")[2] or 0)
    if size:
        types.append(Type(Kind.STRUCT, "memory", size))
    types.append(Type(Kind.PTR, "", target=len(types) if size else 0))
    return len(types)


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


def _numbered(program: Program) -> list[_Line]:
    second, found = False, []
    for pc, op in enumerate(program.instructions["op"].tolist()):
        if not second:
            found.append(_Line(pc, "program", pc + 1, "program"))
        second = op in WIDE and not second
    return found


def _of_source(program: Program) -> list[_Line]:
    """The program's lines; of several for one slot the last."""
    found = {
        line.pc: _Line(line.pc, line.file, min(line.line, _MAX_LINE), line.text)
        for line in program.lines
    }
    return list(found.values())


def _with_lines(btf: bytes, lines: Iterable[_Line]) -> tuple[bytes, bytes]:
    """Append the texts of lines to the strings, which end a BTF, and write the records.

    The last word of struct btf_header is the length of the strings.
    """
    *before, strings = struct.unpack_from("<5I", btf, 4)
    added = bytearray()
    places: dict[str, int] = {}
    records = []
    for line in lines:
        for text in (line.file, line.text):
            if text not in places:
                places[text] = strings + len(added)
                added += text.encode() + b"\0"
        records.append(
            struct.pack("<4I", line.pc, places[line.file], places[line.text], line.number * _LINE)
        )
    header = btf[:4] + struct.pack("<5I", *before, strings + len(added))
    return header + btf[24:] + bytes(added), b"".join(records)
