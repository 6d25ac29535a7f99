"""Loads, stores and atomics as LLVM IR: the common case inline, everything else out of line.

An arena access tests its alignment and the bits of its page. An access through another pointer is
compared with the stack and with the region that was last reached. Aligned atomics of the arena are
real atomics; atomics on other memory, and unaligned ones, are plain reads and writes done by the
interpreter's code.
"""

from collections.abc import Callable
from typing import NamedTuple

from workbench.arena.rules import PAGE_SHIFT, PAGE_SIZE
from workbench.arena.state import GUARD_PAGES
from workbench.bpf.addresses import FRAME_BYTES, STACK_BYTES, STACK_START
from workbench.bpf.isa import FRAME_POINTER, Op
from workbench.engines.jit.arithmetic import Emitter
from workbench.engines.jit.body import Body
from workbench.engines.jit.graph import Ins
from workbench.engines.jit.layout import Word
from workbench.engines.jit.text import LIKELY, MASK32, literal

Access = Callable[[Body, str], None]  # what to do at a host pointer
Act = Callable[[], None]


def _arena_place(body: Body, base: str, off: int) -> str:
    """Offset in the arena window: the low half of the base, plus `off` without wrapping."""
    low = body.writer.value(f"and i64 {base}, {MASK32}")
    return body.writer.value(f"add i64 {low}, {off}") if off else low


def _find_page(body: Body, ins: Ins, at: str, size: int, common: str, uncommon: str) -> None:
    """Go to `common` if the page is there; a walk through memory looks first where it was last.

    Pages that this program frees are forgotten at once, those that others free with the next slice.
    """
    if ins.pc not in body.streams:
        _test_page(body, at, size, common, uncommon)
        return
    writer = body.writer
    look, found = writer.new_label(), writer.new_label()
    name = f"%near{body.streams[ins.pc]}"
    near = writer.value(f"load i64, ptr {name}")
    inside = writer.value(f"sub i64 {at}, {near}")
    writer.branch(writer.value(f"icmp ule i64 {inside}, {PAGE_SIZE - size}"), common, look, LIKELY)
    writer.label(look)
    _test_page(body, at, size, found, uncommon)
    writer.label(found)
    writer.do(f"store i64 {writer.value(f'and i64 {at}, -{PAGE_SIZE}')}, ptr {name}")
    writer.goto(common)


def _test_page(body: Body, at: str, size: int, common: str, uncommon: str) -> None:
    """Go to `common` if the access is aligned, so that it has one page, and that page is present.

    Two branches: both tests in one comparison took 15 % longer on the linked ring.
    """
    writer = body.writer
    if size > 1:
        aligned = writer.new_label()
        rest = writer.value(f"and i64 {at}, {size - 1}")
        writer.branch(writer.value(f"icmp eq i64 {rest}, 0"), aligned, uncommon, LIKELY)
        writer.label(aligned)
    page = writer.value(f"ashr i64 {at}, {PAGE_SHIFT}")
    address = writer.value(f"getelementptr i8, ptr %pages, i64 {page}")
    bits = writer.value(f"load i8, ptr {address}")
    writer.branch(writer.value(f"trunc i8 {bits} to i1"), common, uncommon, LIKELY)


def _load(size: int, signed: bool, dst: int, volatile: str = "") -> Access:
    """Load into a register, extended to 64 bits."""

    def emit(body: Body, pointer: str) -> None:
        kind = f"i{8 * size}"
        value = body.writer.value(f"load {volatile}{kind}, ptr {pointer}, align 1")
        body.set(dst, _wide(body, value, size, signed))

    return emit


def _store(size: int, value: str, volatile: str = "") -> Access:
    """Store the low bytes of a value."""

    def emit(body: Body, pointer: str) -> None:
        low = _low(body, value, size)
        body.writer.do(f"store {volatile}i{8 * size} {low}, ptr {pointer}, align 1")

    return emit


def _wide(body: Body, value: str, size: int, signed: bool = False) -> str:
    """Extend a value to 64 bits."""
    extend = "sext" if signed else "zext"
    return value if size == 8 else body.writer.value(f"{extend} i{8 * size} {value} to i64")


def _low(body: Body, value: str, size: int) -> str:
    """The low bytes of a value."""
    return value if size == 8 else body.writer.value(f"trunc i64 {value} to i{8 * size}")


def _count(body: Body, at: str, reads: bool, writes: bool) -> None:
    """Count an access of the arena's page, if that is wanted."""
    if "pages" not in body.counts:
        return
    page = body.writer.value(f"ashr i64 {at}, {PAGE_SHIFT}")
    slot = body.writer.value(f"add i64 {page}, {GUARD_PAGES}")
    for word, wanted in ((Word.READS, reads), (Word.WRITES, writes)):
        if wanted:
            body.increment(word, slot)


