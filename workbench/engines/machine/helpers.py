"""Helpers and kfuncs, compiled: what `workbench.bpf.functions` lists, done on an emulated machine.

Results are left in `machine.out`: O_VALUE for r0, and O_WROTE 0 where a function returns nothing.
Errors are negative errno, as in Linux; only memory that is not the program's is a fault.
"""

import numpy as np

from workbench.bpf.addresses import HANDLE_STEP, MAP_HANDLE
from workbench.compiled.njit import njit
from workbench.compiled.raw import load32, load64, store32, store64
from workbench.engines.machine import packets, probes
from workbench.engines.machine.callbacks import for_each, loop, throw
from workbench.engines.machine.memory import fault, host_of
from workbench.engines.machine.state import (
    BUDGET,
    CPU,
    DEPTH,
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
    REGISTERS,
    SEED,
    TAIL_CALLS,
    UNKNOWN_CALL,
    by_address,
)
from workbench.maps import operations, ringbuf
from workbench.maps.layout import E2BIG, EINVAL, ENOENT, Field, get, note_all, put

_LOW = np.uint64(0xFFFFFFFF)
_0, _1, _2, _8, _12 = (np.uint64(n) for n in (0, 1, 2, 8, 12))
_HANDLE, _STEP = np.uint64(MAP_HANDLE), np.uint64(HANDLE_STEP)
_MOST_TAIL_CALLS = 33
_MOST_ROUNDS = 8 << 20  # BPF_MAX_LOOPS


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
    """Where a program sees memory of a map's values."""
    row = MAP_REGIONS + 2 * (number - 1)
    return machine.regions[row, 0] + (host - machine.regions[row, 2])


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
    type = get(machine.maps[number], Field.TYPE)
    if type == np.uint64(operations.ARRAY_OF_MAPS) or type == np.uint64(operations.HASH_OF_MAPS):
        return handle_of(machine, load64(host))
    return address_of(machine, number, host)


@njit
def _map_call(machine, which, number, r2, r3, r4):
    """The helpers that take a map and a key or value."""
    m, cpu = machine.maps[number], np.uint64(machine.control[CPU])
    size = get(m, Field.KEY) if which <= 3 or which == 195 else get(m, Field.VALUE)
    one = host_of(machine, r2, size, which == 88 or which == 89)
    if one == _0:
        return _0
    if which == 1:
        return _found(machine, number, operations.lookup(m, one, cpu, True))
    if which == 195:
        known = r3 & _LOW < get(m, Field.CPUS)
        host = operations.lookup(m, one, r3 & _LOW, True) if known else _0
        return _found(machine, number, host)
    if which == 2:
        value = host_of(machine, r3, get(m, Field.VALUE), False)
        if value == _0:
            return _0
        return np.uint64(operations.update(m, one, value, r4, cpu, False))
    if which == 3:
        return np.uint64(operations.delete(m, one))
    if which == 87:
        return np.uint64(operations.push(m, one, r3))
    return np.uint64(operations.peek(m, one, which == 88))


@njit
def _ring_call(machine, which, number, r2, r3, r4):
    """bpf_ringbuf_output, reserve and query."""
    m = machine.maps[number]
    if which == 131:
        host = ringbuf.reserve(m, r2, r3)
        return _0 if host == _0 else address_of(machine, number, host)
    if which == 134:
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
        inside = sample - machine.regions[row, 0] < machine.regions[row, 1]
        if inside and get(machine.maps[number], Field.TYPE) == np.uint64(operations.RINGBUF):
            put(machine.maps[number], Field.JOURNAL, np.uint64(machine.control[JOURNAL]))
            ringbuf.commit(machine.maps[number], host + _8, discard)
            return
    fault(machine, NOT_A_MAP, sample)


@njit
def _perf_output(machine, number, flags):
    """bpf_perf_event_output, where no event is open: -ENOENT, or what comes before."""
    index = flags & _LOW
    if flags >> np.uint64(32):
        return np.uint64(-EINVAL)
    if index == _LOW:
        index = np.uint64(machine.control[CPU])
    beyond = index >= get(machine.maps[number], Field.MAX)
    return np.uint64(-E2BIG if beyond else -ENOENT)


