"""Several object files become one, as `bpftool gen object` makes them.

Sections of one name are joined, symbols are resolved by name: a weak definition gives way to a
strong one, and of several weak ones the first stays. Source: libbpf's linker.c.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from workbench.arena.rules import PAGE_SIZE
from workbench.errors import WorkbenchError
from workbench.objects.btf import EXTERN, Kind, Member, Type, Types, read_btf
from workbench.objects.data import is_data
from workbench.objects.elf import NOWHERE, Elf, Relocation, Section, Symbol
from workbench.objects.extension import Access, Extension, Line, Typed
from workbench.objects.unit import ARENA_SECTION, MAPS_SECTION, Unit
from workbench.objects.writing import renumbered, write_btf

_ALONE = ("license", "version")  # the first object's stays
SLOT_ALIGNMENT = 8  # bytes, of an instruction


def link(units: Mapping[str, Unit]) -> Unit:
    """Make one unit of several, by file name; raises WorkbenchError for symbols defined twice."""
    if len(units) == 1:
        return next(iter(units.values()))
    placed = _place(units)
    chosen = _choose(units)
    symbols = _symbols(units, placed, chosen)
    elf = Elf(_sections(placed), tuple(symbols.all), _relocations(units, placed, symbols))
    types = _types(units, chosen)
    return Unit(elf, types, _extensions(units, placed))


class _Place(NamedTuple):
    """Where a section of an object went: the number of the joined section, and its first byte."""

    number: int
    start: int


class _Placed(NamedTuple):
    """The joined sections in the making, and where each object's sections are in them."""

    joined: dict[str, tuple[Section, bytearray]]
    places: dict[tuple[str, int], _Place]
    starts: dict[tuple[str, str], int]  # object, section's name -> first byte


def _wanted(section: Section) -> bool:
    name = section.name
    known = is_data(name) or name in (MAPS_SECTION, ARENA_SECTION, *_ALONE)
    return section.allocated and section.size > 0 and (section.executable or known)


def _place(units: Mapping[str, Unit]) -> _Placed:
    """Join the sections of one name, each object's part aligned."""
    found = _Placed({}, {}, {})
    for file, unit in units.items():
        for section in filter(_wanted, unit.elf.sections):
            name = section.name
            if name not in found.joined:
                found.joined[name] = section._replace(number=len(found.joined) + 1), bytearray()
            elif name in _ALONE:
                continue
            head, content = found.joined[name]
            alignment = max(section.alignment, SLOT_ALIGNMENT if section.executable else 1)
            content += bytes(-len(content) % min(alignment, PAGE_SIZE))
            found.places[file, section.number] = _Place(head.number, len(content))
            found.starts[file, name] = len(content)
            content += section.content or bytes(section.size)
    return found


def _sections(placed: _Placed) -> tuple[Section, ...]:
    joined = (
        head._replace(content=bytes(content), size=len(content))
        for head, content in placed.joined.values()
    )
    return (Section(0, "", b"", 0), *joined)


def _choose(units: Mapping[str, Unit]) -> dict[str, str]:
    """Which object's definition of each name that others can see stays."""
    chosen: dict[str, tuple[str, bool]] = {}
    for file, unit in units.items():
        for symbol in unit.elf.symbols:
            if symbol.binding == "local" or symbol.section < 0:
                continue
            if unit.elf.sections[symbol.section].name in _ALONE:
                continue
            before = chosen.get(symbol.name)
            if before and not before[1] and not symbol.weak:
                raise WorkbenchError(f"'{symbol.name}' is defined in {before[0]} and in {file}")
            if before is None or (before[1] and not symbol.weak):
                chosen[symbol.name] = file, symbol.weak
    return {name: file for name, (file, _) in chosen.items()}


class _Symbols(NamedTuple):
    """The joined symbols: all that stay, and what each of an object's symbols became."""

    all: list[Symbol]
    became: dict[tuple[str, Symbol], Symbol]


