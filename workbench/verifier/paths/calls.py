"""What calls and exits do to a path: of helpers, kfuncs, functions of the program, callbacks.

Sources: check_helper_call, check_kfunc_call, check_func_call and prepare_func_exit in
kernel/bpf/verifier.c.
"""

import os
from collections.abc import Callable

from workbench.bpf.addresses import MAX_FRAMES
from workbench.bpf.declarations import MapDefinition
from workbench.bpf.functions import Function
from workbench.bpf.isa import Op
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.errors import VerificationError
from workbench.verifier.paths import stack
from workbench.verifier.paths.branching import not_null
from workbench.verifier.paths.equality import widen
from workbench.verifier.paths.path import Path
from workbench.verifier.rules import facts
from workbench.verifier.rules.facts import Instruction
from workbench.verifier.values import numbers
from workbench.verifier.values.domain import (
    ANY_SCALAR,
    EVERYTHING,
    MAP_KEY,
    MAP_VALUE,
    NOTHING,
    OR_NULL,
    PACKET_END,
    PACKETS,
    RDONLY_MEM,
    RECORD,
    SCALAR,
    STACK,
    ZERO,
    Iterator,
    Reference,
    Slot,
    State,
    Value,
    each_value,
    is_null,
    new_frame,
)

END = -1
"""Where a path goes on that is finished."""
MAX_ERRNO = 4095  # include/linux/err.h
_BEHIND = {"mem": False, "mem_or_null": False, "mem_uninit": True}


def call(i: Instruction, path: Path) -> int | None:
    """Call a helper or kfunc whose arguments are good; returns the next slot, None for pc + 1."""
    row = facts.callee(i, path.pc, path.setting)
    assert row is not None
    map: MapDefinition | None = path.registers[1].about if "map" in row.arguments[:1] else None
    key = _constant_key(row, map, path) if map is not None else None
    longest = _touch_memory(row, map, path)
    if row.releases:
        release(path, path.registers[1].reference)
    special = _SPECIAL.get(row.name)
    if special is not None:
        special(row, path)
    if row.returns == "never":
        path.throws = True
        return END
    path.registers[0:6] = [_result(row, map, key, longest, path)] + [NOTHING] * 5
    if row.moves_packet:
        lose_packets(path)
    if row.name == "bpf_iter_num_next":
        _next(path)
    return None


def _result(
    row: Function, map: MapDefinition | None, key: int | None, longest: int, path: Path
) -> Value:
    """What r0 holds afterwards."""
    if row.returns == "void":
        return NOTHING
    if row.returns == "map_value_or_null" and map is not None:
        if key is not None and 0 <= key < map.max_entries and row.name == "bpf_map_lookup_elem":
            identity = path.new_id() if map.lock >= 0 else 0
            return not_null(Value(MAP_VALUE, about=map, id=identity))
        return Value(MAP_VALUE | OR_NULL, about=map, id=path.new_id())
    if row.returns == "record_or_null":
        path.new_id()
        identity = acquire(path, "pointer")
        return Value(RECORD | OR_NULL, id=identity, about=longest, reference=identity)
    if row.returns == "int_or_null":
        iterator = path.state.iterator_at(path.registers[1])
        reference = iterator.reference if iterator is not None else 0
        return Value(RDONLY_MEM | OR_NULL, id=path.new_id(), about=4, reference=reference)
    return _refined(row, longest)


def _refined(row: Function, longest: int) -> Value:
    """Some functions promise a range. Source: do_refine_retval_range."""
    n = numbers.UNKNOWN
    if row.name.startswith("bpf_probe_read_") and row.name.endswith("_str"):
        n = n._replace(smin=-MAX_ERRNO, smax=longest, smin32=-MAX_ERRNO, smax32=longest)
    elif row.name == "bpf_get_smp_processor_id":
        last = (os.cpu_count() or 1) - 1
        n = n._replace(smin=0, smax=last, umin=0, umax=last)
        n = n._replace(smin32=0, smax32=last, umin32=0, umax32=last)
    else:
        return ANY_SCALAR
    return Value(SCALAR, numbers.synced(n))


def _constant_key(row: Function, map: MapDefinition, path: Path) -> int | None:
    """The key of a lookup in an array, where the stack holds a known one."""
    if map.type not in ("array", "percpu_array") or "map_key" not in row.arguments:
        return None
    pointer = path.registers[2]
    if pointer.kind != STACK or pointer.number.mask:
        return None
    frame, low, _ = stack.reach(path, pointer, pointer.off)
    at, byte = (-low - 1) // 8, (-low - 1) % 8
    slot = frame.stack[at]
    known = slot.types[: byte + 1]
    if len(known) - len(known.rstrip("0")) >= map.key_size:
        return 0
    whole = len(known) - len(known.rstrip("r")) == map.key_size
    value = slot.value
    if not slot.spilled_scalar or not whole or value is None or value.number.mask:
        return None
    path.rely_slot(frame.number, at)
    return numbers.signed(value.number.value)


