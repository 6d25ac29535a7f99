"""bpf_probe_read_*, bpf_copy_from_user: reads that fail with an errno instead of a fault.

Kernel memory is what the program itself could reach: stack, context, packet, maps. User memory is
the arena at its user addresses, as far as user space has touched its pages; only the sleepable
bpf_copy_from_user faults pages in. What cannot be read becomes zeros and -EFAULT; -ERANGE for an
address that is no kernel address (copy_from_kernel_nofault_allowed on x86-64): one of user space,
of the vsyscall page, or one whose upper bits are not alike.
"""

from errno import EFAULT, ERANGE

import numpy as np

from workbench.arena import state as arena_core
from workbench.arena.rules import PAGE_SIZE, ArenaFlags
from workbench.bpf.helper_names import Helper
from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32, load8, store8
from workbench.engines.machine.memory import host_of, owned
from workbench.engines.machine.state import ADDRESS_BITS, JOURNAL
from workbench.maps.layout import note_all

_0, _1 = np.uint64(0), np.uint64(1)
_PAGE = np.uint64(PAGE_SIZE)
_VSYSCALL = np.uint64(0xFFFFFFFFFF600000)  # VSYSCALL_ADDR of x86-64
_FAULTS = Helper.COPY_FROM_USER  # pages in
_TEXTS = (Helper.PROBE_READ_USER_STR, Helper.PROBE_READ_KERNEL_STR)
_OF_USERS = (Helper.PROBE_READ_USER, Helper.PROBE_READ_USER_STR, _FAULTS)
_SEGV_ON_FAULT = np.uint64(int(ArenaFlags.SEGV_ON_FAULT))


@njit
def user_host(arena, address, may_fault):
    """Host address of a byte of user memory, or 0."""
    meta = arena.meta
    if address < meta[arena_core.VMA_START] or address >= meta[arena_core.VMA_END]:
        return _0
    slot = np.int64((address & LOW_32) // _PAGE) + arena_core.GUARD_PAGES
    if not arena.pages[slot] & arena_core.USER:
        absent = not arena.pages[slot] & arena_core.PRESENT
        if not may_fault or (absent and meta[arena_core.FLAGS] & _SEGV_ON_FAULT):
            return _0
        arena_core.user_touch(arena, address, _1, False)
    return meta[arena_core.HOST] + (address & LOW_32)


@njit
def byte_host(machine, arena, address, user, may_fault):
    """Host address of a byte of user or kernel memory, or 0."""
    if user:
        return user_host(arena, address, may_fault)
    return owned(machine.regions, address, 1, False)


@njit
def _failed(to, size, status):
    """Nothing could be read: zeros."""
    for byte in range(np.int64(size)):
        store8(to + np.uint64(byte), np.uint8(0))
    return np.uint64(status)


@njit
def user_top(machine):
    """The first address behind user space and its guard page."""
    return _1 << np.uint64(machine.control[ADDRESS_BITS] >> 8)


@njit
def _in_kernel(machine, address):
    bits = np.uint64(machine.control[ADDRESS_BITS] & 0xFF)
    canonical = (address + (_1 << bits - _1)) >> bits == _0
    vsyscall = address & ~(_PAGE - _1) == _VSYSCALL
    return address >= user_top(machine) and canonical and not vsyscall


@njit
def _of_nothing(machine, which, address):
    """Read no bytes: two of the helpers look at the address all the same."""
    if which == Helper.PROBE_READ_KERNEL and not _in_kernel(machine, address):
        return -ERANGE
    beyond = address > user_top(machine) - _PAGE
    return -EFAULT if which == Helper.PROBE_READ_USER and beyond else 0


@njit
def read(machine, arena, which, r1, r2, r3):
    """Copy r2 bytes, or a string of at most as many, from r3 to r1; 0, the length, or an errno."""
    size, text, user, may_fault = r2 & LOW_32, which in _TEXTS, which in _OF_USERS, which == _FAULTS
    if size == _0:
        return np.uint64(_of_nothing(machine, which, r3))
    to = host_of(machine, r1, size, True)
    if to == _0:
        return _0
    note_all(np.uint64(machine.control[JOURNAL]), to, size)
    if not user and not _in_kernel(machine, r3):
        return _failed(to, size, -ERANGE)
    for byte in range(np.int64(size)):
        at = np.uint64(byte)
        source = byte_host(machine, arena, r3 + at, user, may_fault)
        if source == _0:
            return _failed(to, size, -EFAULT)
        value = load8(source)
        store8(to + at, value)
        if text and value == 0:
            return at + _1
    if text:
        store8(to + size - _1, np.uint8(0))
    return size if text else _0
