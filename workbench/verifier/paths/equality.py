"""Is a path covered by one that was explored before? Whatever the new state may hold, the old did.

Sources: states_equal, regsafe, stacksafe and widen_imprecise_scalars in kernel/bpf/verifier.c.
"""

from functools import lru_cache

from workbench.bpf.isa import REGISTERS
from workbench.verifier.paths.flow import Flow
from workbench.verifier.values import numbers
from workbench.verifier.values.domain import (
    ANY_SCALAR,
    ARENA,
    MAP_KEY,
    MAP_VALUE,
    MEMORIES,
    PACKETS,
    SCALAR,
    UNSET,
    WITH_DELTA,
    Frame,
    Iterator,
    Locks,
    Slot,
    State,
    Value,
)

COVERED, EXACT, WITHIN = range(3)
"""How to compare: numbers only where they mattered; everything the same; all numbers within."""

_IN_RANGE = MEMORIES | {MAP_KEY, MAP_VALUE}


class Names:
    """Which identity of the new state stands for which of the old one."""

    __slots__ = ("fresh", "pairs", "used")

    def __init__(self) -> None:
        self.pairs: dict[int, int] = {}
        self.used: set[int] = set()
        self.fresh = 1 << 40  # above every identity that a path gives

    def same(self, old: int, new: int) -> bool:
        """Whether two identities agree with all pairs so far."""
        if not old or not new:
            return old == new
        if old in self.pairs:
            return self.pairs[old] == new
        if new in self.used:
            return False
        self.pairs[old] = new
        self.used.add(new)
        return True

    def same_number(self, old: int, new: int) -> bool:
        """Whether the identities of two numbers agree; 0 of the old one agrees with any."""
        if not old:
            return True
        if not new:
            self.fresh += 1
            new = self.fresh
        return self.same(old, new)


def equal(old: State, new: State, how: int, flow: Flow) -> bool:
    """Whether everything that is safe after `old` is safe after `new`."""
    if len(old.frames) != len(new.frames):
        return False
    names, innermost = Names(), len(old.frames) - 1
    if not _locks_equal(old.locks, new.locks, names):
        return False
    for n, (frame, other, precise) in enumerate(
        zip(old.frames, new.frames, old.precise, strict=True)
    ):
        if frame.callsite != other.callsite or frame.depth > other.depth:
            return False
        live = flow.live[old.pc if n == innermost else old.frames[n + 1].callsite]
        if not _registers_equal(frame.registers, other.registers, precise[0], how, live, names):
            return False
        if not _stack_equal(frame, other, precise[1], how, names):
            return False
    return True


def _locks_equal(old: Locks, new: Locks, names: Names) -> bool:
    if old is new and not old.references:
        return True
    same = old.preempt == new.preempt and old.rcu == new.rcu
    if not same or len(old.references) != len(new.references):
        return False
    return all(
        names.same(a.id, b.id) and a.kind == b.kind and a.about == b.about
        for a, b in zip(old.references, new.references, strict=True)
    )


def _registers_equal(
    old: list[Value], new: list[Value], precise: int, how: int, live: int, names: Names
) -> bool:
    for n in _members(live):
        value, other = old[n], new[n]
        if value is other and not value.id and not value.reference:
            continue
        if how == COVERED:
            kind = value.kind
            if kind == UNSET or (kind == SCALAR == other.kind and not precise >> n & 1):
                continue
        if not value_equal(value, other, precise >> n & 1, how, names):
            return False
    return True


@lru_cache(maxsize=1 << REGISTERS)
def _members(mask: int) -> tuple[int, ...]:
    return tuple(n for n in range(REGISTERS) if mask >> n & 1)


def value_equal(old: Value, new: Value, precise: int, how: int, names: Names) -> bool:
    """Whether what is safe with one value is safe with the other. Source: regsafe."""
    if how == EXACT:
        return _exactly(old, new, names)
    kind = old.kind
    if kind == UNSET and (how == COVERED or new.kind == UNSET):
        return True
    if kind != new.kind:
        return False
    if kind == SCALAR:
        if not precise and how == COVERED:
            return True
        if old.id and (old.id ^ new.id) & WITH_DELTA:
            return False
        if old.id & WITH_DELTA and old.off != new.off:
            return False
        return names.same_number(old.id, new.id) and numbers.covers(old.number, new.number)
    if kind == ARENA:
        return True
    if kind in PACKETS:
        fits = old.about <= new.about and old.off == new.off and names.same(old.id, new.id)
        return fits and numbers.covers(old.number, new.number)
    if kind & 31 in _IN_RANGE:
        return (
            old.off == new.off
            and old.about == new.about
            and numbers.covers(old.number, new.number)
            and names.same(old.id, new.id)
            and names.same(old.reference, new.reference)
        )
    return _exactly(old, new, names)


