"""A BPF program as an immutable value."""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from html import escape
from typing import NamedTuple

import numpy as np

from workbench.arguments import instance, string, want
from workbench.bpf import isa
from workbench.bpf.declarations import Field, Layout, MapDefinition, Subprogram
from workbench.bpf.isa import Op
from workbench.bpf.program_types import PROGRAM_TYPES, ProgramType
from workbench.bpf.text import assembly
from workbench.errors import DecodeError, WorkbenchError


class Reference(NamedTuple):
    """A name that an engine resolves when it loads the program: at slot `pc`, of some kind.

    Kinds: "arena" and "map" (an LD_IMM64), "kfunc" (a call).
    """

    pc: int
    kind: str
    name: str


_MAP_LOADS = isa.WIDE - {Op.LD_FUNC, Op.LD_BTF_ID}
_TAKES = {"arena": _MAP_LOADS, "map": _MAP_LOADS, "kfunc": frozenset({Op.CALL_KFUNC})}


class SourceLine(NamedTuple):
    """The source text that the instruction at `pc` came from; `line` counts from 1."""

    pc: int
    line: int
    text: str
    file: str = ""


# A program that is changed in its maps alone keeps its instructions. 64 bounds what stays in
# memory; not measured.
@lru_cache(maxsize=64)
def _decoded(bytecode: bytes) -> np.ndarray:
    records = isa.decode(bytecode)
    records.setflags(write=False)
    return records


@dataclass(frozen=True)
class Program:
    """BPF instructions with a name, a type and unresolved references; owns no resources.

    `bytecode` is the wire form (RFC 9669), 8 bytes a slot, with map references as file
    descriptor 0 and kfunc calls as number -1. `type` is a name of PROGRAM_TYPES. `maps` defines
    the maps, other than the arena, that the references name. `btf` is a .BTF section in which the
    subprograms have their types, b"" without. `structures` and `variables` (at offsets of the
    arena) describe memory to whoever shows it. Raises DecodeError for bytes that are not a program,
    WorkbenchError for an unknown type.

    >>> program = wb.Program("answer", "syscall", bytes.fromhex("b70000002a0000009500000000000000"))
    >>> print(program)
        r0 = 42
        exit
    """

    name: str
    type: str
    bytecode: bytes
    references: tuple[Reference, ...] = ()
    lines: tuple[SourceLine, ...] = field(default=(), repr=False)
    license: str = "GPL"
    maps: tuple[MapDefinition, ...] = field(default=(), repr=False)
    subprograms: tuple[Subprogram, ...] = field(default=(), repr=False)
    btf: bytes = field(default=b"", repr=False)
    structures: tuple[Layout, ...] = field(default=(), repr=False)
    variables: tuple[Field, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        want(self.name, "a program's name", string)
        want(self.bytecode, "bytecode", instance(bytes))
        if not isinstance(self.type, str) or self.type not in PROGRAM_TYPES:
            raise WorkbenchError(
                f"unknown program type '{self.type}'; choose from {', '.join(PROGRAM_TYPES)}"
            )
        if not self.bytecode:
            raise DecodeError(0, "the program is empty; it needs at least 'exit'")
        _ = self.instructions
        for reference in self.references:
            self._check_reference(reference)

    def _check_reference(self, reference: Reference) -> None:
        """Raise DecodeError for a name at an instruction that takes none."""
        pc, kind, name = reference
        takes = _TAKES.get(kind, frozenset())
        if not 0 <= pc < len(self) or self.instructions["op"][pc] not in takes:
            raise DecodeError(pc, f"it cannot refer to '{name}' as {kind}")

    @cached_property
    def instructions(self) -> np.ndarray:
        """The decoded program: read-only isa.INSTRUCTION[n], a record per slot."""
        return _decoded(self.bytecode)

    def __len__(self) -> int:
        return len(self.bytecode) // 8

    @property
    def type_row(self) -> ProgramType:
        """What is to know of its type."""
        return PROGRAM_TYPES[self.type]

    @property
    def uses_arena(self) -> bool:
        """Whether the program is associated with an arena: it names one."""
        return any(reference.kind == "arena" for reference in self.references)

    @property
    def names(self) -> dict[int, str]:
        """What instructions refer to (a map, the arena, a kfunc), by slot."""
        return {reference.pc: reference.name for reference in self.references}

    def line_of(self, pc: int) -> SourceLine | None:
        """The source line of the last mapped instruction at or before `pc`."""
        found = None
        for line in self.lines:
            if line.pc > pc:
                break
            found = line
        return found

    def __str__(self) -> str:
        return assembly(self.instructions, self.names)

    def _repr_html_(self) -> str:
        return f"<pre style='line-height:1.25'>{escape(str(self))}</pre>"


def a_program(value: object) -> str:
    """Check of `workbench.arguments`: a Program, with what to do about what is mistaken for one."""
    if isinstance(value, Program):
        return ""
    if hasattr(value, "programs"):
        return "one of the object's programs, as obj.program('name')"
    return "a program; wb.assemble(text) makes one" if isinstance(value, str) else "a program"
