"""Functions of an object become programs: calls are led to appended copies, names to references.

Each program gets its own copy of the subprograms that it reaches, as libbpf loads them. Source:
docs.kernel.org/bpf/llvm_reloc.html; libbpf's bpf_object__relocate; observed with clang 19 and 22.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from workbench.bpf.functions import KFUNCS
from workbench.bpf.program import Program, Reference, SourceLine
from workbench.bpf.program_types import of_section
from workbench.errors import WorkbenchError
from workbench.objects.core import Layouts
from workbench.objects.data import KCONFIG, is_data
from workbench.objects.elf import NOWHERE, Relocation, Symbol
from workbench.objects.extension import Access, Line
from workbench.objects.subprograms import Described, describe
from workbench.objects.unit import ARENA_SECTION, MAPS_SECTION, Unit

R_BPF_64_64, R_BPF_64_32 = 1, 10
SLOT = 8  # bytes
# Plus a number: the helper that no kernel has, for calls that are dead code. libbpf's
# POISON_CALL_KFUNC_BASE.
POISON = 2_002_000_000
_CALL, _LD_IMM64 = 0x85, 0x18
_LOCAL, _KFUNC = 1, 2  # in the src field of a call
_MAP_FD, _MAP_VALUE, _FUNCTION = 1, 2, 4  # in the src field of an LD_IMM64
_TEXT = ".text"


class Function(NamedTuple):
    """The bytes [start, end) of an executable section, under a name."""

    name: str
    section: int
    start: int
    end: int
    is_global: bool


class Names(NamedTuple):
    """What symbols mean: maps, the sections of variables, and those that Linux fills in.

    `arena_start` is where the arena's variables begin, in bytes from its first page.
    """

    maps: Mapping[str, str]  # name -> type
    sections: frozenset[str]
    kconfig: Mapping[str, int]  # name -> offset in .kconfig
    arena_start: int


class Linked(NamedTuple):
    """The programs that could be made, and why the others could not."""

    programs: dict[str, Program]
    errors: dict[str, WorkbenchError]


class Linker:
    """One object's code, ready to be put together into programs."""

    def __init__(self, unit: Unit, names: Names, layouts: Layouts) -> None:
        self.unit, self.names, self.layouts = unit, names, layouts
        self.elf = unit.elf
        self.functions = {(f.section, f.start): f for f in _functions(unit)}
        self._relocations = {
            (index, relocation.offset): relocation
            for index, found in self.elf.relocations.items()
            for relocation in found
        }
        self.asked_for = frozenset(
            r.symbol.name for r in self._relocations.values() if r.type == R_BPF_64_64
        )
        self._lines: dict[str, list[Line]] = {}
        for line in unit.extension.lines:
            self._lines.setdefault(line.section, []).append(line)
        self._accesses = {(a.section, a.offset): a for a in unit.extension.accesses}
        self._types = {(t.section, t.offset): t.type for t in unit.extension.functions}

    def programs(self, license: str) -> Linked:
        """Every function outside .text, in file order, as a program of its section's type.

        Errors of single programs are in the result; raises WorkbenchError for two of one name.
        """
        found: dict[str, Program] = {}
        errors: dict[str, WorkbenchError] = {}
        for _, function in sorted(self.functions.items()):
            section = self.elf.sections[function.section].name
            if section == _TEXT:
                continue
            if function.name in found or function.name in errors:
                raise WorkbenchError(f"two programs are called '{function.name}'")
            try:
                type = of_section(section).name
                found[function.name] = _Linking(self, function, type).program(license)
            except WorkbenchError as error:
                message = f"program '{function.name}': {error}"
                errors[function.name] = WorkbenchError(message)
        return Linked(found, errors)

    def bytes_of(self, function: Function) -> bytes:
        """The code of a function as the compiler wrote it."""
        return self.elf.sections[function.section].content[function.start : function.end]

    def lines_of(self, function: Function) -> list[Line]:
        """The lines of a function's code."""
        lines = self._lines.get(self.elf.sections[function.section].name, [])
        own = (line for line in lines if function.start <= line.offset < function.end)
        return sorted(own, key=lambda line: line.offset)

    def relocation(self, function: Function, offset: int) -> Relocation | None:
        """What the code at a byte of a function depends on."""
        return self._relocations.get((function.section, function.start + offset))

    def access(self, function: Function, offset: int) -> Access | None:
        """The layout on which the code at a byte of a function depends."""
        section = self.elf.sections[function.section].name
        return self._accesses.get((section, function.start + offset))

    def number_of(self, function: Function) -> int:
        """The number of a function's BTF type, 0 without one."""
        return self._types.get((self.elf.sections[function.section].name, function.start), 0)


