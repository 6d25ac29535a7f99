"""A BPF program as an immutable value, and the files it is read from."""

import sys
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workbench.bpf import isa
from workbench.bpf.declarations import Field, Layout, MapDefinition, Subprogram
from workbench.errors import DecodeError, WorkbenchError

TYPES = ("syscall", "raw", "socket_filter", "tc", "xdp", "raw_tp")


class Reference(NamedTuple):
    """A name that an engine resolves when it loads the program: at slot `pc`, of some kind.

    Kinds: "arena" and "map" (an LD_IMM64), "kfunc" (a call).
    """

    pc: int
    kind: str
    name: str


class SourceLine(NamedTuple):
    """The source text that the instruction at `pc` came from; `line` counts from 1."""

    pc: int
    line: int
    text: str
    file: str = ""


@lru_cache(maxsize=64)  # a program that is changed in its maps alone keeps its instructions
def _decoded(bytecode: bytes) -> np.ndarray:
    records = isa.decode(bytecode)
    records.setflags(write=False)
    return records


@dataclass(frozen=True)
class Program:
    """BPF instructions with a name, a type and unresolved references; owns no resources.

    `bytecode` is the wire form (RFC 9669), 8 bytes a slot, with map references as file
    descriptor 0 and kfunc calls as number -1. `type` is one of TYPES. `maps` defines the maps,
    other than the arena, that the references name. `btf` is a .BTF section in which the
    subprograms have their types, b"" without. `structures` and `variables` (at offsets of the
    arena) describe memory to whoever shows it. Raises DecodeError for bytes that are not a program.
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
        if self.type not in TYPES:
            raise WorkbenchError(
                f"unknown program type '{self.type}'; choose from {', '.join(TYPES)}"
            )
        if not self.bytecode:
            raise DecodeError(0, "the program is empty; it needs at least 'exit'")
        _ = self.instructions

    @cached_property
    def instructions(self) -> np.ndarray:
        """The decoded program: a read-only array of isa.INSTRUCTION records, one per slot."""
        return _decoded(self.bytecode)

    def __len__(self) -> int:
        return len(self.bytecode) // 8

    @property
    def uses_arena(self) -> bool:
        """Whether the program is associated with an arena: it names one."""
        return any(reference.kind == "arena" for reference in self.references)

    def line_of(self, pc: int) -> SourceLine | None:
        """The source line of the last mapped instruction at or before `pc`."""
        found = None
        for line in self.lines:
            if line.pc > pc:
                break
            found = line
        return found

    def __str__(self) -> str:
        from workbench.bpf.disassembler import disassemble

        return disassemble(self)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre style='line-height:1.25'>{escape(str(self))}</pre>"


def read_programs(path: str | Path, type: str = "syscall") -> dict[str, Program]:
    """Read every program of a file, by name and in file order.

    `.hex` holds 16 hexadecimal digits per instruction (one program, named by the file), anything
    else is assembly text; "-" reads assembly or, when it is nothing but hex digits, bytecode from
    standard input. A program called "main" bears the file's name. Raises WorkbenchError for a
    file that cannot be read.
    """
    from workbench.bpf.assembler import assemble_all

    name = "stdin" if str(path) == "-" else Path(path).stem
    text = _read_text(path)
    if str(path).endswith(".hex") or (str(path) == "-" and _is_hex(text)):
        return {name: Program(name, type, parse_hex(text))}
    programs = assemble_all(text, type=type, name=name)
    if "main" in programs:
        programs["main"] = replace(programs["main"], name=name)
    return programs


def read_program(path: str | Path, name: str | None = None, type: str = "syscall") -> Program:
    """Read one program of a file: the one called `name`, or the first."""
    programs = read_programs(path, type)
    if name is None:
        return next(iter(programs.values()))
    if name not in programs:
        raise WorkbenchError(f"no program '{name}' in {path}; it has {', '.join(programs)}")
    return programs[name]


def parse_hex(text: str) -> bytes:
    """Turn hexadecimal bytecode, white space ignored, into bytes; raises DecodeError."""
    digits = "".join(text.split())
    if len(digits) % 16:
        raise DecodeError(len(digits) // 16, "truncated: an instruction is 16 hexadecimal digits")
    for position, digit in enumerate(digits):
        if digit not in "0123456789abcdefABCDEF":
            raise DecodeError(position // 16, f"{digit!r} is not a hexadecimal digit")
    return bytes.fromhex(digits)


def _is_hex(text: str) -> bool:
    digits = "".join(text.split())
    return bool(digits) and all(digit in "0123456789abcdefABCDEF" for digit in digits)


def _read_text(path: str | Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WorkbenchError(
            f"cannot read {path}: it is not text (expected .bpf or .hex)"
        ) from None
