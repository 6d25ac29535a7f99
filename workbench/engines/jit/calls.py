"""Calls, returns, helpers and kfuncs, packet loads, and what only the interpreter executes."""

from collections.abc import Iterable

from workbench.bpf.addresses import CODE_START, MAX_FRAMES
from workbench.bpf.functions import HELPERS
from workbench.bpf.helper_names import Helper
from workbench.bpf.isa import Op
from workbench.engines.jit.arithmetic import Emitter
from workbench.engines.jit.body import Body, Signature
from workbench.engines.jit.graph import Ins
from workbench.engines.jit.layout import GONE, Word
from workbench.engines.jit.text import LIKELY, UNLIKELY, literal


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
    result = _called(body, target, deeper, list(map(body.get, signature.given)))
    for index, register in enumerate(signature.returned, 1):
        body.set(register, writer.value(f"extractvalue {signature.result} {result}, {index}"))
    _return(body, ins, result, f"b{ins.pc + 1}")


def _called(body: Body, target: int, depth: str, registers: list[str]) -> str:
    """The call itself: what comes back is spare steps, then registers."""
    result = Signature(body.graph.functions[target], body.verified).result
    values = (f"i64 {value}" for value in (depth, body.unspent(0), *registers))
    return body.writer.value(f"call fastcc {result} @f{target}(ptr %p, {', '.join(values)})")


def _return(body: Body, ins: Ins, result: str, then: str) -> None:
    """Take the spare steps of a callee, and go to the block `then` if the run goes on."""
    writer = body.writer
    left = writer.value(f"extractvalue {body.signature.result} {result}, 0")
    writer.do(f"store i64 {left}, ptr %left")
    body.forget_pages()
    writer.do(f"store i64 {ins.pc + 1}, ptr %back")
    gone = writer.value(f"icmp eq i64 {left}, {GONE}")
    writer.branch(gone, "leave", then, UNLIKELY)


def _call_local(body: Body, ins: Ins) -> None:
    _enter(body, ins, ins.target)


def _call_register(body: Body, ins: Ins) -> None:
    """Enter the function that the register points to; any other value is the interpreter's."""
    writer = body.writer
    other = writer.new_label()
    bytes_in = writer.value(f"sub i64 {body.get(ins.dst)}, {literal(CODE_START)}")
    slot = writer.value(f"call i64 @llvm.fshr.i64(i64 {bytes_in}, i64 {bytes_in}, i64 3)")
    for target, label in _dispatch(body, slot, body.graph.named, other).items():
        writer.label(label)
        _enter(body, ins, target)
    writer.label(other)
    body.leave(ins.pc)


def _exit(body: Body, ins: Ins) -> None:
    """End the function, and with the main one the program."""
    body.finish(ins.pc)


def _call(body: Body, ins: Ins) -> None:
    """A helper or kfunc, in compiled code; its result goes to r0 if it has one."""
    body.save((1, 2, 3, 4, 5, 10))
    body.checked_uncommon(ins.pc, "0", "0")
    body.forget_pages()
    helper = ins.imm if ins.op == Op.CALL_HELPER else 0
    if helper in (Helper.FOR_EACH_MAP_ELEM, Helper.LOOP):
        _call_back(body, ins)
        return
    if helper == Helper.TAIL_CALL:
        _go_on_elsewhere(body, ins)
        return
    if helper == Helper.SPIN_LOCK:
        _leave_if_taken(body, ins)
    if helper and HELPERS[helper].moves_packet:
        body.put(Word.READ_ROOM, "0")
        body.put(Word.WRITE_ROOM, "0")
    _take_result(body)


def _take_result(body: Body) -> None:
    wrote = body.writer.value(f"icmp ne i64 {body.word(Word.WROTE)}, 0")
    value, before = body.word(Word.VALUE), body.get(0)
    body.set(0, body.writer.value(f"select i1 {wrote}, i64 {value}, i64 {before}"))


