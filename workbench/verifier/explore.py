"""The fixpoint: which states reach each instruction, over all paths, with a join where paths meet.

A function is explored in program order, again from every instruction whose state grew. A local
call explores the callee with the caller's frames below it, as Linux does for static functions;
callees that get no stack pointer cannot tell their callers apart and are explored once per kinds
of arguments.
"""

from collections.abc import Sequence
from heapq import heappop, heappush

from workbench.errors import VerificationError
from workbench.isa import Op
from workbench.verifier import facts
from workbench.verifier.check import CHECKS
from workbench.verifier.domain import (
    ANY_SCALAR,
    ARENA,
    CTX,
    FUNC,
    MEM,
    STACK,
    UNSET,
    Frame,
    State,
    Value,
    join_states,
)
from workbench.verifier.facts import Instruction, Setting
from workbench.verifier.transfer import CALLER_SAVED, TRANSFERS, jumps

LIMIT = 1_000_000
_ALU64_LAST = int(Op.ARSH64)
_CONTROL = frozenset(
    int(op) for op in (*facts.JUMPS, Op.JA, Op.JA32, Op.MAY_GOTO, Op.CALL_LOCAL, Op.CALLX, Op.EXIT)
)

Answer = tuple[Value, ...]  # r0 to r5 as a function leaves them


class Explorer:
    """Explores one program; afterwards it knows what each instruction touched.

    `accesses` maps slots of memory accesses to the kinds of pointers they used, `arithmetic` holds
    the slots of 64-bit operations that saw an arena pointer, `depths` the stack bytes that each
    function (by first slot) uses, `processed` counts instructions as Linux does.
    """

    def __init__(self, program: Sequence[Instruction], setting: Setting) -> None:
        self.program = program
        self.setting = setting
        self.accesses: dict[int, int] = {}
        self.arithmetic: set[int] = set()
        self.depths: dict[int, int] = {}
        self.processed = 0
        self._folded: set[int] = set()
        self._answers: dict[tuple[int, int, Answer], Answer | None] = {}
        self._functions: list[int] = []
        self._facts = [
            [(CHECKS[type(fact)], fact) for fact in facts.facts_of(i, pc, setting)]
            for pc, i in enumerate(program)
        ]
        self._bases = [_base_register(i) for i in program]
        self._meets = {pc + 1 + i.off for pc, i in enumerate(program) if i.op in _CONTROL}

    def explore(self) -> None:
        """Explore from the first instruction; raises VerificationError for a fact that fails.

        An instruction that sees arena pointers runs in 32 bits on every path, so numbers computed
        with it in 64 bits are wrong: if there are any, exploration begins again without them.
        """
        while True:
            self._answers.clear()
            self._folded.clear()
            self._function(0, (Frame(_entry_registers(self.setting), {}),))
            if not self._folded & self.arithmetic:
                return

    def _function(self, start: int, entry: State) -> State | None:
        """Return the joined state at the exits of the function at `start`, None without exits."""
        self._functions.append(start)
        self.depths.setdefault(start, 0)
        states, queue, result = {start: entry}, [start], None
        while queue:
            pc = heappop(queue)
            while queue and queue[0] == pc:
                heappop(queue)
            for target, state in self._straight(pc, states[pc]):
                if target < 0:
                    result = state if result is None else join_states(result, state)
                    continue
                known = states.get(target)
                joined = state if known is None else join_states(known, state)
                if known is None or joined != known:
                    states[target] = joined
                    heappush(queue, target)
        self._functions.pop()
        return result

    def _straight(self, pc: int, state: State) -> list[tuple[int, State]]:
        """Follow instructions until control moves or paths meet; gives targets, -1 at an exit."""
        while True:
            i = self.program[pc]
            self._check(pc, state)
            if i.op in _CONTROL:
                return self._control(i, pc, state)
            if i.op <= _ALU64_LAST:
                state = self._alu64(i, pc, state)
            else:
                state = TRANSFERS[i.op](i, pc, state, self.setting)
            pc += 2 if Op.LD_IMM64 <= i.op <= Op.LD_MAP_IDX_VALUE else 1
            if pc in self._meets:
                return [(pc, state)]

    def _check(self, pc: int, state: State) -> None:
        """Raise VerificationError unless every fact of the instruction holds."""
        self.processed += 1
        if self.processed > LIMIT:
            large = f"BPF program is too large. Processed {self.processed} insn"
            raise VerificationError(pc, large)
        for check, fact in self._facts[pc]:
            reason = check(fact, state, self.setting)
            if reason is not None:
                raise VerificationError(pc, reason)
        if self._bases[pc] >= 0:
            self._note_access(pc, state)

    def _note_access(self, pc: int, state: State) -> None:
        """Record what kind of pointer the access uses and how deep it reaches into a stack."""
        base = state[-1].registers[self._bases[pc]]
        known = self.accesses.get(pc, 0) | base.kinds
        self.accesses[pc] = known
        if known != base.kinds and known & (ARENA | CTX) and not self.setting.raw:
            raise VerificationError(pc, "same insn cannot be used with different pointers")
        if base.kinds == STACK and base.number is not None:
            function = self._functions[base.frame]
            depth = -(base.number + self.program[pc].off)
            self.depths[function] = max(self.depths[function], depth)

    def _alu64(self, i: Instruction, pc: int, state: State) -> State:
        """Apply 64-bit arithmetic and note whether it saw an arena pointer."""
        after = TRANSFERS[i.op](i, pc, state, self.setting)
        registers = state[-1].registers
        if (registers[i.dst].kinds | (registers[i.src].kinds if i.src < 11 else 0)) & ARENA:
            self.arithmetic.add(pc)
        elif after[-1].registers[i.dst].number is not None:
            if pc in self.arithmetic:
                return _without_number(after, i.dst)
            self._folded.add(pc)
        return after

    def _control(self, i: Instruction, pc: int, state: State) -> list[tuple[int, State]]:
        """Where an instruction that moves control leads."""
        target = pc + 1 + i.off
        if i.op == Op.EXIT:
            return [(-1, state)]
        if i.op in (Op.JA, Op.JA32):
            return [(target, state)]
        if i.op in (Op.CALL_LOCAL, Op.CALLX):
            return self._call(i, pc, state)
        taken = None if i.op == Op.MAY_GOTO else jumps(i, state)
        if taken is None:
            return [(pc + 1, state), (target, state)]
        return [(target if taken else pc + 1, state)]

    def _call(self, i: Instruction, pc: int, state: State) -> list[tuple[int, State]]:
        """Explore the callee and return to the caller with its answer."""
        target = pc + 1 + i.off if i.op == Op.CALL_LOCAL else self._callx_target(i, pc, state)
        after = self._callee(target, state)
        return [] if after is None else [(pc + 1, after)]

    def _callx_target(self, i: Instruction, pc: int, state: State) -> int:
        value = state[-1].registers[i.dst]
        if value.kinds != FUNC or value.number is None:
            raise VerificationError(pc, f"R{i.dst} is not the address of a known function")
        return value.number

    def _callee(self, target: int, state: State) -> State | None:
        """Return the caller's state after a call of the function at `target`."""
        registers = state[-1].registers
        passed = _passed(registers, len(state), self.setting)
        if any(value.kinds & STACK for value in passed[:10]):
            left = self._function(target, (*state, Frame(passed, {})))
            return None if left is None else self._returned(left[:-1], _answer(left))
        key = (target, len(state), passed)
        if key not in self._answers:
            outer = (Frame(registers, {}),) * len(state)
            left = self._function(target, (*outer, Frame(passed, {})))
            self._answers[key] = None if left is None else _answer(left)
        answer = self._answers[key]
        return None if answer is None else self._returned(state, answer)

    def _returned(self, state: State, answer: Answer) -> State:
        """Put a callee's answer into the caller's registers; Linux forgets r1 to r5."""
        registers, slots = state[-1]
        if self.setting.raw:
            given = tuple(_without_frame(value, len(state)) for value in answer)
            slots = {at: _without_frame(value, len(state)) for at, value in slots.items()}
        else:
            given = (answer[0], *CALLER_SAVED)
        return (*state[:-1], Frame((*given, *registers[6:]), slots))


