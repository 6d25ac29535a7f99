"""Control flow of a program: where basic blocks begin, and where calls return to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from workbench.isa import TABLE, WIDE, Op


class Ins(NamedTuple):
    """One INSTRUCTION record, with its slot, as Python integers."""

    pc: int
    op: int
    dst: int
    src: int
    off: int
    imm: int

    @property
    def target(self) -> int:
        """Where a jump or local call leads."""
        return self.pc + 1 + self.off


_TARGETED = frozenset(int(row.op) for row in TABLE if "{target}" in row.syntax)
_CALLS = frozenset({int(Op.CALL_LOCAL), int(Op.CALLX)})
_WIDE = frozenset(int(op) for op in WIDE)
_ALWAYS = frozenset({int(Op.JA), int(Op.JA32)})
_REFUSED = _WIDE - {int(Op.LD_IMM64), int(Op.LD_FUNC)} | {int(Op.INVALID)}
_ENDS = frozenset({int(Op.EXIT), *_REFUSED, *_CALLS, *_ALWAYS})
_BRANCHES = _TARGETED - {int(Op.CALL_LOCAL), int(Op.LD_FUNC)}


@dataclass(frozen=True)
class Graph:
    """Basic blocks that can be reached, by first slot in program order.

    `functions` are the slots that LD_FUNC names, `returns` the slots after calls.
    """

    blocks: dict[int, list[Ins]]
    functions: tuple[int, ...]
    returns: tuple[int, ...]


def following(ins: Ins) -> int:
    """The slot after an instruction."""
    return ins.pc + (2 if ins.op in _WIDE else 1)


def graph(code: np.ndarray) -> Graph:
    """Cut a program (INSTRUCTION records with a final INVALID) into basic blocks."""
    fields = zip(*(code[name].tolist() for name in ("op", "dst", "src", "off", "imm")), strict=True)
    program = [Ins(pc, *field) for pc, field in enumerate(fields)]
    last = len(program) - 1
    functions = tuple(sorted({i.target for i in program if i.op == Op.LD_FUNC}))
    functions = tuple(target for target in functions if 0 <= target <= last)
    reached = _reached(program, functions)
    leaders = _leaders(program, reached, functions)
    blocks = {first: list(_block(program, first, leaders)) for first in sorted(leaders)}
    returns = tuple(pc + 1 for pc in sorted(reached) if program[pc].op in _CALLS)
    return Graph(blocks, functions, returns)


def _successors(program: Sequence[Ins], ins: Ins) -> Iterator[int]:
    if ins.op in _BRANCHES or ins.op == Op.CALL_LOCAL:
        yield ins.target
    if ins.op not in _ENDS or ins.op in _CALLS:
        yield min(following(ins), len(program) - 1)


def _reached(program: Sequence[Ins], functions: Sequence[int]) -> set[int]:
    todo = [0, *functions]
    seen = set(todo)
    while todo:
        for target in _successors(program, program[todo.pop()]):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def _leaders(program: Sequence[Ins], reached: set[int], functions: Sequence[int]) -> set[int]:
    found = {0, *functions}
    for pc in reached:
        ins = program[pc]
        if ins.op in _BRANCHES or ins.op in _CALLS:
            found.update(_successors(program, ins))
    return found


def _block(program: Sequence[Ins], first: int, leaders: set[int]) -> Iterator[Ins]:
    pc = first
    while True:
        ins = program[pc]
        yield ins
        pc = min(following(ins), len(program) - 1)
        if ins.op in _ENDS or ins.op in _BRANCHES or pc in leaders:
            return
