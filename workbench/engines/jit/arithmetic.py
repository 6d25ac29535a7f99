"""Arithmetic, moves, byte order, casts and jumps as LLVM IR."""

from collections.abc import Callable

from workbench.bpf.isa import Op
from workbench.engines.jit.body import Body
from workbench.engines.jit.graph import Ins, following
from workbench.engines.jit.layout import Word
from workbench.engines.jit.text import LIKELY, MASK32

Emitter = Callable[[Body, Ins], None]

_PLAIN = dict(ADD="add", SUB="sub", MUL="mul", OR="or", AND="and", XOR="xor")
_SHIFTS = dict(LSH="shl", RSH="lshr", ARSH="ashr")
_DIVISIONS = dict(DIV="udiv", MOD="urem", SDIV="sdiv", SMOD="srem")
_CONDITIONS = dict(JEQ="eq", JNE="ne", JGT="ugt", JGE="uge", JLT="ult", JLE="ule")
_CONDITIONS |= dict(JSGT="sgt", JSGE="sge", JSLT="slt", JSLE="sle")

Combine = Callable[[Body, int, str, str], str]  # bits, first and second operand -> result


def _narrow(body: Body, value: str, bits: int) -> str:
    return value if bits == 64 else body.writer.value(f"trunc i64 {value} to i{bits}")


def _widen(body: Body, value: str, bits: int) -> str:
    return value if bits == 64 else body.writer.value(f"zext i{bits} {value} to i64")


def _plain(name: str) -> Combine:
    return lambda body, bits, a, b: body.writer.value(f"{name} i{bits} {a}, {b}")


def _shift(name: str) -> Combine:
    """Shift counts are taken modulo the width."""

    def emit(body: Body, bits: int, a: str, b: str) -> str:
        count = body.writer.value(f"and i{bits} {b}, {bits - 1}")
        return body.writer.value(f"{name} i{bits} {a}, {count}")

    return emit


def _divide(name: str) -> Combine:
    """By 0: a quotient of 0, the dividend as remainder. INT_MIN / -1 wraps around."""

    def emit(body: Body, bits: int, a: str, b: str) -> str:
        value, kind = body.writer.value, f"i{bits}"
        zero = value(f"icmp eq {kind} {b}, 0")
        unusual = zero
        signed = name.startswith("s")
        if signed:
            minus = value(f"icmp eq {kind} {b}, -1")
            unusual = value(f"or i1 {zero}, {minus}")
        divisor = value(f"select i1 {unusual}, {kind} 1, {kind} {b}")
        result = value(f"{name} {kind} {a}, {divisor}")
        if signed:
            other = value(f"sub {kind} 0, {a}") if name == "sdiv" else "0"
            result = value(f"select i1 {minus}, {kind} {other}, {kind} {result}")
        at_zero = a if name.endswith("rem") else "0"
        return value(f"select i1 {zero}, {kind} {at_zero}, {kind} {result}")

    return emit


def _binary(combine: Combine, bits: int) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        a = _narrow(body, body.get(ins.dst), bits)
        b = _narrow(body, body.operand(ins), bits)
        body.set(ins.dst, _widen(body, combine(body, bits, a, b), bits))

    return emit


def _move(bits: int) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        b = body.operand(ins)
        body.set(ins.dst, b if bits == 64 else body.writer.value(f"and i64 {b}, {MASK32}"))

    return emit


def _negate(bits: int) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        a = _narrow(body, body.get(ins.dst), bits)
        body.set(ins.dst, _widen(body, body.writer.value(f"sub i{bits} 0, {a}"), bits))

    return emit


def _sign_extend(size: int, bits: int) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        low = _narrow(body, body.operand(ins), size)
        wide = body.writer.value(f"sext i{size} {low} to i{bits}")
        body.set(ins.dst, _widen(body, wide, bits))

    return emit


def _keep(size: int) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        body.set(ins.dst, _widen(body, _narrow(body, body.get(ins.dst), size), size))

    return emit


