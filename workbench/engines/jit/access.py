"""Loads, stores and atomics as LLVM IR: the common case inline, everything else in `cold`.

An arena access tests the bits of the pages that it touches. An access through another pointer is
compared with the stack and the context. Aligned atomics of the arena are real atomics; atomics on
other memory, and unaligned ones, are plain reads and writes done by the interpreter's code.
"""

from collections.abc import Callable

from workbench import isa
from workbench.addresses import STACK_BYTES, STACK_START
from workbench.engines.jit.arithmetic import Emitter
from workbench.engines.jit.body import Body
from workbench.engines.jit.graph import Ins
from workbench.engines.jit.text import ARENA, LIKELY, MASK32, PAGES, PRIVATE, literal
from workbench.engines.machine import O_WROTE
from workbench.isa import Op

Access = Callable[[Body, str], None]  # what to do at a host pointer


def _arena_place(body: Body, base: str, off: int) -> str:
    """Offset in the arena window: the low half of the base, plus `off` without wrapping."""
    low = body.writer.value(f"and i64 {base}, {MASK32}")
    return body.writer.value(f"add i64 {low}, {off}") if off else low


def _page_bits(body: Body, at: str) -> str:
    page = body.writer.value(f"ashr i64 {at}, 12")
    address = body.writer.value(f"getelementptr i8, ptr %pages, i64 {page}")
    return body.writer.value(f"load i8, ptr {address}{PAGES}")


def _test_pages(body: Body, at: str, size: int, hot: str, rare: str) -> None:
    """Go to `hot` if all pages of an access are present; an aligned one has a single page.

    So aligned accesses, nearly all there are, pay for one test of page bits.
    """
    writer = body.writer
    if size > 1:
        aligned, unaligned = writer.new_label(), writer.new_label()
        writer.branch(_aligned(body, at, size), aligned, unaligned, LIKELY)
        writer.label(unaligned)
        both = f"call preserve_mostcc i1 @present(ptr %pages, i64 {at}, i64 {size - 1})"
        writer.branch(writer.value(both), hot, rare)
        writer.label(aligned)
    present = writer.value(f"trunc i8 {_page_bits(body, at)} to i1")
    writer.branch(present, hot, rare, LIKELY)


def _aligned(body: Body, at: str, size: int) -> str:
    rest = body.writer.value(f"and i64 {at}, {size - 1}")
    return body.writer.value(f"icmp eq i64 {rest}, 0")


def _load(size: int, signed: bool, dst: int, suffix: str, volatile: str = "") -> Access:
    """Load into a register, extended to 64 bits."""

    def emit(body: Body, pointer: str) -> None:
        kind = f"i{8 * size}"
        value = body.writer.value(f"load {volatile}{kind}, ptr {pointer}, align 1{suffix}")
        if size < 8:
            value = body.writer.value(f"{'sext' if signed else 'zext'} {kind} {value} to i64")
        body.set(dst, value)

    return emit


def _store(size: int, value: str, suffix: str, volatile: str = "") -> Access:
    """Store the low bytes of a value."""

    def emit(body: Body, pointer: str) -> None:
        low = value
        if size < 8:
            low = body.writer.value(f"trunc i64 {value} to i{8 * size}")
        body.writer.do(f"store {volatile}i{8 * size} {low}, ptr {pointer}, align 1{suffix}")

    return emit


def _arena_access(
    body: Body, ins: Ins, base: str, size: int, access: Access, cold: Access, aligned: bool = False
) -> None:
    """Do `access` if its pages are present (and it is aligned), else `cold`."""
    writer = body.writer
    at = _arena_place(body, base, ins.off)
    hot, rare, done = writer.new_label(), writer.new_label(), writer.new_label()
    if aligned and size > 1:
        present = writer.new_label()
        writer.branch(_aligned(body, at, size), present, rare, LIKELY)
        writer.label(present)
    _test_pages(body, at, 1 if aligned else size, hot, rare)
    writer.label(rare)
    cold(body, "")
    writer.goto(done)
    writer.label(hot)
    access(body, writer.value(f"getelementptr i8, ptr %window, i64 {at}"))
    writer.goto(done)
    writer.label(done)