def _uncommon_access(
    body: Body, ins: Ins, at: str, a: str, b: str, function: str, result: str
) -> str:
    """Do an access out of line; the steps of the block so far and the place go along."""
    body.operands(ins.pc, a, b)
    body.put(Word.AT, at)
    return body.call_support(Word[function], result)


def _arena_load(size: int, signed: bool) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        writer = body.writer
        base = body.operand(ins)
        at = _arena_place(body, base, ins.off)
        _count(body, at, True, False)
        common, uncommon, done = (writer.new_label() for _ in range(3))
        _find_page(body, ins, at, size, common, uncommon)
        writer.label(uncommon)
        value = _uncommon_access(body, ins, at, "0", base, f"LOAD{size}", "i64")
        body.set(ins.dst, _wide(body, _low(body, value, size), size, signed))
        writer.goto(done)
        writer.label(common)
        pointer = writer.value(f"getelementptr i8, ptr %window, i64 {at}")
        _load(size, signed, ins.dst, "volatile ")(body, pointer)
        writer.goto(done)
        writer.label(done)

    return emit


def _arena_store(size: int) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        writer = body.writer
        base, value = body.get(ins.dst), body.operand(ins)
        at = _arena_place(body, base, ins.off)
        _count(body, at, False, True)
        common, uncommon, done = (writer.new_label() for _ in range(3))
        _find_page(body, ins, at, size, common, uncommon)
        writer.label(uncommon)
        _uncommon_access(body, ins, at, base, value, f"STORE{size}", "void")
        writer.goto(done)
        writer.label(common)
        _store(size, value, "volatile ")(
            body, writer.value(f"getelementptr i8, ptr %window, i64 {at}")
        )
        writer.goto(done)
        writer.label(done)

    return emit


def _in_frame(body: Body, base: int, off: int, size: int) -> bool:
    """Whether an access is in the function's own frame, come what may."""
    return body.frame_is_fixed and base == FRAME_POINTER and -FRAME_BYTES <= off <= -size


class _Kind(NamedTuple):
    """Loads or stores: the words for the region last reached so, and what finds another."""

    near: Word
    room: Word
    host: Word
    reach: Word


_LOADS = _Kind(Word.NEAR_READ, Word.READ_ROOM, Word.READ_HOST, Word.REACH_LOAD)
_STORES = _Kind(Word.NEAR_WRITE, Word.WRITE_ROOM, Word.WRITE_HOST, Word.REACH_STORE)


def _elsewhere(
    body: Body, ins: Ins, kind: _Kind, base: str, size: int, b: str, access: Access, otherwise: Act
) -> None:
    """Do `access` in the stack or the region last reached, else in the region that there is.

    `otherwise` is for an access that no region holds.
    """
    writer = body.writer
    address = writer.value(f"add i64 {base}, {ins.off}") if ins.off else base
    in_stack, other, last, search, nowhere, found, done = (writer.new_label() for _ in range(7))
    inside = writer.value(f"sub i64 {address}, {literal(STACK_START)}")
    limit = STACK_BYTES - size
    writer.branch(writer.value(f"icmp ule i64 {inside}, {limit}"), in_stack, other)
    writer.label(in_stack)
    stack = writer.value(f"getelementptr i64, ptr %p, i64 {int(Word.STACK)}")
    pointer = writer.value(f"getelementptr i8, ptr {stack}, i64 {inside}")
    writer.do(f"store ptr {pointer}, ptr %host")
    writer.goto(found)
    writer.label(other)
    inside = writer.value(f"sub i64 {address}, {body.word(kind.near)}")
    in_last = writer.value(f"icmp ult i64 {inside}, {body.word(kind.room)}")
    writer.branch(in_last, last, search, LIKELY)
    writer.label(last)
    pointer = writer.value(f"getelementptr i8, ptr {body.word(kind.host, 'ptr')}, i64 {inside}")
    writer.do(f"store ptr {pointer}, ptr %host")
    writer.goto(found)
    writer.label(search)
    body.put(Word.ADDRESS, address)
    body.put(Word.SIZE, str(size))
    pointer = body.call_support(kind.reach, "ptr")
    writer.do(f"store ptr {pointer}, ptr %host")
    writer.branch(writer.value(f"icmp ne ptr {pointer}, null"), found, nowhere, LIKELY)
    writer.label(nowhere)
    body.checked_uncommon(ins.pc, base, b)
    otherwise()
    writer.goto(done)
    writer.label(found)
    access(body, writer.value("load ptr, ptr %host"))
    writer.goto(done)
    writer.label(done)


