"""Calls, returns, helpers and kfuncs, packet loads, and what only the interpreter executes."""

from workbench.addresses import CODE_START, FRAME_BYTES, MAX_FRAMES, STACK_BYTES, STACK_START
from workbench.engines.jit.arithmetic import Emitter
from workbench.engines.jit.body import Body
from workbench.engines.jit.graph import Ins
from workbench.engines.jit.text import PRIVATE, literal
from workbench.engines.machine import BUDGET, MAY_GOTO_LIMIT, O_WROTE
from workbench.isa import Op

FIRST_R10 = STACK_START + STACK_BYTES
KEPT = (6, 7, 8, 9, 10, BUDGET)
"""What a caller finds again after a call; r0 to r5 are handed back by the function."""


def _enter(body: Body, ins: Ins, target: int) -> None:
    """Push a frame and go to a local function."""
    writer = body.writer
    depth = body.depth()
    deeper = writer.value(f"add i64 {depth}, 1")
    room, full = writer.new_label(), writer.new_label()
    writer.branch(writer.value(f"icmp ult i64 {deeper}, {MAX_FRAMES}"), room, full)
    writer.label(full)
    body.leave(ins.pc)
    writer.label(room)
    for register in KEPT:
        body.save(depth, register)
    address = writer.value(f"getelementptr i64, ptr %returns, i64 {deeper}")
    writer.do(f"store i64 {ins.pc + 1}, ptr {address}{PRIVATE}")
    writer.do(f"store i64 {deeper}, ptr %depth")
    used = writer.value(f"mul i64 {deeper}, {FRAME_BYTES}")
    body.set(10, writer.value(f"sub i64 {literal(FIRST_R10)}, {used}"))
    writer.do(f"store i64 {MAY_GOTO_LIMIT}, ptr %budget")
    body.jump_checked(target)


def _call_local(body: Body, ins: Ins) -> None:
    _enter(body, ins, ins.target)


def _call_register(body: Body, ins: Ins) -> None:
    """Enter the function that the register points to; any other value is the interpreter's."""
    writer = body.writer
    targets = {target: writer.new_label() for target in body.graph.functions}
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
    """End the program, or go back to the caller."""
    writer = body.writer
    if not body.has_calls:
        body.exit(ins.pc)
        return
    depth = body.depth()
    end, back = writer.new_label(), writer.new_label()
    writer.branch(writer.value(f"icmp eq i64 {depth}, 0"), end, back)
    writer.label(end)
    body.exit(ins.pc)
    writer.label(back)
    caller = writer.value(f"sub i64 {depth}, 1")
    address = writer.value(f"getelementptr i64, ptr %returns, i64 {depth}")
    to = writer.value(f"load i64, ptr {address}{PRIVATE}")
    writer.do(f"store i64 {caller}, ptr %depth")
    for register in KEPT:
        body.restore(caller, register)
    cases = " ".join(f"i64 {pc}, label %b{pc}" for pc in body.graph.returns)
    writer.do(f"switch i64 {to}, label %unreachable [{cases}]")


def _call(body: Body, ins: Ins) -> None:
    """A helper or kfunc, in compiled code; its result goes to r0 if it has one."""
    depth = body.depth()
    for register in range(1, 6):
        body.save(depth, register)
    body.checked_cold(ins.pc, "0", "0")
    wrote = body.writer.value(f"icmp ne i64 {body.out(O_WROTE)}, 0")
    before = body.get(0)
    body.set(0, body.writer.value(f"select i1 {wrote}, i64 {body.out()}, i64 {before}"))


def _load_function(body: Body, ins: Ins) -> None:
    body.set(ins.dst, literal(CODE_START + 8 * ins.target))


def _packet(body: Body, ins: Ins) -> None:
    """Packet loads; one beyond the packet ends the program with 0."""
    body.checked_cold(ins.pc, "0", body.operand(ins))
    body.set(0, body.out())


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