class _Linking:
    """A program in the making: an entry function, and after it those that it reaches.

    A function is followed by the first that it calls, with what that one reaches, then the second.
    """

    def __init__(self, linker: Linker, entry: Function, type: str) -> None:
        self.linker, self.entry, self.type = linker, entry, type
        self.code = bytearray()
        self.references: list[Reference] = []
        self.lines: list[SourceLine] = []
        self._calls: list[tuple[int, Function]] = []
        self._poisoned = 0
        self.starts: dict[Function, int] = {}
        todo = [entry]
        while todo:
            function = todo.pop()
            if function in self.starts:
                continue
            self.starts[function] = len(self.code) // SLOT
            called = len(self._calls)
            self._append(function)
            todo += [callee for _, callee in reversed(self._calls[called:])]
        for pc, callee in self._calls:
            struct.pack_into("<i", self.code, SLOT * pc + 4, self.starts[callee] - pc - 1)

    def program(self, license: str) -> Program:
        """The finished program; its maps are filled in by whoever knows them."""
        rows = [
            Described(pc, function.name, function.is_global, self.linker.number_of(function))
            for function, pc in self.starts.items()
        ]
        code = bytes(self.code)
        subprograms, btf = describe(self.linker.unit.types, rows, code, self.type)
        return Program(
            name=self.entry.name,
            type=self.type,
            bytecode=code,
            references=tuple(self.references),
            lines=tuple(self.lines),
            license=license,
            subprograms=subprograms,
            btf=btf,
        )

    def _append(self, function: Function) -> None:
        """Add a function's code, its references and its lines."""
        base, content = len(self.code) // SLOT, self.linker.bytes_of(function)
        self.code += content
        for line in self.linker.lines_of(function):
            pc = base + (line.offset - function.start) // SLOT
            self.lines.append(SourceLine(pc, line.line, line.text, line.file))
        offset = 0
        while offset < len(content):
            pc, wide = base + offset // SLOT, content[offset] == _LD_IMM64
            size = 2 * SLOT if wide else SLOT
            if offset + size > len(content):
                raise WorkbenchError(f"function '{function.name}' ends inside an instruction")
            self._link(function, offset, pc)
            offset += size

    def _link(self, function: Function, offset: int, pc: int) -> None:
        """Resolve what one instruction depends on."""
        opcode, src = self.code[SLOT * pc], self.code[SLOT * pc + 1] >> 4
        if access := self.linker.access(function, offset):
            self.linker.layouts.apply(self.code, pc, access)
            return
        relocation = self.linker.relocation(function, offset)
        if relocation is not None:
            self._relocate(pc, opcode, relocation)
        elif opcode == _CALL and src == _LOCAL:
            target = function.start + offset + SLOT * (self._immediate(pc) + 1)
            self._call(pc, function.section, target)

    def _immediate(self, pc: int) -> int:
        return int(struct.unpack_from("<i", self.code, SLOT * pc + 4)[0])

    def _call(self, pc: int, section: int, target: int) -> None:
        """A call or address of the function at a byte of a section."""
        callee = self.linker.functions.get((section, target))
        if callee is None:
            name = self.linker.elf.sections[section].name
            raise WorkbenchError(f"calls byte {target} of '{name}', where no function begins")
        self._calls.append((pc, callee))

    def _relocate(self, pc: int, opcode: int, relocation: Relocation) -> None:
        symbol = relocation.symbol
        if relocation.type == R_BPF_64_64 and opcode == _LD_IMM64:
            self._load(pc, symbol)
        elif relocation.type == R_BPF_64_32 and opcode == _CALL:
            if symbol.section == NOWHERE:
                self._kfunc(pc, symbol)
            else:
                self._call(pc, symbol.section, symbol.value + SLOT * (self._immediate(pc) + 1))
        else:
            raise WorkbenchError(
                f"instruction {pc}: relocation type {relocation.type} (to '{symbol.name}') "
                "is not supported"
            )

    def _kfunc(self, pc: int, symbol: Symbol) -> None:
        """A call into Linux; one that the program has made sure not to reach stays no call."""
        if symbol.weak and symbol.name not in KFUNCS and symbol.name in self.linker.asked_for:
            self._set(pc, 0, POISON + self._poisoned)
            self._poisoned += 1
            return
        self._set(pc, _KFUNC, -1)
        self.references.append(Reference(pc, "kfunc", symbol.name))

    def _load(self, pc: int, symbol: Symbol) -> None:
        """The address of a map, a variable or a function."""
        if symbol.section == NOWHERE:
            self._extern(pc, symbol)
            return
        elf = self.linker.elf
        name = elf.sections[symbol.section].name if symbol.section >= 0 else "nowhere"
        if name == ARENA_SECTION:
            self._in_arena(pc, symbol)
        elif name == MAPS_SECTION:
            self._map(pc, symbol)
        elif symbol.section >= 0 and elf.sections[symbol.section].executable:
            self._call(pc, symbol.section, symbol.value + self._immediate(pc))
            self._set(pc, _FUNCTION, 0)
        elif is_data(name) and name in self.linker.names.sections:
            self._variable(pc, name, symbol.value + self._immediate(pc))
        else:
            what = "a constant" if symbol.name == name else f"'{symbol.name}'"
            raise WorkbenchError(f"uses {what} in section '{name}', which holds no variables")

    def _in_arena(self, pc: int, symbol: Symbol) -> None:
        if "arena" not in self.linker.names.maps.values():
            raise WorkbenchError(
                f"'{symbol.name}' lies in the arena, but there is no arena map in .maps"
            )
        offset = self.linker.names.arena_start + symbol.value + self._immediate(pc)
        self._place(pc, _MAP_VALUE, 0, offset)
        self.references.append(Reference(pc, "arena", "arena"))

    def _variable(self, pc: int, section: str, offset: int) -> None:
        self._place(pc, _MAP_VALUE, 0, offset)
        self.references.append(Reference(pc, "map", section))

    def _map(self, pc: int, symbol: Symbol) -> None:
        type = self.linker.names.maps.get(symbol.name)
        if type is None:
            raise WorkbenchError(f"refers to map '{symbol.name}', which .BTF does not describe")
        self._set(pc, _MAP_FD, 0)
        arena = type == "arena"
        self.references.append(
            Reference(pc, "arena", "arena") if arena else Reference(pc, "map", symbol.name)
        )

    def _extern(self, pc: int, symbol: Symbol) -> None:
        """What Linux defines: settings, functions; a weak symbol without definition is 0."""
        if symbol.name in self.linker.names.kconfig:
            self._variable(pc, KCONFIG, self.linker.names.kconfig[symbol.name])
        elif symbol.name in KFUNCS:
            self._place(pc, 0, 1, 0)
        elif symbol.weak:
            self._place(pc, 0, 0, 0)
        else:
            raise WorkbenchError(f"'{symbol.name}' is defined nowhere")

    def _set(self, pc: int, src: int, imm: int) -> None:
        """Write the src field and the immediate of an instruction."""
        registers = self.code[SLOT * pc + 1] & 15 | src << 4
        struct.pack_into("<B2xi", self.code, SLOT * pc + 1, registers, imm)

    def _place(self, pc: int, src: int, low: int, high: int) -> None:
        """Write the src field and both halves of the immediate of an LD_IMM64."""
        self._set(pc, src, low)
        struct.pack_into("<I", self.code, SLOT * (pc + 1) + 4, high & 0xFFFFFFFF)


def _functions(unit: Unit) -> list[Function]:
    """All functions of executable sections; raises WorkbenchError for one that does not fit."""
    found = []
    for symbol in unit.elf.symbols:
        if symbol.kind != "func" or symbol.section < 0:
            continue
        section = unit.elf.sections[symbol.section]
        end = symbol.value + symbol.size
        if not section.executable:
            raise WorkbenchError(f"function '{symbol.name}' lies in section '{section.name}'")
        if symbol.value % SLOT or symbol.size % SLOT or end > len(section.content):
            raise WorkbenchError(f"function '{symbol.name}' does not lie in '{section.name}'")
        if not symbol.size:
            raise WorkbenchError(f"function '{symbol.name}' is empty")
        is_global = symbol.binding != "local" and not symbol.hidden
        found.append(Function(symbol.name, symbol.section, symbol.value, end, is_global))
    return found
