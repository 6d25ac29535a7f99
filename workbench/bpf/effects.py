"""What an instruction does, as facts for whoever shows or follows it: read from the tables.

The registers come from an instruction's syntax in `isa.TABLE`, where a register on the left of
`=` is written and every other one is read; those of calls come from `functions.FUNCTIONS`.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from workbench.bpf import isa
from workbench.bpf.declarations import Subprogram
from workbench.bpf.functions import HELPERS, KFUNCS, PRINTING_HELPERS
from workbench.bpf.isa import Op
from workbench.bpf.program import Program

KINDS = (
    ("LDX", "load"), ("LOAD_", "load"), ("STX", "store"), ("STORE_", "store"),
    ("ATOMIC_", "atomic"), ("FETCH_", "atomic"), ("XCHG", "atomic"), ("CMPXCHG", "atomic"),
    ("CAST_", "cast"), ("J", "jump"), ("MAY_GOTO", "jump"), ("CALL", "call"), ("EXIT", "exit"),
    ("LD_ABS", "packet"), ("LD_IND", "packet"), ("LD_", "const"), ("INVALID", "invalid"),
)  # fmt: skip
"""How the names of operations begin, and their kind; all others are "alu"."""

_WRITTEN = re.compile(r"[rw](\{dst\}|\{src\}|\d+) (\S*)= ")
_REGISTER = re.compile(r"\b[rw](\{dst\}|\{src\}|\d+)")
_CONDITION = re.compile(r"if \S+ (\S+) ")
_IMPLIED = {"exit": (0,), "packet": (6,)}
_ARGUMENTS = range(1, 6)


class Effect(NamedTuple):
    """The facts of one instruction.

    kind: load, store, atomic, cast, jump, call, exit, const, packet, alu or invalid. bits: 32 for
    arithmetic and comparisons of half registers, else 64. sign: that of arithmetic or of the
    condition ("+", "s>>", "=="), "" without one. reads, writes: numbers of registers, ascending;
    what a call clobbers is not written. target: the slot that a jump or call leads to, -1 without
    one. enters: whether it begins a new frame.
    """

    kind: str
    bits: int
    sign: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    target: int
    enters: bool


def effects(program: Program) -> list[Effect]:
    """The facts of every slot of a program, in order."""
    names = {reference.pc: reference.name for reference in program.references}
    functions = {function.pc: function for function in program.subprograms}
    return [
        effect(pc, record, names.get(pc, ""), functions)
        for pc, record in enumerate(program.instructions.tolist())
    ]


def effect(
    pc: int,
    record: tuple[int, ...],
    name: str = "",
    functions: Mapping[int, Subprogram] | None = None,
) -> Effect:
    """The facts of the INSTRUCTION record at slot `pc`.

    `name` is that of the kfunc which it calls; `functions` are the program's, by first slot. Raises
    DecodeError for an operation that has no encoding.
    """
    op, dst, src, _, off, imm = record
    if op == Op.INVALID:
        return Effect("invalid", 64, "", (), (), -1, False)
    kind, bits, sign, reads, writes, leads = _form(op, src == isa.ZERO)
    target = pc + 1 + off if leads else -1
    fields = {"{dst}": dst, "{src}": src}
    read, wrote = (
        {fields[r] if r in fields else int(r) for r in names} for names in (reads, writes)
    )
    read |= {*_IMPLIED.get(kind, ()), *_called(op, imm, name, (functions or {}).get(target))}
    enters = op in (Op.CALL_LOCAL, Op.CALLX)
    return Effect(kind, bits, sign, tuple(sorted(read)), tuple(sorted(wrote)), target, enters)


@cache
def _form(op: int, immediate: bool) -> tuple[str, int, str, list[str], list[str], bool]:
    """What the syntax of an encoding says: kind, bits, sign, reads, writes, whether it leads on."""
    row = isa.row_of(op, isa.ZERO if immediate else 0)
    kind = next((kind for start, kind in KINDS if row.op.name.startswith(start)), "alu")
    text, sign, writes = row.syntax, "", []
    bits = 32 if text.startswith(("w", "if w")) else 64
    if found := _WRITTEN.match(text):
        writes, sign = [found[1]], found[2]
        text = text if sign else text[found.end() :]
    elif found := _CONDITION.match(text):
        sign = found[1]
    if op in (Op.CALL_HELPER, Op.CALL_KFUNC):
        writes = ["0"]
    leads = kind in ("jump", "call") and "{target}" in text
    return kind, bits, sign, _REGISTER.findall(text), writes, leads


def _called(op: int, imm: int, name: str, function: Subprogram | None) -> tuple[int, ...]:
    """The argument registers that a call reads: all five of a function that no table knows."""
    if op == Op.CALL_LOCAL:
        return tuple(_ARGUMENTS)[: len(function.arguments)] if function else ()
    if op not in (Op.CALL_HELPER, Op.CALL_KFUNC):
        return ()
    row = HELPERS.get(imm) if op == Op.CALL_HELPER else KFUNCS.get(name)
    if row is None or (row.kind == "helper" and row.number in PRINTING_HELPERS):
        return tuple(_ARGUMENTS)  # what is printed follows the format
    kinds = zip(_ARGUMENTS, row.arguments, strict=False)
    return tuple(number for number, kind in kinds if kind != "ignored")
