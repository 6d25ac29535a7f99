"""Which stack slots may still be read, per chain of calls: the others do not make states differ.

Reads and writes are collected as paths are followed; before states are compared, they are
propagated backwards through each function. Source: kernel/bpf/liveness.c of Linux 6.18.
"""

from collections import defaultdict

from workbench.verifier.log.wording import slots_text
from workbench.verifier.log.writer import Log
from workbench.verifier.paths.flow import Flow
from workbench.verifier.values.domain import State

ALL = (1 << 64) - 1
Chain = tuple[int, ...]  # call sites of the outer frames, then the function's first slot


class _Masks:
    """Slots of one frame, a bit each, for the instructions of a function."""

    __slots__ = ("live", "reads", "surely", "writes")

    def __init__(self) -> None:
        self.reads: dict[int, int] = defaultdict(int)
        self.writes: dict[int, int] = defaultdict(int)
        self.surely: dict[int, int] = defaultdict(int)
        self.live: dict[int, int] = defaultdict(int)


class _Instance:
    """A function as called through one chain of calls."""

    __slots__ = ("chain", "dropped", "frames", "seen", "updated")

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.frames: dict[int, _Masks] = {}
        self.seen: set[int] = set()
        self.updated = self.dropped = False

    def masks(self, frame: int) -> _Masks:
        if frame not in self.frames:
            self.frames[frame] = _Masks()
        return self.frames[frame]


class LiveStack:
    """What was read and written on the stacks of all calls so far."""

    def __init__(self, flow: Flow, log: Log | None) -> None:
        self._flow, self._log = flow, log
        self._instances: dict[Chain, _Instance] = {}
        self._current: _Instance | None = None
        self._written: dict[int, int] = {}

    def leave(self) -> None:
        """Another function runs now."""
        self._current = None

    def _instance(self, chain: Chain) -> _Instance:
        if chain not in self._instances:
            self._instances[chain] = _Instance(chain)
        return self._instances[chain]

    def _here(self, state: State) -> _Instance:
        if self._current is None:
            self._current = self._instance(chain_of(state, len(state.frames) - 1))
        return self._current

    def read(self, state: State, frame: int, pc: int, mask: int) -> None:
        """The instruction at `pc` may read slots of a frame."""
        self._read(self._here(state), frame, pc, mask)

    def _read(self, instance: _Instance, frame: int, pc: int, mask: int) -> None:
        masks = instance.masks(frame)
        if mask & ~masks.reads[pc]:
            masks.reads[pc] |= mask
            instance.updated |= bool(mask & ~masks.live[pc])

    def write(self, frame: int, mask: int) -> None:
        """The present instruction wrote whole slots of a frame."""
        self._written[frame] = self._written.get(frame, 0) | mask

    def start(self, state: State) -> None:
        """An instruction that may write to the stack begins."""
        self._here(state)
        self._written = {}

    def commit(self, pc: int) -> None:
        """The instruction at `pc` is done: what it wrote each time, it surely writes."""
        if self._current is not None:
            self._commit(self._current, pc, self._written)

    def _commit(self, instance: _Instance, pc: int, written: dict[int, int]) -> None:
        seen = pc in instance.seen
        for frame in range(len(instance.chain)):
            mask = written.get(frame, 0)
            if not mask and not (seen and frame in instance.frames):
                continue
            masks = instance.masks(frame)
            old = masks.writes[pc]
            mask = mask & old if seen else mask
            if mask != old:
                masks.writes[pc] = mask
                instance.updated = True
            instance.dropped |= bool(old & ~mask)
        instance.seen.add(pc)

    def update(self, state: State) -> None:
        """Propagate what is new, from the innermost call outwards."""
        self._current = None
        for frame in range(len(state.frames) - 1, -1, -1):
            instance = self._instance(chain_of(state, frame))
            if instance.updated:
                self._propagate(instance)
                instance.updated = instance.dropped = False

    def _propagate(self, instance: _Instance) -> None:
        rounds, changed = 0, True
        if instance.dropped:
            for masks in instance.frames.values():
                masks.surely.clear()
        order = self._flow.postorder[instance.chain[-1]]
        while changed:
            rounds, changed = rounds + 1, False
            for frame in sorted(instance.frames):
                for pc in order:
                    changed |= self._step(instance, frame, pc)
        if self._log:
            self._log.line(
                f"{text_of(instance.chain)} live stack update done in {rounds} iterations"
            )
        if len(instance.chain) > 1:
            self._hand_out(instance)

    def _step(self, instance: _Instance, frame: int, pc: int) -> bool:
        following = self._flow.following[pc]
        if not following:
            return False
        masks, after, surely = instance.frames[frame], 0, ALL
        for target in following:
            after |= masks.live[target]
            surely &= masks.surely[target]
        live = after & ~masks.writes[pc] | masks.reads[pc]
        surely |= masks.writes[pc]
        if live == masks.live[pc] and surely == masks.surely[pc]:
            return False
        if self._log:
            self._log_change(instance, frame, pc, live, surely)
        masks.live[pc], masks.surely[pc] = live, surely
        return True

    def _log_change(self, instance: _Instance, frame: int, pc: int, live: int, surely: int) -> None:
        masks = instance.frames[frame]
        first = pc == instance.chain[-1]
        if not (masks.reads[pc] or masks.writes[pc] or first or pc in self._flow.prune):
            return
        assert self._log is not None
        for what, old, new in (
            ("live", masks.live[pc], live),
            ("written", masks.surely[pc], surely),
        ):
            if old != new:
                head = f"{text_of(instance.chain)} frame {frame} insn {pc} "
                more = f"+{what} {slots_text(new & ~old)} " if new & ~old else ""
                fewer = f"-{what} {slots_text(old & ~new)}" if old & ~new else ""
                self._log.line(head + more + fewer)

    def _hand_out(self, instance: _Instance) -> None:
        """Tell the caller what the call reads and surely writes on outer stacks."""
        *outer, site, start = instance.chain
        caller = self._instance((*outer, self._start_of(site)))
        written = {}
        for frame, masks in instance.frames.items():
            if frame < len(instance.chain) - 1:
                written[frame] = masks.surely[start]
                self._read(caller, frame, site, masks.live[start])
        self._commit(caller, site, written)

    def _start_of(self, pc: int) -> int:
        return max(start for start in self._flow.starts if start <= pc)

    def alive(self, state: State, frame: int) -> int:
        """Slots of a frame that may be read from here on, a bit each."""
        last = len(state.frames) - 1
        instance = self._instances.get(chain_of(state, last))
        mask = _live(instance, frame, state.pc)
        for outer in range(frame, last):
            site = state.frames[outer + 1].callsite
            instance = self._instances.get(chain_of(state, outer))
            mask |= _live(instance, frame, site if site in self._flow.callbacks else site + 1)
        return mask


def _live(instance: _Instance | None, frame: int, pc: int) -> int:
    if instance is None or frame not in instance.frames:
        return 0
    return instance.frames[frame].live[pc]


def chain_of(state: State, frame: int) -> Chain:
    """The call sites that lead to a frame, and the first slot of its function."""
    sites = tuple(f.callsite for f in state.frames[1 : frame + 1])
    return (*sites, state.frames[frame].start)


def text_of(chain: Chain) -> str:
    """A chain of calls as the log writes it."""
    return f"({','.join(map(str, chain))})"
