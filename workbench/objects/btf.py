"""BTF, the type information of BPF objects and of Linux: types by number and by name.

Only an index is made of the types at first; each is read when it is asked for, since Linux has
150,000. Source: Documentation/bpf/btf.rst, section 2.
"""

import re
import struct
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from workbench.errors import WorkbenchError

MAGIC = 0xEB9F
MAX_DEPTH = 64  # of types that refer to types: bounds damaged ones; Linux and libbpf stop at 32


class Kind(IntEnum):
    """Kinds of types, with the numbers of BTF_KIND_*."""

    VOID, INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = range(9)
    VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC = range(9, 16)
    FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(16, 20)


# 32-bit words after the three common ones: fixed, and for each counted member.
FIXED = {Kind.INT: 1, Kind.ARRAY: 3, Kind.VAR: 1, Kind.DECL_TAG: 1}
PER_MEMBER = {Kind.STRUCT: 3, Kind.UNION: 3, Kind.ENUM: 2, Kind.FUNC_PROTO: 2}
PER_MEMBER |= {Kind.DATASEC: 3, Kind.ENUM64: 3}
COMPOSITE = (Kind.STRUCT, Kind.UNION)
ENUMERATIONS = (Kind.ENUM, Kind.ENUM64)
TRANSPARENT = (Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG)
_SIZED = (Kind.INT, *COMPOSITE, *ENUMERATIONS, Kind.DATASEC, Kind.FLOAT)
_SIGNED, _BOOLEAN = 1 << 24, 4 << 24  # in the extra word of an INT
STATIC, GLOBAL, EXTERN = range(3)  # linkage of variables and functions


class Member(NamedTuple):
    """A part of a type: field, parameter, enumerator, or a variable of a section.

    `bits` > 0 is the width of a bit field; `value` is an enumerator's number.
    """

    name: str
    type: int = 0
    bit_offset: int = 0
    bits: int = 0
    value: int = 0


class Type(NamedTuple):
    """A type. `size` is in bytes (kinds with a size), `target` the number of a referred type.

    `length` is an array's length. `flag` and `extra` are what the kinds say in their own ways:
    `signed`, `boolean`, `linkage` and `component` read them.
    """

    kind: Kind
    name: str
    size: int = 0
    target: int = 0
    length: int = 0
    members: tuple[Member, ...] = ()
    flag: bool = False
    extra: int = 0

    @property
    def signed(self) -> bool:
        """Whether numbers of this type may be negative."""
        return bool(self.extra & _SIGNED) if self.kind == Kind.INT else self.flag

    @property
    def boolean(self) -> bool:
        """Whether this is _Bool."""
        return self.kind == Kind.INT and bool(self.extra & _BOOLEAN)

    @property
    def linkage(self) -> int:
        """STATIC, GLOBAL or EXTERN, of functions and variables."""
        return self.extra

    @property
    def component(self) -> int:
        """Which parameter or member a declaration tag is about, -1 for the whole."""
        return self.extra