def _arena_load(size: int, signed: bool) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        base = body.operand(ins)

        def cold(body: Body, _: str) -> None:
            body.cold(ins.pc, "0", base)
            body.set(ins.dst, body.out())

        hot = _load(size, signed, ins.dst, ARENA, "volatile ")
        _arena_access(body, ins, base, size, hot, cold)

    return emit


def _arena_store(size: int) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        base, value = body.get(ins.dst), body.operand(ins)

        def cold(body: Body, _: str) -> None:
            body.cold(ins.pc, base, value)

        _arena_access(body, ins, base, size, _store(size, value, ARENA, "volatile "), cold)

    return emit


def _elsewhere(
    ins: Ins, base: str, size: int, access: Access, body: Body, cold: Access, stack_only: bool
) -> None:
    """Do `access` in the stack or in the context, whichever holds all its bytes, else `cold`."""
    writer = body.writer
    address = writer.value(f"add i64 {base}, {ins.off}") if ins.off else base
    in_stack, other, done = writer.new_label(), writer.new_label(), writer.new_label()
    inside = writer.value(f"sub i64 {address}, {literal(STACK_START)}")
    limit = STACK_BYTES - size
    writer.branch(writer.value(f"icmp ule i64 {inside}, {limit}"), in_stack, other)
    writer.label(in_stack)
    access(body, writer.value(f"getelementptr i8, ptr %stack, i64 {inside}"))
    writer.goto(done)
    writer.label(other)
    if not stack_only:
        in_ctx, nowhere = writer.new_label(), writer.new_label()
        inside = writer.value(f"sub i64 {address}, %ctx_start")
        writer.branch(writer.value(f"icmp ult i64 {inside}, %room{size}"), in_ctx, nowhere)
        writer.label(in_ctx)
        access(body, writer.value(f"getelementptr i8, ptr %ctx, i64 {inside}"))
        writer.goto(done)
        writer.label(nowhere)
    cold(body, "")
    writer.goto(done)
    writer.label(done)


def _plain_load(size: int, signed: bool) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        base = body.operand(ins)

        def cold(body: Body, _: str) -> None:
            body.checked_cold(ins.pc, "0", base)
            body.set(ins.dst, body.out())

        only = ins.src == isa.FRAME_POINTER
        _elsewhere(ins, base, size, _load(size, signed, ins.dst, PRIVATE), body, cold, only)

    return emit


def _plain_store(size: int) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        base, value = body.get(ins.dst), body.operand(ins)

        def cold(body: Body, _: str) -> None:
            body.checked_cold(ins.pc, base, value)

        only = ins.dst == isa.FRAME_POINTER
        _elsewhere(ins, base, size, _store(size, value, PRIVATE), body, cold, only)

    return emit


def _result(ins: Ins) -> int | None:
    """The register that receives what an atomic operation found in memory."""
    name = Op(ins.op).name
    if "CMPXCHG" in name:
        return 0
    if "LOAD_ACQUIRE" in name:
        return ins.dst
    return ins.src if "FETCH" in name or "XCHG" in name else None


def _cold_atomic(body: Body, ins: Ins, a: str, b: str, checked: bool) -> None:
    """An atomic done by `step`; the result register changes only if it says so."""
    if "CMPXCHG" in Op(ins.op).name:
        body.save(body.depth(), 0)
    (body.checked_cold if checked else body.cold)(ins.pc, a, b)
    register = _result(ins)
    if register is None:
        return
    wrote = body.writer.value(f"icmp ne i64 {body.out(O_WROTE)}, 0")
    before = body.get(register)
    body.set(register, body.writer.value(f"select i1 {wrote}, i64 {body.out()}, i64 {before}"))


def _plain_atomic(body: Body, ins: Ins) -> None:
    """An atomic that no verifier has led to the arena."""
    _cold_atomic(body, ins, body.get(ins.dst), body.operand(ins), True)


def _arena_atomic(size: int, access: Callable[[Ins, str], Access]) -> Emitter:
    """An atomic of the arena; `access` gives, from instruction and operand, what to do."""

    def emit(body: Body, ins: Ins) -> None:
        a, b = body.get(ins.dst), body.operand(ins)
        base = b if "LOAD_ACQUIRE" in Op(ins.op).name else a

        def cold(body: Body, _: str) -> None:
            _cold_atomic(body, ins, a, b, False)

        _arena_access(body, ins, base, size, access(ins, b), cold, aligned=True)

    return emit


