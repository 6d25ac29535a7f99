"""Rules about the program as a whole: licence, arenas, maps, and the stack of nested calls."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from workbench.arena.rules import PAGE_SIZE
from workbench.bpf.addresses import MAX_FRAMES
from workbench.bpf.functions import KFUNCS
from workbench.bpf.isa import WIDE, Op
from workbench.bpf.program import Program
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.bpf.releases import Release
from workbench.errors import VerificationError
from workbench.verifier.rules.facts import PACKET_LOADS, Instruction, Setting, callee, unresolved
from workbench.verifier.rules.structure import function_starts
from workbench.verifier.values.domain import FRAME_BYTES

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

NOT_SLEEPABLE = ("prog_array", "perf_event_array", "stack_trace", "lpm_trie", "bloom_filter")
"""Map types that a sleepable program may not use."""


def check_program(program: Program, arena_pages: int | None, release: Release) -> None:
    """Raise VerificationError for a licence or arena references that Linux refuses."""
    arenas = {reference.name for reference in program.references if reference.kind == "arena"}
    if len(arenas) > 1:
        raise VerificationError(-1, "Only one arena per program")
    for pc, kind, name in program.references:
        if kind == "kfunc" and name in KFUNCS and program.license not in GPL_LICENSES:
            reason = "cannot call kernel function from non-GPL compatible program"
            raise VerificationError(pc, reason)
        if kind == "arena" and arena_pages is not None:
            _check_address(program, pc, arena_pages * PAGE_SIZE, release)


def check_references(program: Sequence[Instruction], setting: Setting) -> None:
    """Raise VerificationError for an instruction that refers to what does not exist."""
    for pc, i in enumerate(program):
        if i.op in REFERRING and (reason := unresolved(i, pc, setting)):
            raise VerificationError(pc, reason)
        kind, name = setting.names.get(pc, ("", ""))
        if kind == "map" and not setting.raw and (reason := _unsuitable(name, setting)):
            raise VerificationError(pc, reason)


def _unsuitable(name: str, setting: Setting) -> str:
    """Why a program of this type may not use a map. Source: check_map_prog_compatibility."""
    row = setting.maps[name]
    lockless = PROGRAM_TYPES[setting.type].lockless
    if row.lock >= 0 and lockless:
        return f"{lockless} cannot use bpf_spin_lock yet"
    if setting.sleepable and row.type in NOT_SLEEPABLE:
        return "Sleepable programs can only use array, hash, ringbuf and local storage maps"
    return ""


def check_functions(program: Sequence[Instruction], setting: Setting) -> None:
    """Raise VerificationError for what needs type information and has none."""
    starts = function_starts(program)
    for start, end in pairwise((*starts[1:], len(program))):
        if start in setting.functions or setting.raw:
            continue
        for pc in range(start, end):
            row = callee(program[pc], pc, setting)
            if row is not None and row.name == "bpf_tail_call":
                raise VerificationError(-1, "tail_call is not allowed in subprogs without BTF")
            if program[pc].op in PACKET_LOADS:
                raise VerificationError(-1, "LD_ABS is not allowed in subprogs without BTF")


def check_named(program: Sequence[Instruction], seen: Sequence[int], throws: bool) -> None:
    """Raise VerificationError for the address of a function that Linux loses.

    A callback that nothing enters is dead code, which Linux takes out: what begins then where it
    began stands in for it. If that is no function, Linux stumbles when it translates functions one
    by one; where bpf_throw is called there is one more, hidden. It names the slot in the rewritten
    program. Source: bpf_adj_delta_to_imm in kernel/bpf/core.c, jit_subprogs in verifier.c.
    """
    functions = [start for start in function_starts(program) if seen[start]]
    if len(functions) == 1 and not throws:
        return
    for pc, i in enumerate(program):
        target = pc + 1 + i.off
        if i.op != Op.LD_FUNC or not seen[pc] or seen[target]:
            continue
        first = target  # of the dead code
        while not seen[first - 1] and not (seen[first - 2] and program[first - 2].op in WIDE):
            first -= 1
        behind = next((slot for slot in range(target, len(program)) if seen[slot]), len(program))
        if behind + target - first not in functions:
            reason = f"verifier bug: No program to jit at insn {pc} (subprog < 0)"
            raise VerificationError(pc, reason)


def _check_address(program: Program, pc: int, size: int, release: Release) -> None:
    """An address in the arena lies inside it, or, where the release allows it, at its end."""
    record = program.instructions[pc]
    offset = int(record["imm"]) >> 32 & 0xFFFFFFFF
    last = size if release.address_at_end else size - 1
    if record["op"] in (Op.LD_MAP_VALUE, Op.LD_MAP_IDX_VALUE) and last < offset < 1 << 29:
        reason = f"invalid access to map value pointer, value_size={size} off={offset}"
        raise VerificationError(pc, reason)


def check_stack(program: Sequence[Instruction], depths: Mapping[int, int]) -> None:
    """Raise VerificationError when nested calls together need more than 512 bytes of stack.

    `depths` gives the bytes that each function, by first slot, uses. Source:
    check_max_stack_depth in kernel/bpf/verifier.c.
    """
    starts = function_starts(program)
    ends = dict(zip(starts, [*starts[1:], len(program)], strict=True))
    calls = {start: _callees(program, start, end) for start, end in ends.items()}
    _check_calls(0, 0, 1, depths, calls)


def _callees(program: Sequence[Instruction], start: int, end: int) -> list[int]:
    inside = ((pc, program[pc]) for pc in range(start, end))
    called = [pc + 1 + i.off for pc, i in inside if i.op in (Op.CALL_LOCAL, Op.LD_FUNC)]
    return list(dict.fromkeys(called))


def _check_calls(
    start: int,
    used: int,
    frames: int,
    depths: Mapping[int, int],
    calls: Mapping[int, Sequence[int]],
) -> None:
    """Add a function's frame to the bytes `used` by its callers, then look at its callees."""
    used += -(-depths.get(start, 0) // STACK_UNIT) * STACK_UNIT
    if used > FRAME_BYTES:
        raise VerificationError(-1, f"combined stack size of {frames} calls is {used}. Too large")
    for callee_start in calls[start]:
        if frames >= MAX_FRAMES:
            raise VerificationError(-1, f"the call stack of {frames} frames is too deep !")
        _check_calls(callee_start, used, frames + 1, depths, calls)
