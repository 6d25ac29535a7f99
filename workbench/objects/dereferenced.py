"""Which parameters a function uses as pointers into the arena: those that reach a cast_kern.

C marks such a pointer with an address space, which BTF does not carry, while Linux wants a tag on
the parameters of global functions. A parameter is followed through copies, sums, spills and calls.
"""

from collections.abc import Iterator, Sequence

from workbench.bpf import isa
from workbench.bpf.isa import Op

_PARAMETERS = 5  # r1 to r5
_CALLS = (Op.CALL_LOCAL, Op.CALL_HELPER, Op.CALL_KFUNC, Op.CALLX)
_BRANCHES = frozenset(
    row.op for row in isa.TABLE if "{target}" in row.syntax and row.op not in (*_CALLS, Op.LD_FUNC)
)
_FRAME = isa.FRAME_POINTER

# What each register and stack slot may hold: a bit for each parameter, the first in bit 0.
State = dict[int, int]


def arena_arguments(code: bytes, starts: Sequence[int]) -> list[set[int]]:
    """Of each function, by its first slot: the parameters that it uses as arena pointers."""
    records = [record.item() for record in isa.decode(code)]
    scans = {start: _Scan(records, start) for start in starts}
    changed = True
    while changed:
        changed = False
        for scan in scans.values():
            before = scan.found
            for callee, parameter, mask in scan.passed:
                if callee in scans and scans[callee].found >> parameter & 1:
                    scan.found |= mask
            changed |= scan.found != before
    return [{n for n in range(_PARAMETERS) if scans[s].found >> n & 1} for s in starts]


class _Scan:
    """One function: the parameters that it casts itself, and those that it passes on."""

    def __init__(self, records: list[tuple[int, ...]], start: int) -> None:
        self.records = records
        self.found = 0
        self.passed: set[tuple[int, int, int]] = set()
        states: dict[int, State] = {start: {n + 1: 1 << n for n in range(_PARAMETERS)}}
        todo = [start]
        while todo:
            pc = todo.pop()
            after = self._after(pc, dict(states[pc]))
            for target in self._successors(pc):
                known = states.get(target)
                merged = after if known is None else _joined(known, after)
                if known != merged:
                    states[target] = merged
                    todo.append(target)

    def _successors(self, pc: int) -> Iterator[int]:
        op, _, _, _, off, _ = self.records[pc]
        if op in _BRANCHES and 0 <= pc + 1 + off < len(self.records):
            yield pc + 1 + off
        following = pc + (2 if op in isa.WIDE else 1)
        if op not in (Op.EXIT, Op.JA, Op.JA32) and following < len(self.records):
            yield following

    def _after(self, pc: int, state: State) -> State:
        """What registers and slots hold after an instruction; slots are keyed by their offset."""
        op, dst, src, _, off, _ = self.records[pc]
        if op in _BRANCHES:
            return state
        if op in _CALLS:
            if op == Op.CALL_LOCAL:
                target = pc + 1 + off
                passed = ((target, n, state.get(n + 1, 0)) for n in range(_PARAMETERS))
                self.passed |= {row for row in passed if row[2]}
            for register in range(6):
                state[register] = 0
        elif op in (Op.MOV64, Op.CAST_KERN, Op.CAST_USER):
            if op == Op.CAST_KERN:
                self.found |= state.get(src, 0)
            state[dst] = state.get(src, 0)
        elif op in (Op.ADD64, Op.SUB64):
            state[dst] = state.get(dst, 0) | state.get(src, 0)
        elif op == Op.LDX64 and src == _FRAME:
            state[dst] = state.get(off, 0) if off < 0 else 0
        elif op == Op.STX64 and dst == _FRAME and off < 0:
            state[off] = state.get(src, 0)
        elif op < Op.STX8 or op in isa.WIDE:
            state[dst] = 0
        return state


def _joined(one: State, other: State) -> State:
    return {place: one.get(place, 0) | other.get(place, 0) for place in {*one, *other}}
