"""What loads and stores do to the stack, byte by byte.

Sources: check_stack_write_fixed_off, check_stack_write_var_off and their counterparts for reading
in kernel/bpf/verifier.c.
"""

from workbench.verifier.paths.path import Path
from workbench.verifier.values.domain import (
    ANY_SCALAR,
    EMPTY,
    SCALAR,
    ZERO,
    Frame,
    Slot,
    Value,
    is_null,
)
from workbench.verifier.values.numbers import signed

_SCRUBBED = str.maketrans("rif0", "mmmm")
_MISC_BELOW = str.maketrans("rif", "mmm")


def reach(path: Path, base: Value, off: int) -> tuple[Frame, int, int]:
    """The frame that a pointer leads into, and the lowest and highest offset it may have."""
    frame = path.state.frames[base.about]
    if base.number.mask:
        low, high = base.number.smin + off, base.number.smax + off
    else:
        low = high = signed(base.number.value) + off
    path.grow(frame, low)
    return frame, low, high


def load(path: Path, base: Value, off: int, size: int, wanted: bool = True) -> Value:
    """What a load gives; `wanted` is false where nothing is loaded into a register."""
    frame, low, high = reach(path, base, off)
    first, last = max(-(high + size) // 8, 0), (-low - 1) // 8
    for at in range(first, last + 1):
        path.live.read(path.state, frame.number, path.pc, 1 << at)
        path.touch(at)
    if base.number.mask:
        return _bytes_value(frame, low, high + size)
    slot = frame.stack[last]
    if slot.spilled and slot.value is not None:
        return _fill(path, frame, low, size, slot, slot.value, wanted)
    return _bytes_value(frame, low, low + size)


def _bytes_value(frame: Frame, low: int, end: int) -> Value:
    """Zero if all bytes are, else an unknown number."""
    for at in range(low, end):
        place = -at - 1
        if frame.stack[place // 8].types[place % 8] != "0":
            return ANY_SCALAR
    return ZERO


def _fill(
    path: Path, frame: Frame, low: int, size: int, slot: Slot, value: Value, wanted: bool
) -> Value:
    """A load from where a register was spilled, whole or its low part."""
    spilled = len(slot.types) - len(slot.types.rstrip("r"))
    if size == 8 and spilled == 8:
        _remember(path, frame, low)
        return value
    if not wanted:
        return ANY_SCALAR
    if size <= spilled and low % 8 == 0:
        _remember(path, frame, low)
        return value._replace(id=0, off=0) if value.number.width > 8 * size else value
    place = (-low - 1) % 8
    kinds = slot.types[place - size + 1 : place + 1]
    if kinds == "r" * size and is_null(value):
        _remember(path, frame, low)
        return ZERO
    return ZERO if kinds == "0" * size else ANY_SCALAR


def _remember(path: Path, frame: Frame, low: int) -> None:
    path.state.note().slot = (frame.number, (-low - 1) // 8)


def store(path: Path, base: Value, off: int, size: int, register: int, value: Value) -> None:
    """Store a value; `register` is where it comes from, or -1 for a constant or for anything."""
    frame, low, high = reach(path, base, off)
    if base.number.mask:
        _store_somewhere(path, frame, low, high + size, register, value)
        return
    at = (-low - 1) // 8
    aligned = low % 8 == 0
    path.touch(at)
    if aligned and size == 8:
        path.live.write(frame.number, 1 << at)
    whole = value.kind != SCALAR or (aligned and (register >= 0 or not value.number.mask))
    if whole:
        frame.put(at, _spilled(path, frame.stack[at], size, register, value))
        _remember(path, frame, low)
        return
    old = frame.stack[at].types
    types = old.translate(_MISC_BELOW) if old[7] in "rif" else old
    kind = "m"
    if is_null(value):
        kind = "0"
        if register >= 0:
            path.rely(register)
    place = (-low - 1) % 8
    types = types[: place - size + 1] + kind * size + types[place + 1 :]
    frame.put(at, Slot(types))


def _spilled(path: Path, old: Slot, size: int, register: int, value: Value) -> Slot:
    """A register in the stack; copies stay linked if the slot holds all of it."""
    if register >= 0 and value.kind == SCALAR:
        if value.number.width <= 8 * size:
            value = path.name_scalar(register)
        else:
            value = value._replace(id=0)
    rest = "".join(kind if kind in "0?" else "m" for kind in old.types[: 8 - size])
    return Slot(rest + "r" * size, value)


def _store_somewhere(
    path: Path, frame: Frame, low: int, end: int, register: int, value: Value
) -> None:
    """Any byte of a range may be the one that is written: all of them become unknown."""
    zero, kept = is_null(value), False
    for at in range(low, end):
        place = -at - 1
        n, byte = place // 8, place % 8
        slot = frame.stack[n]
        path.touch(n)
        spilled = slot.value if slot.spilled_scalar and slot.types[byte] == "r" else None
        if zero and spilled is not None and is_null(spilled):
            kept = True
            continue
        kind = "0" if zero and slot.types[byte] == "0" else "m"
        kept |= kind == "0"
        frame.put(n, Slot(slot.types[:byte] + kind + slot.types[byte + 1 :]))
    if kept and register >= 0:
        path.rely(register)


def clobber(path: Path, base: Value, size: int) -> None:
    """A function may have written to these bytes, which it also reads. (Not raw memory.)"""
    frame, low, high = reach(path, base, base.off)
    for at in range(low, high + size):
        place = -at - 1
        n = place // 8
        slot = frame.stack[n]
        if slot.spilled:
            frame.put(n, Slot("".join("?" if k == "?" else "m" for k in slot.types)))
        elif slot.types[place % 8] in "0?":
            byte = place % 8
            frame.put(n, Slot(slot.types[:byte] + "m" + slot.types[byte + 1 :]))


def read(path: Path, base: Value, size: int) -> None:
    """A function reads these bytes."""
    if not size:
        return
    frame, low, high = reach(path, base, base.off)
    first, last = max(-(high + size) // 8, 0), (-low - 1) // 8
    for slot in range(first, last + 1):
        path.live.read(path.state, frame.number, path.pc, 1 << slot)


def fill(path: Path, base: Value, size: int) -> None:
    """A function fills these bytes with something, byte by byte."""
    for at in range(size):
        store(path, base, base.off + at, 1, -1, ANY_SCALAR)


__all__ = ["EMPTY", "clobber", "fill", "load", "reach", "read", "store"]
