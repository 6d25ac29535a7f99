"""Global variables: the sections that hold them, and the maps that Linux keeps them in.

Source: libbpf's bpf_object__init_internal_map and bpf_object__collect_externs.
"""

from workbench.bpf.declarations import MapDefinition
from workbench.bpf.map_types import MapFlag
from workbench.errors import WorkbenchError
from workbench.objects.btf import Kind, Types
from workbench.objects.elf import Section
from workbench.objects.unit import ARENA_SECTION, Unit
from workbench.objects.values import Variable

KCONFIG = ".kconfig"
_PREFIXES = (".data", ".rodata", ".bss")


def is_data(name: str) -> bool:
    """Whether a section holds global variables, outside the arena."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in _PREFIXES)


def contents(unit: Unit) -> dict[str, bytearray]:
    """The initial bytes of each section of variables, the arena's first."""
    names = [section.name for section in unit.elf.sections if _kept(section)]
    names.sort(key=lambda name: name != ARENA_SECTION)
    return {name: bytearray(unit.elf.content(name)) for name in names}


def _kept(section: Section) -> bool:
    known = section.name == ARENA_SECTION or is_data(section.name)
    return known and section.allocated and section.size > 0


def definition(section: str, content: bytes) -> MapDefinition:
    """The map of one entry that holds a section; a program may only read constants."""
    frozen = section == KCONFIG or section.startswith(".rodata")
    return MapDefinition(
        name=section,
        type="array",
        key_size=4,
        value_size=len(content),
        max_entries=1,
        map_flags=int(MapFlag.MMAPABLE) | (MapFlag.RDONLY_PROG if frozen else 0),
        initial=bytes(content),
        frozen=frozen,
    )


def variables(unit: Unit, contents: dict[str, bytearray]) -> dict[str, Variable]:
    """All variables by name, in memory order; a symbol without BTF has type 0.

    The second of two static variables of one name is called NAME@2. Raises WorkbenchError for a
    variable that ends beyond its section.
    """
    found: dict[str, Variable] = {}
    for section in unit.elf.sections:
        if section.name not in contents:
            continue
        typed = types_in(unit.types, section.name)
        own = [s for s in unit.elf.symbols if s.section == section.number and s.kind == "object"]
        for symbol in sorted(own, key=lambda s: s.value):
            if symbol.value + symbol.size > len(contents[section.name]):
                raise WorkbenchError(f"variable '{symbol.name}' ends beyond {section.name}")
            number, name = 2, symbol.name
            while name in found:
                name, number = f"{symbol.name}@{number}", number + 1
            type = typed.get(symbol.name, 0)
            found[name] = Variable(name, symbol.value, symbol.size, type, section.name)
    return dict(sorted(found.items(), key=lambda item: item[1].section != ARENA_SECTION))


def types_in(types: Types, section: str) -> dict[str, int]:
    """The types of a section's variables (or functions), by name."""
    named = (types[member.type] for member in types.section(section).members)
    return {type.name: type.target for type in named if type.kind in (Kind.VAR, Kind.FUNC)}
