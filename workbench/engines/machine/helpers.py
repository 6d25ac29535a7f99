"""Helpers and kfuncs, compiled: what `workbench.bpf.functions` lists, done on an emulated machine.

Results are left in `machine.out`: O_VALUE for r0, and O_WROTE 0 where a function returns nothing.
Errors are negative errno, as in Linux; only memory that is not the program's is a fault.
"""

from errno import E2BIG, EINVAL, ENOENT

import numpy as np

from workbench.bpf.addresses import HANDLE_STEP, MAP_HANDLE
from workbench.bpf.functions import Kfunc
from workbench.bpf.helper_names import Helper
from workbench.bpf.map_types import MapType
from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32, load32, load64, store32, store64
from workbench.engines.machine import packets, probes
from workbench.engines.machine.callbacks import MOST_ROUNDS, for_each, loop, throw
from workbench.engines.machine.memory import fault, host_of
from workbench.engines.machine.state import (
    BUDGET,
    CPU,
    DEPTH,
    FRAME_REGISTERS,
    JOURNAL,
    MAP_REGIONS,
    MAY_GOTO_LIMIT,
    NOT_A_MAP,
    O_REG,
    O_VALUE,
    O_WROTE,
    PC,
    PRINT,
    PROCESS,
    R_BYTES,
    R_HOST,
    R_START,
    SEED,
    TAIL_CALLS,
    UNKNOWN_CALL,
    by_address,
)
from workbench.maps import operations, ringbuf
from workbench.maps.layout import Field, get, is_of, is_type, note_all, put, type_bits

_0, _1, _2, _8 = (np.uint64(n) for n in (0, 1, 2, 8))
_HANDLE, _STEP = np.uint64(MAP_HANDLE), np.uint64(HANDLE_STEP)
_MOST_TAIL_CALLS = 33  # MAX_TAIL_CALL_CNT
_IRQS_ON = np.uint64(0x200)  # X86_EFLAGS_IF
_OF_MAPS = type_bits(("array_of_maps", "hash_of_maps"))
_KEYED = (
    Helper.MAP_LOOKUP_ELEM, Helper.MAP_UPDATE_ELEM, Helper.MAP_DELETE_ELEM,
    Helper.MAP_LOOKUP_PERCPU_ELEM,
)  # fmt: skip
_UNKEYED = (Helper.MAP_PUSH_ELEM, Helper.MAP_POP_ELEM, Helper.MAP_PEEK_ELEM)
_RINGS = (Helper.RINGBUF_OUTPUT, Helper.RINGBUF_RESERVE, Helper.RINGBUF_QUERY)
_PROBES = (
    Helper.PROBE_READ_USER, Helper.PROBE_READ_KERNEL, Helper.PROBE_READ_USER_STR,
    Helper.PROBE_READ_KERNEL_STR, Helper.COPY_FROM_USER,
)  # fmt: skip
_ITERATIONS = (Kfunc.ITER_NUM_NEW, Kfunc.ITER_NUM_NEXT, Kfunc.ITER_NUM_DESTROY)
_MARKS = (
    Kfunc.PREEMPT_DISABLE, Kfunc.PREEMPT_ENABLE, Kfunc.RCU_READ_LOCK,
    Kfunc.RCU_READ_UNLOCK, Kfunc.LOCAL_IRQ_RESTORE,
)  # fmt: skip


@njit
def number_of(machine, handle):
    """The number of the map that a program's register holds; -1 and a fault for none."""
    number = (handle - _HANDLE) // _STEP
    inside = number < np.uint64(machine.maps.shape[0]) and number > _0
    if (handle - _HANDLE) % _STEP != _0 or not inside or machine.maps[number] == _0:
        fault(machine, NOT_A_MAP, handle)
        return np.int64(-1)
    put(machine.maps[number], Field.JOURNAL, np.uint64(machine.control[JOURNAL]))
    return np.int64(number)


@njit
def address_of(machine, number, host):
    """The address at which a program sees a host address among the values of a map."""
    row = MAP_REGIONS + 2 * (number - 1)
    return machine.regions[row, R_START] + (host - machine.regions[row, R_HOST])


@njit
def handle_of(machine, header):
    """What a program gets for the map with this header: an inner map."""
    for number in range(1, machine.maps.shape[0]):
        if machine.maps[number] == header:
            return _HANDLE + np.uint64(number) * _STEP
    return _0


@njit
def _found(machine, number, host):
    """What a lookup returns: a value's address, an inner map, or NULL."""
    if host == _0:
        return _0
    if is_of(machine.maps[number], _OF_MAPS):
        return handle_of(machine, load64(host))
    return address_of(machine, number, host)


