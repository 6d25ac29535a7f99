"""Does a fact hold on a path? Each function returns the reason why not, or nothing.

Reasons are worded as Linux words them (kernel/bpf/verifier.c), so that they can be searched for.
"""

from collections.abc import Callable

from workbench.bpf import isa
from workbench.bpf.addresses import MAX_FRAMES
from workbench.bpf.declarations import Subprogram
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.verifier.rules import facts, memory
from workbench.verifier.rules.arguments import (
    argument_refusal,
    fitting_refusal,
    may_call_refusal,
    section_refusal,
)
from workbench.verifier.rules.facts import (
    Access,
    Alike,
    Argument,
    Arithmetic,
    Atomic,
    Callee,
    Fact,
    Fitting,
    Kept,
    MayCall,
    Never,
    Packet,
    Readable,
    Released,
    Returnable,
    Section,
)
from workbench.verifier.rules.memory import Reason
from workbench.verifier.rules.situation import Situation
from workbench.verifier.values.domain import (
    ANY_SCALAR,
    ARENA,
    CTX,
    NAMES,
    OR_NULL,
    PACKETS,
    SCALAR,
    STACK,
    UNSET,
    Value,
    is_null,
    scalar,
)
from workbench.verifier.values.numbers import S64_MAX, S64_MIN
from workbench.verifier.values.pointers import arithmetic_refusal

_OWN_CODE = 1 << CTX | 1 << ARENA
"""Kinds of pointers whose accesses become other code than those of the rest."""


def refusal(fact: Fact, situation: Situation) -> Reason:
    """Return why `fact` does not hold on the path, or None when it holds."""
    return CHECKS[type(fact)](fact, situation)


def _never(fact: Never, situation: Situation) -> Reason:
    return fact.reason


def _readable(fact: Readable, situation: Situation) -> Reason:
    if situation.registers[fact.register].kind == UNSET:
        return f"R{fact.register} !read_ok"
    return None


def _arithmetic(fact: Arithmetic, situation: Situation) -> Reason:
    left = situation.registers[fact.dst]
    right = ANY_SCALAR if fact.src == isa.ZERO else situation.registers[fact.src]
    if left.kind == SCALAR == right.kind:
        return _mixed(fact, situation, False)
    if ARENA in (left.kind, right.kind) and (reason := _mixed(fact, situation, True)):
        return reason
    right = scalar(fact.imm) if fact.src == isa.ZERO else right
    return arithmetic_refusal(fact.op, fact.dst, left, right)


def _mixed(fact: Arithmetic, situation: Situation, arena: bool) -> Reason:
    """Later kernels refuse 64-bit arithmetic that sees arena pointers on some paths only."""
    if situation.setting.release.mixed_arithmetic or fact.op > facts.LAST_64:
        return None
    if situation.pc in (situation.plain if arena else situation.arithmetic):
        return "same insn cannot be used with and without arena pointer"
    return None


def _access(fact: Access, situation: Situation) -> Reason:
    return memory.access_refusal(fact, situation)


def _atomic(fact: Atomic, situation: Situation) -> Reason:
    kind = situation.registers[fact.base].kind
    if kind not in (CTX, ARENA) and kind not in PACKETS:
        return None
    if kind == ARENA and fact.in_arena:
        return None
    what = "stores into" if fact.write else "loads from"
    return f"BPF_ATOMIC {what} R{fact.base} {NAMES[kind]} is not allowed"


def _kept(fact: Kept, situation: Situation) -> Reason:
    if fact.result != fact.base:
        return None
    return f"misaligned access off (0x0; 0xffffffffffffffff)+0+{fact.off} size {fact.size}"


def _alike(fact: Alike, situation: Situation) -> Reason:
    bit = 1 << situation.registers[fact.base].kind
    others = situation.accesses.get(situation.pc, 0) & ~bit
    if others and (others | bit) & _OWN_CODE:
        return "same insn cannot be used with different pointers"
    return None


def _packet(fact: Packet, situation: Situation) -> Reason:
    if situation.registers[6].kind != CTX:
        return "at the time of BPF_LD_ABS|IND R6 != pointer to skb"
    return memory.unmodified_refusal(6, situation.registers[6])


