"""Decoded instructions to text, from the table that the assembler reads."""

import re
from collections.abc import Mapping

import numpy as np

from workbench.bpf import isa
from workbench.bpf.functions import HELPERS
from workbench.bpf.isa import Op

_JUMPS = frozenset(row.op for row in isa.TABLE if "{target}" in row.syntax)


def assembly(
    records: np.ndarray, names: Mapping[int, str], comments: Mapping[int, str] | None = None
) -> str:
    """Write decoded instructions (isa.INSTRUCTION[n]) as assembly text, targets as labels.

    `names` and `comments`, by slot, are what an instruction refers to and what stands above it.
    Raises DecodeError for an operation that has no encoding.
    """
    labels = _labels(records)
    lines: list[str] = []
    for pc in range(len(records)):
        if pc in labels:
            lines.append(f"{labels[pc]}:")
        if comments and pc in comments:
            lines.append(comments[pc])
        if records[pc]["op"] != Op.INVALID:
            lines.append("    " + instruction_text(records[pc], pc, labels, names.get(pc)))
    return "\n".join(lines) + "\n"


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
