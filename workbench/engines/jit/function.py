"""A whole program as an LLVM module: a function for each of its functions, and what they call."""

from workbench.bpf.isa import Op
from workbench.engines.jit import access, arithmetic, calls
from workbench.engines.jit.arithmetic import Emitter
from workbench.engines.jit.body import Body, Signature
from workbench.engines.jit.graph import Graph, Ins, following
from workbench.engines.jit.layout import EXITED, GONE, LEFT, Word
from workbench.engines.jit.text import METADATA, Lines, load_words

EMITTERS: dict[Op, Emitter] = {**arithmetic.EMITTERS, **access.EMITTERS, **calls.EMITTERS}
"""How each operation is written; tests/engines/jit names any that is missing."""

# No constants beside the code: then nothing in it is far away, and the small code model holds.
_ATTRIBUTES = 'nounwind noimplicitfloat "no-jump-tables"="true"'

_INTRINSICS = """
declare i16 @llvm.bswap.i16(i16)
declare i32 @llvm.bswap.i32(i32)
declare i64 @llvm.bswap.i64(i64)
declare i64 @llvm.fshr.i64(i64, i64, i64)
"""


def module(
    found: Graph, verified: bool, counts: frozenset[str] = frozenset(), lines: bool = False
) -> str:
    """The LLVM module of a program.

    `verified` programs follow the rules about registers; `counts` may have "blocks" and "pages".
    `lines` adds a table of where the code of each slot lies: slot n is line n + 1.
    """
    table = Lines() if lines else None
    bodies = [Body(found, each, verified, counts) for each in found.functions.values()]
    functions = [_function(body, table) for body in bodies]
    main = next(body for body in bodies if body.is_main)
    head = _entry(main.signature, found.entry, main.needed)
    end = table.metadata() if table else ""
    return "\n".join([_INTRINSICS, head, *functions, METADATA, end])


def _entry(signature: Signature, entry: int, needed: int) -> str:
    """`run`: the program from `entry` on, without the GIL; registers come from memory.

    With less fuel than is needed up to the first look, all is left to the interpreter.
    """
    result, set_at_start = signature.result, range(10) if entry else (1, 2)
    loads = "".join(
        f"  %r{n}_at = getelementptr i64, ptr %regs, i64 {n}\n  %r{n} = load i64, ptr %r{n}_at\n"
        for n in set_at_start
    )
    values = (f"%r{n}" if n in set_at_start else "0" for n in signature.given)
    rest = "".join(f", i64 {value}" for value in values)
    return f"""
define i64 @run(ptr %p) nounwind noimplicitfloat {{
{load_words("ptr", save=Word.SAVE, restore=Word.RESTORE, regs=Word.REGS)}
{load_words("i64", before=Word.ISSUED, unused=Word.NEEDED, left_word=Word.LEFT)}
{load_words("i64", place=Word.PC, depth=Word.DEPTH, fuel=Word.FUEL, slice=Word.SLICE)}
  %whole = add i64 %slice, {needed}
  %small = icmp slt i64 %fuel, %whole
  %issued = select i1 %small, i64 %fuel, i64 %whole
  store i64 %issued, ptr %before_at
  store i64 {needed}, ptr %unused_at
  %spare = sub i64 %issued, {needed}
  %short = icmp slt i64 %spare, 0
  br i1 %short, label %leave, label %go
leave:
  store i64 %issued, ptr %left_word_at
  store i64 {entry}, ptr %place_at
  store i64 0, ptr %depth_at
  ret i64 {LEFT}
go:
  %thread = call ptr %save()
  %thread_at = getelementptr i64, ptr %p, i64 {int(Word.THREAD)}
  store ptr %thread, ptr %thread_at
{loads}  %result = call fastcc {result} @f{entry}(ptr %p, i64 0, i64 %spare{rest})
  %left = extractvalue {result} %result, 0
  %end_r0 = extractvalue {result} %result, 1
  %now = load ptr, ptr %thread_at
  call void %restore(ptr %now)
  %gone = icmp eq i64 %left, {GONE}
  br i1 %gone, label %early, label %end
end:
  %unspent = add i64 %left, {needed}
  store i64 %unspent, ptr %left_word_at
  store i64 %end_r0, ptr %regs
  ret i64 {EXITED}
early:
{load_words("i64", how=Word.HOW)}
  ret i64 %how
}}
"""


def _function(body: Body, table: Lines | None) -> str:
    each = body.function
    body.prologue()
    for first, block in each.blocks.items():
        _block(body, first, block)
    body.epilogue()
    signature = body.signature
    given = "".join(f", i64 %a{register}" for register in signature.given)
    parameters = f"ptr noalias %p, i64 %depth, i64 %left_in{given}"
    head = f"define internal fastcc {signature.result} @f{each.entry}({parameters})"
    lines, attributes = body.writer.lines, _ATTRIBUTES
    if table is not None:
        attributes += table.function(each.entry)
        lines = table.annotate(lines, body.writer.places)
    text = "\n".join(lines)
    return f"{head} {attributes} {{\n{text}\n}}"


def _block(body: Body, first: int, block: list[Ins]) -> None:
    """One basic block; it pays for all its steps when it begins."""
    body.writer.pc = first
    if first in body.turns:
        _first_turn(body, first)
    body.begin_block(first)
    _instructions(body, block, 0)
    last = block[-1]
    if last.op not in _OWN_ENDS:
        body.writer.goto(f"b{min(following(last), body.graph.slots - 1)}")


def _first_turn(body: Body, head: int) -> None:
    """A loop's turn before the one that the blocks themselves are; all of it is paid for."""
    body.turning = body.turns[head]
    paid = sum(body.lengths[first] for first in body.turning) + body.lengths[head]
    for first in body.turning:
        paid -= body.lengths[first]
        body.writer.pc = first
        body.label_copy(first, f"turn{first}")
        _instructions(body, body.function.blocks[first], paid)
        last = body.function.blocks[first][-1]
        if last.op not in _OWN_ENDS:
            body.fall_through(following(last))
    body.turning = []


def _instructions(body: Body, block: list[Ins], paid: int) -> None:
    """The code of a block, when `paid` steps after it are paid for, too."""
    for number, ins in enumerate(block, 1):
        body.writer.pc = ins.pc
        body.later = len(block) - number + paid
        EMITTERS[Op(ins.op)](body, ins)


_OWN_ENDS = frozenset(
    op
    for op in Op
    if Op.JEQ64 <= op <= Op.MAY_GOTO
    or op in (Op.EXIT, Op.CALL_LOCAL, Op.CALLX)
    or EMITTERS.get(op) is calls.EMITTERS[Op.INVALID]
)
