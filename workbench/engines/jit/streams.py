"""Which accesses of a function walk through memory in small steps, page after page.

Only speed depends on the answer: for these the code remembers the last page that it found present.
"""

from collections.abc import Iterator

from workbench.arena.rules import PAGE_SIZE
from workbench.bpf.isa import ZERO, Op
from workbench.engines.jit.graph import Function, Ins, successors

_STRIDE = 64  # bytes; larger steps leave the page too soon for remembering it to pay: 64 turns
_ADDS = (Op.ADD32, Op.ADD64)
_COPIES = (Op.MOV32, Op.MOV64, Op.CAST_KERN, Op.CAST_USER)
_LOADS = range(Op.ARENA_LDX8, Op.ARENA_LDX64 + 1)
_SIGNED_LOADS = range(Op.ARENA_LDXS8, Op.ARENA_LDXS32 + 1)
_STORES = range(Op.ARENA_STX8, Op.ARENA_STX64 + 1)
_CALLS = (Op.CALL_LOCAL, Op.CALLX, Op.CALL_HELPER, Op.CALL_KFUNC)
_NO_RESULT = frozenset(op for op in Op if "STX" in op.name or op.name.startswith("J"))


def streams(function: Function) -> dict[int, int]:
    """Slots of plain arena accesses whose base, in the innermost loop around, only steps.

    With each, the first slot of those that step together, on the same page but for its ends.
    """
    found: dict[int, int] = {}
    for body in sorted(_loops(function), key=len, reverse=True):
        inside = [ins for first in sorted(body) for ins in function.blocks[first]]
        for ins in inside:
            found.pop(ins.pc, None)  # an inner loop decides anew
        if not any(ins.op in _CALLS for ins in inside):
            found.update(_together(inside))
    return found


def _together(inside: list[Ins]) -> dict[int, int]:
    """The accesses of a loop that walk, and the first of those from the same base nearby."""
    found: dict[int, int] = {}
    firsts: dict[tuple[int, int], int] = {}
    for ins in inside:
        base = _walks(ins, inside)
        if base is not None:
            found[ins.pc] = firsts.setdefault((base, ins.off // PAGE_SIZE), ins.pc)
    return found


def _loops(function: Function) -> Iterator[set[int]]:
    """The blocks of each loop: those that come to its jump back without its first block."""
    before: dict[int, list[int]] = {first: [] for first in function.blocks}
    for first, block in function.blocks.items():
        for target in successors(block[-1]):
            before.setdefault(target, []).append(first)
    for head in function.blocks:
        sources = before[head]
        latches = [first for first in sources if function.blocks[first][-1].pc >= head]
        if latches:
            yield _body(before, head, latches)


def _body(before: dict[int, list[int]], head: int, latches: list[int]) -> set[int]:
    body, todo = {head}, list(latches)
    while todo:
        block = todo.pop()
        if block not in body:
            body.add(block)
            todo += before[block]
    return body


def _walks(ins: Ins, inside: list[Ins]) -> int | None:
    """The base of an arena access if it steps, or is a copy of one that does."""
    if ins.op in _STORES:
        base = ins.dst
    elif ins.op in _LOADS or ins.op in _SIGNED_LOADS:
        base = ins.src
    else:
        return None
    writers = _writers(base, inside)
    copied = {writer.src for writer in writers if writer.op in _COPIES}
    if len(copied) == 1 and len(writers) == 1:
        (base,) = copied
        writers = _writers(base, inside)
    return base if writers and all(map(_steps, writers)) else None


def _steps(ins: Ins) -> bool:
    return ins.op in _ADDS and ins.src == ZERO and abs(ins.imm) <= _STRIDE


def _writers(register: int, inside: list[Ins]) -> list[Ins]:
    """The instructions that may write a register, but for copies onto itself."""
    return [
        ins
        for ins in inside
        if ins.dst == register
        and Op(ins.op) not in _NO_RESULT
        and not (ins.op in _COPIES and ins.src == register and not ins.imm)
    ]
