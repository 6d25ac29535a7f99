"""Map definitions: what a `SEC(".maps")` structure says in its types.

`__uint(name, 7)` is a pointer to an array of 7; `__ulong(name, 7)` an enumeration with the value 7.
"""

from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.objects.btf import Kind, Member, Types

ARENA = 33  # BPF_MAP_TYPE_ARENA
_NAMES = {
    1: "hash", 2: "array", 3: "prog_array", 4: "perf_event_array", 5: "percpu_hash",
    6: "percpu_array", 7: "stack_trace", 9: "lru_hash", 11: "lpm_trie", 12: "array_of_maps",
    13: "hash_of_maps", 22: "queue", 23: "stack", 27: "ringbuf", 30: "bloom_filter", ARENA: "arena",
}  # fmt: skip


class MapDefinition(NamedTuple):
    """A map as declared: numbers of bpf(2), `type` by name; 0 where nothing is said."""

    name: str
    type: str
    max_entries: int = 0
    map_flags: int = 0
    map_extra: int = 0


def read_maps(types: Types) -> dict[str, MapDefinition]:
    """Read the definitions of all maps; raises WorkbenchError for two arenas."""
    found = {}
    for member in types.section(".maps").members:
        variable = types[member.type]
        numbers = {m.name: _number(types, m) for m in types.resolve(variable.target).members}
        kind = numbers.get("type", 0)
        found[variable.name] = MapDefinition(
            name=variable.name,
            type=_NAMES.get(kind, f"number {kind}"),
            max_entries=numbers.get("max_entries", 0),
            map_flags=numbers.get("map_flags", 0),
            map_extra=numbers.get("map_extra", 0),
        )
    arenas = [name for name, definition in found.items() if definition.type == "arena"]
    if len(arenas) > 1:
        raise WorkbenchError(f"there are several arena maps ({', '.join(arenas)}); one is allowed")
    return found


def _number(types: Types, member: Member) -> int:
    """The number that a member's type encodes; 0 for members that encode types."""
    type = types.resolve(member.type)
    if type.kind in (Kind.ENUM, Kind.ENUM64) and type.values:
        return type.values[0]
    if type.kind != Kind.PTR:
        return 0
    target = types.resolve(type.target)
    return target.length if target.kind == Kind.ARRAY else 0
