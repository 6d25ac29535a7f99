"""The states that paths are compared with: which are kept, when a path ends in one, and loops.

Paths into a loop may end in a checkpoint whose own paths are not finished yet; what mattered to
those is carried along such back edges once all of them are. Sources: is_state_visited,
maybe_enter_scc, propagate_backedges and find_prev_entry in kernel/bpf/verifier.c.
"""

from collections import defaultdict

from workbench.bpf.isa import Op
from workbench.errors import VerificationError
from workbench.verifier.paths import precision
from workbench.verifier.paths.equality import (
    COVERED,
    EXACT,
    WITHIN,
    equal,
    iterations_differ,
    maybe_looping,
)
from workbench.verifier.paths.liveness import LiveStack
from workbench.verifier.paths.subject import Subject
from workbench.verifier.values.domain import EMPTY, NOTHING, State

# Numbers of kernel/bpf/verifier.c; where they differ, `processed` differs from Linux's.
MAX_ROUNDS = 64  # MAX_BACKEDGE_ITERS of propagate_backedges
MAX_HISTORY = 40  # entries of a path's past; is_state_visited
MIN_JUMPS, MIN_STEPS = 2, 8  # between checkpoints; is_state_visited: half the memory, 20 % faster
LOOP_JUMPS, LOOP_STEPS = 20, 100  # in a loop: 10,000 checkpoints where it goes on to the limit
PATIENCE, LOOP_PATIENCE = 3, 64  # misses for each hit; more where a loop must converge


class _Visit:
    """One stay in a loop: the checkpoint that entered it, and the back edges found inside."""

    __slots__ = ("count", "edges", "entry")

    def __init__(self) -> None:
        self.entry: State | None = None
        self.edges: list[tuple[State, State]] = []
        self.count = 0


