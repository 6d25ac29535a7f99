"""Control flow of a program: its functions, and where their basic blocks begin."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np

from workbench.bpf.helper_names import Helper
from workbench.bpf.isa import TABLE, WIDE, Op
from workbench.errors import Unsupported

LARGEST = 20_000  # slots; LLVM's time grows faster than the program. Bounds it; not measured
_FEW_STEPS = 1 << 14  # of a frame, left to the interpreter at the end of the fuel: 30 us
_INSTEAD = "use the interpreter"


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

    @property
    def enters(self) -> bool:
        """Whether other code of the program runs before the next instruction does, if ever."""
        return self.op in _CALLS or (self.op == Op.CALL_HELPER and self.imm in ENTERING)


ENTERING = frozenset({Helper.TAIL_CALL, Helper.FOR_EACH_MAP_ELEM, Helper.LOOP})
_TARGETED = frozenset(int(row.op) for row in TABLE if "{target}" in row.syntax)
_CALLS = frozenset({int(Op.CALL_LOCAL), int(Op.CALLX)})
_WIDE = frozenset(int(op) for op in WIDE)
ALWAYS_JUMPS = frozenset({int(Op.JA), int(Op.JA32)})
_REFUSED = _WIDE - {int(Op.LD_IMM64), int(Op.LD_FUNC)} | {int(Op.INVALID)}
_ENDS = frozenset({int(Op.EXIT), *_REFUSED, *_CALLS, *ALWAYS_JUMPS})
JUMPS = frozenset(op for op in Op if Op.JEQ64 <= op <= Op.JA32)
_BRANCHES = _TARGETED - {int(Op.CALL_LOCAL), int(Op.LD_FUNC)}


class Function(NamedTuple):
    """A function of the program: its first slot, and its basic blocks by first slot, in order."""

    entry: int
    blocks: dict[int, list[Ins]]

    def instructions(self) -> Iterator[Ins]:
        """The instructions of the function, block by block."""
        return chain.from_iterable(self.blocks.values())

    @property
    def is_leaf(self) -> bool:
        """Whether the function calls no other function of the program."""
        return not any(ins.enters for ins in self.instructions())


@dataclass(frozen=True)
class Graph:
    """What of a program can be reached: its functions by first slot, the main one at 0.

    `slots` counts the final INVALID. `named` are the functions that LD_FUNC names, `starts` what
    tail calls lead to. The main function begins at `entry`: at 0, or where a run is to go on.
    """

    slots: int
    entry: int
    functions: dict[int, Function]
    named: tuple[int, ...]
    starts: tuple[int, ...]

    @property
    def reenters(self) -> bool:
        """Whether the main function is called, too."""
        return self.entry in self.named + self.starts or any(
            ins.op == Op.CALL_LOCAL and ins.target == self.entry
            for function in self.functions.values()
            for ins in function.instructions()
        )

    @cached_property
    def unlooked(self) -> int:
        """Instructions of the longest function that neither calls another nor looks as it begins.

        0 if each function must look: where such functions are long, or not there.
        """
        others = (f for entry, f in self.functions.items() if entry != self.entry)
        leaves = filter(self._is_short, others)
        longest = max((sum(map(len, f.blocks.values())) for f in leaves), default=0)
        return longest if longest * self.slots <= _FEW_STEPS else 0

    def looks(self, function: Function) -> bool:
        """Whether a function looks at the fuel as it begins."""
        if function.entry == self.entry:
            return self.reenters
        return not (self._is_short(function) and self.unlooked)

    def _is_short(self, function: Function) -> bool:
        """Whether a function may do without a look: callbacks are called without an end."""
        return function.is_leaf and function.entry not in self.named + self.starts

    @cached_property
    def loops(self) -> bool:
        """Whether an instruction may run again and again: after a jump back, or a call back."""
        return bool(self.named) or any(
            ins.target <= ins.pc if ins.op in _TARGETED else ins.enters
            for function in self.functions.values()
            for ins in function.instructions()
        )


def following(ins: Ins) -> int:
    """The slot after an instruction."""
    return ins.pc + (2 if ins.op in _WIDE else 1)


def graph(code: np.ndarray, starts: Sequence[int] = (), entry: int = 0) -> Graph:
    """Cut a program (INSTRUCTION records with a final INVALID) into functions and basic blocks.

    `starts` are the first slots of what tail calls may lead to, `entry` that of the main function.
    Raises Unsupported for more than LARGEST instructions, also when functions that share code have
    to be written out more than twice over.
    """
    if len(code) - 1 > LARGEST:
        raise Unsupported(
            f"the program has {len(code) - 1} slots; the jit takes {LARGEST}, " + _INSTEAD
        )
    fields = zip(*(code[name].tolist() for name in ("op", "dst", "src", "off", "imm")), strict=True)
    program = [Ins(pc, *field) for pc, field in enumerate(fields)]
    named = sorted({i.target for i in program if i.op == Op.LD_FUNC})
    named = [target for target in named if 0 <= target < len(program)]
    tails = any(ins.op == Op.CALL_HELPER and ins.imm == Helper.TAIL_CALL for ins in program)
    starts = tuple(starts) if tails else ()
    reached = _reached(program, [entry, *named, *starts])
    leaders = _leaders(program, reached, [entry, *named, *starts])
    blocks = {first: list(_block(program, first, leaders)) for first in sorted(leaders)}
    called = {program[pc].target for pc in reached if program[pc].op == Op.CALL_LOCAL}
    functions, written = {}, 0
    for first in sorted({entry, *named, *starts, *called}):
        functions[first] = Function(first, _within(program, blocks, first))
        written += sum(map(len, functions[first].blocks.values()))
        if written > 2 * LARGEST:
            raise Unsupported("too many functions share their code for the jit; " + _INSTEAD)
    return Graph(len(program), entry, functions, tuple(named), starts)


def _within(
    program: Sequence[Ins], blocks: dict[int, list[Ins]], entry: int
) -> dict[int, list[Ins]]:
    """The blocks that control comes to from `entry` without entering another function."""
    todo, found = [entry], {entry}
    while todo:
        last = blocks[todo.pop()][-1]
        for target in _within_program(program, last, calls=False):
            if target not in found:
                found.add(target)
                todo.append(target)
    return {first: blocks[first] for first in sorted(found)}


def successors(ins: Ins, calls: bool = False) -> Iterator[int]:
    """Where control may be after the end of a block; with `calls`, in callees too."""
    if ins.op in _BRANCHES or (calls and ins.op == Op.CALL_LOCAL):
        yield ins.target
    if ins.op not in _ENDS or ins.op in _CALLS:
        yield following(ins)


def _within_program(program: Sequence[Ins], ins: Ins, calls: bool) -> Iterator[int]:
    """Where control may be after a block; what would run off the end comes to the final INVALID."""
    return (min(target, len(program) - 1) for target in successors(ins, calls))


def _reached(program: Sequence[Ins], entries: Sequence[int]) -> set[int]:
    todo = list(entries)
    seen = set(todo)
    while todo:
        for target in _within_program(program, program[todo.pop()], calls=True):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def _leaders(program: Sequence[Ins], reached: set[int], entries: Sequence[int]) -> set[int]:
    found = set(entries)
    for pc in reached:
        ins = program[pc]
        if ins.op in _BRANCHES or ins.enters:
            found.update(_within_program(program, ins, calls=True))
    return found


def _block(program: Sequence[Ins], first: int, leaders: set[int]) -> Iterator[Ins]:
    pc = first
    while True:
        ins = program[pc]
        yield ins
        pc = min(following(ins), len(program) - 1)
        if ins.op in _ENDS or ins.op in _BRANCHES or pc in leaders:
            return
