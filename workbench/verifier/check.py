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
MAX_OFFSET = 1 << 29  # BPF_MAX_VAR_OFF
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
    left = registers[fact.dst]
    right = domain.scalar(fact.imm) if fact.src == isa.ZERO else registers[fact.src]
    first, second = left.kinds & ~ARENA, right.kinds & ~ARENA
    if not (first | second) & POINTERS or not first or not second:
        return None
    operation, bits = Op(fact.op).name[:-2], Op(fact.op).name[-2:]
    if first & POINTERS and second & POINTERS:
        wrong = f"R{fact.dst} pointer {_SIGNS[operation]} pointer prohibited"
        return None if operation == "SUB" else wrong
    if bits == "32":
        return None if operation == "SUB" else f"R{fact.dst} 32-bit pointer arithmetic prohibited"
    pointer, number = (left, right) if first & POINTERS else (right, left)
    return _distance(fact, operation, pointer, number) or _movable(fact, operation, pointer, second)


def _distance(fact: Arithmetic, operation: str, pointer: Value, number: Value) -> Reason:
    """How far a pointer may move: by a number that is known and below 2^29."""
    kind = domain.name_of(pointer.kinds & POINTERS)
    if pointer.kinds & MAP:
        still = operation == "ADD" and number.number == 0
        return None if still else f"R{fact.dst} pointer arithmetic on {kind} prohibited"
    if number.number is None:
        register = f"math between {kind} pointer and register"
        return f"{register} with unbounded min value is not allowed"
    distance = domain.signed(number.number, 64)
    if abs(distance) >= MAX_OFFSET:
        return f"math between {kind} pointer and {distance} is not allowed"
    if pointer.number is not None and abs(pointer.number) >= MAX_OFFSET:
        return f"{kind} pointer offset {pointer.number} is not allowed"
    return None


def _movable(fact: Arithmetic, operation: str, pointer: Value, second: int) -> Reason:
    """Which operations a pointer that may move allows."""
    register, sign = f"R{fact.dst}", _SIGNS[operation]
    if operation == "SUB" and second & POINTERS:
        return f"{register} tried to subtract pointer from scalar"
    if operation == "SUB" and pointer.kinds & STACK:
        return f"{register} subtraction from stack pointer prohibited"
    if operation in ("ADD", "SUB"):
        return None
    if operation in ("AND", "OR", "XOR"):
        return f"{register} bitwise operator {sign} on pointer prohibited"
    return f"{register} pointer arithmetic with {sign} operator prohibited"


_SIGNS = dict(ADD="+=", SUB="-=", MUL="*=", DIV="/=", MOD="%=", SDIV="/=", SMOD="%=")
_SIGNS |= dict(OR="|=", AND="&=", XOR="^=", LSH="<<=", RSH=">>=", ARSH="s>>=")


def _access(fact: Access, state: State, setting: Setting) -> Reason:
    value = state[-1].registers[fact.base]
    if value.kinds == ARENA:
        return _lost_base(fact) if fact.in_arena else _atomic_refusal(fact, ARENA)
    if value.kinds & (SCALAR | MAP | FUNC):
        return _not_memory(fact, value)
    if value.kinds == STACK:
        return _stack_access(fact, value, state)
    if value.kinds == CTX:
        return _ctx_access(fact, value, setting)
    if value.kinds == MEM:
        return f"R{fact.base} invalid mem access 'mem'"
    return "same insn cannot be used with different pointers"


def _lost_base(fact: Access) -> Reason:
    """An atomic whose result replaces its own arena pointer: 6.18 looks at it too late."""
    if fact.result != fact.base:
        return None
    return f"misaligned access off (0x0; 0xffffffffffffffff)+0+{fact.off} size {fact.size}"


def _not_memory(fact: Access, value: Value) -> Reason:
    register = f"R{fact.base}"
    if value.kinds & SCALAR:
        return _misaligned(fact, value) or f"{register} invalid mem access 'scalar'"
    if value.kinds & MAP and fact.write:
        return "only read from bpf_arena is supported"
    if value.kinds & MAP:
        return f"{register} reading the fields of a map is not supported by the workbench"
    return f"{register} invalid mem access '{domain.name_of(value.kinds & FUNC)}'"


def _misaligned(fact: Access, value: Value) -> Reason:
    """Of atomic accesses Linux asks for alignment first, unless they use arena pointers."""
    if not fact.atomic or value.kinds != SCALAR or value.number is None:
        return None
    if (value.number + fact.off) % fact.size == 0:
        return None
    number = str(value.number) if value.number <= 0xFFFF else f"{value.number:#x}"
    return f"misaligned access off {number}+0+{fact.off} size {fact.size}"


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
    return not fact.write or (fact.atomic and fact.stored < 0)


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
