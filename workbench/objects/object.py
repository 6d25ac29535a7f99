"""An object: its programs, maps and variables as values, and the arena that it declares."""

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from workbench.arena.either import AnyArena
from workbench.arena.rules import PAGE_SIZE, WINDOW, ArenaFlags, check_creation
from workbench.bpf.declarations import MapDefinition
from workbench.bpf.program import Program
from workbench.errors import WorkbenchError
from workbench.objects import data
from workbench.objects.btf import Types
from workbench.objects.core import Layouts
from workbench.objects.kconfig import read_settings
from workbench.objects.layouts import layouts, variable_fields
from workbench.objects.maps import read_maps
from workbench.objects.relocate import Linker, Names
from workbench.objects.unit import ARENA_SECTION, Unit
from workbench.objects.values import Globals, Value, Variable, decode

if TYPE_CHECKING:
    import pandas as pd

    from workbench.maps import Map

WALK_LIMIT = 1_000_000  # structures; bounds a damaged list to some minutes, at 0.3 to 0.5 ms each
_FIRST = bytes(4)  # the key of an array's first value


SomeArena = TypeVar("SomeArena", bound=AnyArena)


class _Programs(dict[str, Program]):
    """Programs by name; asked for another, it says which there are."""

    def __missing__(self, name: object) -> Program:
        raise WorkbenchError(f"no program {name!r}; there is {', '.join(self)}")


