"""C values in memory, read and written by their BTF type."""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.objects.btf import COMPOSITE, ENUMERATIONS, MAX_DEPTH, Kind, Member, Type, Types

Value = int | float | bytes | list | dict  # type: ignore[type-arg]
_NUMBERS = (Kind.INT, Kind.PTR, *ENUMERATIONS)
_FLOATS = {4: "<f", 8: "<d"}
_LIMIT = 1 << 20  # parts of one value; bounds damaged types, not measured
_QUALIFIERS = {Kind.CONST: "const ", Kind.VOLATILE: "volatile ", Kind.RESTRICT: ""}
_KEYWORDS = {Kind.STRUCT: "struct ", Kind.UNION: "union ", Kind.ENUM: "enum ", Kind.ENUM64: "enum "}


class Variable(NamedTuple):
    """A global variable: `size` bytes at `offset` of a section, of type number `type` (0: none)."""

    name: str
    offset: int
    size: int
    type: int
    section: str


def c_name(types: Types, number: int, depth: int = 0) -> str:
    """How C writes a type: "struct node *", "unsigned int", "char[16]".

    Raises WorkbenchError for types that refer to each other without end.
    """
    if depth > MAX_DEPTH:
        raise WorkbenchError("BTF: types refer to each other without end")
    type = types[number]
    if type.kind in (Kind.PTR, Kind.ARRAY, Kind.TYPE_TAG, *_QUALIFIERS):
        target = c_name(types, type.target, depth + 1)
        if type.kind == Kind.PTR:
            return f"{target}*" if target.endswith("*") else f"{target} *"
        if type.kind == Kind.ARRAY:
            element, bracket, inner = target.partition("[" if target.endswith("]") else "\0")
            return f"{element}[{type.length}]{bracket}{inner}"
        return _QUALIFIERS.get(type.kind, "") + target
    if type.kind == Kind.FWD:
        return ("union " if type.flag else "struct ") + type.name
    if type.kind == Kind.FUNC_PROTO:
        return "function"
    return _KEYWORDS.get(type.kind, "") + (type.name or "(anonymous)")


class _Decoder:
    """Turns bytes into values, of which it makes no more than a limited number."""

    def __init__(self, types: Types) -> None:
        self.types = types
        self.left = _LIMIT

    def decode(self, number: int, content: bytes) -> Value:
        self.left -= 1
        if self.left < 0:
            raise WorkbenchError("BTF: types contain each other without end")
        type = self.types.resolve(number)
        if type.kind in COMPOSITE:
            return {
                member.name or f"+{member.bit_offset // 8}": self._field(type, member, content)
                for member in type.members
            }
        if type.kind == Kind.ARRAY:
            return self._array(type, content)
        if type.kind == Kind.FLOAT and len(content) in _FLOATS:
            return float(struct.unpack(_FLOATS[len(content)], content)[0])
        if type.kind in _NUMBERS:
            return int.from_bytes(content[:8], "little", signed=type.signed)
        return content

    def _field(self, whole: Type, member: Member, content: bytes) -> Value:
        """A member's value; bit fields count from the lowest bit of the structure's bytes."""
        if member.bits:
            value = int.from_bytes(content, "little") >> member.bit_offset & (1 << member.bits) - 1
            negative = self.types.resolve(member.type).signed and value >> member.bits - 1
            return value - (1 << member.bits) if negative else value
        start, size = member.bit_offset // 8, self.types.size(member.type)
        if start + size > max(whole.size, len(content)):
            raise WorkbenchError(f"BTF: member '{member.name}' ends beyond '{whole.name}'")
        return self.decode(member.type, content[start : start + size])

    def _array(self, type: Type, content: bytes) -> Value:
        element, size = self.types.resolve(type.target), self.types.size(type.target)
        if element.kind == Kind.INT and element.name == "char":
            return content
        starts = range(0, len(content), size) if size else ()
        return [self.decode(type.target, content[at : at + size]) for at in starts]