def _touch_memory(row: Function, map: MapDefinition | None, path: Path) -> int:
    """Read and fill the memory arguments; gives the longest size that was passed."""
    longest = 0
    later: list[tuple[Value, int]] = []
    for n, kind in enumerate(row.arguments, 1):
        base, size, fills = path.registers[n], 0, False
        if kind in ("map_key", "map_value", "map_value_uninit") and map is not None:
            size = map.key_size if kind == "map_key" else map.value_size
            fills = kind == "map_value_uninit" and map.type != "bloom_filter"
        elif kind in _BEHIND:
            size, fills = path.registers[n + 1].number.umax, _BEHIND[kind]
            path.rely(n + 1)
            longest = max(longest, size)
        elif kind == "record_size":
            path.rely(n)
            longest = base.number.value
        if size and base.kind == STACK:
            exact = kind == "map_value_uninit" or path.registers[min(n + 1, 9)].number.known
            if fills and exact and base.number.known:
                later.append((base, size))
                continue
            stack.read(path, base, size)
            if fills or row.kind == "kfunc":
                stack.clobber(path, base, size)
    for base, size in later:
        stack.fill(path, base, size)
    return longest


def acquire(path: Path, kind: str, identity: int = -1, about: object = None) -> int:
    """Note that the path holds something that must be given back; returns its identity."""
    identity = path.new_id() if identity < 0 else identity
    locks = path.state.locks
    held = (*locks.references, Reference(kind, identity, path.pc, about))
    path.state.locks = locks._replace(references=held)
    return identity


def _drop(path: Path, kind: str, identity: int) -> None:
    locks = path.state.locks
    left = tuple(r for r in locks.references if (r.kind, r.id) != (kind, identity))
    path.state.locks = locks._replace(references=left)


def release(path: Path, reference: int) -> None:
    """Note that something was given back; pointers to it become numbers."""
    _drop(path, "pointer", reference)
    if reference:
        each_value(path.state, lambda v: ANY_SCALAR if v.reference == reference else v)


def lose_packets(path: Path) -> None:
    """Turn pointers into the packet, which may have moved, into numbers."""
    gone = PACKETS | {PACKET_END}
    each_value(path.state, lambda v: ANY_SCALAR if v.kind in gone else v)


def _lock(row: Function, path: Path) -> None:
    value = path.registers[1]
    acquire(path, "lock", value.id, value.about)


def _unlock(row: Function, path: Path) -> None:
    held = path.state.locks.lock
    if held is not None:
        _drop(path, "lock", held.id)


def _preempt(by: int) -> Callable[[Function, Path], None]:
    def change(row: Function, path: Path) -> None:
        locks = path.state.locks
        path.state.locks = locks._replace(preempt=locks.preempt + by)

    return change


def _rcu(inside: bool) -> Callable[[Function, Path], None]:
    def change(row: Function, path: Path) -> None:
        path.state.locks = path.state.locks._replace(rcu=inside)

    return change


def _write_slot(path: Path, types: str, value: Value | None) -> None:
    """Put an object into the whole slot that r1 points to."""
    base = path.registers[1]
    frame, low, _ = stack.reach(path, base, base.off)
    at = (-low - 1) // 8
    frame.put(at, Slot(types, value))
    path.live.write(frame.number, 1 << at)
    path.touch(at)


def _read_slot(path: Path) -> Value | None:
    base = path.registers[1]
    frame, low, _ = stack.reach(path, base, base.off)
    at = (-low - 1) // 8
    path.live.read(path.state, frame.number, path.pc, 1 << at)
    path.touch(at)
    return frame.stack[at].value


def _iterate(row: Function, path: Path) -> None:
    identity = acquire(path, "pointer")
    iterator = Iterator(identity, "active", 0)
    _write_slot(path, "i" * 8, Value(STACK, about=iterator, reference=identity))


def _end_iteration(row: Function, path: Path) -> None:
    held = _read_slot(path)
    if held is not None:
        release(path, held.reference)
    _write_slot(path, "?" * 8, None)


def _ask(row: Function, path: Path) -> None:
    _read_slot(path)
    path.asked = path.registers[1]


def _next(path: Path) -> None:
    """Two ways: there is another number (explored later), or the iterator is drained."""
    pointer = path.asked
    assert pointer is not None
    iterator = path.state.iterator_at(pointer)
    if iterator is not None and iterator.state == "active":
        earlier = path.earlier(path.state.parent, path.pc)
        other = path.fork(path.pc + 1)
        _set_iterator(other, pointer, iterator._replace(depth=iterator.depth + 1))
        if earlier is not None:
            widen(earlier, other)
        registers = other.frames[-1].registers
        registers[0] = not_null(registers[0])
    if iterator is not None:
        _set_iterator(path.state, pointer, iterator._replace(state="drained"))
    path.registers[0] = ZERO


def _set_iterator(state: State, pointer: Value, iterator: Iterator) -> None:
    frame = state.frames[pointer.about]
    at = (-(pointer.off + pointer.number.smin) - 1) // 8
    value = Value(STACK, about=iterator, reference=iterator.reference)
    frame.put(at, Slot("i" * 8, value))


def _irq_save(row: Function, path: Path) -> None:
    identity = acquire(path, "irq")
    _write_slot(path, "f" * 8, Value(STACK, reference=identity))


