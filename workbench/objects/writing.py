"""Types written as a .BTF section: the inverse of reading one."""

import struct
from collections.abc import Callable, Iterable

from workbench.objects.btf import ENUMERATIONS, FIXED, MAGIC, Kind, Member, Type, Types

_HEADER = 24  # bytes of struct btf_header
_TARGETS: tuple[Kind, ...] = (
    Kind.PTR,
    Kind.FUNC,
    Kind.FUNC_PROTO,
    Kind.VAR,
    Kind.DECL_TAG,
    Kind.TYPEDEF,
)
_TARGETS += (Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG)


class _Strings:
    """A string section in the making."""

    def __init__(self) -> None:
        self._places = {"": 0}
        self.content = bytearray(b"\0")

    def place(self, text: str) -> int:
        if text not in self._places:
            self._places[text] = len(self.content)
            self.content += text.encode() + b"\0"
        return self._places[text]


def write_btf(types: Iterable[Type], texts: Iterable[str] = ()) -> bytes:
    """Write types 1, 2, ... as a .BTF section that holds further strings as well."""
    strings = _Strings()
    body = b"".join(_record(type, strings) for type in types)
    for text in texts:
        strings.place(text)
    sizes = (0, len(body), len(body), len(strings.content))
    header = struct.pack("<HBBI4I", MAGIC, 1, 0, _HEADER, *sizes)
    return header + body + bytes(strings.content)


def _record(type: Type, strings: _Strings) -> bytes:
    kind = type.kind
    count = type.extra if kind == Kind.FUNC else len(type.members)
    info = type.flag << 31 | kind << 24 | count
    last = type.target if kind in _TARGETS else type.size
    words = [strings.place(type.name), info, last]
    if kind == Kind.ARRAY:
        words[2:] = [0, type.target, type.extra, type.length]
    elif kind in FIXED:
        words.append(type.extra & 0xFFFFFFFF)
    for member in type.members:
        words += _member(kind, type.flag, member, strings)
    return struct.pack(f"<{len(words)}I", *words)


def _member(kind: Kind, flag: bool, member: Member, strings: _Strings) -> list[int]:
    if kind == Kind.DATASEC:
        return [member.type, member.bit_offset // 8, member.bits // 8]
    name = strings.place(member.name)
    if kind in ENUMERATIONS:
        low, high = member.value & 0xFFFFFFFF, member.value >> 32 & 0xFFFFFFFF
        return [name, low] if kind == Kind.ENUM else [name, low, high]
    if kind == Kind.FUNC_PROTO:
        return [name, member.type]
    return [name, member.type, member.bit_offset | (member.bits << 24 if flag else 0)]


def renumbered(type: Type, numbers: Callable[[int], int]) -> Type:
    """A type whose references to others are renumbered; 0, void, stays."""
    target = numbers(type.target) if type.target else 0
    extra = numbers(type.extra) if type.kind == Kind.ARRAY and type.extra else type.extra
    members = tuple(m._replace(type=numbers(m.type)) if m.type else m for m in type.members)
    return type._replace(target=target, extra=extra, members=members)


class Numbers:
    """New numbers for the types that are kept: each gets the next when it is first asked for."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self._new: dict[int, int] = {}

    def __call__(self, old: int) -> int:
        """The new number of a type."""
        if old not in self._new:
            self.order.append(old)
            self._new[old] = len(self.order)
        return self._new[old]

    def __contains__(self, old: int) -> bool:
        return old in self._new


def kept(types: Types, numbers: Numbers) -> list[Type]:
    """The types that have a new number and all that they refer to, in the new order."""
    found: list[Type] = []
    while len(found) < len(numbers.order):
        found.append(renumbered(types[numbers.order[len(found)]], numbers))
    return found