def decode(types: Types, number: int, content: bytes) -> Value:
    """Turn bytes into int, float, bytes (character arrays), list or dict, by type.

    Raises WorkbenchError for types that are damaged.
    """
    try:
        return _Decoder(types).decode(number, content)
    except RecursionError:
        raise WorkbenchError("BTF: types contain each other without end") from None


def encode(types: Types, number: int, value: object, size: int) -> bytes:
    """Turn a value as `decode` gives it into `size` bytes; bytes fill anything from its beginning.

    A list may be shorter than its array, a dict leave out members: the rest is 0. Raises
    WorkbenchError for a value that does not fit the type.
    """
    type = types.resolve(number)
    if isinstance(value, list) and type.kind == Kind.ARRAY and len(value) <= type.length:
        width = types.size(type.target)
        return b"".join(encode(types, type.target, one, width) for one in value).ljust(size, b"\0")
    if isinstance(value, dict) and type.kind in COMPOSITE:
        return _structure(types, type, value, size)
    if isinstance(value, bytes | bytearray) and len(value) <= size:
        return bytes(value).ljust(size, b"\0")
    if isinstance(value, float) and type.kind == Kind.FLOAT and size in _FLOATS:
        return struct.pack(_FLOATS[size], value)
    if isinstance(value, int) and type.kind in (*_NUMBERS, Kind.VOID):
        if -(1 << 8 * size - 1) <= value < 1 << 8 * size:
            return (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        raise WorkbenchError(f"{value} does not fit into {size} bytes")
    given = f"{len(value)} bytes" if isinstance(value, bytes) else f"a {value.__class__.__name__}"
    kind = type.kind.name.lower()
    raise WorkbenchError(f"{given} does not go into a variable of kind {kind} ({size} bytes)")


def _structure(types: Types, type: Type, value: Mapping[str, object], size: int) -> bytes:
    """The bytes of a structure whose named members are given."""
    members = {member.name: member for member in type.members if member.name}
    content = 0
    for name, part in value.items():
        if name not in members:
            raise WorkbenchError(
                f"'{type.name}' has no member '{name}'; it has {', '.join(members)}"
            )
        member = members[name]
        if member.bits and not isinstance(part, int):
            raise WorkbenchError(f"bit field '{name}' takes a number")
        if member.bits:
            bits = int(part) & (1 << member.bits) - 1  # type: ignore[call-overload]
        else:
            encoded = encode(types, member.type, part, types.size(member.type))
            bits = int.from_bytes(encoded, "little")
        content |= bits << member.bit_offset
    return (content & (1 << 8 * size) - 1).to_bytes(size, "little")


class Globals(Mapping[str, Value]):
    """Global variables by name, read and written where they are: `globals["head"] = 0`.

    Numbers, pointers and enumerations are ints, character arrays bytes, other arrays lists,
    structures dicts. Written are the same, or bytes. Raises WorkbenchError for unknown names.
    """

    def __init__(
        self,
        types: Types,
        variables: Mapping[str, Variable],
        read: Callable[[Variable], bytes],
        write: Callable[[Variable, bytes], None],
    ) -> None:
        self._types, self._variables = types, variables
        self._read, self._write = read, write

    def __getitem__(self, name: str) -> Value:
        variable = self._find(name)
        content = self._read(variable)
        if not variable.type and variable.size <= 8:
            return int.from_bytes(content, "little")
        return decode(self._types, variable.type, content)

    def __setitem__(self, name: str, value: object) -> None:
        variable = self._find(name)
        self._write(variable, encode(self._types, variable.type, value, variable.size))

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            raise WorkbenchError(f'a variable is set by its name: globals["{name}"] = {value!r}')
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __contains__(self, name: object) -> bool:
        return name in self._variables

    def __repr__(self) -> str:
        rows = (f"{name}: {self[name]!r}" for name in self)
        return "Globals(" + ", ".join(rows) + ")"

    def _find(self, name: str) -> Variable:
        if name not in self._variables:
            known = ", ".join(self._variables) or "none"
            raise WorkbenchError(f"no global variable '{name}'; there is {known}")
        return self._variables[name]