@njit
def _map_call(machine, which, number, r2, r3, r4):
    """The helpers that take a map and a key or value."""
    m, cpu = machine.maps[number], np.uint64(machine.control[CPU])
    size = get(m, Field.KEY) if which in _KEYED else get(m, Field.VALUE)
    one = host_of(machine, r2, size, which == Helper.MAP_POP_ELEM or which == Helper.MAP_PEEK_ELEM)
    if one == _0:
        return _0
    if which == Helper.MAP_LOOKUP_ELEM:
        return _found(machine, number, operations.lookup(m, one, cpu, True))
    if which == Helper.MAP_LOOKUP_PERCPU_ELEM:
        known = r3 & LOW_32 < get(m, Field.CPUS)
        host = operations.lookup(m, one, r3 & LOW_32, True) if known else _0
        return _found(machine, number, host)
    if which == Helper.MAP_UPDATE_ELEM:
        value = host_of(machine, r3, get(m, Field.VALUE), False)
        if value == _0:
            return _0
        return np.uint64(operations.update(m, one, value, r4, cpu, False))
    if which == Helper.MAP_DELETE_ELEM:
        return np.uint64(operations.delete(m, one))
    if which == Helper.MAP_PUSH_ELEM:
        return np.uint64(operations.push(m, one, r3))
    return np.uint64(operations.peek(m, one, which == Helper.MAP_POP_ELEM))


@njit
def _ring_call(machine, which, number, r2, r3, r4):
    """bpf_ringbuf_output, reserve and query."""
    m = machine.maps[number]
    if which == Helper.RINGBUF_RESERVE:
        host = ringbuf.reserve(m, r2, r3)
        return _0 if host == _0 else address_of(machine, number, host)
    if which == Helper.RINGBUF_QUERY:
        return ringbuf.query(m, r2)
    source = host_of(machine, r2, r3, False)
    if source == _0:
        return _0
    return np.uint64(ringbuf.output(m, source, r3, r4))


@njit
def _commit(machine, sample, discard):
    """Find the ring buffer of a reserved record and hand the record over."""
    host = host_of(machine, sample - _8, 8, True)
    if host == _0:
        return
    for number in range(1, machine.maps.shape[0]):
        row = MAP_REGIONS + 2 * (number - 1)
        inside = sample - machine.regions[row, R_START] < machine.regions[row, R_BYTES]
        if inside and is_type(machine.maps[number], MapType.RINGBUF):
            put(machine.maps[number], Field.JOURNAL, np.uint64(machine.control[JOURNAL]))
            ringbuf.commit(machine.maps[number], host + _8, discard)
            return
    fault(machine, NOT_A_MAP, sample)


@njit
def _perf_output(machine, number, flags):
    """bpf_perf_event_output, where no event is open: -ENOENT, or what comes before."""
    index = flags & LOW_32
    if flags >> np.uint64(32):
        return np.uint64(-EINVAL)
    if index == LOW_32:
        index = np.uint64(machine.control[CPU])
    beyond = index >= get(machine.maps[number], Field.MAX)
    return np.uint64(-E2BIG if beyond else -ENOENT)


@njit
def _tail_call(machine, number, index):
    """Go to another program's first slot in the same frame; nothing happens if that fails."""
    control, m = machine.control, machine.maps[number]
    index &= LOW_32
    if index >= get(m, Field.MAX) or control[TAIL_CALLS] >= _MOST_TAIL_CALLS:
        return
    held = load64(get(m, Field.VALUES) + index * get(m, Field.STRIDE))
    if held == _0:
        return
    for row in range(0, machine.programs.shape[0], 2):
        if machine.programs[row] == held:
            control[TAIL_CALLS] += 1
            control[PC] = np.int64(machine.programs[row + 1])
            machine.regs[control[DEPTH] * FRAME_REGISTERS + BUDGET] = np.uint64(MAY_GOTO_LIMIT)
            return


@njit
def _spin_lock(machine, address, lock, pc):
    """Take or release a lock in a map's value; a taken one is tried again and again."""
    host = host_of(machine, address, 4, True)
    if host == _0:
        return
    if lock and load32(host) != np.uint32(0):
        machine.control[PC] = pc
        return
    note_all(np.uint64(machine.control[JOURNAL]), host, np.uint64(4))
    store32(host, np.uint32(1 if lock else 0))


