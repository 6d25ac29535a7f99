"""Functions of an object become programs: calls are led to appended copies, names to references.

Each program gets its own copy of the subprograms that it reaches, as libbpf loads them. Source:
docs.kernel.org/bpf/llvm_reloc.html; observed with clang 19 and 22.
"""

import struct
from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.functions import KFUNCS
from workbench.objects.btf import Line
from workbench.objects.elf import NOWHERE, Elf, Relocation, Symbol
from workbench.program import Program, Reference, SourceLine

ARENA_SECTION = ".addr_space.1"
R_BPF_64_64, R_BPF_64_32 = 1, 10
SLOT = 8
_CALL, _LD_IMM64 = 0x85, 0x18
_LOCAL, _KFUNC = 1, 2  # in the src field of a call
_MAP_FD, _MAP_VALUE = 1, 2  # in the src field of an LD_IMM64

SECTION_TYPES = {
    "syscall": "syscall",
    "socket": "socket_filter",
    "tc": "tc",
    "tcx": "tc",
    "classifier": "tc",
    "action": "tc",
    "xdp": "xdp",
    "raw_tp": "raw_tp",
    "raw_tracepoint": "raw_tp",
}
"""First component of a section's name -> type of program, as libbpf reads it."""


class Function(NamedTuple):
    """The bytes [start, end) of an executable section, under a name."""

    name: str
    section: int
    start: int
    end: int


class Linker:
    """One object's code, ready to be put together into programs.

    `arenas` are the names of its arena maps, `others` map the other maps to their types' names.
    """

    def __init__(
        self, elf: Elf, lines: list[Line], arenas: frozenset[str], others: dict[str, str]
    ) -> None:
        self.elf = elf
        self.arenas = arenas
        self.others = others
        self.functions = {(f.section, f.start): f for f in _functions(elf)}
        self._relocations = {
            (index, relocation.offset): relocation
            for index, found in elf.relocations.items()
            for relocation in found
        }
        self._lines: dict[str, list[Line]] = {}
        for line in lines:
            self._lines.setdefault(line.section, []).append(line)

    def programs(self, license: str) -> dict[str, Program]:
        """Every function outside .text, in file order, as a program of its section's type."""
        found: dict[str, Program] = {}
        for _, function in sorted(self.functions.items()):
            section = self.elf.sections[function.section].name
            if section == ".text":
                continue
            if function.name in found:
                raise WorkbenchError(f"two programs are called '{function.name}'")
            try:
                found[function.name] = self._program(function, program_type(section), license)
            except WorkbenchError as error:
                raise WorkbenchError(f"program '{function.name}': {error}") from None
        return found

    def _program(self, entry: Function, type: str, license: str) -> Program:
        linked = _Linked(self, entry)
        return Program(
            name=entry.name,
            type=type,
            bytecode=bytes(linked.code),
            references=tuple(linked.references),
            lines=tuple(linked.lines),
            license=license,
        )

    def bytes_of(self, function: Function) -> bytes:
        """The code of a function as the compiler wrote it."""
        return self.elf.sections[function.section].content[function.start : function.end]

    def lines_of(self, function: Function) -> list[Line]:
        """The lines of a function's code."""
        lines = self._lines.get(self.elf.sections[function.section].name, [])
        return [line for line in lines if function.start <= line.offset < function.end]

    def relocation(self, function: Function, offset: int) -> Relocation | None:
        """What the code at a byte of a function depends on."""
        return self._relocations.get((function.section, function.start + offset))


