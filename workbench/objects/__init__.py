"""Object files of clang: C programs, the arena that they declare, and its variables.

elf        sections, symbols, relocations
btf        types and source lines
maps       what `.maps` declares
relocate   functions become programs
values     C values in memory, by type
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from workbench.arena.rules import PAGE_SIZE, WINDOW, ArenaFlags
from workbench.errors import WorkbenchError
from workbench.objects.btf import Kind, Types, read_btf, read_lines
from workbench.objects.elf import Elf, read_elf
from workbench.objects.maps import MapDefinition, read_maps
from workbench.objects.relocate import ARENA_SECTION, Linker
from workbench.objects.values import Globals, Value, Variable, decode
from workbench.program import Program

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Globals", "MapDefinition", "Object", "load_object", "read_object"]

WALK_LIMIT = 1_000_000


class _Memory(Protocol):
    def read(self, address: int, size: int) -> bytes:
        """Read bytes."""

    def write(self, address: int, data: bytes) -> None:
        """Write bytes."""


class AnyArena(Protocol):
    """What Arena and KernelArena share, as far as objects use it."""

    flags: ArenaFlags

    @property
    def user(self) -> _Memory:
        """The arena as user space sees it."""

    @property
    def user_start(self) -> int:
        """User address of the first page."""

    def close(self) -> None:
        """Give back what the arena holds."""


SomeArena = TypeVar("SomeArena", bound=AnyArena)


@dataclass(frozen=True, eq=False, repr=False)
class Object:
    """An object file: programs by name, maps, variables of the arena, types.

    `data` holds the initial bytes of the variables, which `globals` reads and changes; what they
    are in an arena, `globals_in` tells. `optional` names the programs in sections that begin with
    "?", which libbpf does not load unless asked.
    """

    name: str
    programs: dict[str, Program]
    maps: dict[str, MapDefinition]
    variables: dict[str, Variable]
    license: str
    optional: frozenset[str] = frozenset()
    types: Types = field(default_factory=lambda: read_btf(b""))
    data: bytearray = field(default_factory=bytearray)

    def __repr__(self) -> str:
        declared = self.arena_map
        arena = f"; an arena of {declared.max_entries} pages" if declared else ""
        variables = f" with {', '.join(self.variables)}" if self.variables else ""
        return f"<Object {self.name}: programs {', '.join(self.programs)}{arena}{variables}>"

    @property
    def arena_map(self) -> MapDefinition | None:
        """The arena that the object declares."""
        return next((m for m in self.maps.values() if m.type == "arena"), None)

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
        arena = make(size, declared.map_flags | flags, base)  # type: ignore[misc]
        try:
            self.fill(arena)
        except WorkbenchError:
            arena.close()
            raise
        return arena

    def fill(self, arena: AnyArena) -> None:
        """Write the variables' initial bytes into an arena; raises SegmentationFault like memcpy.

        Their pages leave the arena's free set, as they do under libbpf.
        """
        if self.data:
            arena.user.write(arena.user_start, bytes(self.data))

    @property
    def globals(self) -> Globals:
        """The variables' initial values, by name; a change shows in arenas made afterwards."""

        def write(offset: int, content: bytes) -> None:
            self.data[offset : offset + len(content)] = content

        return Globals(
            self.types, self.variables, lambda at, size: bytes(self.data[at : at + size]), write
        )

    def globals_in(self, arena: AnyArena) -> Globals:
        """The variables as they are in an arena, seen and changed by user space."""
        start, user = arena.user_start, arena.user
        return Globals(
            self.types,
            self.variables,
            lambda offset, size: user.read(start + offset, size),
            lambda offset, content: user.write(start + offset, content),
        )

    def struct(self, arena: AnyArena, address: int, name: str) -> dict[str, Value]:
        """Read the structure called `name` at a pointer: a dict by member."""
        type = self.types.structure(name)
        content = arena.user.read(_user_form(arena, address), type.size)
        number = self.types.named(type.kind, type.name)
        value = decode(self.types, number or 0, content)
        assert isinstance(value, dict)
        return value

    def walk(self, arena: AnyArena, address: int, name: str, next: str = "next") -> "pd.DataFrame":
        """Follow member `next` from a pointer until it is NULL: a row per structure, with address.

        Raises WorkbenchError for a list that goes in a circle.
        """
        import pandas as pd

        members = [member.name for member in self.types.structure(name).members]
        if next not in members:
            raise WorkbenchError(f"'{name}' has no member '{next}'; it has {', '.join(members)}")
        rows: list[dict[str, Value]] = []
        seen: set[Value] = set()  # type: ignore[arg-type]
        while address:
            if address in seen or len(rows) >= WALK_LIMIT:
                raise WorkbenchError(f"the list of '{name}' comes back to {address:#x}")
            seen.add(address)
            row = self.struct(arena, address, name)
            rows.append({"address": address, **row})
            address = int(row[next])  # type: ignore[arg-type]
        return pd.DataFrame(rows, columns=["address", *members])

    def program(self, name: str) -> Program:
        """The program called `name`; raises WorkbenchError with the names there are."""
        if name not in self.programs:
            raise WorkbenchError(
                f"no program '{name}' in {self.name}; it has {', '.join(self.programs)}"
            )
        return self.programs[name]


