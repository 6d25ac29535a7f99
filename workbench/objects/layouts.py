"""Structures and variables as plain fields at offsets: what a view of memory needs of BTF."""

from collections.abc import Iterable, Iterator

from workbench.bpf.declarations import Field, Layout
from workbench.objects.btf import MAX_DEPTH, Kind, Types
from workbench.objects.unit import ARENA_SECTION
from workbench.objects.values import Variable

MOST_PARTS = 100_000  # of all structures together; bounds damaged types, which then take 0.5 s
MOST_ELEMENTS = 16  # of an array; a longer one is bytes to a view; not measured
_NUMBERS = (Kind.INT, Kind.ENUM, Kind.ENUM64)
_STRUCTURES = (Kind.STRUCT, Kind.UNION)


def layouts(types: Types) -> tuple[Layout, ...]:
    """The named structures of an object file, in the order of its types."""
    numbers = (n for n in types.of_kind(*_STRUCTURES) if types[n].name)
    walk = _Walk(types)
    return tuple(
        Layout(types[n].name, types[n].size, tuple(walk.fields(n, "", 0, 0))) for n in numbers
    )


def variable_fields(types: Types, variables: Iterable[Variable], start: int) -> tuple[Field, ...]:
    """The fields of the arena's variables, which begin `start` bytes into it."""
    found: list[Field] = []
    walk = _Walk(types)
    for name, offset, size, type, section in variables:
        if section != ARENA_SECTION:
            continue
        if type:
            found += walk.fields(type, name, start + offset, 0)
        else:
            found.append(Field(name, start + offset, size, "bytes"))
    return tuple(found)


class _Walk:
    """Goes through types, for a limited number of steps."""

    def __init__(self, types: Types) -> None:
        self.types, self.left = types, MOST_PARTS

    def fields(self, number: int, name: str, offset: int, depth: int) -> Iterator[Field]:
        """The plain values of a type that begins at an offset."""
        types = self.types
        type, size = types.resolve(number), types.size(number)
        self.left -= 1
        if depth > MAX_DEPTH or not size or self.left < 0:
            return
        if type.kind in _STRUCTURES:
            for member in type.members:
                if not member.bits:
                    path = f"{name}.{member.name}".strip(".")
                    yield from self.fields(
                        member.type, path, offset + member.bit_offset // 8, depth + 1
                    )
        elif (
            type.kind == Kind.ARRAY
            and type.length <= MOST_ELEMENTS
            and not _is_text(types, type.target)
        ):
            step = types.size(type.target)
            for index in range(type.length):
                yield from self.fields(
                    type.target, f"{name}[{index}]", offset + index * step, depth + 1
                )
        elif type.kind == Kind.PTR:
            yield Field(name, offset, size, "pointer", _pointee(types, type.target))
        elif type.kind in _NUMBERS and size <= 8:
            yield Field(name, offset, size, "int" if type.signed else "uint")
        elif type.kind == Kind.FLOAT and size in (4, 8):
            yield Field(name, offset, size, "float")
        else:
            yield Field(name, offset, size, "bytes")


def _is_text(types: Types, number: int) -> bool:
    return types.resolve(number).name == "char"


def _pointee(types: Types, number: int) -> str:
    """The name of the structure that a pointer points to."""
    target = types.resolve(number)
    return target.name if target.kind in (*_STRUCTURES, Kind.FWD) else ""
