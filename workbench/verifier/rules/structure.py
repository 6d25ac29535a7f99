"""What can be refused without following values: sizes, jumps, function boundaries, reachability."""

from collections.abc import Iterator, Sequence

from workbench.bpf.isa import WIDE, Op
from workbench.errors import VerificationError
from workbench.verifier.rules.facts import JUMPS, Instruction

MAX_SLOTS = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS, for who has CAP_BPF
UNCONDITIONAL = (Op.JA, Op.JA32)
WIDE_OPS = frozenset(int(op) for op in WIDE)
_BRANCHES = frozenset(int(op) for op in (*JUMPS, *UNCONDITIONAL, Op.MAY_GOTO))
_FUNCTIONS = (Op.CALL_LOCAL, Op.LD_FUNC)


def second_halves(program: Sequence[Instruction]) -> set[int]:
    """Slots that hold the upper half of an LD_IMM64."""
    return {pc + 1 for pc, i in enumerate(program) if i.op in WIDE_OPS}


def function_starts(program: Sequence[Instruction]) -> list[int]:
    """First slots of all functions in order; raises VerificationError for calls out of range."""
    starts, inside = {0}, second_halves(program)
    for pc, i in enumerate(program):
        if i.op in _FUNCTIONS:
            target = pc + 1 + i.off
            if not 0 <= target < len(program) or target in inside:
                raise VerificationError(pc, "call to invalid destination")
            starts.add(target)
    return sorted(starts)


def check_structure(program: Sequence[Instruction]) -> None:
    """Raise VerificationError for a program of a wrong shape."""
    if len(program) > MAX_SLOTS:
        large = f"the program has {len(program)} slots; Linux allows {MAX_SLOTS}"
        raise VerificationError(-1, large)
    starts = function_starts(program)
    for start, end in zip(starts, [*starts[1:], len(program)], strict=True):
        _check_jumps(program, start, end)
        _check_end(program, end - 1)


def _check_jumps(program: Sequence[Instruction], start: int, end: int) -> None:
    """Jumps stay inside their function, which spans the slots [start, end)."""
    for pc in range(start, end):
        i = program[pc]
        if i.op in _BRANCHES:
            target = pc + 1 + i.off
            if not start <= target < end:
                raise VerificationError(pc, f"jump out of range from insn {pc} to {target}")


def _check_end(program: Sequence[Instruction], last: int) -> None:
    """Control cannot run past the last instruction of a function."""
    if program[last].op not in (Op.EXIT, *UNCONDITIONAL):
        raise VerificationError(last, "last insn is not an exit or jmp")


def successors(program: Sequence[Instruction], pc: int) -> Iterator[int]:
    """Slots that control may reach next from `pc`, functions that it names included."""
    i = program[pc]
    if i.op in _BRANCHES or i.op in _FUNCTIONS:
        yield pc + 1 + i.off
    if i.op not in (Op.EXIT, *UNCONDITIONAL):
        yield pc + (2 if i.op in WIDE_OPS else 1)


def _reachable(program: Sequence[Instruction]) -> set[int]:
    seen, todo = {0}, [0]
    while todo:
        for target in successors(program, todo.pop()):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def check_reachable(program: Sequence[Instruction], raw: bool) -> None:
    """Raise VerificationError for a jump into an LD_IMM64 or, except in `raw`, for dead code."""
    reached, inside = _reachable(program), second_halves(program)
    for pc in range(len(program)):
        if pc in inside:
            continue
        if pc not in reached and not raw:
            raise VerificationError(pc, f"unreachable insn {pc}")
        if program[pc].op in WIDE_OPS and pc + 1 in reached:
            raise VerificationError(pc, f"jump into the middle of ldimm64 insn {pc}")
