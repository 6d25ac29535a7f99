"""Actions with control flow: branches, loops, may_goto, early exits and local calls."""

from support import wire as b

from generate.body import CTX_COUNTERS, Body, Function
from generate.state import ARENA, CTX, SCALAR

MAX_DEPTH = 4  # local calls
MAX_NESTING = 3  # blocks in blocks
COMPARE = (b.JEQ, b.JGT, b.JGE, b.JSET, b.JNE, b.JSGT, b.JSGE, b.JLT, b.JLE, b.JSLT, b.JSLE)


def condition(body: Body) -> int:
    """A jump on some comparison; its position, for `Writer.land`."""
    found = body.pick()
    dst = body.scalar() if found is None else found
    src, operation, bits = body.pick(), body.rng.choice(COMPARE), body.rng.choice((32, 64))
    if body.chance(0.5):
        return body.writer.jump(operation, dst, imm=body.immediate(), bits=bits)
    return body.writer.jump(operation, dst, src=src, bits=bits)


def inner_block(body: Body) -> None:
    size = body.rng.randrange(1, max(2, min(body.left, 24)))
    body.nesting += 1
    body.block(size)
    body.nesting -= 1


def branch(body: Body) -> None:
    """if, or if and else."""
    if body.nesting > MAX_NESTING:
        return
    position = condition(body)
    other = body.state.copy()
    inner_block(body)
    if body.chance(0.4):
        over = nothing(body)
        body.writer.land(position)
        other, body.state = body.state, other
        inner_block(body)
        position = over
    body.writer.land(position)
    body.state.meet(other)


def leave_early(body: Body) -> None:
    if body.holding:
        return
    position = condition(body)
    state = body.state.copy()
    body.finish()
    body.writer.land(position)
    body.state = state


def skip(body: Body) -> None:
    """may_goto, which is not taken within its budget."""
    if body.nesting > MAX_NESTING:
        return
    position = body.writer.emit(0xE5)
    state = body.state.copy()
    inner_block(body)
    body.writer.land(position)
    body.state.meet(state)


def nothing(body: Body) -> int:
    """goto or gotol to the next instruction; its position."""
    return body.writer.emit(body.rng.choice((0x05, 0x06)))


def loop(body: Body) -> None:
    """A counted loop, which the verifier unrolls; others run inside it only through calls."""
    counters = [register for register in (7, 8, 9) if register not in body.reserved]
    if body.nesting >= MAX_NESTING or not counters or body.loop_head is not None:
        return
    counter, bits = body.rng.choice(counters), body.rng.choice((32, 64))
    body.writer.alu(b.MOV, counter, imm=0, bits=bits)
    body.state.kinds[counter] = SCALAR
    body.reserved.add(counter)
    head = len(body.writer)
    leave = body.writer.emit(0xE5) if body.chance(0.3) else None
    body.loop_head = body.state.copy()
    inner_block(body)
    restore(body)
    body.writer.alu(b.ADD, counter, imm=1, bits=bits)
    again = body.writer.jump(b.JLT, counter, body.rng.randrange(1, 9), bits=bits)
    body.writer.land(again, head)
    if leave is not None:
        body.writer.land(leave)
        body.state.meet(body.loop_head)
    body.loop_head = None
    body.reserved.remove(counter)


def open_loop(body: Body) -> None:
    """A loop that the verifier cannot count, as its counter is in the context: needs may_goto."""
    if body.nesting >= MAX_NESTING or body.ctx is None or body.loop_head is not None:
        return
    counter, rounds = CTX_COUNTERS + 4 * body.function.depth, body.rng.randrange(1, 6)
    body.writer.store_constant(4, body.ctx, counter, rounds)
    scratch = body.target()
    body.state.kinds[scratch] = None
    head = body.writer.emit(0xE5)
    body.loop_head = body.state.copy()
    body.writer.load(4, scratch, body.ctx, counter)
    leave = body.writer.jump(b.JEQ, scratch, imm=0)
    body.writer.alu(b.SUB, scratch, imm=1)
    body.writer.store(4, body.ctx, counter, scratch)
    inner_block(body)
    restore(body)
    body.writer.land(body.writer.emit(0x05), head)
    body.writer.land(head)
    body.writer.land(leave)
    body.state, body.loop_head = body.loop_head, None


def restore(body: Body) -> None:
    """Give the registers that the loop's head knows their kinds back."""
    assert body.loop_head is not None
    for register, kind in enumerate(body.loop_head.kinds):
        if kind is not None and body.state.kinds[register] != kind:
            body.remake(register, kind)


def call(body: Body) -> None:
    """Call a local function, one that exists or a new one."""
    if body.function.depth + 1 >= MAX_DEPTH:
        return
    fitting = [function for function in body.shared.functions if callable_from(body, function)]
    known = fitting and body.chance(0.6)
    function = body.rng.choice(fitting) if known else new_function(body)
    put_arguments(body, function)
    function.calls.append(body.writer.emit(0x85, 0, 1))
    body.state.kinds[:6] = [function.result, None, None, None, None, None]


def callable_from(body: Body, function: Function) -> bool:
    deeper = function.depth == body.function.depth + 1 and not function.callback
    known = body.ctx is not None or CTX not in function.arguments
    return deeper and known and function.quiet >= body.quiet


def new_function(body: Body) -> Function:
    count = body.rng.randrange(5)
    arguments = tuple(body.rng.choice((SCALAR, ARENA)) for _ in range(count))
    if body.ctx is not None and body.chance(0.6):
        arguments = (CTX, *arguments)
    result = body.rng.choice((SCALAR, ARENA))
    function = Function(arguments, result, body.function.depth + 1, [], body.quiet)
    body.shared.functions.append(function)
    return function


def put_arguments(body: Body, function: Function) -> None:
    """Fill r1 on, from registers that no argument goes to, or anew."""
    kinds = body.state.kinds
    for register, kind in enumerate(function.arguments, start=1):
        if kind == CTX and body.ctx is not None:
            body.writer.alu(b.MOV, register, src=body.ctx)
        elif kinds[register] != kind:
            found = [r for r in (0, 6, 7, 8, 9) if kinds[r] == kind]
            if found:
                body.writer.alu(b.MOV, register, src=body.rng.choice(found))
            else:
                body.remake(register, kind)
        kinds[register] = kind


def act_nothing(body: Body) -> None:
    nothing(body)


ACTIONS = (
    (branch, 4),
    (leave_early, 0.3),
    (skip, 0.5),
    (act_nothing, 0.2),
    (loop, 1),
    (open_loop, 0.4),
)
ACTIONS += ((call, 1),)