def _base_register(i: Instruction) -> int:
    """The register that a memory access goes through, or -1."""
    if i.op in facts.LOADS:
        return i.src
    return i.dst if i.op in facts.STORES or i.op in facts.UPDATES else -1


def _entry_registers(setting: Setting) -> tuple[Value, ...]:
    """Registers as the main function finds them."""
    first = (UNSET, Value(MEM, 0), ANY_SCALAR) if setting.raw else (UNSET, Value(CTX, 0), UNSET)
    return (*first, *(UNSET,) * 7, Value(STACK, 0, 0))


def _passed(registers: tuple[Value, ...], frame: int, setting: Setting) -> tuple[Value, ...]:
    """Registers as a callee in frame number `frame` finds them."""
    pointer = Value(STACK, 0, frame)
    if setting.raw:
        return (*registers[:10], pointer)
    return (UNSET, *registers[1:6], *(UNSET,) * 4, pointer)


def _answer(left: State) -> Answer:
    return left[-1].registers[:6]


def _without_number(state: State, register: int) -> State:
    registers, slots = state[-1]
    value = registers[register]._replace(number=None)
    changed = (*registers[:register], value, *registers[register + 1 :])
    return (*state[:-1], Frame(changed, slots))


def _without_frame(value: Value, frame: int) -> Value:
    """A pointer into a frame that is gone is just a number."""
    return ANY_SCALAR if value.kinds & STACK and value.frame in (frame, -1) else value
