"""BTF, the type information of BPF objects: what maps, variables and structures look like.

Source: Documentation/bpf/btf.rst, sections 2 (types) and 4 (.BTF.ext).
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from workbench.errors import WorkbenchError

MAGIC = 0xEB9F
MAX_DEPTH = 64  # of types that refer to types


class Kind(IntEnum):
    """Kinds of types, with the numbers of BTF_KIND_*."""

    VOID, INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = range(9)
    VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC = range(9, 16)
    FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(16, 20)


# Bytes after the three common words: fixed, and for each counted member.
_FIXED = {Kind.INT: 4, Kind.ARRAY: 12, Kind.VAR: 4, Kind.DECL_TAG: 4}
_PER_MEMBER = {Kind.STRUCT: 12, Kind.UNION: 12, Kind.ENUM: 8, Kind.FUNC_PROTO: 8}
_PER_MEMBER |= {Kind.DATASEC: 12, Kind.ENUM64: 12}
_TRANSPARENT = (Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG)
_SIGNED = 1


class Member(NamedTuple):
    """A field of a structure or union, or a variable of a section; `bits` > 0 in bit fields."""

    name: str
    type: int
    bit_offset: int
    bits: int = 0


class Type(NamedTuple):
    """A type. `size` is in bytes (kinds with a size), `target` the number of a referred type.

    `length` is an array's length; `values` an enumeration's numbers; `signed` of integers.
    """

    kind: Kind
    name: str
    size: int = 0
    target: int = 0
    length: int = 0
    members: tuple[Member, ...] = ()
    values: tuple[int, ...] = ()
    signed: bool = False


class Line(NamedTuple):
    """The source of the instruction at byte `offset` of a section."""

    section: str
    offset: int
    file: str
    line: int
    text: str


class Types:
    """All types of an object; number 0 is void."""

    def __init__(self, types: list[Type], strings: bytes) -> None:
        self._types = types
        self._strings = strings

    def __len__(self) -> int:
        return len(self._types)

    def __getitem__(self, number: int) -> Type:
        if not 0 <= number < len(self._types):
            raise WorkbenchError(f"BTF: there is no type {number}")
        return self._types[number]

    def resolve(self, number: int) -> Type:
        """Look through typedefs, qualifiers and tags."""
        for _ in range(MAX_DEPTH):
            type = self[number]
            if type.kind not in _TRANSPARENT:
                return type
            number = type.target
        raise WorkbenchError("BTF: types refer to each other without end")

    def size(self, number: int) -> int:
        """Bytes of a value of a type."""
        count = 1
        for _ in range(MAX_DEPTH):
            type = self.resolve(number)
            if type.kind == Kind.PTR:
                return 8 * count
            if type.kind != Kind.ARRAY:
                return type.size * count
            number, count = type.target, count * type.length
        raise WorkbenchError("BTF: arrays contain each other without end")

    def named(self, kind: Kind, name: str) -> int | None:
        """The number of the first type of a kind and name."""
        for number, type in enumerate(self._types):
            if type.kind == kind and type.name == name:
                return number
        return None

    def structure(self, name: str) -> Type:
        """The structure or union called `name`; raises WorkbenchError with the names there are."""
        plain = name.removeprefix("struct ").removeprefix("union ")
        both = (Kind.STRUCT, Kind.UNION)
        for type in self._types:
            if type.kind in both and type.name == plain:
                return type
        known = sorted({type.name for type in self._types if type.kind in both and type.name})
        raise WorkbenchError(f"no structure '{plain}'; there is {', '.join(known) or 'none'}")

    def section(self, name: str) -> Type:
        """The variables of an ELF section; without members if BTF says nothing about it."""
        number = self.named(Kind.DATASEC, name)
        return Type(Kind.DATASEC, name) if number is None else self[number]

    def text(self, offset: int) -> str:
        """The string at an offset of the string section."""
        return _string(self._strings, offset)


def _string(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset)
    if not 0 <= offset < len(strings) or end < 0:
        raise WorkbenchError(f"BTF: there is no string at {offset}")
    return strings[offset:end].decode("utf-8", "replace")


def _header(content: bytes, what: str) -> tuple[int, ...]:
    """Check magic and length; returns the words from hdr_len on, as many as both forms share."""
    if len(content) < 24 or struct.unpack_from("<H", content)[0] != MAGIC:
        raise WorkbenchError(f"{what}: damaged, big-endian, or not BTF")
    words = struct.unpack_from("<5I", content, 4)
    if words[0] < 24 or words[0] > len(content):
        raise WorkbenchError(f"{what}: damaged header")
    return words


def _part(content: bytes, begin: int, size: int, what: str) -> bytes:
    if begin + size > len(content):
        raise WorkbenchError(f"{what}: cut short")
    return content[begin : begin + size]


def read_btf(content: bytes) -> Types:
    """Read a .BTF section; b"" gives no types. Raises WorkbenchError for a damaged one."""
    if not content:
        return Types([Type(Kind.VOID, "void")], b"\0")
    length, types, types_size, strings, strings_size = _header(content, ".BTF")
    body = _part(content, length + types, types_size, ".BTF")
    names = _part(content, length + strings, strings_size, ".BTF")
    found, at = [Type(Kind.VOID, "void")], 0
    while at < len(body):
        try:
            type, at = _type(body, at, names)
        except struct.error:
            raise WorkbenchError(f".BTF: type {len(found)} is cut short") from None
        found.append(type)
    return Types(found, names)


def _type(body: bytes, at: int, strings: bytes) -> tuple[Type, int]:
    """Read the type at a byte; returns it and the byte after it.

    Words: name, info (kind in bits 24-28, flag in bit 31, member count in the low half), and size
    or target.
    """
    name, info, last = struct.unpack_from("<3I", body, at)
    number, flag, count = info >> 24 & 31, info >> 31, info & 0xFFFF
    if number not in Kind.__members__.values() or number == Kind.VOID:
        raise WorkbenchError(f".BTF: unknown kind of type {number}")
    kind = Kind(number)
    at += 12
    end = at + _FIXED.get(kind, 0) + _PER_MEMBER.get(kind, 0) * count
    type = Type(kind, _string(strings, name), last, last)
    if kind == Kind.INT:
        encoding = struct.unpack_from("<I", body, at)[0] >> 24
        type = type._replace(signed=bool(encoding & _SIGNED))
    elif kind == Kind.ARRAY:
        element, _, length = struct.unpack_from("<3I", body, at)
        type = type._replace(target=element, length=length)
    elif kind in (Kind.STRUCT, Kind.UNION):
        type = type._replace(members=_members(body, at, count, bool(flag), strings))
    elif kind == Kind.DATASEC:
        rows = (struct.unpack_from("<3I", body, at + 12 * row) for row in range(count))
        members = tuple(Member("", var, 8 * offset, 8 * size) for var, offset, size in rows)
        type = type._replace(members=members)
    elif kind in (Kind.ENUM, Kind.ENUM64):
        type = type._replace(values=_values(body, at, count, kind), signed=bool(flag))
    return type, end


def _members(
    body: bytes, at: int, count: int, bit_fields: bool, strings: bytes
) -> tuple[Member, ...]:
    """With `bit_fields`, an offset word holds the field's width in its upper byte."""
    found = []
    for row in range(count):
        name, type, offset = struct.unpack_from("<3I", body, at + 12 * row)
        bits = offset >> 24 if bit_fields else 0
        offset = offset & 0xFFFFFF if bit_fields else offset
        found.append(Member(_string(strings, name), type, offset, bits))
    return tuple(found)


