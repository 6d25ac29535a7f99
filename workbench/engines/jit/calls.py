"""Calls, returns, helpers and kfuncs, packet loads, and what only the interpreter executes."""

from workbench.addresses import CODE_START, MAX_FRAMES
from workbench.engines.jit.arithmetic import Emitter
from workbench.engines.jit.body import Body, Signature
from workbench.engines.jit.graph import Ins
from workbench.engines.jit.layout import GONE, Word
from workbench.engines.jit.text import LIKELY, UNLIKELY, literal
from workbench.functions import KFUNCS
from workbench.isa import Op

_LEFT_HELPERS = frozenset({12, 44, 65, 93, 164, 181})
"""Helpers after which the program goes on elsewhere, or its packet does: the interpreter's."""

_LEFT_KFUNCS = frozenset({KFUNCS["bpf_throw"].number})


def _enter(body: Body, ins: Ins, target: int) -> None:
    """Call a local function; when the run has ended in it, this function's frame is kept too."""
    writer = body.writer
    signature = Signature(body.graph.functions[target], body.verified)
    deeper = writer.value(f"add i64 {body.depth}, 1")
    if body.depth != "0":
        room, full = writer.new_label(), writer.new_label()
        writer.branch(writer.value(f"icmp ult i64 {deeper}, {MAX_FRAMES}"), room, full, LIKELY)
        writer.label(full)
        body.leave(ins.pc)
        writer.label(room)
    values = [deeper, body.unspent(0), *map(body.get, signature.given)]
    given = ", ".join(f"i64 {value}" for value in values)
    result = writer.value(f"call fastcc {signature.result} @f{target}(ptr %p, {given})")
    for index, register in enumerate(signature.returned, 1):
        body.set(register, writer.value(f"extractvalue {signature.result} {result}, {index}"))
    left = writer.value(f"extractvalue {signature.result} {result}, 0")
    writer.do(f"store i64 {left}, ptr %left")
    body.forget_pages()
    writer.do(f"store i64 {ins.pc + 1}, ptr %back")
    gone = writer.value(f"icmp eq i64 {left}, {GONE}")
    writer.branch(gone, "leave", f"b{ins.pc + 1}", UNLIKELY)


def _call_local(body: Body, ins: Ins) -> None:
    _enter(body, ins, ins.target)


def _call_register(body: Body, ins: Ins) -> None:
    """Enter the function that the register points to; any other value is the interpreter's."""
    writer = body.writer
    targets = {target: writer.new_label() for target in body.graph.named}
    other = writer.new_label()
    cases = " ".join(
        f"i64 {literal(CODE_START + 8 * target)}, label %{label}"
        for target, label in targets.items()
    )
    writer.do(f"switch i64 {body.get(ins.dst)}, label %{other} [{cases}]")
    for target, label in targets.items():
        writer.label(label)
        _enter(body, ins, target)
    writer.label(other)
    body.leave(ins.pc)


def _exit(body: Body, ins: Ins) -> None:
    """End the function, and with the main one the program."""
    body.finish(ins.pc)


def _call(body: Body, ins: Ins) -> None:
    """A helper or kfunc, in compiled code; its result goes to r0 if it has one."""
    if ins.imm in (_LEFT_HELPERS if ins.op == Op.CALL_HELPER else _LEFT_KFUNCS):
        body.leave(ins.pc)
        body.writer.label(body.writer.new_label())
        return
    body.save((1, 2, 3, 4, 5))
    body.checked_cold(ins.pc, "0", "0")
    body.forget_pages()
    wrote = body.writer.value(f"icmp ne i64 {body.word(Word.WROTE)}, 0")
    value, before = body.word(Word.VALUE), body.get(0)
    body.set(0, body.writer.value(f"select i1 {wrote}, i64 {value}, i64 {before}"))


def _load_function(body: Body, ins: Ins) -> None:
    body.set(ins.dst, literal(CODE_START + 8 * ins.target))


def _packet(body: Body, ins: Ins) -> None:
    """Packet loads; one beyond the packet ends the program with 0."""
    body.checked_cold(ins.pc, "0", body.operand(ins))
    body.set(0, body.word(Word.VALUE))


def _refuse(body: Body, ins: Ins) -> None:
    """Not an instruction that can run: the interpreter says so."""
    body.leave(ins.pc)


_PACKETS = (Op.LD_ABS8, Op.LD_ABS16, Op.LD_ABS32, Op.LD_IND8, Op.LD_IND16, Op.LD_IND32)
_UNRESOLVED = (
    Op.LD_MAP_FD,
    Op.LD_MAP_VALUE,
    Op.LD_BTF_ID,
    Op.LD_MAP_IDX,
    Op.LD_MAP_IDX_VALUE,
    Op.INVALID,
)

EMITTERS: dict[Op, Emitter] = {
    Op.CALL_LOCAL: _call_local,
    Op.CALLX: _call_register,
    Op.EXIT: _exit,
    Op.CALL_HELPER: _call,
    Op.CALL_KFUNC: _call,
    Op.LD_FUNC: _load_function,
    **dict.fromkeys(_PACKETS, _packet),
    **dict.fromkeys(_UNRESOLVED, _refuse),
}
