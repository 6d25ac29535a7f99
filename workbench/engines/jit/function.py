"""A whole program as an LLVM module: prologue, basic blocks, ways out, and what they call."""

import numpy as np

from workbench.engines.jit import access, arithmetic, calls
from workbench.engines.jit.arithmetic import Emitter
from workbench.engines.jit.body import Body
from workbench.engines.jit.graph import Graph, Ins, graph
from workbench.engines.jit.layout import INTERRUPTED, LEFT, SLICE, STOPPED, Word
from workbench.engines.jit.text import METADATA, PRIVATE, literal
from workbench.engines.machine import BUDGET, MAY_GOTO_LIMIT
from workbench.isa import Op

EMITTERS: dict[Op, Emitter] = {**arithmetic.EMITTERS, **access.EMITTERS, **calls.EMITTERS}
"""How each operation is written; tests/test_jit.py names any that is missing."""


def module(code: np.ndarray) -> str:
    """The LLVM module of a program: INSTRUCTION records as loaded, with a final INVALID."""
    found = graph(code)
    has_calls = bool(found.returns)
    body = Body(found, len(code), has_calls)
    _prologue(body)
    for first, block in found.blocks.items():
        _block(body, first, block, found)
    body.write_checks()
    _ends(body)
    lines = "\n".join(body.writer.lines)
    head = f"define internal i64 @program(ptr noalias %p) {_ATTRIBUTES} {{"
    return f"{_SUPPORT}\n{head}\n{lines}\n}}\n{METADATA}"


def _prologue(body: Body) -> None:
    """Declare registers and fetch what does not change during a run."""
    writer = body.writer
    names = [*(f"r{n}" for n in range(11)), "budget", "left", "depth", "pc", "how"]
    writer.lines += [f"  %{name} = alloca i64" for name in names]
    pointers = dict(regs=Word.REGS, control=Word.CONTROL, returns=Word.RETURNS, out=Word.OUT)
    pointers |= dict(stack=Word.STACK, ctx=Word.CTX, window=Word.WINDOW, pages=Word.PAGES)
    words = dict(high=Word.HIGH, ctx_start=Word.CTX_START, ctx_size=Word.CTX_SIZE)
    for name, word in (pointers | words).items():
        kind = "ptr" if name in pointers else "i64"
        address = writer.value(f"getelementptr i64, ptr %p, i64 {int(word)}")
        writer.do(f"%{name} = load {kind}, ptr {address}, !invariant.load !11")
    for size in (1, 2, 4, 8):
        fits = writer.value(f"icmp uge i64 %ctx_size, {size}")
        room = writer.value(f"sub i64 %ctx_size, {size - 1}")
        writer.do(f"%room{size} = select i1 {fits}, i64 {room}, i64 0")
    for register in (0, *range(3, 10)):
        body.set(register, "0")
    body.set(10, literal(calls.FIRST_R10))
    for register in (1, 2):
        body.restore("0", register)
    writer.do(f"store i64 {MAY_GOTO_LIMIT}, ptr %budget")
    writer.do("store i64 0, ptr %depth")
    spare = writer.value(f"sub i64 {body.parameter(Word.ISSUED)}, {body.needed}")
    writer.do(f"store i64 {spare}, ptr %left")
    writer.goto("b0")


def _block(body: Body, first: int, block: list[Ins], found: Graph) -> None:
    """One basic block; it pays for all its steps when it begins."""
    writer = body.writer
    writer.label(f"b{first}")
    left = writer.value("load i64, ptr %left")
    writer.do(f"store i64 {writer.value(f'sub i64 {left}, {len(block)}')}, ptr %left")
    for number, ins in enumerate(block, 1):
        body.later = len(block) - number
        EMITTERS[Op(ins.op)](body, ins)
    last = block[-1]
    if last.op not in _OWN_ENDS:
        following = last.pc + (2 if last.op in _WIDE else 1)
        writer.goto(f"b{min(following, body.slots - 1)}")


_OWN_ENDS = frozenset(
    op
    for op in Op
    if Op.JEQ64 <= op <= Op.MAY_GOTO
    or op in (Op.EXIT, Op.CALL_LOCAL, Op.CALLX)
    or EMITTERS.get(op) is calls.EMITTERS[Op.INVALID]
)
_WIDE = frozenset({Op.LD_IMM64, Op.LD_FUNC})


