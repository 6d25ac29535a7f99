"""Does a register suit a parameter of a helper or kfunc? One row per kind of parameter.

The kinds are those of workbench.bpf.functions; reasons are worded as Linux words them. Sources:
check_func_arg and check_kfunc_args in kernel/bpf/verifier.c.
"""

from collections.abc import Callable

from workbench.bpf.declarations import MapDefinition
from workbench.bpf.functions import Function
from workbench.bpf.map_types import ITERABLE, MAP_TYPES, MAPS, PER_CPU, MapFlag
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.verifier.rules import memory
from workbench.verifier.rules.facts import Argument, Fitting, MayCall, Section
from workbench.verifier.rules.memory import Reason
from workbench.verifier.rules.situation import Situation
from workbench.verifier.values.domain import (
    CTX,
    FUNC,
    MAP,
    MAP_KEY,
    MAP_VALUE,
    MEM,
    NAMES,
    OR_NULL,
    PACKET,
    PACKET_META,
    PACKETS,
    RDONLY_MEM,
    RECORD,
    SCALAR,
    STACK,
    UNSET,
    Value,
    is_null,
)

MAX_SIZE = 1 << 29  # BPF_MAX_VAR_SIZ
MEMORY_TEXT = "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_"
_MEMORY = {STACK, PACKET, PACKET_META, MAP_KEY, MAP_VALUE, MEM, RECORD}


def may_call_refusal(fact: MayCall, situation: Situation) -> Reason:
    """Whether a function may be called by this program, at this place."""
    row, setting, locks = fact.function, situation.setting, situation.state.locks
    if locks.lock and not (row.name == "bpf_spin_unlock" or row.name.startswith("bpf_iter_num")):
        return "function calls are not allowed while holding a lock"
    if row.kind == "kfunc":
        return _may_call_kfunc(row, situation)
    named = f"{row.name}#{row.number}"
    if row.group not in PROGRAM_TYPES[setting.type].functions:
        return f"program of this type cannot use helper {named}"
    if row.gpl and not setting.gpl:
        return "cannot call GPL-restricted function from non-GPL compatible program"
    if not row.sleepable:
        return None
    if not setting.sleepable:
        return "helper call might sleep in a non-sleepable prog"
    if locks.rcu:
        return f"sleepable helper {named} in rcu_read_lock region"
    if locks.preempt:
        return f"sleepable helper {named} in non-preemptible region"
    return f"sleepable helper {named} in IRQ-disabled region" if locks.irq else None


def _may_call_kfunc(row: Function, situation: Situation) -> Reason:
    if row.group not in PROGRAM_TYPES[situation.setting.type].functions:
        return f"calling kernel function {row.name} is not allowed"
    if _sleeps(row, situation) and not situation.setting.sleepable:
        return f"program must be sleepable to call sleepable kfunc {row.name}"
    return None


def _sleeps(row: Function, situation: Situation) -> bool:
    """Later kernels let any context call the arena's functions."""
    return row.sleepable and situation.setting.release.arena_kfuncs_sleep


def section_refusal(fact: Section, situation: Situation) -> Reason:
    """Whether sections begin and end in pairs, and nothing in them sleeps."""
    row, locks = fact.function, situation.state.locks
    name = row.name.removeprefix("bpf_")
    full = f"kernel function {row.name}"
    if name == "rcu_read_lock" and locks.rcu:
        return f"nested rcu read lock ({full})"
    if name == "rcu_read_unlock" and not locks.rcu:
        return f"unmatched rcu read unlock ({full})"
    if name == "preempt_enable" and not locks.preempt:
        return f"unmatched attempt to enable preemption ({full})"
    if not _sleeps(row, situation):
        return None
    for inside, where in (
        (locks.rcu, "rcu_read_lock"),
        (locks.preempt, "non-preemptible"),
        (locks.irq, "IRQ-disabled"),
    ):
        if inside:
            return f"kernel func {row.name} is sleepable within {where} region"
    return None


