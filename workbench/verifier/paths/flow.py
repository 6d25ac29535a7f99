"""What the code alone says of control: successors, functions, loops, and where paths are compared.

Sources: check_cfg, compute_postorder, compute_scc and compute_live_registers in
kernel/bpf/verifier.c.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from workbench.bpf import isa
from workbench.bpf.isa import Op
from workbench.verifier.rules import facts
from workbench.verifier.rules.facts import Instruction, Setting
from workbench.verifier.rules.structure import UNCONDITIONAL, WIDE_OPS, function_starts, successors

CALLER_SAVED = 0b111111  # r0 to r5


@dataclass
class Flow:
    """The shape of a program: for each slot, or as sets of slots.

    `prune` are the slots where a path is compared with earlier ones, `jumps` those where its past
    is noted, `forced` those where it always becomes a checkpoint. `loops` numbers the strongly
    connected components (0: in none), `live` has the registers that are read later. `moving` are
    the functions that may move the packet, by first slot.
    """

    starts: list[int]
    prune: set[int] = field(default_factory=set)
    jumps: set[int] = field(default_factory=set)
    forced: set[int] = field(default_factory=set)
    callbacks: set[int] = field(default_factory=set)
    iterations: set[int] = field(default_factory=set)
    moving: set[int] = field(default_factory=set)
    postorder: dict[int, list[int]] = field(default_factory=dict)
    following: list[tuple[int, ...]] = field(default_factory=list)
    loops: list[int] = field(default_factory=list)
    live: list[int] = field(default_factory=list)


def analyse(program: Sequence[Instruction], setting: Setting) -> Flow:
    """Look at a program whose shape `structure` found to be good."""
    flow = Flow(function_starts(program))
    flow.following = [_within_function(program, pc) for pc in range(len(program))]
    _mark_points(program, setting, flow)
    for start in flow.starts:
        flow.postorder[start] = _postorder(flow.following, start)
    flow.loops = _components(flow.following)
    flow.live = _live_registers(program, setting, flow)
    flow.moving = _moving(program, setting, flow)
    return flow


def _moving(program: Sequence[Instruction], setting: Setting, flow: Flow) -> set[int]:
    """Functions that call one that may move the packet, directly or not."""
    found: set[int] = set()
    changed = True
    while changed:
        changed = False
        for start, order in flow.postorder.items():
            if start not in found and any(_moves(program, pc, setting, found) for pc in order):
                found.add(start)
                changed = True
    return found


def _moves(program: Sequence[Instruction], pc: int, setting: Setting, found: set[int]) -> bool:
    i = program[pc]
    row = facts.callee(i, pc, setting)
    calls = i.op in (Op.CALL_LOCAL, Op.LD_FUNC)
    return row.moves_packet if row is not None else calls and pc + 1 + i.off in found


def _within_function(program: Sequence[Instruction], pc: int) -> tuple[int, ...]:
    """Next slots, the one that follows first; a call leads to what comes after it."""
    i = program[pc]
    after = (
        () if i.op == Op.EXIT or i.op in UNCONDITIONAL else (pc + (2 if i.op in WIDE_OPS else 1),)
    )
    jumps = i.op in facts.JUMPS or i.op in UNCONDITIONAL or i.op == Op.MAY_GOTO
    found = (*after, pc + 1 + i.off) if jumps else after
    return tuple(target for target in found if target < len(program))


def _mark_points(program: Sequence[Instruction], setting: Setting, flow: Flow) -> None:
    """Where paths meet or may go several ways."""
    reached = _reached(program)
    for pc, i in enumerate(program):
        if pc not in reached:
            continue
        target = pc + 1 + i.off
        if i.op in UNCONDITIONAL:
            _both(flow, target)
        elif i.op in facts.JUMPS or i.op == Op.MAY_GOTO:
            flow.prune.add(pc)
            _both(flow, target)
            if i.op == Op.MAY_GOTO:
                flow.forced.add(pc)
        elif i.op in (Op.CALL_LOCAL, Op.LD_FUNC):
            flow.prune.add(pc)
            _both(flow, target)
            _both(flow, pc + (2 if i.op == Op.LD_FUNC else 1))
        elif i.op in (Op.CALL_HELPER, Op.CALL_KFUNC, Op.CALLX):
            _both(flow, pc + 1)
            _mark_call(i, pc, setting, flow)


def _mark_call(i: Instruction, pc: int, setting: Setting, flow: Flow) -> None:
    row = facts.callee(i, pc, setting)
    if row is not None and "callback" in row.arguments:
        flow.callbacks.add(pc)
        flow.forced.add(pc)
        _both(flow, pc)
    if row is not None and "iterator" in row.arguments:
        flow.iterations.add(pc)
        flow.forced.add(pc)
        flow.prune.add(pc)


def _both(flow: Flow, pc: int) -> None:
    flow.prune.add(pc)
    flow.jumps.add(pc)


def _reached(program: Sequence[Instruction]) -> set[int]:
    seen, todo = {0}, [0]
    while todo:
        for target in successors(program, todo.pop()):
            if target not in seen and target < len(program):
                seen.add(target)
                todo.append(target)
    return seen


def _postorder(following: list[tuple[int, ...]], start: int) -> list[int]:
    """Slots of a function, each after those that follow it (loops aside)."""
    found: list[int] = []
    stack, seen, done = [start], {start}, set()
    while stack:
        top = stack[-1]
        if top in done:
            found.append(stack.pop())
            continue
        for target in following[top]:
            if target not in seen:
                seen.add(target)
                stack.append(target)
        done.add(top)
    return found


def _components(following: list[tuple[int, ...]]) -> list[int]:
    """Number the strongly connected components that are loops (R. Tarjan, 1972)."""
    count = len(following)
    before, low, loops = [0] * count, [0] * count, [0] * count
    stack: list[int] = []
    visited, number = 0, 1
    for root in range(count):
        path = [] if before[root] else [root]
        while path:
            at = path[-1]
            if not before[at]:
                visited += 1
                before[at] = low[at] = visited
                stack.append(at)
            ahead = next((s for s in following[at] if not before[s]), None)
            if ahead is not None:
                path.append(ahead)
                continue
            low[at] = min([low[at], *(low[s] for s in following[at])])
            path.pop()
            if low[at] == before[at]:
                number += _close(at, stack, low, loops, number, at in following[at])
    return loops


def _close(
    at: int, stack: list[int], low: list[int], loops: list[int], number: int, itself: bool
) -> bool:
    """Take a finished component off the stack; whether it is a loop and got the number."""
    loop = itself or stack[-1] != at
    while True:
        member = stack.pop()
        low[member] = 1 << 62  # above every slot: no longer on the stack
        loops[member] = number if loop else 0
        if member == at:
            return loop


def reads_and_writes(i: Instruction, pc: int, setting: Setting) -> tuple[int, int]:
    """Registers that an instruction reads and writes, a bit each."""
    dst, src = 1 << i.dst, 1 << i.src & 0x7FF
    name = Op(i.op).name
    if i.op in isa.WIDE:
        return 0, dst
    if i.op in facts.PACKET_LOADS:
        return 0x7FF, 0
    if i.op in facts.LOADS:
        return src, dst
    if i.op in facts.STORES:
        return dst | src, 0
    if i.op in facts.UPDATES:
        compares = name.startswith("CMPXCHG")
        written = 1 if compares else src if i.op in facts.FETCHES else 0
        return dst | src | compares, written
    if i.op in facts.MOVES or i.op in facts.CASTS:
        return src, dst
    if i.op in facts.JUMPS:
        return dst | src, 0
    if i.op == Op.EXIT:
        return 1, 0
    if i.op in (Op.CALL_HELPER, Op.CALL_KFUNC, Op.CALL_LOCAL, Op.CALLX):
        row = facts.callee(i, pc, setting)
        count = 5 if row is None else len(row.arguments)
        return (1 << count + 1) - 2, CALLER_SAVED
    if i.op in (Op.JA, Op.JA32, Op.MAY_GOTO):
        return 0, 0
    if i.op in facts.UNARY:
        return dst, dst
    return dst | src, dst


def _live_registers(program: Sequence[Instruction], setting: Setting, flow: Flow) -> list[int]:
    if setting.raw:  # functions share their registers
        return [0x7FF] * len(program)
    used = [reads_and_writes(i, pc, setting) for pc, i in enumerate(program)]
    live = [0] * len(program)
    changed = True
    while changed:
        changed = False
        for order in flow.postorder.values():
            for pc in order:
                after = 0
                for target in flow.following[pc]:
                    after |= live[target]
                reads, writes = used[pc]
                now = after & ~writes | reads
                changed |= now != live[pc]
                live[pc] = now
    return live
