"""All paths through a program, depth first, in the order in which Linux follows them.

A path goes on until it ends, forks, or comes to a checkpoint that covers it. Source: do_check in
kernel/bpf/verifier.c.
"""

from collections.abc import Callable, Sequence

from workbench.bpf.declarations import Subprogram
from workbench.bpf.isa import Op
from workbench.errors import VerificationError
from workbench.verifier.paths import precision
from workbench.verifier.paths.calls import CALLS, END
from workbench.verifier.paths.flow import Flow, reads_and_writes
from workbench.verifier.paths.path import Path
from workbench.verifier.paths.raw import RAW
from workbench.verifier.paths.recorder import Recorder
from workbench.verifier.paths.subject import Subject
from workbench.verifier.paths.transfer import TRANSFERS
from workbench.verifier.rules import facts
from workbench.verifier.rules.check import CHECKS
from workbench.verifier.rules.facts import Instruction, Setting
from workbench.verifier.values.domain import (
    ANY_SCALAR,
    CTX,
    EVERYTHING,
    MEM,
    OR_NULL,
    Frame,
    State,
    Value,
    new_frame,
)

LIMIT = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS
CHUNK = 4096  # instructions between reports of progress, some 50 ms
Progress = Callable[[int], object]
"""Is given the number of instructions followed so far."""
_JUMPS = frozenset(
    int(op)
    for op in (
        *facts.JUMPS, Op.JA, Op.JA32, Op.MAY_GOTO, Op.CALL_HELPER, Op.CALL_KFUNC, Op.CALL_LOCAL,
        Op.CALLX, Op.EXIT,
    )
)  # fmt: skip
_STORING = frozenset(
    int(op) for op in (*facts.STORES, *facts.UPDATES, Op.CALL_HELPER, Op.CALL_KFUNC)
)


