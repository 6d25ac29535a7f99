"""The pointers of a recorded run: its columns made ready for `shadow`."""

import numpy as np

from workbench.arena.events import Kind
from workbench.arena.rules import MAX_PAGES, PAGE_SHIFT
from workbench.bpf.addresses import MAX_FRAMES, STACK_BYTES
from workbench.bpf.functions import Kfunc
from workbench.bpf.isa import ARENA_SHIFT, FIRST_ARENA_OP, REGISTERS, ZERO, Op
from workbench.compiled.raw import LOW_32
from workbench.debugger.shadow import (
    ALLOCATES,
    ARENA,
    CALLS,
    CAST,
    CLEARS,
    CONSTANT,
    COPIES,
    EXITS,
    KEEPS,
    WORDS,
    Code,
    Pages,
    Shadow,
    Steps,
    Words,
    follow,
)  # fmt: skip
from workbench.recording.columns import ABSENT, IN_ARENA, WRITE
from workbench.recording.trace import Trace

_PAGE_SHIFT = np.uint64(PAGE_SHIFT)


def shadow(trace: Trace) -> Shadow:
    """Follow the pointers of a recorded run; raises Unsupported without recorded steps."""
    steps = trace.recorded_steps()
    columns = Steps(**{name: steps.get(name, trace.following) for name in Steps._fields})
    pages = _page_events(trace)
    allocations = int(np.sum(pages.kind == Kind.ALLOC))
    found = _empty(len(trace), allocations)
    owner = np.zeros(MAX_PAGES, np.int32)
    if trace.initial is not None:
        owner[trace.initial.pages] = ARENA
    first, end = trace.arena[:2] if trace.arena else (0, 0)
    facts = np.array([first, end], np.uint64)
    registers = trace.keyframes[0][0].reshape(-1, REGISTERS).copy()
    words = _words(columns, first, len(registers) // MAX_FRAMES)
    follow(columns, _classify(trace.code), pages, facts, owner, registers, words, found)
    return found


def _empty(steps: int, allocations: int) -> Shadow:
    """Room for the findings: Shadow's first six columns have a row a step, then one each."""
    types = [np.int32] * 4 + [bool] * 2 + [np.int64] * 7 + [bool]
    rows = [steps] * 6 + [allocations] * 8
    return Shadow(*map(np.zeros, rows, types))


def _page_events(trace: Trace) -> Pages:
    log = trace.page_events
    count = log["count"].astype(np.int64)
    return Pages(trace.event_steps, log["kind"], log["page"].astype(np.int64), count)


def _words(steps: Steps, start: int, cpus: int) -> Words:
    """Room for the shadows of every arena page that a step stored to."""
    stores = (steps.access & (WRITE | IN_ARENA | ABSENT)) == WRITE | IN_ARENA
    pages = np.unique(((steps.address[stores] - np.uint64(start)) & LOW_32) >> _PAGE_SHIFT)
    row = np.full(MAX_PAGES, -1, np.int32)
    row[pages] = np.arange(len(pages))
    stack = np.zeros((cpus, STACK_BYTES // 8), np.int32)
    return Words(stack, row, np.zeros((len(pages), WORDS), np.int32))


_LOADS = range(Op.LDX8, Op.LDXS32 + 1)


def _classify(code: np.ndarray) -> Code:
    """Say for every slot what it does to shadows."""
    flow = np.array([_flow(record) for record in code], np.int8)
    op = code["op"].astype(int)
    plain = np.where((op >= FIRST_ARENA_OP) & (op < Op.INVALID), op - ARENA_SHIFT, op)
    loads = np.isin(plain, (*_LOADS, *range(Op.LOAD_ACQUIRE8, Op.LOAD_ACQUIRE64 + 1)))
    base = np.where(loads, code["src"], code["dst"])
    return Code(flow, code["dst"].astype(np.int64), code["src"].astype(np.int64), base)


_KEEPING = {Op.ADD64, Op.SUB64, Op.ADD32, Op.SUB32, Op.AND64, Op.OR64, Op.XOR64}
CASTS = {Op.CAST_USER, Op.CAST_KERN}


def _flow(record: np.void) -> int:
    op = Op(int(record["op"]))
    if op in (Op.MOV64, Op.MOV32):
        return CLEARS if record["src"] == ZERO else COPIES
    if op in CASTS:
        return CAST
    if op in _KEEPING:
        return KEEPS
    if op == Op.LD_IMM64:
        return CONSTANT
    if op in (Op.CALL_LOCAL, Op.CALLX):
        return CALLS
    if op == Op.CALL_KFUNC and record["imm"] == Kfunc.ARENA_ALLOC_PAGES:
        return ALLOCATES
    return EXITS if op == Op.EXIT else CLEARS