def _exactly(old: Value, new: Value, names: Names) -> bool:
    if old is new and not old.id and not old.reference:
        return True
    return (
        old.kind == new.kind
        and old.number == new.number
        and old.off == new.off
        and old.about == new.about
        and names.same(old.id, new.id)
        and names.same(old.reference, new.reference)
    )


def _scalar_in(slot: Slot) -> Value | None:
    """A slot as a number: a whole spilled one, or anything where the bytes are unknown."""
    if slot.types[0] == "r" and slot.spilled_scalar:
        return slot.value
    return None if slot.types.strip("m?") else ANY_SCALAR


def _stack_equal(old: Frame, new: Frame, precise: int, how: int, names: Names) -> bool:
    if how == COVERED and old.stack is new.stack and not _identified(old.stack):
        return True
    for n, slot in enumerate(old.stack):
        other = new.stack[n] if n < len(new.stack) else None
        if how != COVERED and (other is None or slot.types != other.types):
            return False
        if not slot.types.strip("m?"):
            continue  # bytes that may hold anything cover all others
        if other is None or not _slot_equal(slot, other, precise >> n & 1, how, names):
            return False
    return True


def _identified(stack: tuple[Slot, ...]) -> bool:
    return any(slot.value is not None for slot in stack)


def _slot_equal(old: Slot, new: Slot, precise: int, how: int, names: Names) -> bool:
    """Whether eight bytes are covered. Source: stacksafe."""
    first, second = _scalar_in(old), _scalar_in(new)
    if first is not None and second is not None:
        return value_equal(first, second, precise, how, names)
    for a, b in zip(old.types, new.types, strict=True):
        if a in "?m" or a == b:
            continue
        return False
    last = old.types[7]
    if last == "r":
        if new.types[7] != "r" or old.value is None or new.value is None:
            return False
        return value_equal(old.value, new.value, precise, how, names)
    if last in "if":
        return _object_equal(old.value, new.value, names)
    return True


def _object_equal(old: Value | None, new: Value | None, names: Names) -> bool:
    """Iterators in the same state (how often they were asked does not matter), or flags."""
    a = old.about if old is not None else None
    b = new.about if new is not None else None
    if isinstance(a, Iterator) and isinstance(b, Iterator):
        return a.state == b.state and names.same(a.reference, b.reference)
    if old is None or new is None:
        return old is new
    return a == b and names.same(old.reference, new.reference)


def maybe_looping(old: State, new: State) -> bool:
    """Whether the registers of two states are the very same; the quick test before `equal`."""
    if len(old.frames) != len(new.frames):
        return False
    return old.frames[-1].registers == new.frames[-1].registers


def iterations_differ(old: State, new: State) -> bool:
    """Whether an active iterator was asked more often in one state than in the other."""
    for a, b in zip(old.frames, new.frames, strict=True):
        for n, slot in enumerate(a.stack):
            first = slot.value.about if slot.types[0] == "i" and slot.value else None
            if not isinstance(first, Iterator) or first.state != "active":
                continue
            other = b.stack[n].value if n < len(b.stack) else None
            second = other.about if other is not None else None
            if not isinstance(second, Iterator) or second.depth != first.depth:
                return True
    return False


def widen(old: State, new: State) -> None:
    """Forget numbers that changed from one round of a loop to the next and did not matter."""
    names = Names()
    frames = zip(old.frames, new.frames, old.precise, strict=True)
    for frame, other, precise in reversed(list(frames)):  # innermost first: the first is named
        for n, value in enumerate(frame.registers):
            if _changed(value, other.registers[n], precise[0] >> n & 1, names):
                other.registers[n] = ANY_SCALAR
        for n, slot in enumerate(frame.stack[: len(other.stack)]):
            second = other.stack[n]
            if not slot.spilled or not second.spilled or not slot.value or not second.value:
                continue
            if _changed(slot.value, second.value, precise[1] >> n & 1, names):
                other.put(n, second._replace(value=ANY_SCALAR))


def _changed(old: Value, new: Value, precise: int, names: Names) -> bool:
    if old.kind != SCALAR or new.kind != SCALAR or precise:
        return False
    return not _exactly(old, new, names)
