"""Does a fact hold in a state? Each function returns the reason why not, or nothing.

Reasons are worded as Linux words them (kernel/bpf/verifier.c), so that they can be searched for.
"""

from collections.abc import Callable

from workbench import isa
from workbench.isa import Op
from workbench.verifier import domain
from workbench.verifier.domain import (
    ARENA,
    CTX,
    FRAME_BYTES,
    FUNC,
    MAP,
    MEM,
    POINTERS,
    SCALAR,
    STACK,
    UNINIT,
    State,
    Value,
)
from workbench.verifier.facts import (
    Access,
    Argument,
    Arithmetic,
    Fact,
    Never,
    Packet,
    Readable,
    Returnable,
    Setting,
    Shallow,
)

MAX_FRAMES = 8
CTX_LIMITS = {"syscall": 0xFFFF, "raw_tp": 96}
"""Bytes of context that a program type may address; the other types' fields are not modelled."""

Reason = str | None


def refusal(fact: Fact, state: State, setting: Setting) -> Reason:
    """Return why `fact` does not hold in `state`, or None when it holds."""
    return CHECKS[type(fact)](fact, state, setting)


def _never(fact: Never, state: State, setting: Setting) -> Reason:
    return fact.reason


def _readable(fact: Readable, state: State, setting: Setting) -> Reason:
    if state[-1].registers[fact.register].kinds & UNINIT:
        return f"R{fact.register} !read_ok"
    return None


def _arithmetic(fact: Arithmetic, state: State, setting: Setting) -> Reason:
    """Arena pointers take any arithmetic; other pointers only move by numbers."""
    registers = state[-1].registers
    left = registers[fact.dst].kinds & ~ARENA
    right = (SCALAR if fact.src == isa.ZERO else registers[fact.src].kinds) & ~ARENA
    if not (left | right) & POINTERS or not left or not right:
        return None
    name, register = Op(fact.op).name, f"R{fact.dst}"
    sign = _SIGNS[name[:-2]]
    if left & POINTERS and right & POINTERS:
        return None if name == "SUB64" or name == "SUB32" else f"{register} pointer {sign} pointer prohibited"
    if name.endswith("32"):
        return None if name == "SUB32" else f"{register} 32-bit pointer arithmetic prohibited"
    pointer = (left | right) & POINTERS
    if pointer & MAP and not (name == "ADD64" and _adds_zero(fact, registers)):
        return f"{register} pointer arithmetic on {domain.NAMES[MAP]} prohibited"
    if name == "SUB64" and right & POINTERS:
        return f"{register} tried to subtract pointer from scalar"
    if name == "SUB64" and pointer & STACK:
        return f"{register} subtraction from stack pointer prohibited"
    if name in ("ADD64", "SUB64"):
        return None
    if name in ("AND64", "OR64", "XOR64"):
        return f"{register} bitwise operator {sign} on pointer prohibited"
    return f"{register} pointer arithmetic with {sign} operator prohibited"


_SIGNS = dict(ADD="+=", SUB="-=", MUL="*=", DIV="/=", MOD="%=", SDIV="/=", SMOD="%=")
_SIGNS |= dict(OR="|=", AND="&=", XOR="^=", LSH="<<=", RSH=">>=", ARSH="s>>=")


def _adds_zero(fact: Arithmetic, registers: tuple[Value, ...]) -> bool:
    return (fact.imm if fact.src == isa.ZERO else registers[fact.src].number) == 0


def _access(fact: Access, state: State, setting: Setting) -> Reason:
    value = state[-1].registers[fact.base]
    if value.kinds == ARENA:
        return None if fact.in_arena else _atomic_refusal(fact, ARENA)
    if value.kinds & (SCALAR | MAP | FUNC):
        return _not_memory(fact, value.kinds & (SCALAR | MAP | FUNC))
    if value.kinds == STACK:
        return _stack_access(fact, value, state)
    if value.kinds == CTX:
        return _ctx_access(fact, value, setting)
    if value.kinds == MEM:
        return f"R{fact.base} invalid mem access 'mem'"
    return "same insn cannot be used with different pointers"


