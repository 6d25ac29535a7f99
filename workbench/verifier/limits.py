"""Rules about the program as a whole: licence, arenas, and the stack of nested calls together."""

from collections.abc import Mapping, Sequence

from workbench.errors import VerificationError
from workbench.functions import KFUNCS
from workbench.isa import WIDE, Op
from workbench.program import Program
from workbench.verifier.check import MAX_FRAMES
from workbench.verifier.domain import FRAME_BYTES
from workbench.verifier.facts import Instruction, Setting, unresolved
from workbench.verifier.structure import function_starts

PAGE_BYTES = 4096
REFERRING = frozenset(int(op) for op in (*WIDE, Op.CALL_KFUNC)) - {int(Op.LD_IMM64)}
STACK_UNIT = 16  # the JIT rounds each frame up to this

GPL_LICENSES = (
    "GPL",
    "GPL v2",
    "GPL and additional rights",
    "Dual BSD/GPL",
    "Dual MIT/GPL",
    "Dual MPL/GPL",
)
"""Source: license_is_gpl_compatible in include/linux/license.h."""


def check_program(program: Program, arena_pages: int | None) -> None:
    """Raise VerificationError for a licence or arena references that Linux refuses."""
    arenas = {reference.name for reference in program.references if reference.kind == "arena"}
    if len(arenas) > 1:
        raise VerificationError(-1, "Only one arena per program")
    for pc, kind, name in program.references:
        if kind == "kfunc" and name in KFUNCS and program.license not in GPL_LICENSES:
            reason = "cannot call kernel function from non-GPL compatible program"
            raise VerificationError(pc, reason)
        if kind == "arena" and arena_pages is not None:
            _check_address(program, pc, arena_pages * PAGE_BYTES)


def check_references(program: Sequence[Instruction], setting: Setting) -> None:
    """Raise VerificationError for an instruction that refers to what does not exist."""
    for pc, i in enumerate(program):
        if i.op in REFERRING and (reason := unresolved(i, pc, setting)):
            raise VerificationError(pc, reason)


def _check_address(program: Program, pc: int, size: int) -> None:
    """An address in the arena lies inside it; one past the end is allowed by Linux 6.18."""
    record = program.instructions[pc]
    offset = int(record["imm"]) >> 32 & 0xFFFFFFFF
    if record["op"] in (Op.LD_MAP_VALUE, Op.LD_MAP_IDX_VALUE) and size < offset < 1 << 29:
        reason = f"invalid access to map value pointer, value_size={size} off={offset}"
        raise VerificationError(pc, reason)


def check_stack(program: Sequence[Instruction], depths: Mapping[int, int]) -> None:
    """Raise VerificationError when nested calls together need more than 512 bytes of stack.

    `depths` gives the bytes that each function, by first slot, uses.
    """
    starts = function_starts(program)
    ends = dict(zip(starts, [*starts[1:], len(program)], strict=True))
    calls = {start: _callees(program, start, end) for start, end in ends.items()}
    _check_calls(0, 0, 1, depths, calls)


def _callees(program: Sequence[Instruction], start: int, end: int) -> list[int]:
    inside = ((pc, program[pc]) for pc in range(start, end))
    return sorted({pc + 1 + i.off for pc, i in inside if i.op == Op.CALL_LOCAL})


def _check_calls(
    start: int,
    used: int,
    frames: int,
    depths: Mapping[int, int],
    calls: Mapping[int, Sequence[int]],
) -> None:
    """Add a function's frame to the bytes `used` by its callers, then look at its callees."""
    used += -(-max(depths.get(start, 0), 1) // STACK_UNIT) * STACK_UNIT
    if used > FRAME_BYTES:
        raise VerificationError(-1, f"combined stack size of {frames} calls is {used}. Too large")
    if frames < MAX_FRAMES:
        for callee in calls[start]:
            _check_calls(callee, used, frames + 1, depths, calls)