def _user_form(arena: AnyArena, pointer: int) -> int:
    """The address that a stored pointer means; NO_USER_CONV stores its low half alone."""
    if arena.flags & ArenaFlags.NO_USER_CONV:
        return arena.user_start // WINDOW * WINDOW + pointer % WINDOW
    return pointer


def load_object(path: str | Path) -> Object:
    """Read an object file (clang -target bpfel -g -c); raises WorkbenchError, one line."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror}") from None
    return read_object(content, Path(path).name)


def read_object(content: bytes, name: str = "object") -> Object:
    """Make an Object of an object file's bytes; `name` stands in errors."""
    try:
        return _object(read_elf(content), name)
    except WorkbenchError as error:
        text = "".join(sign if sign.isprintable() else "?" for sign in str(error))
        raise WorkbenchError(f"{name}: {text}") from None


def _object(elf: Elf, name: str) -> Object:
    types = read_btf(_content(elf, ".BTF"))
    if elf.named(".maps") and len(types) == 1:
        raise WorkbenchError("section '.maps' without .BTF that describes it; compile with -g")
    maps = read_maps(types)
    data = _content(elf, ARENA_SECTION)
    _check_fits(data, maps)
    arenas = frozenset(m.name for m in maps.values() if m.type == "arena")
    others = {m.name: m.type for m in maps.values() if m.type != "arena"}
    linker = Linker(elf, read_lines(_content(elf, ".BTF.ext"), types), arenas, others)
    license = _content(elf, "license").split(b"\0")[0].decode("utf-8", "replace")
    programs = linker.programs(license)
    if not programs:
        raise WorkbenchError('there is no program; give functions a section, as SEC("syscall")')
    return Object(
        name=name,
        programs=programs,
        maps=maps,
        variables=_variables(elf, types, len(data)),
        license=license,
        optional=_optional(elf, linker),
        types=types,
        data=bytearray(data),
    )


def _content(elf: Elf, name: str) -> bytes:
    section = elf.named(name)
    return section.content if section else b""


def _check_fits(data: bytes, maps: Mapping[str, MapDefinition]) -> None:
    """Raise WorkbenchError for an arena smaller than its variables."""
    for declared in maps.values():
        size = declared.max_entries * PAGE_SIZE
        if declared.type == "arena" and len(data) > size:
            raise WorkbenchError(
                f"the variables in {ARENA_SECTION} need {len(data)} bytes; map '{declared.name}' "
                f"has {size}"
            )


def _variables(elf: Elf, types: Types, size: int) -> dict[str, Variable]:
    """The arena's variables, in memory order; a symbol without BTF has type 0."""
    section = elf.named(ARENA_SECTION)
    numbers = [member.type for member in types.section(ARENA_SECTION).members]
    typed = {types[n].name: types[n].target for n in numbers if types[n].kind == Kind.VAR}
    found = []
    for symbol in elf.symbols:
        if symbol.kind == "object" and section and symbol.section == section.number:
            if symbol.value + symbol.size > size:
                raise WorkbenchError(f"variable '{symbol.name}' ends beyond {ARENA_SECTION}")
            type = typed.get(symbol.name, 0)
            found.append(Variable(symbol.name, symbol.value, symbol.size, type))
    return {variable.name: variable for variable in sorted(found, key=lambda v: v.offset)}


def _optional(elf: Elf, linker: Linker) -> frozenset[str]:
    functions = linker.functions.values()
    return frozenset(f.name for f in functions if elf.sections[f.section].name.startswith("?"))
