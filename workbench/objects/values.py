"""C values in memory, read and written by their BTF type."""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.objects.btf import MAX_DEPTH, Kind, Member, Type, Types

Value = int | float | bytes | list | dict  # type: ignore[type-arg]
_NUMBERS = (Kind.INT, Kind.PTR, Kind.ENUM, Kind.ENUM64)
_FLOATS = {4: "<f", 8: "<d"}
_STRUCTURES = (Kind.STRUCT, Kind.UNION)


class Variable(NamedTuple):
    """A global variable: `size` bytes at `offset` of the arena, of type number `type` (0: none)."""

    name: str
    offset: int
    size: int
    type: int


def decode(types: Types, number: int, content: bytes, depth: int = 0) -> Value:
    """Turn bytes into int, float, bytes (character arrays), list or dict, by type."""
    if depth > MAX_DEPTH:
        raise WorkbenchError("BTF: types contain each other without end")
    type = types.resolve(number)
    if type.kind in _STRUCTURES:
        return {
            member.name or f"+{member.bit_offset // 8}": _field(types, member, content, depth)
            for member in type.members
        }
    if type.kind == Kind.ARRAY:
        return _array(types, type, content, depth)
    if type.kind == Kind.FLOAT and len(content) in _FLOATS:
        return float(struct.unpack(_FLOATS[len(content)], content)[0])
    if type.kind in _NUMBERS:
        return int.from_bytes(content[:8], "little", signed=type.signed)
    return content


def _field(types: Types, member: Member, content: bytes, depth: int) -> Value:
    """A member's value; bit fields count from the lowest bit of the structure's bytes."""
    if member.bits:
        return int.from_bytes(content, "little") >> member.bit_offset & (1 << member.bits) - 1
    start = member.bit_offset // 8
    part = content[start : start + types.size(member.type)]
    return decode(types, member.type, part, depth + 1)


def _array(types: Types, type: Type, content: bytes, depth: int) -> Value:
    element, size = types.resolve(type.target), types.size(type.target)
    if element.kind == Kind.INT and element.name == "char":
        return content
    starts = range(0, len(content), size) if size else ()
    return [decode(types, type.target, content[at : at + size], depth + 1) for at in starts]


def encode(types: Types, number: int, value: object, size: int) -> bytes:
    """Turn a number, or bytes for an array or structure, into `size` bytes."""
    type = types.resolve(number)
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


class Globals(Mapping[str, Value]):
    """Global variables by name, read and written where they are: `globals["head"] = 0`.

    Numbers, pointers and enumerations are ints, character arrays bytes, other arrays lists,
    structures dicts; bytes may be written to any of them. Raises WorkbenchError for unknown names.
    """

    def __init__(
        self,
        types: Types,
        variables: Mapping[str, Variable],
        read: Callable[[int, int], bytes],
        write: Callable[[int, bytes], None],
    ) -> None:
        self._types, self._variables = types, variables
        self._read, self._write = read, write

    def __getitem__(self, name: str) -> Value:
        variable = self._find(name)
        content = self._read(variable.offset, variable.size)
        if not variable.type and variable.size <= 8:
            return int.from_bytes(content, "little")
        return decode(self._types, variable.type, content)

    def __setitem__(self, name: str, value: object) -> None:
        variable = self._find(name)
        content = encode(self._types, variable.type, value, variable.size)
        self._write(variable.offset, content)

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