def _swap(size: int) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        low = _narrow(body, body.get(ins.dst), size)
        swapped = body.writer.value(f"call i{size} @llvm.bswap.i{size}(i{size} {low})")
        body.set(ins.dst, _widen(body, swapped, size))

    return emit


def _cast_user(body: Body, ins: Ins) -> None:
    """The user form of a pointer; NULL stays NULL."""
    low = body.writer.value(f"and i64 {body.operand(ins)}, {MASK32}")
    full = body.writer.value(f"or i64 {low}, {body.fixed(Word.HIGH)}")
    null = body.writer.value(f"icmp eq i64 {low}, 0")
    body.set(ins.dst, body.writer.value(f"select i1 {null}, i64 0, i64 {full}"))


def _load_immediate(body: Body, ins: Ins) -> None:
    body.set(ins.dst, body.operand(ins))


def _conditional(name: str, bits: int) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        a = _narrow(body, body.get(ins.dst), bits)
        b = _narrow(body, body.operand(ins), bits)
        if name == "JSET":
            common = body.writer.value(f"and i{bits} {a}, {b}")
            taken = body.writer.value(f"icmp ne i{bits} {common}, 0")
        else:
            taken = body.writer.value(f"icmp {_CONDITIONS[name]} i{bits} {a}, {b}")
        branch(body, ins, taken)

    return emit


def branch(body: Body, ins: Ins, taken: str, hint: str = "") -> None:
    """Jump if the i1 `taken` holds, else fall through."""
    writer, then, otherwise = body.writer, body.writer.new_label(), f"b{following(ins)}"
    if body.turning:
        otherwise = writer.new_label()
    writer.branch(taken, then, otherwise, hint)
    writer.label(then)
    body.jump(ins, ins.target)
    if body.turning:
        writer.label(otherwise)
        body.fall_through(following(ins))


def _jump(body: Body, ins: Ins) -> None:
    body.jump(ins, ins.target)


def _may_goto(body: Body, ins: Ins) -> None:
    """Leave the loop once its budget is used up.

    A slice of fuel is too small for that in a function which calls no other: there the budget is
    only counted down, and looked at with the fuel.
    """
    writer = body.writer
    budget = writer.value("load i64, ptr %budget")
    if not body.counts_rounds:
        some = writer.value(f"icmp ne i64 {budget}, 0")
        on, out = writer.new_label(), writer.new_label()
        writer.branch(some, on, out, LIKELY)
        writer.label(out)
        body.jump(ins, ins.target)
        writer.label(on)
    writer.do(f"store i64 {writer.value(f'sub i64 {budget}, 1')}, ptr %budget")
    body.fall_through(following(ins))


def _arithmetic() -> dict[Op, Emitter]:
    combine = {name: _plain(text) for name, text in _PLAIN.items()}
    combine |= {name: _shift(text) for name, text in _SHIFTS.items()}
    combine |= {name: _divide(text) for name, text in _DIVISIONS.items()}
    found = {Op[f"{n}{bits}"]: _binary(c, bits) for n, c in combine.items() for bits in (32, 64)}
    for bits in (32, 64):
        found[Op[f"MOV{bits}"]] = _move(bits)
        found[Op[f"NEG{bits}"]] = _negate(bits)
        for size in (8, 16, 32)[: 2 if bits == 32 else 3]:
            found[Op[f"MOVSX{size}_{bits}"]] = _sign_extend(size, bits)
    for size in (16, 32, 64):
        found |= {Op[f"LE{size}"]: _keep(size)}
        found |= {Op[f"{name}{size}"]: _swap(size) for name in ("BE", "BSWAP")}
    return found


EMITTERS: dict[Op, Emitter] = {
    **_arithmetic(),
    Op.CAST_KERN: _move(32),
    Op.CAST_USER: _cast_user,
    Op.LD_IMM64: _load_immediate,
    **{
        Op[f"{name}{bits}"]: _conditional(name, bits)
        for name in (*_CONDITIONS, "JSET")
        for bits in (32, 64)
    },
    Op.JA: _jump,
    Op.JA32: _jump,
    Op.MAY_GOTO: _may_goto,
}