def _ends(body: Body) -> None:
    """The ways out: all registers to memory, or r0 alone when the program goes no further."""
    writer = body.writer
    writer.label("leave")
    depth = body.depth()
    for register in (*range(1, 11), BUDGET):
        body.save(depth, register)
    writer.goto("finish")
    writer.label("stopped")
    writer.do(f"store i64 {STOPPED}, ptr %how")
    writer.do("store i64 -1, ptr %pc")
    writer.goto("finish")
    writer.label("finish")
    depth = body.depth()
    body.save(depth, 0)
    pc = writer.value("load i64, ptr %pc")
    for index, value in ((0, pc), (1, depth)):  # control[PC], control[DEPTH]
        address = writer.value(f"getelementptr i64, ptr %control, i64 {index}")
        if index == 0:
            before = writer.value(f"load i64, ptr {address}{PRIVATE}")
            kept = writer.value(f"icmp slt i64 {pc}, 0")
            value = writer.value(f"select i1 {kept}, i64 {before}, i64 {pc}")
        writer.do(f"store i64 {value}, ptr {address}{PRIVATE}")
    left = body.unspent(body.needed)
    steps = writer.value(f"sub i64 {body.parameter(Word.ISSUED)}, {left}")
    address = writer.value(f"getelementptr i64, ptr %p, i64 {int(Word.STEPS)}")
    writer.do(f"store i64 {steps}, ptr {address}")
    writer.do(f"ret i64 {writer.value('load i64, ptr %how')}")
    writer.label("unreachable")
    writer.do("unreachable")


def _word(name: str, word: Word, kind: str = "ptr") -> str:
    return (
        f"  %{name}_at = getelementptr i64, ptr %p, i64 {int(word)}\n"
        f"  %{name} = load {kind}, ptr %{name}_at\n"
    )


# No constants beside the code: then nothing in it is far away, and the small code model holds.
_ATTRIBUTES = 'nounwind noimplicitfloat "no-jump-tables"="true"'

_SUPPORT = f"""
declare i16 @llvm.bswap.i16(i16)
declare i32 @llvm.bswap.i32(i32)
declare i64 @llvm.bswap.i64(i64)

attributes #0 = {{ noinline nounwind noimplicitfloat }}

; one instruction, by the interpreter's code; hardly a register of the caller is disturbed
define internal preserve_mostcc i64 @cold(ptr %p, i64 %pc, i64 %a, i64 %b, i64 %depth,
                                          i64 %left) #0 {{
{_word("step", Word.STEP)}{_word("table", Word.TABLE, "i64")}
{_word("start", Word.CLOCK, "i64")}{_word("issued", Word.ISSUED, "i64")}
  %steps = sub i64 %issued, %left
  %clock = add i64 %start, %steps
  %status = call i64 %step(i64 %table, i64 %pc, i64 %a, i64 %b, i64 %depth, i64 %clock)
  ret i64 %status
}}

; whether first and last byte of an access that is not aligned are on present pages
define internal preserve_mostcc i1 @present(ptr %pages, i64 %at, i64 %more) #0 {{
  %end = add i64 %at, %more
  %first = ashr i64 %at, 12
  %last = ashr i64 %end, 12
  %first_at = getelementptr i8, ptr %pages, i64 %first
  %last_at = getelementptr i8, ptr %pages, i64 %last
  %first_bits = load i8, ptr %first_at
  %last_bits = load i8, ptr %last_at
  %both = and i8 %first_bits, %last_bits
  %present = trunc i8 %both to i1
  ret i1 %present
}}

; look for signals, with the GIL; then more steps, or minus how the run ends
define internal preserve_mostcc i64 @refill(ptr %p, i64 %left, i64 %needed) #0 {{
{_word("save", Word.SAVE)}{_word("restore", Word.RESTORE)}{_word("signals", Word.SIGNALS)}
{_word("thread", Word.THREAD)}{_word("fuel", Word.FUEL, "i64")}{_word("issued", Word.ISSUED, "i64")}
  call void %restore(ptr %thread)
  %raised = call i32 %signals()
  %again = call ptr %save()
  store ptr %again, ptr %thread_at
  %quiet = icmp eq i32 %raised, 0
  br i1 %quiet, label %on, label %interrupted
interrupted:
  ret i64 -{INTERRUPTED}
on:
  %rest = sub i64 %fuel, %issued
  %small = icmp slt i64 %rest, {SLICE}
  %more = select i1 %small, i64 %rest, i64 {SLICE}
  %sum = add i64 %left, %more
  %enough = icmp sge i64 %sum, %needed
  br i1 %enough, label %give, label %out
give:
  %total = add i64 %issued, %more
  store i64 %total, ptr %issued_at
  ret i64 %sum
out:
  ret i64 -{LEFT}
}}

define i64 @run(ptr %p) nounwind noimplicitfloat {{
{_word("save", Word.SAVE)}{_word("restore", Word.RESTORE)}
  %thread = call ptr %save()
  %thread_at = getelementptr i64, ptr %p, i64 {int(Word.THREAD)}
  store ptr %thread, ptr %thread_at
  %how = call i64 @program(ptr %p)
  %now = load ptr, ptr %thread_at
  call void %restore(ptr %now)
  ret i64 %how
}}
"""