def _modify(name: str, size: int) -> Callable[[Ins, str], Access]:
    def access(ins: Ins, operand: str) -> Access:
        def emit(body: Body, pointer: str) -> None:
            kind, value = f"i{8 * size}", operand
            if size < 8:
                value = body.writer.value(f"trunc i64 {operand} to {kind}")
            old = body.writer.value(
                f"atomicrmw {name} ptr {pointer}, {kind} {value} seq_cst, align {size}{ARENA}"
            )
            register = _result(ins)
            if register is None:
                return
            if size < 8:
                old = body.writer.value(f"zext {kind} {old} to i64")
            body.set(register, old)

        return emit

    return access


def _compare_exchange(size: int) -> Callable[[Ins, str], Access]:
    """r0 gets the old value; a successful 32-bit one leaves r0 whole, as Linux does."""

    def access(ins: Ins, operand: str) -> Access:
        def emit(body: Body, pointer: str) -> None:
            value, kind, r0 = body.writer.value, f"i{8 * size}", body.get(0)
            expected, new = r0, operand
            if size < 8:
                expected = value(f"trunc i64 {r0} to {kind}")
                new = value(f"trunc i64 {operand} to {kind}")
            pair = value(
                f"cmpxchg ptr {pointer}, {kind} {expected}, {kind} {new} seq_cst seq_cst, "
                f"align {size}{ARENA}"
            )
            old = value(f"extractvalue {{{kind}, i1}} {pair}, 0")
            if size < 8:
                same = value(f"extractvalue {{{kind}, i1}} {pair}, 1")
                wide = value(f"zext {kind} {old} to i64")
                old = value(f"select i1 {same}, i64 {r0}, i64 {wide}")
            body.set(0, old)

        return emit

    return access


def _acquire(size: int) -> Callable[[Ins, str], Access]:
    def access(ins: Ins, operand: str) -> Access:
        def emit(body: Body, pointer: str) -> None:
            kind = f"i{8 * size}"
            text = f"load atomic {kind}, ptr {pointer} acquire, align {size}{ARENA}"
            value = body.writer.value(text)
            body.set(ins.dst, _wide(body, value, size))

        return emit

    return access


def _release(size: int) -> Callable[[Ins, str], Access]:
    def access(ins: Ins, operand: str) -> Access:
        def emit(body: Body, pointer: str) -> None:
            kind, value = f"i{8 * size}", operand
            if size < 8:
                value = body.writer.value(f"trunc i64 {operand} to {kind}")
            body.writer.do(
                f"store atomic {kind} {value}, ptr {pointer} release, align {size}{ARENA}"
            )

        return emit

    return access


def _wide(body: Body, value: str, size: int) -> str:
    return value if size == 8 else body.writer.value(f"zext i{8 * size} {value} to i64")


def _emitters() -> dict[Op, Emitter]:
    found: dict[Op, Emitter] = {}
    for size in (1, 2, 4, 8):
        bits = 8 * size
        for sign in ("", "S") if size < 8 else ("",):
            found[Op[f"LDX{sign}{bits}"]] = _plain_load(size, bool(sign))
            found[Op[f"ARENA_LDX{sign}{bits}"]] = _arena_load(size, bool(sign))
        found[Op[f"STX{bits}"]] = _plain_store(size)
        found[Op[f"ARENA_STX{bits}"]] = _arena_store(size)
        found[Op[f"ARENA_LOAD_ACQUIRE{bits}"]] = _arena_atomic(size, _acquire(size))
        found[Op[f"ARENA_STORE_RELEASE{bits}"]] = _arena_atomic(size, _release(size))
    for size in (4, 8):
        bits = 8 * size
        for name in ("ADD", "AND", "OR", "XOR"):
            modify = _arena_atomic(size, _modify(name.lower(), size))
            found[Op[f"ARENA_ATOMIC_{name}{bits}"]] = modify
            found[Op[f"ARENA_FETCH_{name}{bits}"]] = modify
        found[Op[f"ARENA_XCHG{bits}"]] = _arena_atomic(size, _modify("xchg", size))
        found[Op[f"ARENA_CMPXCHG{bits}"]] = _arena_atomic(size, _compare_exchange(size))
    plain = (op for op in Op if Op.ATOMIC_ADD32 <= op <= Op.STORE_RELEASE64)
    return found | dict.fromkeys(plain, _plain_atomic)


EMITTERS = _emitters()