@njit
def _tail_call(machine, number, index):
    """Go to another program's first slot in the same frame; nothing happens if that fails."""
    control, m = machine.control, machine.maps[number]
    index &= _LOW
    if index >= get(m, Field.MAX) or control[TAIL_CALLS] >= _MOST_TAIL_CALLS:
        return
    held = load64(get(m, Field.VALUES) + index * get(m, Field.STRIDE))
    if held == _0:
        return
    for row in range(0, machine.programs.shape[0], 2):
        if machine.programs[row] == held:
            control[TAIL_CALLS] += 1
            control[PC] = np.int64(machine.programs[row + 1])
            machine.regs[control[DEPTH] * REGISTERS + BUDGET] = np.uint64(MAY_GOTO_LIMIT)
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
    x ^= x >> _12
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    machine.control[SEED] = np.int64(x)
    return (x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(32)


@njit
def call_helper(machine, arena, which, frame, pc, clock):
    """bpf_* by helper number."""
    regs, out = machine.regs, machine.out
    r1, r2, r3, r4 = regs[frame + 1], regs[frame + 2], regs[frame + 3], regs[frame + 4]
    out[O_REG] = _0
    if which <= 3 or 87 <= which <= 89 or which == 195:
        number = number_of(machine, r1)
        if number > 0:
            out[O_VALUE] = _map_call(machine, which, number, r2, r3, r4)
    elif which == 5:
        out[O_VALUE] = clock
    elif which == 7:
        out[O_VALUE] = _random(machine)
    elif which == 8:
        out[O_VALUE] = np.uint64(machine.control[CPU])
    elif which == 14:
        out[O_VALUE] = np.uint64(machine.control[PROCESS])
    elif which == 6:
        by_address(machine.control, PRINT, pc, r1, r2, clock)
    elif which == 12:
        out[O_WROTE] = _0
        number = number_of(machine, r2)
        if number > 0:
            _tail_call(machine, number, r3)
    elif which == 25:
        number = number_of(machine, r2)
        if number > 0:
            out[O_VALUE] = _perf_output(machine, number, r3)
    elif which == 93 or which == 94:
        out[O_WROTE] = _0
        _spin_lock(machine, r1, which == 93, pc)
    elif 112 <= which <= 115 or which == 148:
        out[O_VALUE] = probes.read(machine, arena, which, r1, r2, r3)
    elif which == 130 or which == 131 or which == 134:
        number = number_of(machine, r1)
        if number > 0:
            out[O_VALUE] = _ring_call(machine, which, number, r2, r3, r4)
    elif which == 132 or which == 133:
        out[O_WROTE] = _0
        _commit(machine, r1, which == 133)
    elif which == 164:
        number = number_of(machine, r1)
        if number > 0:
            for_each(machine, number, r2, r3, r4, pc)
    elif which == 181:
        loop(machine, r1, r2, r3, r4, pc)
    elif which == 9 or which == 26:
        out[O_VALUE] = packets.copy_bytes(machine, which == 9, r2, r3, r4, regs[frame + 5])
    elif which == 28:
        out[O_VALUE] = packets.checksum(machine, r1, r2, r3, r4, regs[frame + 5])
    elif which == 44 or which == 65:
        out[O_VALUE] = packets.adjust(machine, which == 44, r2)
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
    if which == 4:
        first, beyond = np.int64(np.int32(np.uint32(start))), np.int64(np.int32(np.uint32(end)))
        status = -EINVAL if first > beyond else -E2BIG if beyond - first > _MOST_ROUNDS else 0
        store64(host, _0)
        if status == 0:
            store32(host, np.uint32(first - 1))
            store32(host + np.uint64(4), np.uint32(beyond))
        return np.uint64(status) & _LOW
    if which == 5 and current + 1 < last:
        store32(host, np.uint32(current + 1))
        return address
    store64(host, _0)
    return _0


@njit
def call_kfunc(machine, which, frame, pc, clock):
    """kfuncs by their number in workbench.bpf.functions; those of arenas are in `rare`."""
    regs, out = machine.regs, machine.out
    r1, r2, r3 = regs[frame + 1], regs[frame + 2], regs[frame + 3]
    out[O_REG] = _0
    if 4 <= which <= 6:
        out[O_VALUE] = _iterate(machine, which, r1, r2, r3)
        if which == 6:
            out[O_WROTE] = _0
    elif 7 <= which <= 10 or which == 12:
        out[O_WROTE] = _0
    elif which == 11:
        host = host_of(machine, r1, 8, True)
        out[O_WROTE] = _0
        if host != _0:
            note_all(np.uint64(machine.control[JOURNAL]), host, _8)
            store64(host, np.uint64(0x200))
    elif which == 13:
        throw(machine, r1, pc)
    elif which == 14 or which == 15:
        by_address(machine.control, PRINT, pc, r1, r2, clock)
    else:
        fault(machine, UNKNOWN_CALL, np.uint64(which))
