"""Packets of an emulated run: the buffer around them, and the helpers that read and change them.

    xdp    256 bytes headroom | packet | room up to the end of a page
    skb    the packet; its length stays as it is

Source: net/bpf/test_run.c for the room, net/core/filter.c for the helpers.
"""

from errno import EFAULT, EINVAL

import numpy as np

from workbench.arena.rules import PAGE_SIZE
from workbench.bpf.addresses import ETHERNET
from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32, load8, load32, store8, store32
from workbench.engines.machine.memory import host_of
from workbench.engines.machine.state import (
    CTX_REGION,
    JOURNAL,
    PACKET_REGION,
    R_BYTES,
    R_HOST,
    R_START,
)
from workbench.maps.layout import move, note_all

HEADROOM = 256  # XDP_PACKET_HEADROOM
PAGE_ROOM = PAGE_SIZE - 320  # less struct skb_shared_info
FRAME_HEADER = 40  # struct xdp_frame, at the start of the headroom
_0, _1, _4 = np.uint64(0), np.uint64(1), np.uint64(4)
_FLAGS = np.uint64(3)  # BPF_F_RECOMPUTE_CSUM, BPF_F_INVALIDATE_HASH


@njit
def copy_bytes(machine, store, offset, memory, size, flags):
    """bpf_skb_store_bytes and bpf_skb_load_bytes; 0 or a negative errno."""
    offset, size = offset & LOW_32, size & LOW_32
    packet = machine.regions[PACKET_REGION]
    host = host_of(machine, memory, size, not store)
    if host == _0:
        return _0
    if store and flags & ~_FLAGS:
        return np.uint64(-EINVAL)
    inside = offset <= np.uint64(0x7FFFFFFF) and offset + size <= packet[R_BYTES]
    journal = np.uint64(machine.control[JOURNAL])
    if store:
        if not inside:
            return np.uint64(-EFAULT)
        note_all(journal, packet[R_HOST] + offset, size)
        move(packet[R_HOST] + offset, host, size)
        return _0
    note_all(journal, host, size)
    if inside:
        move(host, packet[R_HOST] + offset, size)
        return _0
    for byte in range(np.int64(size)):
        store8(host + np.uint64(byte), np.uint8(0))
    return np.uint64(-EFAULT)


@njit
def _folded(total):
    """A one's complement sum in 32 bits."""
    while total > LOW_32:
        total = (total & LOW_32) + (total >> np.uint64(32))
    return total


@njit
def _sum(machine, memory, size):
    """The sum of some memory as little-endian words, folded to 32 bits."""
    total = _0
    if size == _0:
        return total
    host = host_of(machine, memory, size, False)
    if host == _0:
        return total
    for byte in range(np.int64(size)):
        total += np.uint64(load8(host + np.uint64(byte))) << np.uint64(8 * (byte & 3))
    return _folded(total)


@njit
def checksum(machine, old, old_size, new, new_size, seed):
    """bpf_csum_diff: seed + new - old as a 16-bit one's complement sum, of any sizes."""
    total = seed & LOW_32
    if new_size or not old_size:
        total = _folded(total + _sum(machine, new, new_size))
        if old_size:
            total += LOW_32 ^ _sum(machine, old, old_size)
    else:
        total = LOW_32 ^ _folded((LOW_32 ^ total) + _sum(machine, old, old_size))
    while total > np.uint64(0xFFFF):
        total = (total & np.uint64(0xFFFF)) + (total >> np.uint64(16))
    return total


@njit
def adjust(machine, head, delta):
    """bpf_xdp_adjust_head and adjust_tail: move the packet's start or end; 0 or -EINVAL."""
    packet, ctx = machine.regions[PACKET_REGION], machine.regions[CTX_REGION, R_HOST]
    change = np.int64(np.int32(np.uint32(delta)))
    room = np.int64(load32(ctx) & np.uint32(PAGE_SIZE - 1))  # where the packet starts in its page
    length = np.int64(packet[R_BYTES])
    if head:
        if room + change < FRAME_HEADER or change > length - ETHERNET:
            return np.uint64(-EINVAL)
        packet[R_START] = np.uint64(np.int64(packet[R_START]) + change)
        packet[R_HOST] = np.uint64(np.int64(packet[R_HOST]) + change)
        packet[R_BYTES] = np.uint64(length - change)
    else:
        if room + length + change > PAGE_ROOM or length + change < ETHERNET:
            return np.uint64(-EINVAL)
        for byte in range(change):
            store8(packet[R_HOST] + np.uint64(length + byte), np.uint8(0))
        packet[R_BYTES] = np.uint64(length + change)
    note_all(np.uint64(machine.control[JOURNAL]), ctx, np.uint64(12))
    store32(ctx, np.uint32(packet[R_START]))
    store32(ctx + _4, np.uint32(packet[R_START] + packet[R_BYTES]))
    store32(ctx + np.uint64(8), np.uint32(packet[R_START]))
    return _0