class Checkpoints:
    """All checkpoints of a program, by the slot and the call site they belong to."""

    def __init__(self, subject: Subject, live: LiveStack) -> None:
        self.subject, self.live = subject, live
        self.flow, self.log = subject.flow, subject.log
        self.size = len(subject.program)
        self.buckets: dict[int, list[State]] = defaultdict(list)
        self.visits: dict[tuple[int, ...], _Visit] = {}
        self.unsettled: set[tuple[int, ...] | None] = set()
        self.jumps = self.processed = 0
        self.last_jumps = self.last_processed = 0
        self.total = self.kept = self.peak = self.most = self.unfreed = self.edges = 0

    def forget(self) -> None:
        """Another function begins; all that is counted goes on, as in Linux."""
        self.buckets.clear()
        self.visits.clear()
        self.unsettled.clear()

    def _key(self, pc: int, callsite: int) -> int:
        return ((pc ^ callsite) & 0xFFFFFFFF) % self.size

    def _bucket(self, state: State) -> list[State]:
        """Newest last."""
        return self.buckets[self._key(state.pc, state.frames[-1].callsite)]

    def _visit_of(self, state: State) -> tuple[int, ...] | None:
        """The call sites that lead into a loop and its number; None outside of loops."""
        sites: list[int] = []
        for n in range(len(state.frames)):
            pc = state.slot_of(n)
            if loop := self.flow.loops[pc]:
                return (*sites, -loop)
            sites.append(pc)
        return None

    def _incomplete(self, state: State) -> bool:
        """Whether what matters to a state in a loop is not known completely."""
        return state.visit in self.unsettled

    def covered(self, state: State) -> bool:
        """Whether a path of type `raw` came here in such a state before, finished or not."""
        bucket = self._bucket(state)
        if any(old.pc == state.pc and equal(old, state, COVERED, self.flow) for old in bucket):
            return True
        bucket.append(state.copy())
        bucket[-1].precise = [[0, 0] for _ in state.frames]
        return False

    def visited(self, state: State) -> bool:
        """Whether the path ends here, covered by a checkpoint; else it may become one."""
        if self.subject.setting.raw:
            return self.covered(state)
        pc = state.pc
        forced = pc in self.flow.forced or len(state.history) > MAX_HISTORY
        jumps, steps = self.jumps - self.last_jumps, self.processed - self.last_processed
        add = forced or (jumps >= MIN_JUMPS and steps >= MIN_STEPS)
        bucket = self._bucket(state)
        self._clean(bucket, state)
        seen, loop = 0, False
        for old in reversed(bucket):  # from the end, so that the present one may be taken out
            seen += 1
            if old.pc != pc:
                continue
            if old.branches:
                found, loop = self._unfinished(old, state, loop)
                if found:
                    self._end_at(old, state, loop)
                    return True
                if not forced and jumps < LOOP_JUMPS and steps < LOOP_STEPS:
                    add = False
            else:
                loop = self._incomplete(old)
                if equal(old, state, WITHIN if loop else COVERED, self.flow):
                    self._end_at(old, state, loop)
                    return True
            self._missed(bucket, old, add)
        self.most = max(self.most, seen)
        if add:
            self._remember(bucket, state)
        return False

    def _unfinished(self, old: State, state: State, loop: bool) -> tuple[bool, bool]:
        """Compare with a checkpoint that the path itself went through: whether it ends, in a loop.

        Raises VerificationError for a loop that changes nothing.
        """
        pc = state.pc
        if pc in self.flow.iterations:
            if equal(old, state, WITHIN, self.flow) and self._active(state):
                return True, True
            return False, loop
        again = self.subject.program[pc].op == Op.MAY_GOTO and old.may_goto != state.may_goto
        if again and equal(old, state, WITHIN, self.flow):
            return True, True
        if pc in self.flow.callbacks:
            return equal(old, state, WITHIN, self.flow), loop
        if not maybe_looping(old, state):
            return False, loop
        same = equal(old, state, EXACT, self.flow) and not iterations_differ(old, state)
        if same and old.may_goto == state.may_goto and old.unrolled == state.unrolled:
            if self.log:
                self.log.loop(old, state)
            raise VerificationError(pc, f"infinite loop detected at insn {pc}")
        return False, loop

    def _active(self, state: State) -> bool:
        iterator = state.iterator_at(state.frames[-1].registers[1])
        return iterator is not None and iterator.state == "active"

    def _missed(self, bucket: list[State], old: State, add: bool) -> None:
        """Drop a checkpoint that seldom helps."""
        old.misses += add
        patience = LOOP_PATIENCE if old.pc in self.flow.forced and old.branches else PATIENCE
        if old.misses <= old.hits * patience + patience:
            return
        old.evicted = True
        bucket.remove(old)
        self.kept -= 1
        self.unfreed += old.branches > 0 or self._incomplete(old)

    def _end_at(self, old: State, state: State, loop: bool) -> None:
        """What mattered after the checkpoint matters on this path as well."""
        old.hits += 1
        if state.pc in self.flow.jumps:
            state.note()
        self._propagate(old, state)
        if not loop:
            return
        at = old.visit
        assert at is not None
        if self.log:
            self.log.line(f"SCC backedge {_loop_text(at)}")
        edge = state.copy()
        visit = self.visits[at]
        visit.edges.insert(0, (edge, old))
        self.unsettled.add(at)
        visit.count += 1
        self.edges += 1
        self._update_peak()

    def _propagate(self, old: State, state: State) -> bool:
        """Carry the marks of a checkpoint to a state that is equal to it."""
        registers, slots = {}, {}
        for n in range(len(old.frames) - 1, -1, -1):
            frame, (wanted, spilled) = old.frames[n], old.precise[n]
            registers[n] = precision.scalars(frame, wanted) if wanted else 0
            slots[n] = precision.spilled_scalars(frame, spilled) if spilled else 0
            if self.log and (registers[n] or slots[n]):
                self.log.propagating(n, registers[n], slots[n])
        return precision.mark(self.subject, state, registers, slots)

    def _remember(self, bucket: list[State], state: State) -> None:
        """Make the state a checkpoint; the path goes on from it with an empty past."""
        self.total += 1
        self.kept += 1
        self._update_peak()
        self.last_jumps, self.last_processed = self.jumps, self.processed
        checkpoint = state.copy()
        checkpoint.precise = [[0, 0] for _ in state.frames]
        checkpoint.sites, checkpoint.visit = state.call_sites(), self._visit_of(state)
        self._enter_loop(checkpoint)
        state.parent, state.first = checkpoint, state.pc
        state.depth = checkpoint.depth + 1
        state.history, state.walked = [], {}
        bucket.append(checkpoint)

    def _update_peak(self) -> None:
        self.peak = max(self.peak, self.kept + self.unfreed + self.edges)

    def _enter_loop(self, state: State) -> None:
        at = state.visit
        if at is None:
            return
        visit = self.visits.setdefault(at, _Visit())
        if visit.entry is None:
            visit.entry = state
            if self.log:
                self.log.line(f"SCC enter {_loop_text(at)}")

    def finish(self, state: State) -> None:
        """A path ended: so did all checkpoints on it that no other path leads from."""
        at: State | None = state
        while at is not None:
            at.branches -= 1
            if at.branches:
                return
            self._leave_loop(at)
            if at.evicted and not self._incomplete(at):
                self.unfreed -= 1
            at = at.parent

    def _leave_loop(self, state: State) -> None:
        at = state.visit
        visit = self.visits.get(at) if at is not None else None
        if at is None or visit is None or visit.entry is not state:
            return
        if self.log:
            self.log.line(f"SCC exit {_loop_text(at)}")
        visit.entry = None
        self.edges -= visit.count
        visit.count = 0
        self._propagate_edges(visit)
        self.unsettled.discard(at)

    def _propagate_edges(self, visit: _Visit) -> None:
        """Carry marks along the back edges until nothing is new."""
        for _ in range(MAX_ROUNDS):
            changed = False
            for state, old in visit.edges:
                changed |= self._propagate(old, state)
            if not changed:
                break
        else:
            for state, _ in visit.edges:
                precision.mark_all(self.subject, state)
        visit.edges.clear()

    def _clean(self, bucket: list[State], state: State) -> None:
        """Forget in finished checkpoints what no path reads any more."""
        sites = None
        for old in bucket:
            if old.cleaned or old.branches or old.pc != state.pc:
                continue
            sites = sites or state.call_sites()
            if old.sites == sites and not self._incomplete(old):
                self._clean_state(old)

    def _clean_state(self, state: State) -> None:
        state.cleaned = True
        for n, frame in enumerate(state.frames):
            live = self.flow.live[state.slot_of(n)]
            for register in range(10):
                if not live >> register & 1:
                    frame.registers[register] = NOTHING
            alive = self.live.alive(state, n)
            frame.stack = tuple(
                slot if alive >> at & 1 else EMPTY for at, slot in enumerate(frame.stack)
            )

    def earlier(self, state: State, pc: int, callsite: int) -> State | None:
        """The nearest checkpoint at `pc` that the path to `state` went through.

        `callsite` is where the function that runs now was called.
        """
        key, sites = self._key(pc, callsite), state.call_sites()
        for old in reversed(self.buckets.get(key, ())):
            on_path = old.pc == pc and old.branches and old.depth < state.depth
            if on_path and old.sites == sites:
                return old
        return None


def _loop_text(at: tuple[int, ...]) -> str:
    return f"({','.join(map(str, (*at[:-1], -at[-1])))})"
