"""What .BTF.ext says of instructions: their functions, source lines, and accesses to relocate.

Source: Documentation/bpf/btf.rst, section 4.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.objects.btf import Types, header, part

_WHAT = ".BTF.ext"


class Line(NamedTuple):
    """The source of the instruction at byte `offset` of a section."""

    section: str
    offset: int
    file: str
    line: int
    text: str


class Typed(NamedTuple):
    """The function at byte `offset` of a section is of BTF type `type` (a FUNC)."""

    section: str
    offset: int
    type: int


class Access(NamedTuple):
    """The instruction at byte `offset` of a section depends on the layout of type `type`.

    `path` says which part ("0:1:2"), `kind` what is asked of it (enum bpf_core_relo_kind).
    """

    section: str
    offset: int
    type: int
    path: str
    kind: int


class Extension(NamedTuple):
    """The three tables of a .BTF.ext section."""

    functions: tuple[Typed, ...] = ()
    lines: tuple[Line, ...] = ()
    accesses: tuple[Access, ...] = ()


def read_extension(content: bytes, types: Types) -> Extension:
    """Read a .BTF.ext section; raises WorkbenchError for a damaged one."""
    if not content:
        return Extension()
    length, functions, functions_size, lines, lines_size = header(content, _WHAT)
    accesses = struct.unpack_from("<2I", content, 24) if length >= 32 <= len(content) else (0, 0)
    places = ((functions, functions_size, 2), (lines, lines_size, 4), (*accesses, 4))
    tables = [
        part(content, length + begin, size, _WHAT) if size else b"" for begin, size, _ in places
    ]
    return Extension(
        tuple(Typed(name, *row) for name, row in _rows(tables[0], 2, types)),
        tuple(_line(types, name, row) for name, row in _rows(tables[1], 4, types)),
        tuple(
            Access(name, row[0], row[1], types.text(row[2]), row[3])
            for name, row in _rows(tables[2], 4, types)
        ),
    )


def _line(types: Types, section: str, row: tuple[int, ...]) -> Line:
    """The words are offset, file name, text, line number << 10 | column."""
    offset, file, text, packed = row
    return Line(
        section, offset, types.text(file).removeprefix("./"), packed >> 10, types.text(text)
    )


def _rows(table: bytes, words: int, types: Types) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield section name and the first words of each record.

    After the record size come blocks: section name, record count, records.
    """
    if not table:
        return
    try:
        (record,) = struct.unpack_from("<I", table)
        if record < 4 * words:
            raise WorkbenchError(f"{_WHAT}: records of {record} bytes")
        at = 4
        while at < len(table):
            name, count = struct.unpack_from("<2I", table, at)
            section = types.text(name)
            at += 8
            for _ in range(count):
                yield section, struct.unpack_from(f"<{words}I", table, at)
                at += record
    except struct.error:
        raise WorkbenchError(f"{_WHAT}: a table is cut short") from None
