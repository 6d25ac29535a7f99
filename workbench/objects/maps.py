"""Map definitions: what a `SEC(".maps")` structure says in its types.

`__uint(name, 7)` is a pointer to an array of 7, `__ulong(name, 7)` an enumeration with the value 7,
`__type(name, T)` a pointer to T, `__array(values, T)` an array of pointers to T. What fills the
values is said by relocations. Source: libbpf's parse_btf_map_def, and bpf_helpers.h.
"""

import mmap

from workbench.bpf.declarations import MapDefinition
from workbench.bpf.map_types import MAP_TYPES
from workbench.errors import WorkbenchError
from workbench.objects.btf import COMPOSITE, ENUMERATIONS, Kind, Member, Type, Types
from workbench.objects.elf import Elf
from workbench.objects.unit import MAPS_SECTION, Unit
from workbench.objects.values import c_name

_NAMES = {number: name for name, number in MAP_TYPES.items()}
_MAX_VALUES = 1 << 20  # bounds what a damaged relocation costs; not measured


def read_maps(unit: Unit) -> dict[str, MapDefinition]:
    """Read the definitions of all maps; raises WorkbenchError for two arenas."""
    found = {}
    for member in unit.types.section(MAPS_SECTION).members:
        variable = unit.types[member.type]
        structure = unit.types.resolve(variable.target)
        values = _values(unit, variable.name, structure)
        found[variable.name] = _definition(unit.types, variable.name, structure, values)
    arenas = [name for name, definition in found.items() if definition.type == "arena"]
    if len(arenas) > 1:
        raise WorkbenchError(f"there are several arena maps ({', '.join(arenas)}); one is allowed")
    return found


def _definition(
    types: Types, name: str, structure: Type, values: tuple[str, ...] = ()
) -> MapDefinition:
    """Read one map's structure."""
    members = {member.name: member for member in structure.members}
    numbers = {name: _number(types, member) for name, member in members.items()}
    kind = numbers.get("type", 0)
    type = _NAMES.get(kind, f"number {kind}")
    key, value = (_pointed(types, members.get(part)) for part in ("key", "value"))
    inner = _element(types, members.get("values"))
    return MapDefinition(
        name=name,
        type=type,
        key_size=numbers.get("key_size") or _size(types, key) or _implied_key(type),
        value_size=numbers.get("value_size") or _size(types, value) or _implied_value(type),
        max_entries=_entries(type, numbers.get("max_entries", 0)),
        map_flags=numbers.get("map_flags", 0),
        map_extra=numbers.get("map_extra", 0),
        inner=_definition(types, f"{name}.inner", inner) if inner else None,
        values=values,
        lock=_lock(types, value),
        key_type=c_name(types, key) if key else "",
        value_type=c_name(types, value) if value else "",
    )


def _number(types: Types, member: Member) -> int:
    """The number that a member's type encodes; 0 for members that encode types."""
    type = types.resolve(member.type)
    if type.kind in ENUMERATIONS and type.members:
        return type.members[0].value
    if type.kind != Kind.PTR:
        return 0
    target = types.resolve(type.target)
    return target.length if target.kind == Kind.ARRAY else 0


def _pointed(types: Types, member: Member | None) -> int:
    """The number of the type that `__type` names, 0 without one."""
    pointer = types.resolve(member.type) if member else Type(Kind.VOID, "")
    return pointer.target if pointer.kind == Kind.PTR else 0


def _size(types: Types, number: int) -> int:
    return types.size(number) if number else 0


def _element(types: Types, member: Member | None) -> Type | None:
    """The structure of the inner maps; None where `values` names functions, or nothing."""
    array = types.resolve(member.type) if member else Type(Kind.VOID, "")
    if array.kind != Kind.ARRAY:
        return None
    pointer = types.resolve(array.target)
    target = types.resolve(pointer.target) if pointer.kind == Kind.PTR else pointer
    return target if target.kind in COMPOSITE else None


def _implied_key(type: str) -> int:
    """Bytes of a key that a definition may leave out."""
    return 4 if type in ("prog_array", "perf_event_array", "array_of_maps", "hash_of_maps") else 0


def _implied_value(type: str) -> int:
    """Bytes of a value that a definition may leave out: maps of descriptors hold 32-bit numbers."""
    return _implied_key(type)


def _entries(type: str, declared: int) -> int:
    """A ring buffer's size is rounded up to a power of 2 times the page size, as libbpf does."""
    if type != "ringbuf" or not declared:
        return declared
    pages = -(-declared // mmap.PAGESIZE)
    return int(mmap.PAGESIZE * (1 << (pages - 1).bit_length()))


def _lock(types: Types, number: int) -> int:
    """The offset of a bpf_spin_lock among a structure's members, -1 without one."""
    structure = types.resolve(number)
    for member in structure.members if structure.kind in COMPOSITE else ():
        if types.resolve(member.type).name == "bpf_spin_lock":
            return member.bit_offset // 8
    return -1


def _values(unit: Unit, name: str, structure: Type) -> tuple[str, ...]:
    """The names of the maps or programs that a definition puts into the map, "" for gaps."""
    start = next((m.bit_offset // 8 for m in structure.members if m.name == "values"), None)
    variable = _variable(unit.elf, name)
    if start is None or variable is None:
        return ()
    begin, end = variable[0] + start, variable[0] + variable[1]
    section = unit.elf.named(MAPS_SECTION)
    found = {}
    for relocation in unit.elf.relocations.get(section.number if section else -1, ()):
        if begin <= relocation.offset < end:
            found[(relocation.offset - begin) // 8] = relocation.symbol.name
    if found and max(found) >= _MAX_VALUES:
        raise WorkbenchError(f"map '{name}' has {max(found) + 1} initial values; damaged?")
    return tuple(found.get(index, "") for index in range(max(found) + 1)) if found else ()


def _variable(elf: Elf, name: str) -> tuple[int, int] | None:
    """Where a map's variable lies in its section: first byte and size."""
    for symbol in elf.symbols:
        if symbol.name == name and symbol.kind == "object":
            return symbol.value, symbol.size
    return None