def argument_refusal(fact: Argument, situation: Situation) -> Reason:
    """Whether the register suits the parameter, or why not."""
    value = situation.registers[fact.register]
    if fact.function.kind == "kfunc":
        return _KFUNC_KINDS[fact.kind](fact, value, situation)
    if value.kind == UNSET:
        return f"R{fact.register} !read_ok"
    if fact.kind == "anything":
        return None
    if value.kind in PACKETS and not fact.function.packets:
        return "helper access to the packet is not allowed"
    return _HELPER_KINDS[fact.kind](fact, value, situation)


def _wrong(fact: Argument, value: Value, expected: str) -> str:
    return f"R{fact.register} type={NAMES[value.kind]} expected={expected}"


def _ctx(fact: Argument, value: Value, situation: Situation) -> Reason:
    if value.kind != CTX:
        return _wrong(fact, value, "ctx")
    return memory.unmodified_refusal(fact.register, value)


def _map(fact: Argument, value: Value, situation: Situation) -> Reason:
    return None if value.kind == MAP else _wrong(fact, value, "map_ptr")


def _memory(fact: Argument, value: Value, situation: Situation) -> Reason:
    readable = (
        {RDONLY_MEM} if fact.kind in ("mem", "mem_or_null", "map_key", "map_value") else set()
    )
    if fact.kind == "mem_or_null":
        if is_null(value):
            return None
        value = value._replace(kind=value.kind & ~OR_NULL)
    if value.kind in _MEMORY or value.kind in readable:
        return None
    return _wrong(fact, situation.registers[fact.register], MEMORY_TEXT)


def map_of(situation: Situation) -> MapDefinition:
    """The map that a function works on: its first argument."""
    row: MapDefinition = situation.registers[1].about
    return row


def _key(fact: Argument, value: Value, situation: Situation) -> Reason:
    size = map_of(situation).key_size
    return _memory(fact, value, situation) or memory.buffer_refusal(
        fact.register, value, size, False, False, False, situation
    )


def _value(fact: Argument, value: Value, situation: Situation) -> Reason:
    row = map_of(situation)
    raw = fact.kind == "map_value_uninit" and row.type != "bloom_filter"
    write = fact.kind == "map_value_uninit" and row.type != "bloom_filter"
    return _memory(fact, value, situation) or memory.buffer_refusal(
        fact.register, value, row.value_size, write, False, raw, situation
    )


def _size(fact: Argument, value: Value, situation: Situation) -> Reason:
    if value.kind != SCALAR:
        return _wrong(fact, value, "scalar")
    kind = fact.function.arguments[fact.register - 2]
    return size_refusal(fact, value, situation, kind == "mem_uninit", fact.kind == "size_or_zero")


def size_refusal(
    fact: Argument, value: Value, situation: Situation, write: bool, zero: bool
) -> Reason:
    """Whether the memory in the register before has that many bytes. Source: check_mem_size_reg."""
    register, n = fact.register, value.number
    if n.smin < 0:
        return f"R{register} min value is negative, either use unsigned or 'var &= const'"
    if n.umin == 0 and not zero:
        return f"R{register} invalid zero-sized read: u64=[{n.umin},{memory.signed64(n.umax)}]"
    if n.umax >= MAX_SIZE:
        return f"R{register} unbounded memory access, use 'var &= const' or 'if (var < const)'"
    raw = write and n.known
    base = situation.registers[register - 1]
    return memory.buffer_refusal(register - 1, base, n.umax, write, zero, raw, situation)


def _record_size(fact: Argument, value: Value, situation: Situation) -> Reason:
    if value.kind != SCALAR:
        return _wrong(fact, value, "scalar")
    return None if value.number.known else f"R{fact.register} is not a known constant'"


def _record(fact: Argument, value: Value, situation: Situation) -> Reason:
    register = fact.register
    if value.kind != RECORD:
        return _wrong(fact, value, "ringbuf_mem")
    if value.off:
        return (
            f"R{register} must have zero offset when passed to release func or trusted arg to kfunc"
        )
    if reason := memory.unmodified_refusal(register, value):
        return reason
    if not value.reference:
        return f"R{register} must be referenced when passed to release function"
    return None


