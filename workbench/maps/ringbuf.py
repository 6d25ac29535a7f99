"""Ring buffers: records of 8 bytes header and data, written in order, read once committed.

    position   0             8              8 + length, rounded up to 8
               | u32 length  | data ...     | next record
               | u32 page    |

Positions only grow; a record lies at its position modulo the size. Linux maps the buffer twice, one
copy behind the other, so that no record is cut; here the second half is memory of its own, which
differs only in what a reserved record contains before it is written. Source: kernel/bpf/ringbuf.c.
"""

from errno import EAGAIN, EINVAL

import numpy as np

from workbench.arena.rules import PAGE_SHIFT
from workbench.compiled.njit import njit
from workbench.maps.layout import Field, copy, get, note_all, put, read32, write32

BUSY, DISCARDED = 1 << 31, 1 << 30  # bits of a record's length
HEADER = 8  # BPF_RINGBUF_HDR_SZ
LONGEST = 0xFFFFFFFF // 4  # RINGBUF_MAX_RECORD_SZ
_PAGES_BEFORE = 3  # RINGBUF_NR_META_PAGES: what Linux has before the data
NO_WAKEUP, FORCE_WAKEUP = 1, 2
_0, _1, _7, _8 = (np.uint64(n) for n in (0, 1, 7, 8))
_LENGTH = np.uint64(BUSY - 1) & ~np.uint64(DISCARDED)


@njit(inline=True)
def span(length):
    """Bytes that a record of this header takes."""
    return ((length & _LENGTH) + _8 + _7) & ~_7


@njit
def _skip_committed(m):
    """Move PENDING to the oldest record that is still being written."""
    pending = get(m, Field.PENDING)
    while pending < get(m, Field.PRODUCER):
        length = read32(get(m, Field.VALUES) + (pending & get(m, Field.MASK)))
        if length & np.uint64(BUSY):
            break
        pending += span(length)
    put(m, Field.PENDING, pending)


@njit
def reserve(m, size, flags):
    """Host address of a new record's data, or 0 when it does not fit."""
    needed = span(size)
    if flags != _0 or size > np.uint64(LONGEST) or needed > get(m, Field.MAX):
        return _0
    start, mask = get(m, Field.PRODUCER), get(m, Field.MASK)
    _skip_committed(m)
    end = start + needed
    if end - get(m, Field.CONSUMER) > mask or end - get(m, Field.PENDING) > mask:
        return _0
    at = get(m, Field.VALUES) + (start & mask)
    note_all(get(m, Field.JOURNAL), at, _8)
    write32(at, size | np.uint64(BUSY))
    write32(at + np.uint64(4), ((start & mask) >> np.uint64(PAGE_SHIFT)) + np.uint64(_PAGES_BEFORE))
    put(m, Field.PRODUCER, end)
    return at + _8


@njit
def commit(m, sample, discard):
    """Hand a reserved record to the reader, or have the reader skip it."""
    at = sample - _8
    length = read32(at) & _LENGTH
    note_all(get(m, Field.JOURNAL), at, _8)
    write32(at, length | np.uint64(DISCARDED) if discard else length)


@njit
def output(m, source, size, flags):
    """Write a whole record (bpf_ringbuf_output); 0 or a negative errno."""
    if flags & ~np.uint64(NO_WAKEUP | FORCE_WAKEUP):
        return -EINVAL
    sample = reserve(m, size, _0)
    if sample == _0:
        return -EAGAIN
    copy(m, sample, source, size)
    commit(m, sample, False)
    return 0


@njit
def query(m, what):
    """Bytes not yet read, size, consumer position, producer position (0 to 3); else 0."""
    if what == _0:
        return get(m, Field.PRODUCER) - get(m, Field.CONSUMER)
    if what == _1:
        return get(m, Field.MAX)
    if what == np.uint64(2):
        return get(m, Field.CONSUMER)
    return get(m, Field.PRODUCER) if what == np.uint64(3) else _0


@njit
def consume(m):
    """Read one record: host address of its data or 0; moves the consumer past discarded ones."""
    while get(m, Field.CONSUMER) < get(m, Field.PRODUCER):
        at = get(m, Field.VALUES) + (get(m, Field.CONSUMER) & get(m, Field.MASK))
        length = read32(at)
        if length & np.uint64(BUSY):
            return _0
        put(m, Field.CONSUMER, get(m, Field.CONSUMER) + span(length))
        if length & np.uint64(DISCARDED) == _0:
            return at + _8
    return _0