class _Linked:
    """A program in the making: an entry function, then those that it calls, as they come up."""

    def __init__(self, linker: Linker, entry: Function) -> None:
        self.linker = linker
        self.code = bytearray()
        self.references: list[Reference] = []
        self.lines: list[SourceLine] = []
        self._calls: list[tuple[int, Function]] = []
        starts: dict[Function, int] = {}
        todo = [entry]
        while todo:
            function = todo.pop(0)
            if function in starts:
                continue
            starts[function] = len(self.code) // SLOT
            called = len(self._calls)
            self._append(function)
            todo += [callee for _, callee in self._calls[called:]]
        for pc, callee in self._calls:
            struct.pack_into("<i", self.code, SLOT * pc + 4, starts[callee] - pc - 1)

    def _append(self, function: Function) -> None:
        """Add a function's code, its references and its lines."""
        base, content = len(self.code) // SLOT, self.linker.bytes_of(function)
        self.code += content
        for line in self.linker.lines_of(function):
            pc = base + (line.offset - function.start) // SLOT
            self.lines.append(SourceLine(pc, line.line, line.text, line.file))
        offset = 0
        while offset < len(content):
            opcode, src = content[offset], content[offset + 1] >> 4
            relocation = self.linker.relocation(function, offset)
            pc = base + offset // SLOT
            size = 2 * SLOT if opcode == _LD_IMM64 else SLOT
            if offset + size > len(content):
                raise WorkbenchError(f"function '{function.name}' ends inside an instruction")
            if relocation is not None:
                self._relocate(pc, opcode, relocation)
            elif opcode == _CALL and src == _LOCAL:
                self._call(pc, function.section, function.start + offset)
            offset += size

    def _immediate(self, pc: int) -> int:
        return int(struct.unpack_from("<i", self.code, SLOT * pc + 4)[0])

    def _call(self, pc: int, section: int, base: int) -> None:
        """A call of what lies `imm + 1` slots after byte `base` of a section."""
        target = section, base + SLOT * (self._immediate(pc) + 1)
        callee = self.linker.functions.get(target)
        if callee is None:
            name = self.linker.elf.sections[section].name
            raise WorkbenchError(f"calls byte {target[1]} of '{name}', where no function begins")
        self._calls.append((pc, callee))

    def _relocate(self, pc: int, opcode: int, relocation: Relocation) -> None:
        symbol = relocation.symbol
        if relocation.type == R_BPF_64_64 and opcode == _LD_IMM64:
            self._load(pc, symbol)
        elif relocation.type == R_BPF_64_32 and opcode == _CALL:
            if symbol.section == NOWHERE:
                self._kfunc(pc, symbol)
            else:
                self._call(pc, symbol.section, symbol.value)
        else:
            raise WorkbenchError(
                f"instruction {pc}: relocation type {relocation.type} (to '{symbol.name}') "
                "is not supported"
            )

    def _kfunc(self, pc: int, symbol: Symbol) -> None:
        self._set(pc, _KFUNC, -1)
        self.references.append(Reference(pc, "kfunc", symbol.name))

    def _load(self, pc: int, symbol: Symbol) -> None:
        """The address of a map or of a variable."""
        if symbol.section == NOWHERE:
            return self._extern(pc, symbol)
        name = self.linker.elf.sections[symbol.section].name if symbol.section >= 0 else "nowhere"
        if name == ARENA_SECTION:
            self._variable(pc, symbol)
        elif name == ".maps":
            self._map(pc, symbol)
        elif symbol.section >= 0 and self.linker.elf.sections[symbol.section].executable:
            raise WorkbenchError(
                f"takes the address of function '{symbol.name}'; callbacks are not supported yet"
            )
        else:
            what = "a constant" if symbol.name == name else f"'{symbol.name}'"
            raise WorkbenchError(
                f"uses {what} in section '{name}'; global variables outside the arena "
                "are not supported yet (declare it __arena)"
            )
        return None

    def _variable(self, pc: int, symbol: Symbol) -> None:
        """Variables lie from the arena's first byte on, as up to Linux 6.18 with libbpf 1.8."""
        if not self.linker.arenas:
            raise WorkbenchError(
                f"'{symbol.name}' lies in the arena, but there is no arena map in .maps"
            )
        offset = symbol.value + self._immediate(pc)
        self._set(pc, _MAP_VALUE, 0)
        struct.pack_into("<I", self.code, SLOT * (pc + 1) + 4, offset & 0xFFFFFFFF)
        self.references.append(Reference(pc, "arena", "arena"))

    def _map(self, pc: int, symbol: Symbol) -> None:
        if symbol.name in self.linker.others:
            kind = self.linker.others[symbol.name]
            raise WorkbenchError(
                f"uses map '{symbol.name}' of type {kind} in section '.maps'; "
                "maps other than an arena are not supported yet"
            )
        if symbol.name not in self.linker.arenas:
            raise WorkbenchError(f"refers to map '{symbol.name}', which .BTF does not describe")
        self._set(pc, _MAP_FD, 0)
        self.references.append(Reference(pc, "arena", "arena"))

    def _extern(self, pc: int, symbol: Symbol) -> None:
        """A weak symbol that nobody defines has the address 0."""
        if not symbol.weak:
            raise WorkbenchError(f"'{symbol.name}' is defined nowhere")
        if symbol.name in KFUNCS:
            raise WorkbenchError(
                f"asks for the address of kfunc '{symbol.name}'; that is not supported yet"
            )
        self._set(pc, 0, 0)
        struct.pack_into("<I", self.code, SLOT * (pc + 1) + 4, 0)

    def _set(self, pc: int, src: int, imm: int) -> None:
        """Write the src field and the immediate of an instruction."""
        registers = self.code[SLOT * pc + 1] & 15 | src << 4
        struct.pack_into("<B2xi", self.code, SLOT * pc + 1, registers, imm)


def _functions(elf: Elf) -> list[Function]:
    """All functions of executable sections; raises WorkbenchError for one that does not fit."""
    found = []
    for symbol in elf.symbols:
        if symbol.kind != "func" or symbol.section < 0:
            continue
        section = elf.sections[symbol.section]
        end = symbol.value + symbol.size
        if not section.executable:
            raise WorkbenchError(f"function '{symbol.name}' lies in section '{section.name}'")
        if symbol.value % SLOT or symbol.size % SLOT or end > len(section.content):
            raise WorkbenchError(f"function '{symbol.name}' does not lie in '{section.name}'")
        if not symbol.size:
            raise WorkbenchError(f"function '{symbol.name}' is empty")
        found.append(Function(symbol.name, symbol.section, symbol.value, end))
    return found


def program_type(section: str) -> str:
    """The type of the programs in a section; raises WorkbenchError for one that has none here."""
    first = section.removeprefix("?").split("/")[0].split(".")[0]
    for prefix, type in SECTION_TYPES.items():
        if first == prefix or (prefix in ("socket", "xdp") and first.startswith(prefix)):
            return type
    known = ", ".join(SECTION_TYPES)
    raise WorkbenchError(f"section '{section}' is not supported yet; there is {known}")