def _values(body: bytes, at: int, count: int, kind: Kind) -> tuple[int, ...]:
    if kind == Kind.ENUM:
        return tuple(struct.unpack_from("<Ii", body, at + 8 * row)[1] for row in range(count))
    rows = (struct.unpack_from("<3I", body, at + 12 * row) for row in range(count))
    return tuple(low | high << 32 for _, low, high in rows)


def read_lines(content: bytes, types: Types) -> list[Line]:
    """Read the line table of a .BTF.ext section; raises WorkbenchError for a damaged one.

    After the record size come blocks: section name, record count, records of (offset, file name,
    text, line number << 10 | column).
    """
    if not content:
        return []
    length, _, _, begin, size = _header(content, ".BTF.ext")
    table = _part(content, length + begin, size, ".BTF.ext")
    if not table:
        return []
    try:
        return _lines(table, types)
    except struct.error:
        raise WorkbenchError(".BTF.ext: the line table is cut short") from None


def _lines(table: bytes, types: Types) -> list[Line]:
    (record,) = struct.unpack_from("<I", table)
    if record < 16:
        raise WorkbenchError(f".BTF.ext: line records of {record} bytes")
    found, at = [], 4
    while at < len(table):
        name, count = struct.unpack_from("<2I", table, at)
        section = types.text(name)
        at += 8
        for _ in range(count):
            offset, file, text, packed = struct.unpack_from("<4I", table, at)
            path = types.text(file).removeprefix("./")
            line = Line(section, offset, path, packed >> 10, types.text(text))
            found.append(line)
            at += record
    return found