class Explorer:
    """Explores one program; afterwards `path` knows what each instruction touched.

    `processed` counts instructions as Linux does; `progress` is called with it now and then.
    """

    def __init__(
        self,
        program: Sequence[Instruction],
        setting: Setting,
        flow: Flow,
        recorder: Recorder | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.recorder, self.progress = recorder, progress
        self.subject = Subject(
            program, setting, flow, recorder.log if recorder else None,
            [precision.registers_that_matter(i) for i in program],
        )  # fmt: skip
        self.path = Path(self.subject)
        self.processed = 0
        self.seen = bytearray(len(program))
        self._checks = [
            [(CHECKS[type(fact)], fact) for fact in facts.facts_of(i, pc, setting)]
            for pc, i in enumerate(program)
        ]
        table = {**TRANSFERS, **CALLS, **(RAW if setting.raw else {})}
        self._transfers = [table[i.op] for i in program]
        self._shown = [
            reads | writes
            for reads, writes in (reads_and_writes(i, pc, setting) for pc, i in enumerate(program))
        ]
        self._points = [_point(flow, pc, i.op) for pc, i in enumerate(program)]

    def explore(self) -> None:
        """Explore from the first instruction; raises VerificationError for a fact that fails.

        An instruction that sees arena pointers on some paths runs in 32 bits on all of them: if
        there are any that saw numbers too, exploration begins again with these in 32 bits.
        """
        while True:
            self._functions()
            mixed = self.path.arithmetic & self.path.plain
            if mixed <= self.path.mixed or self.subject.setting.raw:
                return
            self._begin_again(frozenset(mixed))

    def _begin_again(self, mixed: frozenset[int]) -> None:
        if self.recorder:
            self.recorder.clear()
        self.processed = 0
        self.path = Path(self.subject, mixed)

    def _functions(self) -> None:
        """The main function, then each global function that was called."""
        self._run(self._entry())
        done: set[int] = set()
        while todo := sorted(self.path.called - done):
            done.add(todo[0])
            self._function(todo[0])

    def _function(self, start: int) -> None:
        """Verify a global function for any arguments of its kinds."""
        function = self.subject.setting.functions[start]
        number, log = self.subject.function_number(start), self.subject.log
        if log:
            log.say(f"Validating {function.name}() func#{number}...")
        if function.returns == "void":
            name = function.name
            only = "Only those are supported."
            raise VerificationError(
                start, f"Global function {name}() doesn't return scalar. {only}"
            )
        self._run(State([self._global_frame(function)]), start)
        if log:
            safe = "is safe for any args that match its prototype"
            log.say(f"Func#{number} ('{function.name}') {safe}")

    def _entry(self) -> State:
        frame = new_frame(0, -1, 0)
        frame.registers[1] = Value(CTX)
        if self.subject.setting.raw:
            frame.registers[1:3] = [Value(MEM, about=0), ANY_SCALAR]
        return State([frame])

    def _global_frame(self, function: Subprogram) -> Frame:
        frame = new_frame(0, -1, function.pc)
        for n, kind in enumerate(function.arguments, 1):
            name, _, size = kind.partition(":")
            if name in ("scalar", "ctx", "arena"):
                plain = {"scalar": ANY_SCALAR, "ctx": Value(CTX), "arena": ANY_SCALAR}
                frame.registers[n] = plain[name]
                continue
            nullable = name == "mem_or_null"
            identity = self.path.new_id() if nullable else 0
            kind_of = MEM | OR_NULL if nullable else MEM
            frame.registers[n] = Value(kind_of, id=identity, about=int(size))
        return frame

    @property
    def statistics(self) -> tuple[int, int, int]:
        """Most checkpoints looked at in one place, checkpoints in total, most at one time."""
        points = self.path.checkpoints
        return points.most, points.total, points.peak

    def _run(self, state: State, start: int = 0) -> None:
        """Explore one function, and all that it calls, to the end."""
        path = self.path
        if start:
            path.checkpoints.forget()
        path.forks.clear()
        path.previous, path.show_state, path.shown = -1, False, EVERYTHING
        path.begin(state)
        path.live.leave()
        pc: int | None = start
        while pc is not None:
            self._follow(pc)
            path.checkpoints.finish(path.state)
            path.live.update(path.state)
            pc = self._next_path()

    def _next_path(self) -> int | None:
        """Take up the newest fork."""
        path = self.path
        if not path.forks:
            return None
        state, pc, path.previous, position, path.route = path.forks.pop()
        if self.subject.log:
            self.subject.log.cut(position)
        path.begin(state)
        path.live.leave()
        path.show_state, path.shown = True, EVERYTHING
        return pc

    def _follow(self, pc: int) -> None:
        """Follow one path to its end, or to a checkpoint that covers it."""
        path, points, live = self.path, self.path.checkpoints, self.path.live
        program, checks, transfers = self.subject.program, self._checks, self._transfers
        shape, recorder, seen = self._points, self.recorder, self.seen
        while True:
            self.processed = points.processed = self.processed + 1
            if not self.processed % CHUNK and self.progress is not None:
                self.progress(self.processed)
            if self.processed > LIMIT:
                large = f"BPF program is too large. Processed {self.processed} insn"
                raise VerificationError(pc, large)
            state = path.state
            path.pc = state.pc = pc
            state.last = path.previous
            state.entry = None
            prune, note, jump, stores = shape[pc]
            if prune and points.visited(state):
                if recorder:
                    recorder.safe(path)
                return
            seen[pc] = 1
            if note:
                state.note()
            if recorder:
                recorder.before(path)
            i = program[pc]
            path.previous = pc
            for check, fact in checks[pc]:
                reason = check(fact, path)
                if reason is not None:
                    raise VerificationError(pc, reason)
            if jump:
                points.jumps += 1
            if stores:
                live.start(state)
            following = transfers[pc](i, path)
            if stores:
                live.commit(pc)
            if recorder:
                recorder.after(path, i.op, self._shown[path.pc])
            if following is None:
                pc += 1
            elif following == END:
                return
            else:
                pc = following


def _point(flow: Flow, pc: int, op: int) -> tuple[bool, bool, bool, bool]:
    """Whether paths are compared here, their past is noted, it is a jump, and it may store."""
    return pc in flow.prune, pc in flow.jumps, op in _JUMPS, op in _STORING