def _callback(fact: Argument, value: Value, situation: Situation) -> Reason:
    if value.kind != FUNC:
        return _wrong(fact, value, "func")
    return memory.unmodified_refusal(fact.register, value)


def _stack_or_null(fact: Argument, value: Value, situation: Situation) -> Reason:
    if is_null(value) or value.kind == STACK:
        return None
    return _wrong(fact, value, "fp")


def _spin_lock(fact: Argument, value: Value, situation: Situation) -> Reason:
    """Source: process_spin_lock."""
    register, locks = fact.register, situation.state.locks
    if value.kind != MAP_VALUE:
        return _wrong(fact, value, "map_value, ptr_")
    if not value.number.known:
        where = "bpf_spin_lock has to be at the constant offset"
        return f"R{register} doesn't have constant offset. {where}"
    row = value.about
    if row.lock < 0:
        return f"map '{row.name}' has no valid bpf_spin_lock"
    at = value.off + value.number.smin
    if at != row.lock:
        return f"off {at} doesn't point to 'struct bpf_spin_lock' that is at {row.lock}"
    if fact.function.name == "bpf_spin_lock":
        return "Locking two bpf_spin_locks are not allowed" if locks.lock else None
    if locks.lock is None:
        return "bpf_spin_unlock without taking a lock"
    same = (locks.lock.id, locks.lock.about) == (value.id, row)
    return None if same else "bpf_spin_unlock of different lock"


_HELPER_KINDS: dict[str, Callable[[Argument, Value, Situation], Reason]] = {
    "ctx": _ctx,
    "map": _map,
    "map_key": _key,
    "map_value": _value,
    "map_value_uninit": _value,
    "mem": _memory,
    "mem_or_null": _memory,
    "mem_uninit": _memory,
    "size": _size,
    "size_or_zero": _size,
    "record_size": _record_size,
    "record": _record,
    "callback": _callback,
    "stack_or_null": _stack_or_null,
    "spin_lock": _spin_lock,
}


def _k_ignored(fact: Argument, value: Value, situation: Situation) -> Reason:
    return None


def _k_scalar(fact: Argument, value: Value, situation: Situation) -> Reason:
    return None if value.kind == SCALAR else f"R{fact.register} is not a scalar"


def _k_null(fact: Argument, value: Value) -> Reason:
    """Pointers that a kfunc trusts are not NULL."""
    if is_null(value) or value.kind & OR_NULL:
        return f"Possibly NULL pointer passed to trusted arg{fact.register - 1}"
    return None


def _k_map(fact: Argument, value: Value, situation: Situation) -> Reason:
    if reason := _k_null(fact, value):
        return reason
    if value.kind == MAP:
        return None
    if value.kind in (MAP_VALUE, MAP_KEY):
        return f"R{fact.register} must be referenced or trusted"
    return f"pointer in R{fact.register} isn't map pointer"


def _k_iterator(fact: Argument, value: Value, situation: Situation) -> Reason:
    argument = fact.register - 1
    if value.kind != STACK:
        return f"arg#{argument} expected pointer to an iterator on stack"
    slot = _own_slot(value, situation)
    if fact.kind == "iterator_new":
        if slot == "bad" or "i" in slot:
            return f"expected uninitialized iter_num as arg #{argument}"
        return memory.stack_refusal(fact.register, value, value.off, 8, True)
    if situation.state.iterator_at(value) is None or slot != "i" * 8:
        return f"expected an initialized iter_num as arg #{argument}"
    return None


def _own_slot(value: Value, situation: Situation) -> str:
    """The bytes of the whole slot that a stack pointer leads to; "bad" if it is not one."""
    if not value.number.known:
        return "bad"
    off = value.off + value.number.smin
    if off % 8 or not -512 <= off <= -8:
        return "bad"
    stack = situation.state.frames[value.about].stack
    at = (-off - 1) // 8
    return stack[at].types if at < len(stack) else "????????"


