"""Programs to text: the inverse of the assembler, from the same table."""

import re

import numpy as np

from workbench.bpf import isa
from workbench.bpf.functions import HELPERS
from workbench.bpf.isa import Op
from workbench.bpf.program import Program

_JUMPS = frozenset(row.op for row in isa.TABLE if "{target}" in row.syntax)


def disassemble(program: Program, source: bool = False) -> str:
    """Write a program as assembly text; assembling it gives back the same bytes and references.

    With `source`, the lines that instructions come from stand above them as comments.
    """
    records = program.instructions
    labels = _labels(records)
    names = {reference.pc: reference.name for reference in program.references}
    comments = _comments(program) if source else {}
    lines: list[str] = []
    for pc in range(len(records)):
        if pc in labels:
            lines.append(f"{labels[pc]}:")
        if pc in comments:
            lines.append(comments[pc])
        if records[pc]["op"] != Op.INVALID:
            lines.append("    " + instruction_text(records[pc], pc, labels, names.get(pc)))
    return "\n".join(lines) + "\n"


def _comments(program: Program) -> dict[int, str]:
    """Where the source changes: file, line and text, and at a function's beginning its name."""
    found, last = {}, ("", 0)
    starts = {function.pc: function.name for function in program.subprograms}
    for line in program.lines:
        head = f"; {starts[line.pc]}()\n" if line.pc in starts else ""
        if head or (line.file, line.line) != last:
            place = f"{line.file}:{line.line}" if line.file else f"line {line.line}"
            text = " ".join(line.text.split())
            found[line.pc] = f"{head}; {place}: {text}".removesuffix(": ")
        last = line.file, line.line
    return found


def listing(program: Program) -> list[str]:
    """One text per slot (empty for the second half of an LD_IMM64), with relative targets."""
    names = {reference.pc: reference.name for reference in program.references}
    return [
        "" if record["op"] == Op.INVALID else instruction_text(record, pc, {}, names.get(pc))
        for pc, record in enumerate(program.instructions)
    ]


def instruction_text(
    record: np.void, pc: int, labels: dict[int, str] | None = None, name: str | None = None
) -> str:
    """The text of one decoded instruction at slot `pc`; `name` is what it refers to, if known."""
    op, dst, src, _, off, imm = record.item()
    if op == Op.INVALID:
        return "invalid"
    row = isa.row_of(op, src)
    if name is not None:
        return _named(row, dst, imm, name)
    if row.op is Op.CALL_HELPER and imm in HELPERS:
        return f"call {HELPERS[imm].name}"
    if row.op in (Op.LD_MAP_VALUE, Op.LD_MAP_IDX_VALUE):
        off, imm = imm >> 32, (imm & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
    target = (labels or {}).get(pc + 1 + off, f"{off:+d}") if row.op in _JUMPS else ""
    values = {
        "dst": str(dst),
        "src": str(src),
        "imm": f"{imm & (1 << 64) - 1:#x}" if row.op is Op.LD_IMM64 else _immediate(row, imm),
        "off": f"{'-' if off < 0 else '+'} {abs(off)}",
        "target": target,
    }
    text = re.sub(r"\{(\w+)\}", lambda match: values[match[1]], row.syntax)
    return text.removesuffix(" + 0") if row.op is Op.CALL_KFUNC else text


def _immediate(row: isa.Row, imm: int) -> str:
    """Numbers are signed decimals, as LLVM prints them, but helper numbers have no sign."""
    if row.op in (Op.LD_IND8, Op.LD_IND16, Op.LD_IND32):
        return f"{'-' if imm < 0 else '+'} {abs(imm)}"
    return str(imm & 0xFFFFFFFF) if row.op is Op.CALL_HELPER else str(imm)


def _named(row: isa.Row, dst: int, imm: int, name: str) -> str:
    """The text of an instruction that refers to something by name."""
    if row.op is Op.LD_MAP_VALUE:
        offset = imm >> 32
        return f"r{dst} = {name} {'-' if offset < 0 else '+'} {abs(offset)} ll"
    if row.op is Op.LD_MAP_FD:
        return f"r{dst} = {name} ll"
    return f"call {name}"


def _labels(records: np.ndarray) -> dict[int, str]:
    """Name every slot that a jump, a call or a function pointer leads to."""
    targets = set()
    for pc, record in enumerate(records):
        if record["op"] < Op.INVALID and Op(int(record["op"])) in _JUMPS:
            target = pc + 1 + int(record["off"])
            if 0 <= target < len(records) and records[target]["op"] != Op.INVALID:
                targets.add(target)
    return {target: f"L{target}" for target in sorted(targets)}


_PLACEHOLDERS = {"dst": "D", "src": "S", "imm": "IMM", "off": "+ OFF", "target": "TARGET"}


def reference() -> str:
    """The instruction table as Markdown: a section for each class, a line for each encoding.

    D and S stand for register numbers, IMM and OFF for numbers, TARGET for a label or a distance
    in slots. Fields that a line neither shows nor fixes must be 0.
    """
    lines: list[str] = []
    group = ""
    for row in sorted(isa.TABLE, key=lambda row: row.group):
        if row.group != group:
            group = row.group
            lines += ["", f"## {group}", "", "| text | opcode | fixed fields | operation |"]
            lines.append("|---|---|---|---|")
        text = re.sub(r"\{(\w+)\}", lambda match: _PLACEHOLDERS[match[1]], row.syntax)
        fixed = ", ".join(f"{name} = {value:#x}" for name, value in row.pinned.items())
        escaped = text.replace("|", "\\|")
        lines.append(f"| `{escaped}` | `{row.opcode:#04x}` | {fixed} | {row.op.name} |")
    return "\n".join(lines[1:]) + "\n"