def _leave_if_taken(body: Body, ins: Ins) -> None:
    """Trying again and again is the interpreter's: it counts each time."""
    writer = body.writer
    taken = writer.value(f"icmp eq i64 {body.next_slot()}, {ins.pc}")
    full, free = writer.new_label(), writer.new_label()
    writer.branch(taken, full, free, UNLIKELY)
    writer.label(full)
    body.leave(ins.pc)
    writer.label(free)


def _dispatch(body: Body, slot: str, targets: Iterable[int], other: str) -> dict[int, str]:
    """Go to the label for the function that begins at `slot`, or to `other`."""
    labels = {target: body.writer.new_label() for target in targets}
    cases = " ".join(f"i64 {target}, label %{label}" for target, label in labels.items())
    body.writer.do(f"switch i64 {slot}, label %{other} [{cases}]")
    return labels


def _call_back(body: Body, ins: Ins) -> None:
    """Call what the helper's code has prepared a frame for, once a round; then r0 is the result.

    An error has no frame. A function that no LD_FUNC names is the interpreter's.
    """
    writer = body.writer
    entered, plain, begin, again, unknown, over, done = (writer.new_label() for _ in range(7))
    wrote = writer.value(f"icmp ne i64 {body.word(Word.WROTE)}, 0")
    deeper = writer.value(f"add i64 {body.depth}, 1")
    frame = body.frame_of(deeper)
    writer.branch(wrote, plain, entered)
    writer.label(entered)
    writer.do(f"store i64 {ins.pc + 1}, ptr %back")
    slot = body.next_slot()
    writer.goto(begin)
    writer.label(begin)
    labels = _dispatch(body, slot, body.graph.named, unknown)
    for target, label in labels.items():
        writer.label(label)
        _one_round(body, ins, target, deeper, frame, again)
    writer.label(unknown)
    body.leave_to(slot, deeper)
    writer.label(again)
    body.put(Word.DEPTH, deeper)
    more = writer.value(f"icmp ne i64 {body.call_support(Word.AGAIN, 'i64')}, 0")
    writer.branch(more, begin, over, LIKELY)
    writer.label(over)
    body.set(0, body.word(Word.VALUE))
    writer.goto(done)
    writer.label(plain)
    body.set(0, body.word(Word.VALUE))
    writer.goto(done)
    writer.label(done)


def _one_round(body: Body, ins: Ins, target: int, depth: str, frame: str, then: str) -> None:
    """Call a callback with the arguments in its frame; r0 goes on to `support`'s again."""
    writer = body.writer
    signature = Signature(body.graph.functions[target], body.verified)
    arguments = range(1, 3 if ins.imm == Helper.LOOP else 5)
    registers = []
    for register in signature.given:
        value = "0"
        if register in arguments:
            address = writer.value(f"getelementptr i64, ptr {frame}, i64 {register}")
            value = writer.value(f"load i64, ptr {address}")
        registers.append(value)
    result = _called(body, target, depth, registers)
    body.put(Word.A, writer.value(f"extractvalue {signature.result} {result}, 1"))
    _return(body, ins, result, then)


def _go_on_elsewhere(body: Body, ins: Ins) -> None:
    """After a tail call: the other program does the rest of this function; or none is there."""
    writer, none = body.writer, body.writer.new_label()
    for target, label in _dispatch(body, body.next_slot(), body.graph.starts, none).items():
        writer.label(label)
        signature = Signature(body.graph.functions[target], body.verified)
        result = _called(body, target, body.depth, list(map(body.get, signature.given)))
        writer.do(f"ret {signature.result} {result}")
    writer.label(none)


def _load_function(body: Body, ins: Ins) -> None:
    body.set(ins.dst, literal(CODE_START + 8 * ins.target))


def _packet(body: Body, ins: Ins) -> None:
    """Packet loads; one beyond the packet ends the program with 0."""
    body.checked_uncommon(ins.pc, "0", body.operand(ins))
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