def _symbols(units: Mapping[str, Unit], placed: _Placed, chosen: Mapping[str, str]) -> _Symbols:
    """Move symbols to where their sections went, and lead those seen by others to one definition.

    The code and content of a definition that is not chosen stays, without a name.
    """
    found = _Symbols([], {})
    defined: dict[str, Symbol] = {}
    rest: list[tuple[str, Symbol]] = []
    for file, unit in units.items():
        for symbol in unit.elf.symbols:
            place = placed.places.get((file, symbol.section))
            local = symbol.binding == "local"
            if place is None or not (local or chosen.get(symbol.name, file) == file):
                rest.append((file, symbol))
                continue
            moved = symbol._replace(section=place.number, value=symbol.value + place.start)
            found.all.append(moved)
            found.became[file, symbol] = moved
            if not local:
                defined[symbol.name] = moved
    missing = _missing(symbol for _, symbol in rest if symbol.name not in defined)
    for file, symbol in rest:
        found.became[file, symbol] = defined.get(symbol.name) or missing.get(symbol.name, symbol)
    found.all.extend(missing.values())
    return found


def _missing(symbols: Iterable[Symbol]) -> dict[str, Symbol]:
    """One symbol for each name that no object defines; weak only if all say so."""
    found: dict[str, Symbol] = {}
    for symbol in symbols:
        if symbol.section == NOWHERE and symbol.name:
            known = found.get(symbol.name)
            if known is None or (known.weak and not symbol.weak):
                found[symbol.name] = symbol
    return found


def _relocations(
    units: Mapping[str, Unit], placed: _Placed, symbols: _Symbols
) -> dict[int, tuple[Relocation, ...]]:
    found: dict[int, list[Relocation]] = {}
    for file, unit in units.items():
        for number, relocations in unit.elf.relocations.items():
            place = placed.places.get((file, number))
            for relocation in relocations if place else ():
                assert place is not None
                symbol = symbols.became[file, relocation.symbol]
                moved = relocation._replace(offset=relocation.offset + place.start, symbol=symbol)
                found.setdefault(place.number, []).append(moved)
    return {number: tuple(rows) for number, rows in found.items()}


def _bases(units: Mapping[str, Unit]) -> dict[str, int]:
    """How much the numbers of each object's types grow."""
    bases, total = {}, 0
    for file, unit in units.items():
        bases[file] = total
        total += len(unit.types) - 1
    return bases


def _types(units: Mapping[str, Unit], chosen: Mapping[str, str]) -> Types:
    """All types one object after another, then the sections of variables, joined."""
    found: list[Type] = []
    sections: dict[str, dict[str, Member]] = {}
    for file, base in _bases(units).items():
        types = units[file].types
        for number in range(1, len(types)):
            type = renumbered(types[number], base.__add__)
            if type.kind == Kind.DATASEC:
                own = sections.setdefault(type.name, {})
                for old, new in zip(types[number].members, type.members, strict=True):
                    name, extern = types[old.type].name, types[old.type].linkage == EXTERN
                    if name not in own or (chosen.get(name) == file and not extern):
                        own[name] = new
                type = Type(Kind.PTR, "")  # keeps the numbers of those that follow
            found.append(type)
    found += [
        Type(Kind.DATASEC, name, members=tuple(members.values()))
        for name, members in sections.items()
    ]
    return read_btf(write_btf(found))


def _extensions(units: Mapping[str, Unit], placed: _Placed) -> Extension:
    """What is said of instructions, moved with them."""
    functions: list[Typed] = []
    lines: list[Line] = []
    accesses: list[Access] = []
    for file, base in _bases(units).items():

        def start(section: str, file: str = file) -> int:
            return placed.starts.get((file, section), 0)

        table = units[file].extension
        functions += [
            Typed(f.section, f.offset + start(f.section), f.type + base) for f in table.functions
        ]
        lines += [line._replace(offset=line.offset + start(line.section)) for line in table.lines]
        accesses += [
            a._replace(offset=a.offset + start(a.section), type=a.type + base)
            for a in table.accesses
        ]
    return Extension(tuple(functions), tuple(lines), tuple(accesses))