def _released(fact: Released, situation: Situation) -> Reason:
    """Source: check_resource_leak."""
    locks, inner = situation.state.locks, len(situation.state.frames) > 1
    exits, what = fact.what.startswith("BPF_EXIT"), fact.what
    watched = not (exits and inner)
    if locks.lock and watched:
        return f"{what} cannot be used inside bpf_spin_lock-ed region"
    held = [r for r in locks.references if r.kind == "pointer"]
    if held and (not inner or fact.throws):
        leaks = "".join(f"Unreleased reference id={r.id} alloc_insn={r.pc}\n" for r in held)
        return f"{leaks}{what} would lead to reference leak"
    if not watched:
        return None
    for inside, where in (
        (locks.irq, "bpf_local_irq_save"),
        (locks.rcu, "bpf_rcu_read_lock"),
        (locks.preempt, "bpf_preempt_disable"),
    ):
        if inside:
            return f"{what} cannot be used inside {where}-ed region"
    return None


def _callee(fact: Callee, situation: Situation) -> Reason:
    function = situation.setting.functions.get(fact.target)
    if function is not None and function.is_global and not situation.setting.raw:
        return _global_refusal(function, situation)
    depth = len(situation.state.frames)
    if depth >= MAX_FRAMES:
        return f"the call stack of {depth + 1} frames is too deep"
    return None


def _global_refusal(function: Subprogram, situation: Situation) -> Reason:
    """Whether a function that is verified for any arguments may be called with these."""
    if situation.state.locks.lock:
        return (
            "global function calls are not allowed while holding a lock,\n"
            "use static function instead"
        )
    for n, kind in enumerate(function.arguments, 1):
        if reason := _passed_refusal(n, kind, situation.registers[n], situation):
            number = situation.function_number(function.pc)
            head = f"{reason}\n" if reason != "?" else ""
            return f"{head}Caller passes invalid args into func#{number} ('{function.name}')"
    return None


def _passed_refusal(n: int, kind: str, value: Value, situation: Situation) -> Reason:
    """Source: btf_check_func_arg_match."""
    if kind == "scalar":
        return None if value.kind == SCALAR else f"R{n} is not a scalar"
    if kind == "arena":
        good = value.kind in (ARENA, SCALAR)
        return None if good else f"R{n} is not a pointer to arena or scalar."
    if kind == "ctx":
        good = value.kind == CTX
        return None if good else f"arg#{n - 1} expects pointer to ctx"
    name, _, size = kind.partition(":")
    if not size.isdecimal():
        return f"Arg#{n - 1} of type {kind} is not supported yet."
    if is_null(value):
        return None
    pointed = value._replace(kind=value.kind & ~OR_NULL)
    for write in (False, True):
        if reason := memory.buffer_refusal(n, pointed, int(size), write, True, False, situation):
            return reason
    if name == "mem" and value.kind & OR_NULL:
        return f"arg#{n - 1} is expected to be non-NULL"
    return None


def _returnable(fact: Returnable, situation: Situation) -> Reason:
    value, frame = situation.registers[0], situation.frame
    if len(situation.state.frames) > 1 and situation.setting.raw:
        return None
    if len(situation.state.frames) > 1:
        if value.kind == STACK:
            return "cannot return stack pointer to the caller"
        return _callback_refusal(value, frame.callback) if frame.callback else None
    if value.kind == UNSET:
        return "R0 !read_ok"
    if frame.start and value.kind != SCALAR:
        name = NAMES[value.kind]
        return f"At subprogram exit the register R0 is not a scalar value ({name})"
    wanted = None if frame.start else PROGRAM_TYPES[situation.setting.type].returns
    if wanted and value.kind != SCALAR:
        return f"At program exit the register R0 is not a known value ({NAMES[value.kind]})"
    return _range_refusal("program exit", value, wanted) if wanted else None


def _callback_refusal(value: Value, wanted: tuple[int, int]) -> Reason:
    if value.kind != SCALAR:
        return "R0 not a scalar value"
    return _range_refusal("callback return", value, wanted)


def _range_refusal(where: str, value: Value, wanted: tuple[int, int]) -> Reason:
    n, (low, high) = value.number, wanted
    if low <= n.smin and n.smax <= high:
        return None
    known = f" smin={n.smin}" if n.smin > S64_MIN else ""
    known += f" smax={n.smax}" if n.smax < S64_MAX else ""
    has = known or " unknown scalar value"
    return f"At {where} the register R0 has{has} should have been in [{low}, {high}]"


CHECKS: dict[type, Callable[..., Reason]] = {
    Never: _never,
    Readable: _readable,
    Arithmetic: _arithmetic,
    Access: _access,
    Atomic: _atomic,
    Kept: _kept,
    Alike: _alike,
    MayCall: may_call_refusal,
    Argument: argument_refusal,
    Fitting: fitting_refusal,
    Section: section_refusal,
    Released: _released,
    Packet: _packet,
    Callee: _callee,
    Returnable: _returnable,
}