def _irq_restore(row: Function, path: Path) -> None:
    held = _read_slot(path)
    if held is not None:
        _drop(path, "irq", held.reference)
    _write_slot(path, "?" * 8, None)


def _tail_call(row: Function, path: Path) -> None:
    index, map = path.registers[3], path.registers[2].about
    if index.kind == SCALAR and index.number.known and index.number.value < map.max_entries:
        path.rely(3)


def _loop(row: Function, path: Path) -> None:
    """Enter the callback once more, unless it was entered as often as it can be."""
    target = path.registers[2].about
    if is_null(path.registers[4]):
        path.rely(4)
        same = path.loops.setdefault(path.pc, target) == target
    else:
        same = False
    if not same:
        path.loops[path.pc] = -1
    path.rely(1)
    if path.frame.depth < path.registers[1].number.umax:
        context = path.registers[3]
        _callback(path, target, [ANY_SCALAR, context])
    else:
        path.frame.depth = 0
        if path.subject.log:
            path.subject.log.loop_limit(len(path.state.frames) - 1)


def _for_each(row: Function, path: Path) -> None:
    map = path.registers[1]
    key, value = Value(MAP_KEY, about=map.about), Value(MAP_VALUE, about=map.about)
    _callback(path, path.registers[2].about, [map, key, value, path.registers[3]])


def _callback(path: Path, target: int, arguments: list[Value]) -> None:
    """Have a callback explored later; it returns to the call, which then decides again."""
    if len(path.state.frames) >= MAX_FRAMES:
        depth = len(path.state.frames) + 1
        raise VerificationError(path.pc, f"the call stack of {depth} frames is too deep")
    other = path.fork(target)
    frame = new_frame(len(other.frames), path.pc, target)
    frame.registers[1 : 1 + len(arguments)] = arguments
    frame.callback = (0, 1)
    other.frames[-1].depth += 1
    other.frames.append(frame)
    other.unrolled += 1
    path.frame.depth = 0


_SPECIAL: dict[str, Callable[[Function, Path], None]] = {
    "bpf_spin_lock": _lock,
    "bpf_spin_unlock": _unlock,
    "bpf_preempt_disable": _preempt(1),
    "bpf_preempt_enable": _preempt(-1),
    "bpf_rcu_read_lock": _rcu(True),
    "bpf_rcu_read_unlock": _rcu(False),
    "bpf_local_irq_save": _irq_save,
    "bpf_local_irq_restore": _irq_restore,
    "bpf_iter_num_new": _iterate,
    "bpf_iter_num_next": _ask,
    "bpf_iter_num_destroy": _end_iteration,
    "bpf_tail_call": _tail_call,
    "bpf_loop": _loop,
    "bpf_for_each_map_elem": _for_each,
}
"""What some functions do beside reading their arguments and returning something."""


def local(i: Instruction, path: Path) -> int:
    """Call a function of the program; returns the next slot.

    A static one is entered, a global one is assumed to be valid.
    """
    target, caller = path.pc + 1 + i.off, path.frame
    if path.subject.is_global(target):
        return _global(target, path)
    frame = new_frame(len(path.state.frames), path.pc, target)
    frame.registers[1:6] = caller.registers[1:6]
    caller.registers[0:6] = [NOTHING] * 6
    path.state.frames.append(frame)
    path.switch()
    path.live.leave()
    path.shown = EVERYTHING
    if path.subject.log:
        path.subject.log.entered(path.state)
    return target


def _global(target: int, path: Path) -> int:
    path.called.add(target)
    function = path.setting.functions[target]
    for n, kind in enumerate(function.arguments, 1):
        base, size = path.registers[n], int(kind.partition(":")[2] or 0)
        if size and base.kind == STACK:
            stack.read(path, base, size)
            stack.clobber(path, base, size)
    if path.subject.log:
        number = path.function_number(target)
        path.subject.log.say(f"Func#{number} ('{function.name}') is global and assumed valid.")
    if target in path.subject.flow.moving:
        lose_packets(path)
    path.registers[0:6] = [ANY_SCALAR] + [NOTHING] * 5
    return path.pc + 1


def leave(i: Instruction, path: Path) -> int:
    """Return from a function; returns the next slot, END where the path ends."""
    state, callee = path.state, path.frame
    if len(state.frames) == 1:
        if PROGRAM_TYPES[path.setting.type].returns and not callee.start:
            path.rely(0)
        return END
    path.live.update(state)
    caller = state.frames[-2]
    if callee.callback is not None:
        path.rely(0)
        target = callee.callsite
    else:
        caller.registers[0] = callee.registers[0]
        target = callee.callsite + 1
    if path.subject.log:
        path.subject.log.returning(state, target)
    state.frames.pop()
    path.switch()
    path.show_state = True
    if callee.callback is not None:
        earlier = path.earlier(state, target)
        if earlier is not None:
            widen(earlier, state)
    return target


CALLS = {
    int(Op.CALL_HELPER): call,
    int(Op.CALL_KFUNC): call,
    int(Op.CALL_LOCAL): local,
    int(Op.EXIT): leave,
}