class Types:
    """All types of an object or of Linux, by number; number 0 is void.

    `types[number]` raises WorkbenchError for a number without a type, and every look-up does for
    damaged ones.
    """

    def __init__(self, body: bytes, strings: bytes) -> None:
        if len(body) % 4:
            raise WorkbenchError(".BTF: the types are cut short")
        self._words = np.frombuffer(body, "<u4")
        self._strings = strings
        self._starts = np.array(_starts(self._words), np.int64)
        self._names = self._words[self._starts]
        self._kinds = self._words[self._starts + 1] >> 24 & 31
        self._read: dict[int, Type] = {0: Type(Kind.VOID, "void")}
        self._found: dict[bytes, list[int]] = {}  # a kernel's strings take a while to look through

    def __len__(self) -> int:
        return len(self._starts) + 1

    def __getitem__(self, number: int) -> Type:
        if number not in self._read:
            if not 0 <= number < len(self):
                raise WorkbenchError(f"BTF: there is no type {number}")
            self._read[number] = self._type(int(self._starts[number - 1]))
        return self._read[number]

    def resolve(self, number: int) -> Type:
        """The type behind typedefs, qualifiers and tags."""
        return self[self.strip(number)]

    def strip(self, number: int) -> int:
        """The number of the type behind typedefs, qualifiers and tags.

        Raises WorkbenchError for types that refer to each other without end.
        """
        for _ in range(MAX_DEPTH):
            type = self[number]
            if type.kind not in TRANSPARENT:
                return number
            number = type.target
        raise WorkbenchError("BTF: types refer to each other without end")

    def size(self, number: int) -> int:
        """Bytes of a value of a type; raises WorkbenchError for arrays without end."""
        count = 1
        for _ in range(MAX_DEPTH):
            type = self.resolve(number)
            if type.kind == Kind.PTR:
                return 8 * count
            if type.kind != Kind.ARRAY:
                return type.size * count
            number, count = type.target, count * type.length
        raise WorkbenchError("BTF: arrays contain each other without end")

    def called(self, name: str, *kinds: Kind) -> list[int]:
        """The numbers of all types of these kinds (of any, without) that have a name."""
        return self._at(self._places(b"\0" + name.encode() + b"\0"), kinds)

    def flavours(self, name: str, *kinds: Kind) -> list[int]:
        """The numbers of all types of these kinds called NAME or NAME___FLAVOUR, ascending."""
        found = self._at(self._places(b"\0" + name.encode() + b"___"), kinds)
        found = [number for number in found if essential(self[number].name) == name]
        return sorted(self.called(name, *kinds) + found)

    def _places(self, sought: bytes) -> list[int]:
        """Offsets of the strings that begin after the zero byte in `sought`."""
        if sought not in self._found:
            places, at = [], -1
            while (at := self._strings.find(sought, at + 1)) >= 0:
                places.append(at + 1)
            self._found[sought] = places
        return self._found[sought]

    def _at(self, places: list[int], kinds: tuple[Kind, ...]) -> list[int]:
        """The types of these kinds whose names are at these offsets of the string section."""
        if not places:
            return []
        found = (np.flatnonzero(np.isin(self._names, places)) + 1).tolist()
        return [number for number in found if not kinds or self._kinds[number - 1] in kinds]

    def of_kind(self, *kinds: Kind) -> list[int]:
        """The numbers of all types of these kinds."""
        found = np.isin(self._kinds, [int(kind) for kind in kinds])
        return [int(number) for number in np.flatnonzero(found) + 1]

    def structure(self, name: str) -> Type:
        """The structure or union called `name`; raises WorkbenchError with the names there are."""
        return self[self.number_of(name)]

    def number_of(self, name: str) -> int:
        """The number of the structure or union called `name`, or of a typedef of one.

        Raises WorkbenchError with the names there are.
        """
        plain = name.removeprefix("struct ").removeprefix("union ")
        if found := self.called(plain, *COMPOSITE):
            return found[0]
        for number in self.called(plain, Kind.TYPEDEF):
            if self.resolve(number).kind in COMPOSITE:
                return self.strip(number)
        if self.called(plain, Kind.FWD):
            raise WorkbenchError(
                f"the compiler left out what '{plain}' consists of, as only members point to it; "
                f"say KEEP_TYPE(struct {plain}); in the source (arena.h)"
            )
        known = sorted({self[number].name for number in self.of_kind(*COMPOSITE)} - {""})
        raise WorkbenchError(f"no structure '{plain}'; there is {', '.join(known[:20]) or 'none'}")

    def section(self, name: str) -> Type:
        """The variables of an ELF section; without members if BTF says nothing about it."""
        found = self.called(name, Kind.DATASEC)
        return self[found[0]] if found else Type(Kind.DATASEC, name)

    def text(self, offset: int) -> str:
        """The string at an offset of the string section; raises WorkbenchError without one."""
        end = self._strings.find(b"\0", offset)
        if not 0 <= offset < len(self._strings) or end < 0:
            raise WorkbenchError(f"BTF: there is no string at {offset}")
        return self._strings[offset:end].decode("utf-8", "replace")

    def _type(self, at: int) -> Type:
        """Read the type at a word.

        Words: name, info (kind in bits 24-28, flag in bit 31, member count in the low half), and
        size or target; then those of its kind.
        """
        name, info, last = self._words[at : at + 3].tolist()
        kind, flag, count = Kind(info >> 24 & 31), bool(info >> 31), info & 0xFFFF
        end = at + 3 + FIXED.get(kind, 0)
        extra = self._words[at + 3 : end].tolist()
        sized = kind in _SIZED
        width = PER_MEMBER.get(kind, 0)
        rows = self._words[end : end + width * count].reshape(count, width).tolist()
        type = Type(
            kind,
            self.text(name),
            size=last if sized else 0,
            target=0 if sized else last,
            members=tuple(self._member(kind, flag, row) for row in rows) if width else (),
            flag=flag,
        )
        if kind == Kind.ARRAY:
            return type._replace(target=extra[0], length=extra[2], extra=extra[1])
        if kind == Kind.FUNC:
            return type._replace(extra=count)
        if kind == Kind.DECL_TAG:
            return type._replace(extra=extra[0] - (1 << 32 if extra[0] >> 31 else 0))
        return type._replace(extra=extra[0]) if extra else type

    def _member(self, kind: Kind, flag: bool, row: list[int]) -> Member:
        """Read a member; with `flag`, an offset word holds a field's width in its upper byte."""
        if kind == Kind.DATASEC:
            return Member("", row[0], 8 * row[1], 8 * row[2])
        name = self.text(row[0])
        if kind in ENUMERATIONS:
            bits = 32 * (len(row) - 1)
            value = row[1] | (row[2] << 32 if bits == 64 else 0)
            return Member(name, value=value - (1 << bits if flag and value >> bits - 1 else 0))
        if kind == Kind.FUNC_PROTO:
            return Member(name, row[1])
        bits = row[2] >> 24 if flag else 0
        return Member(name, row[1], row[2] & 0xFFFFFF if flag else row[2], bits)