def _not_memory(fact: Access, kinds: int) -> Reason:
    if kinds & SCALAR:
        return f"R{fact.base} invalid mem access 'scalar'"
    if kinds & MAP:
        if fact.write:
            return "only read from bpf_arena is supported"
        return f"R{fact.base} reading the fields of a map is not supported by the workbench"
    return f"R{fact.base} invalid mem access '{domain.name_of(kinds)}'"


def _atomic_refusal(fact: Access, kind: int) -> Reason:
    what = "stores into" if fact.write else "loads from"
    return f"BPF_ATOMIC {what} R{fact.base} {domain.NAMES[kind]} is not allowed"


def _stack_access(fact: Access, value: Value, state: State) -> Reason:
    what = "write to" if fact.write and not fact.fills else "read from"
    if value.number is None:
        return f"invalid unbounded variable-offset {what} stack R{fact.base}"
    offset = value.number + fact.off
    if offset % fact.size:
        return f"misaligned stack access off 0+{value.number}+{fact.off} size {fact.size}"
    if not -FRAME_BYTES <= offset <= -fact.size:
        return f"invalid {what} stack R{fact.base} off={offset} size={fact.size}"
    if fact.stored >= 0 and (reason := _spill(fact, value, state)):
        return reason
    slot = state[value.frame].slots.get(offset & ~7)
    if slot is not None and slot.kinds != SCALAR and fact.size < 8 and _loads(fact):
        return "invalid size of register fill"
    return None


def _loads(fact: Access) -> bool:
    return not fact.write or fact.atomic and fact.stored < 0


def _spill(fact: Access, value: Value, state: State) -> Reason:
    """A pointer goes to the stack as a whole, and a stack pointer not into an older frame."""
    stored = state[-1].registers[fact.stored].kinds
    if stored == SCALAR:
        return None
    if fact.size < 8:
        return "invalid size of register spill"
    if stored & STACK and value.frame != len(state) - 1:
        return "cannot spill pointers to stack into stack frame of the caller"
    return None


def _ctx_access(fact: Access, value: Value, setting: Setting) -> Reason:
    if fact.atomic:
        return _atomic_refusal(fact, CTX)
    if value.number is None:
        return f"variable ctx access R{fact.base} disallowed"
    if value.number:
        what = "negative offset" if value.number < 0 else "dereference of modified"
        return f"{what} ctx ptr R{fact.base} off={value.number} disallowed"
    if setting.type not in CTX_LIMITS:
        return (
            f"context fields of {setting.type} programs are not supported by the workbench "
            f"(off={fact.off} size={fact.size})"
        )
    aligned = fact.off >= 0 and fact.off % fact.size == 0
    writable = setting.type == "syscall" or not fact.write
    if aligned and writable and fact.off < CTX_LIMITS[setting.type]:
        return None
    return f"invalid bpf_context access off={fact.off} size={fact.size}"


def _argument(fact: Argument, state: State, setting: Setting) -> Reason:
    value = state[-1].registers[fact.register]
    if fact.kind == "map" and value.kinds != MAP:
        if value == domain.scalar(0):
            return f"Possibly NULL pointer passed to trusted arg{fact.register - 1}"
        return f"pointer in R{fact.register} isn't map pointer"
    if fact.kind == "scalar" and value.kinds != SCALAR:
        return f"R{fact.register} is not a scalar"
    return None


def _packet(fact: Packet, state: State, setting: Setting) -> Reason:
    if state[-1].registers[6].kinds != CTX:
        return "at the time of BPF_LD_ABS|IND R6 != pointer to skb"
    return None


def _shallow(fact: Shallow, state: State, setting: Setting) -> Reason:
    if len(state) >= MAX_FRAMES:
        return f"the call stack of {len(state) + 1} frames is too deep"
    return None


def _returnable(fact: Returnable, state: State, setting: Setting) -> Reason:
    kinds = state[-1].registers[0].kinds
    if len(state) == 1:
        return "R0 !read_ok" if kinds & UNINIT else None
    if kinds & STACK and not setting.raw:
        return "cannot return stack pointer to the caller"
    return None


CHECKS: dict[type, Callable[..., Reason]] = {
    Never: _never,
    Readable: _readable,
    Arithmetic: _arithmetic,
    Access: _access,
    Argument: _argument,
    Packet: _packet,
    Shallow: _shallow,
    Returnable: _returnable,
}
