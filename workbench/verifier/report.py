"""What verification found: a verdict and why, a log in the kernel's form, the rewritten code."""

import re
from dataclasses import dataclass, field

import numpy as np

from workbench import isa
from workbench.disassembler import instruction_text
from workbench.errors import VerificationError
from workbench.isa import Op
from workbench.program import Program
from workbench.verifier.explore import LIMIT


@dataclass(frozen=True)
class Report:
    """The verdict on a program.

    `pc` and `reason` say where and why it was refused (-1 and "" when accepted; -1 also for a
    refusal of the program as a whole). `log` reads like the kernel's. `xlated` holds read-only
    isa.INSTRUCTION records: rewritten when accepted, as decoded when refused.
    """

    ok: bool
    pc: int
    reason: str
    log: str = field(repr=False)
    xlated: np.ndarray = field(repr=False)
    instructions: int
    arena_accesses: int
    casts: int

    def __str__(self) -> str:
        if not self.ok:
            where = f" at instruction {self.pc}" if self.pc >= 0 else ""
            return f"refused{where}: {self.reason}"
        counts = (
            _count(self.instructions, "instruction"),
            _count(self.arena_accesses, "arena access"),
            _count(self.casts, "cast"),
        )
        return "accepted: " + ", ".join(counts)

    def raise_if_refused(self) -> None:
        """Raise VerificationError with position, reason and log unless the program was accepted."""
        if not self.ok:
            raise VerificationError(self.pc, self.reason, self.log)


def _count(number: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


def accepted(program: Program, xlated: np.ndarray, processed: int) -> Report:
    """Report a program that may run, with its rewritten records."""
    return _report(program, -1, "", _summary(processed), xlated)


def refused(program: Program, error: VerificationError, processed: int) -> Report:
    """Report a program that may not run; the reason is the error's."""
    lines = [_line(program, error.pc)] if error.pc >= 0 else []
    log = "\n".join([*lines, error.reason, _summary(processed)])
    return _report(program, error.pc, error.reason, log, program.instructions)


def _report(program: Program, pc: int, reason: str, log: str, xlated: np.ndarray) -> Report:
    ops = program.instructions["op"]
    arena = (xlated["op"] >= isa.FIRST_ARENA_OP) & (xlated["op"] != Op.INVALID)
    return Report(
        ok=not reason,
        pc=pc,
        reason=reason,
        log=log,
        xlated=xlated,
        instructions=int(np.sum(ops != Op.INVALID)),
        arena_accesses=int(np.sum(arena)),
        casts=int(np.isin(ops, (int(Op.CAST_KERN), int(Op.CAST_USER))).sum()),
    )


def _summary(processed: int) -> str:
    return f"processed {processed} insns (limit {LIMIT})"


def _line(program: Program, pc: int) -> str:
    """One instruction as the kernel's log prints it: slot, opcode, text."""
    name = next((reference.name for reference in program.references if reference.pc == pc), None)
    text = instruction_text(program.instructions[pc], pc, {}, name)
    return f"{pc}: ({program.bytecode[8 * pc]:02x}) {_kernel_spelling(text)}"


_CAST = re.compile(r"cast_(kern|user)\((r\d+)\)")
_OFFSET = re.compile(r"(\(r\d+) ([+-]) (\d+)")
_COMPARED = re.compile(r"^(if .* )(-?\d+) goto")
_TARGET = re.compile(r"\b(goto|gotol|may_goto|call) ([+-]\d+)$")


def _kernel_spelling(text: str) -> str:
    """Turn our assembly into the kernel's spelling: `(r2 +8)`, `goto pc+1`, `addr_space_cast`."""
    spaces = {"kern": "0, 1", "user": "1, 0"}
    text = _CAST.sub(lambda m: f"addr_space_cast({m[2]}, {spaces[m[1]]})", text)
    text = _OFFSET.sub(r"\1 \2\3", text)
    text = _TARGET.sub(r"\1 pc\2", text)
    return _COMPARED.sub(lambda m: f"{m[1]}{int(m[2]) & 0xFFFFFFFF:#x} goto", text)