_FLAVOUR = re.compile(r"^(.*[^_])___[^_].*$", re.DOTALL)


def essential(name: str) -> str:
    """A name without its flavour: task_struct___old is another version of task_struct."""
    found = _FLAVOUR.match(name)
    return found[1] if found else name


def _starts(words: np.ndarray) -> list[int]:
    """The first word of each type; raises WorkbenchError where they do not fit together."""
    all, at, starts = words.tolist(), 0, []
    fixed = [FIXED.get(kind, 0) + 3 for kind in Kind]
    per_member = [PER_MEMBER.get(kind, 0) for kind in Kind]
    while at < len(all):
        starts.append(at)
        info = all[at + 1] if at + 1 < len(all) else 0
        kind = info >> 24 & 31
        if not 0 < kind < len(fixed):
            raise WorkbenchError(f".BTF: unknown kind of type {kind}")
        at += fixed[kind] + per_member[kind] * (info & 0xFFFF)
    if at > len(all):
        raise WorkbenchError(f".BTF: type {len(starts)} is cut short")
    return starts


def header(content: bytes, what: str) -> tuple[int, ...]:
    """Check the header of a .BTF or .BTF.ext section; returns its five words from hdr_len on.

    Raises WorkbenchError, which begins with `what`, for a damaged one.
    """
    if len(content) < 24 or struct.unpack_from("<H", content)[0] != MAGIC:
        raise WorkbenchError(f"{what}: damaged, big-endian, or not BTF")
    words = struct.unpack_from("<5I", content, 4)
    if words[0] < 24 or words[0] > len(content):
        raise WorkbenchError(f"{what}: damaged header")
    return words


def part(content: bytes, begin: int, size: int, what: str) -> bytes:
    """Cut `size` bytes out of a section; raises WorkbenchError if it ends before them."""
    if begin + size > len(content):
        raise WorkbenchError(f"{what}: cut short")
    return content[begin : begin + size]


def read_btf(content: bytes) -> Types:
    """Read a .BTF section; b"" gives no types. Raises WorkbenchError for a damaged one."""
    if not content:
        return Types(b"", b"\0")
    length, types, types_size, strings, strings_size = header(content, ".BTF")
    body = part(content, length + types, types_size, ".BTF")
    return Types(body, part(content, length + strings, strings_size, ".BTF"))