@dataclass(frozen=True, eq=False, repr=False)
class Object:
    """An object file: programs by name, maps, global variables, types.

    `errors` says of the programs that cannot be loaded why. `contents` holds the initial bytes of
    each section of variables, which `globals` reads and changes; `globals_in` reads them in an
    arena. `optional` names the programs in sections that begin with "?", which libbpf
    does not load unless asked. `arena_start` is where in the arena its variables begin, in bytes.
    """

    name: str
    linked: dict[str, Program] = field(repr=False)
    errors: dict[str, WorkbenchError]
    declared: dict[str, MapDefinition]
    variables: dict[str, Variable]
    license: str
    types: Types
    contents: dict[str, bytearray]
    optional: frozenset[str] = frozenset()
    arena_start: int = 0
    _finished: dict[str, Program] = field(default_factory=dict, init=False)

    def __repr__(self) -> str:
        declared = self.arena_map
        arena = f"; an arena of {declared.max_entries} pages" if declared else ""
        variables = f" with {', '.join(self.variables)}" if self.variables else ""
        return f"<Object {self.name}: programs {', '.join(self.linked)}{arena}{variables}>"

    @property
    def programs(self) -> dict[str, Program]:
        """The programs by name, in file order; their maps hold the variables as they are now."""
        maps = self.maps
        for name, program in self.linked.items():
            if name not in self._finished:
                self._finished[name] = replace(program, maps=_reached(program, maps))
        return _Programs((name, self._finished[name]) for name in self.linked)

    @property
    def maps(self) -> dict[str, MapDefinition]:
        """All maps by name: those declared, then those of the sections of variables."""
        sections = (name for name in self.contents if name != ARENA_SECTION)
        return self.declared | {n: data.definition(n, bytes(self.contents[n])) for n in sections}

    @property
    def arena_map(self) -> MapDefinition | None:
        """The arena that the object declares."""
        return next((m for m in self.declared.values() if m.type == "arena"), None)

    def program(self, name: str) -> Program:
        """The program called `name`; raises WorkbenchError, its own or with the names there are."""
        if name in self.errors:
            raise WorkbenchError(f"{self.name}: {self.errors[name]}")
        if name not in self.linked:
            known = ", ".join([*self.linked, *self.errors])
            raise WorkbenchError(f"no program '{name}' in {self.name}; it has {known}")
        return self.programs[name]

    def arena(
        self,
        make: Callable[..., SomeArena] | None = None,
        user_base: int | None = None,
        pages: int | None = None,
        flags: int = 0,
    ) -> SomeArena:
        """Make the declared arena, with the variables' initial bytes written by user space.

        `make` is wb.Arena (as without it) or wb.KernelArena. `user_base` pins it; without one
        map_extra does, if declared. `pages` replaces the declared size, `flags` are added to the
        declared ones. Raises WorkbenchError without an arena map, ArenaError for one
        that Linux refuses.
        """
        declared = self.arena_map
        if declared is None:
            raise WorkbenchError(f"{self.name} declares no arena in .maps")
        if make is None:
            from workbench.arena import Arena

            make = Arena  # type: ignore[assignment]
        base = user_base if user_base is not None else declared.map_extra or None
        size = declared.max_entries if pages is None else pages
        all_flags, sizes = declared.map_flags | flags, (declared.key_size, declared.value_size)
        check_creation(size, all_flags, base or 0, *sizes)
        self._check_room(size)
        arena = make(size, all_flags, base)  # type: ignore[misc]
        try:
            self.fill(arena)
        except WorkbenchError:
            arena.close()
            raise
        return arena

    def _check_room(self, pages: int) -> None:
        end = self.arena_start + len(self.contents.get(ARENA_SECTION, b""))
        if 0 < pages * PAGE_SIZE < end:
            raise WorkbenchError(
                f"{self.name}: the variables in {ARENA_SECTION} end at byte {end} of the arena; "
                f"{pages} pages have {pages * PAGE_SIZE}"
            )

    def fill(self, arena: AnyArena) -> None:
        """Write the variables' initial bytes into an arena.

        Their pages leave the arena's free set, as they do under libbpf. From then on,
        `arena.user.struct` and `arena.user.walk` know the object's types. Raises SegmentationFault
        for an arena too small for them, or whose absent pages user space may not touch.
        """
        seen = weakref.proxy(arena)  # so that an arena still goes with its last reference
        arena.user.describe(partial(self.struct, seen), partial(self.walk, seen))
        if content := self.contents.get(ARENA_SECTION):
            arena.user.write(arena.user_start + self.arena_start, bytes(content))

    @property
    def globals(self) -> Globals:
        """The variables' initial values, by name; a change shows in what is made afterwards."""

        def read(variable: Variable) -> bytes:
            begin = variable.offset
            return bytes(self.contents[variable.section][begin : begin + variable.size])

        def write(variable: Variable, content: bytes) -> None:
            begin = variable.offset
            self.contents[variable.section][begin : begin + len(content)] = content
            if variable.section != ARENA_SECTION:
                self._finished.clear()

        return Globals(self.types, self.variables, read, write)

    def globals_in(
        self, arena: AnyArena | None = None, maps: "Mapping[str, Map] | None" = None
    ) -> Globals:
        """The variables as they are in an arena and in maps, seen and changed by user space.

        `maps` are those that an engine ran with (its attribute `maps`), emulated or the kernel's.
        Reading or writing a variable may raise SegmentationFault, MapError or KernelError.
        """
        places = dict(maps or {})
        sections = [*places, *([ARENA_SECTION] if arena is not None else [])]
        present = {name: v for name, v in self.variables.items() if v.section in sections}

        def read(variable: Variable) -> bytes:
            if variable.section == ARENA_SECTION:
                assert arena is not None
                start = arena.user_start + self.arena_start + variable.offset
                return arena.user.read(start, variable.size)
            return _content(places[variable.section])[variable.offset :][: variable.size]

        def write(variable: Variable, content: bytes) -> None:
            if variable.section == ARENA_SECTION:
                assert arena is not None
                arena.user.write(arena.user_start + self.arena_start + variable.offset, content)
                return
            whole = bytearray(_content(places[variable.section]))
            whole[variable.offset : variable.offset + len(content)] = content
            places[variable.section].store.update(_FIRST, bytes(whole))

        return Globals(self.types, present, read, write)

    def make_maps(self, make: "Callable[[MapDefinition], Map] | None" = None) -> "dict[str, Map]":
        """Make all maps, filled with the variables, and with the maps and programs they hold.

        Engines that are given them, as `maps=`, share them. `make` is wb.kernel_map for the
        kernel's; without it they are emulated. Raises MapError or KernelError for a map that Linux
        does not make.
        """
        from workbench.maps import Map, create

        return create(self.maps.values(), programs=self.programs, make=make or Map)

    def struct(self, arena: AnyArena, address: int, name: str) -> dict[str, Value]:
        """Read the structure called `name` at a pointer: a dict by member.

        Raises WorkbenchError for a structure that the object does not know, SegmentationFault for
        an address that user space may not touch.
        """
        number = self.types.number_of(name)
        content = arena.user.read(_user_form(arena, address), self.types.size(number))
        value = decode(self.types, number, content)
        assert isinstance(value, dict)
        return value

    def walk(self, arena: AnyArena, address: int, name: str, next: str = "next") -> "pd.DataFrame":
        """Follow member `next` from a pointer until it is NULL: a row per structure, with address.

        "link.next" follows pointers that lead to the member `link` of each structure, as those of
        arena.h's lists do. Raises WorkbenchError for an unknown structure or member and a list that
        goes in a circle, SegmentationFault for an address that user space may not touch.
        """
        import pandas as pd

        members = {m.name: m.bit_offset // 8 for m in self.types.structure(name).members}
        link, _, inner = next.rpartition(".")
        if (link or inner) not in members:
            raise WorkbenchError(f"'{name}' has no member '{next}'; it has {', '.join(members)}")
        start = members[link] if link else 0
        rows: list[dict[str, Value]] = []
        seen: set[Value] = set()  # type: ignore[arg-type]
        while address:
            if address in seen or len(rows) >= WALK_LIMIT:
                raise WorkbenchError(f"the list of '{name}' comes back to {address:#x}")
            seen.add(address)
            row = self.struct(arena, address - start, name)
            rows.append({"address": address - start, **row})
            holder = row[link] if link else row
            address = int(holder[inner])  # type: ignore
        return pd.DataFrame(rows, columns=["address", *members])


def _content(map: "Map") -> bytes:
    """The only value of a map of variables."""
    content = map.store.lookup(_FIRST)
    assert content is not None
    return content


def _user_form(arena: AnyArena, pointer: int) -> int:
    """The address that a stored pointer means; NO_USER_CONV stores its low half alone."""
    if arena.flags & ArenaFlags.NO_USER_CONV:
        return arena.user_start // WINDOW * WINDOW + pointer % WINDOW
    return pointer


def _reached(program: Program, maps: Mapping[str, MapDefinition]) -> tuple[MapDefinition, ...]:
    """The maps that a program names, and those that these hold from the beginning."""
    todo = [reference.name for reference in program.references if reference.kind == "map"]
    found: dict[str, MapDefinition] = {}
    while todo:
        name = todo.pop(0)
        if name not in found and name in maps:
            found[name] = maps[name]
            todo += found[name].values
    return tuple(found.values())


def build(
    unit: Unit,
    name: str,
    arena_data: str,
    target: Callable[[], Types],
    kconfig: Mapping[str, str | int] | None,
) -> Object:
    """Put an object together from a file taken apart; raises WorkbenchError without a program."""
    maps = read_maps(unit)
    contents = data.contents(unit)
    settings = read_settings(unit, kconfig)
    if settings.content:
        contents[data.KCONFIG] = bytearray(settings.content)
    variables = data.variables(unit, contents) | settings.variables
    size = len(contents.get(ARENA_SECTION, b""))
    start = _arena_start(maps, size, arena_data)
    names = Names(
        maps={map.name: map.type for map in maps.values()},
        sections=frozenset(contents),
        kconfig={variable.name: variable.offset for variable in settings.variables.values()},
        arena_start=start,
    )
    linker = Linker(unit, names, Layouts(unit.types, target))
    license = unit.elf.content("license").split(b"\0")[0].decode("utf-8", "replace")
    linked = linker.programs(license)
    _check_programs(linked.programs, linked.errors)
    structures = layouts(unit.types)
    fields = variable_fields(unit.types, variables.values(), start)
    optional = (f for f in linker.functions.values() if _is_optional(unit, f.section))
    return Object(
        name=name,
        linked={
            name: replace(program, structures=structures, variables=fields)
            for name, program in linked.programs.items()
        },
        errors=linked.errors,
        declared=maps,
        variables=variables,
        license=license,
        types=unit.types,
        contents=contents,
        optional=frozenset(f.name for f in optional),
        arena_start=start,
    )


def _is_optional(unit: Unit, section: int) -> bool:
    return unit.elf.sections[section].name.startswith("?")


def _check_programs(programs: Mapping[str, Program], errors: Mapping[str, WorkbenchError]) -> None:
    """Raise the first program's error if none can be loaded."""
    if programs:
        return
    for error in errors.values():
        raise error
    raise WorkbenchError('there is no program; give functions a section, as SEC("syscall")')


def _arena_start(maps: Mapping[str, MapDefinition], size: int, arena_data: str) -> int:
    """Where the arena's variables begin; raises WorkbenchError for an arena too small for them."""
    arena = next((map for map in maps.values() if map.type == "arena"), None)
    if arena is None or not size:
        return 0
    room = arena.max_entries * PAGE_SIZE
    if size > room:
        raise WorkbenchError(
            f"the variables in {ARENA_SECTION} need {size} bytes; map '{arena.name}' has {room}"
        )
    return 0 if arena_data == "start" else room - -(-size // PAGE_SIZE) * PAGE_SIZE