def _k_irq_flag(fact: Argument, value: Value, situation: Situation) -> Reason:
    argument, irq = fact.register - 1, situation.state.locks.irq
    if value.kind != STACK:
        return f"arg#{argument} doesn't point to an irq flag on stack"
    slot = _own_slot(value, situation)
    if fact.kind == "irq_flag_new":
        if slot == "bad" or "f" in slot:
            return f"expected uninitialized irq flag as arg#{argument}"
        return memory.stack_refusal(fact.register, value, value.off, 8, True)
    if slot != "f" * 8:
        return f"expected an initialized irq flag as arg#{argument}"
    off = value.off + value.number.smin
    held = situation.state.frames[value.about].stack[(-off - 1) // 8].value
    if irq is None or held is None or held.reference != irq.id:
        expected = f"id={irq.id if irq else 0} acquired at insn_idx={irq.pc if irq else 0}"
        return f"cannot restore irq state out of order, expected {expected}"
    return None


def _k_text(fact: Argument, value: Value, situation: Situation) -> Reason:
    """Source: check_reg_const_str."""
    register = fact.register
    if reason := _k_null(fact, value):
        return reason
    if value.kind != MAP_VALUE:
        return f"arg#{register - 1} doesn't point to a const string"
    row = value.about
    if not row.frozen:
        return f"R{register} does not point to a readonly map'"
    if not value.number.known:
        return f"R{register} is not a constant address'"
    size = row.value_size - value.off
    if reason := memory.map_value_refusal(register, value, value.off, size, False):
        return reason
    content = row.initial.ljust(row.value_size, b"\0")
    at = value.off + value.number.smin
    return None if 0 in content[at:] else "string is not zero-terminated"


def _k_memory(fact: Argument, value: Value, situation: Situation) -> Reason:
    """Memory and its size, in the next register, together. Source: check_kfunc_mem_size_reg."""
    n = fact.register
    if reason := _k_null(fact, value):
        return reason
    size = situation.registers[n + 1]
    after = Argument(n + 1, "size_or_zero", fact.function)
    pair = f"arg#{n - 1} arg#{n} memory, len pair leads to invalid memory access"
    if size.kind != SCALAR:
        return f"R{n + 1} is not a scalar"
    for write in (False, True):
        if reason := size_refusal(after, size, situation, write, True):
            return f"{reason}\n{pair}"
    return None


_KFUNC_KINDS: dict[str, Callable[[Argument, Value, Situation], Reason]] = {
    "ignored": _k_ignored,
    "scalar": _k_scalar,
    "map": _k_map,
    "iterator_new": _k_iterator,
    "iterator": _k_iterator,
    "iterator_end": _k_iterator,
    "irq_flag_new": _k_irq_flag,
    "irq_flag": _k_irq_flag,
    "text": _k_text,
    "mem": _k_memory,
    "size_or_zero": _k_ignored,
}

_ANY_TYPE = "map_lookup_elem"  # works on others than those that allow it alone, too
_NEEDS = {
    name: {row.name for row in MAPS.values() if name in (row.only or ())}
    for name in {name for row in MAPS.values() for name in row.only or ()} - {_ANY_TYPE}
} | {"map_lookup_percpu_elem": set(PER_CPU)}
"""Functions that only work on some map types."""
_CHANGING = ("map_update_elem", "map_delete_elem", "map_push_elem", "map_pop_elem")


def fitting_refusal(fact: Fitting, situation: Situation) -> Reason:
    """Whether function and map go together. Source: check_map_func_compatibility."""
    row, name = fact.function, fact.function.name.removeprefix("bpf_")
    map: MapDefinition = situation.registers[fact.register].about
    if name == "tail_call" and map.type != "prog_array":
        return "expected prog array map for tail call"
    if name in _CHANGING and (map.frozen or map.map_flags & MapFlag.RDONLY_PROG):
        return "write into map forbidden"
    if name == "for_each_map_elem" and map.type not in ITERABLE:
        return "callback function not allowed for map"
    only = MAPS[map.type].only if map.type in MAPS else None
    if (only is not None and name not in only) or map.type not in _NEEDS.get(name, {map.type}):
        return (
            f"cannot pass map_type {MAP_TYPES.get(map.type, 0)} into func {row.name}#{row.number}"
        )
    return None