def _frame_pointer(body: Body, ins: Ins) -> str:
    return body.writer.value(f"getelementptr i8, ptr %frame, i64 {ins.off}")


def _plain_load(size: int, signed: bool) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        access = _load(size, signed, ins.dst)
        if _in_frame(body, ins.src, ins.off, size) and not ins.imm:
            access(body, _frame_pointer(body, ins))
            return
        base = body.operand(ins)
        _elsewhere(
            body, ins, _LOADS, base, size, base, access,
            lambda: body.set(ins.dst, body.word(Word.VALUE)),
        )  # fmt: skip

    return emit


def _plain_store(size: int) -> Emitter:
    def emit(body: Body, ins: Ins) -> None:
        value = body.operand(ins)
        access = _store(size, value)
        if _in_frame(body, ins.dst, ins.off, size):
            access(body, _frame_pointer(body, ins))
            return
        base = body.get(ins.dst)
        _elsewhere(body, ins, _STORES, base, size, value, access, lambda: None)

    return emit


def _result(ins: Ins) -> int | None:
    """The register that receives what an atomic operation found in memory."""
    name = Op(ins.op).name
    if "CMPXCHG" in name:
        return 0
    if "LOAD_ACQUIRE" in name:
        return ins.dst
    return ins.src if "FETCH" in name or "XCHG" in name else None


def _uncommon_atomic(body: Body, ins: Ins, a: str, b: str, checked: bool) -> None:
    """An atomic done by `step`; the result register changes only if it says so."""
    if "CMPXCHG" in Op(ins.op).name:
        body.save((0,))
    (body.checked_uncommon if checked else body.uncommon)(ins.pc, a, b)
    register = _result(ins)
    if register is None:
        return
    wrote = body.writer.value(f"icmp ne i64 {body.word(Word.WROTE)}, 0")
    value, before = body.word(Word.VALUE), body.get(register)
    body.set(register, body.writer.value(f"select i1 {wrote}, i64 {value}, i64 {before}"))


def _plain_atomic(body: Body, ins: Ins) -> None:
    """An atomic that no verifier has led to the arena."""
    _uncommon_atomic(body, ins, body.get(ins.dst), body.operand(ins), True)


def _arena_atomic(size: int, access: Callable[[Ins, str], Access]) -> Emitter:
    """An atomic of the arena; `access` gives, from instruction and operand, what to do."""

    def emit(body: Body, ins: Ins) -> None:
        writer, name = body.writer, Op(ins.op).name
        a, b = body.get(ins.dst), body.operand(ins)
        at = _arena_place(body, b if "LOAD_ACQUIRE" in name else a, ins.off)
        _count(body, at, "RELEASE" not in name, "ACQUIRE" not in name)
        common, uncommon, done = (writer.new_label() for _ in range(3))
        _test_page(body, at, size, common, uncommon)
        writer.label(uncommon)
        _uncommon_atomic(body, ins, a, b, False)
        writer.goto(done)
        writer.label(common)
        access(ins, b)(body, writer.value(f"getelementptr i8, ptr %window, i64 {at}"))
        writer.goto(done)
        writer.label(done)

    return emit


def _modify(name: str, size: int) -> Callable[[Ins, str], Access]:
    def access(ins: Ins, operand: str) -> Access:
        def emit(body: Body, pointer: str) -> None:
            kind, value = f"i{8 * size}", _low(body, operand, size)
            old = body.writer.value(
                f"atomicrmw {name} ptr {pointer}, {kind} {value} seq_cst, align {size}"
            )
            register = _result(ins)
            if register is None:
                return
            body.set(register, _wide(body, old, size))

        return emit

    return access


def _compare_exchange(size: int) -> Callable[[Ins, str], Access]:
    """r0 gets the old value; a successful 32-bit one leaves r0 whole, as Linux does."""

    def access(ins: Ins, operand: str) -> Access:
        def emit(body: Body, pointer: str) -> None:
            value, kind, r0 = body.writer.value, f"i{8 * size}", body.get(0)
            expected, new = _low(body, r0, size), _low(body, operand, size)
            pair = value(
                f"cmpxchg ptr {pointer}, {kind} {expected}, {kind} {new} seq_cst seq_cst, "
                f"align {size}"
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
            text = f"load atomic {kind}, ptr {pointer} acquire, align {size}"
            value = body.writer.value(text)
            body.set(ins.dst, _wide(body, value, size))

        return emit

    return access


def _release(size: int) -> Callable[[Ins, str], Access]:
    def access(ins: Ins, operand: str) -> Access:
        def emit(body: Body, pointer: str) -> None:
            kind, value = f"i{8 * size}", _low(body, operand, size)
            body.writer.do(f"store atomic {kind} {value}, ptr {pointer} release, align {size}")

        return emit

    return access


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