@njit
def _random(machine):
    """xorshift64*: the next pseudo-random number of this run."""
    x = np.uint64(machine.control[SEED])
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    machine.control[SEED] = np.int64(x)
    return (x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(32)


@njit
def call_helper(machine, arena, which, frame, pc, clock):
    """Execute the helper of this number; its arguments are r1 to r5 of the frame at `frame`."""
    regs, out = machine.regs, machine.out
    r1, r2, r3, r4 = regs[frame + 1], regs[frame + 2], regs[frame + 3], regs[frame + 4]
    out[O_REG] = _0
    if which in _KEYED or which in _UNKEYED:
        number = number_of(machine, r1)
        if number > 0:
            out[O_VALUE] = _map_call(machine, which, number, r2, r3, r4)
    elif which == Helper.KTIME_GET_NS:
        out[O_VALUE] = clock
    elif which == Helper.GET_PRANDOM_U32:
        out[O_VALUE] = _random(machine)
    elif which == Helper.GET_SMP_PROCESSOR_ID:
        out[O_VALUE] = np.uint64(machine.control[CPU])
    elif which == Helper.GET_CURRENT_PID_TGID:
        out[O_VALUE] = np.uint64(machine.control[PROCESS])
    elif which == Helper.TRACE_PRINTK:
        by_address(machine.control, PRINT, pc, r1, r2, clock)
    elif which == Helper.TAIL_CALL:
        out[O_WROTE] = _0
        number = number_of(machine, r2)
        if number > 0:
            _tail_call(machine, number, r3)
    elif which == Helper.PERF_EVENT_OUTPUT:
        number = number_of(machine, r2)
        if number > 0:
            out[O_VALUE] = _perf_output(machine, number, r3)
    elif which == Helper.SPIN_LOCK or which == Helper.SPIN_UNLOCK:
        out[O_WROTE] = _0
        _spin_lock(machine, r1, which == Helper.SPIN_LOCK, pc)
    elif which in _PROBES:
        out[O_VALUE] = probes.read(machine, arena, which, r1, r2, r3)
    elif which in _RINGS:
        number = number_of(machine, r1)
        if number > 0:
            out[O_VALUE] = _ring_call(machine, which, number, r2, r3, r4)
    elif which == Helper.RINGBUF_SUBMIT or which == Helper.RINGBUF_DISCARD:
        out[O_WROTE] = _0
        _commit(machine, r1, which == Helper.RINGBUF_DISCARD)
    elif which == Helper.FOR_EACH_MAP_ELEM:
        number = number_of(machine, r1)
        if number > 0:
            for_each(machine, number, r2, r3, r4, pc)
    elif which == Helper.LOOP:
        loop(machine, r1, r2, r3, r4, pc)
    elif which == Helper.SKB_STORE_BYTES or which == Helper.SKB_LOAD_BYTES:
        store = which == Helper.SKB_STORE_BYTES
        out[O_VALUE] = packets.copy_bytes(machine, store, r2, r3, r4, regs[frame + 5])
    elif which == Helper.CSUM_DIFF:
        out[O_VALUE] = packets.checksum(machine, r1, r2, r3, r4, regs[frame + 5])
    elif which == Helper.XDP_ADJUST_HEAD or which == Helper.XDP_ADJUST_TAIL:
        out[O_VALUE] = packets.adjust(machine, which == Helper.XDP_ADJUST_HEAD, r2)
    else:
        fault(machine, UNKNOWN_CALL, np.uint64(which))


@njit
def _iterate(machine, which, address, start, end):
    """bpf_iter_num_new, next and destroy: {s32 current, s32 end} on the stack."""
    host = host_of(machine, address, 8, True)
    if host == _0:
        return _0
    note_all(np.uint64(machine.control[JOURNAL]), host, _8)
    current, last = (
        np.int64(np.int32(load32(host))),
        np.int64(np.int32(load32(host + np.uint64(4)))),
    )
    if which == Kfunc.ITER_NUM_NEW:
        first, beyond = np.int64(np.int32(np.uint32(start))), np.int64(np.int32(np.uint32(end)))
        status = -EINVAL if first > beyond else -E2BIG if beyond - first > MOST_ROUNDS else 0
        store64(host, _0)
        if status == 0:
            store32(host, np.uint32(first - 1))
            store32(host + np.uint64(4), np.uint32(beyond))
        return np.uint64(status) & LOW_32
    if which == Kfunc.ITER_NUM_NEXT and current + 1 < last:
        store32(host, np.uint32(current + 1))
        return address
    store64(host, _0)
    return _0


@njit
def call_kfunc(machine, which, frame, pc, clock):
    """Execute the kfunc of this number (`bpf.functions.Kfunc`), but for those of arenas."""
    regs, out = machine.regs, machine.out
    r1, r2, r3 = regs[frame + 1], regs[frame + 2], regs[frame + 3]
    out[O_REG] = _0
    if which in _ITERATIONS:
        out[O_VALUE] = _iterate(machine, which, r1, r2, r3)
        if which == Kfunc.ITER_NUM_DESTROY:
            out[O_WROTE] = _0
    elif which in _MARKS:
        out[O_WROTE] = _0
    elif which == Kfunc.LOCAL_IRQ_SAVE:
        host = host_of(machine, r1, 8, True)
        out[O_WROTE] = _0
        if host != _0:
            note_all(np.uint64(machine.control[JOURNAL]), host, _8)
            store64(host, _IRQS_ON)
    elif which == Kfunc.THROW:
        throw(machine, r1, pc)
    elif which == Kfunc.STREAM_VPRINTK_IMPL or which == Kfunc.STREAM_VPRINTK:
        by_address(machine.control, PRINT, pc, r1, r2, clock)
    else:
        fault(machine, UNKNOWN_CALL, np.uint64(which))
