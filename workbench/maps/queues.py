"""Queues, stacks and bloom filters: maps without keys. Source: queue_stack_maps.c, bloom_filter.c.

Of max_entries + 1 slots one is always empty, so that HEAD == TAIL means empty.
"""

from errno import E2BIG, EINVAL, ENOENT

import numpy as np

from workbench.bpf.map_types import MapType
from workbench.compiled.njit import njit
from workbench.compiled.raw import load64, store64
from workbench.maps.hashing import jhash
from workbench.maps.layout import EXIST, NOEXIST, Field, copy, get, is_type, note_all, put, value_at

_0, _1, _3, _8, _63 = (np.uint64(n) for n in (0, 1, 3, 8, 63))


@njit
def _following(m, slot):
    return slot + _1 if slot + _1 < get(m, Field.SLOTS) else _0


@njit
def push(m, value, flags):
    """Add a value to a queue or stack; EXIST drops the oldest of a full one. 0 or -errno."""
    if flags & np.uint64(NOEXIST) or flags > np.uint64(EXIST):
        return -EINVAL
    head, tail = get(m, Field.HEAD), get(m, Field.TAIL)
    if _following(m, head) == tail:
        if flags & np.uint64(EXIST) == _0:
            return -E2BIG
        put(m, Field.TAIL, _following(m, tail))
    copy(m, value_at(m, head, _0), value, get(m, Field.VALUE))
    put(m, Field.HEAD, _following(m, head))
    put(m, Field.COUNT, size_of(m))
    return 0


@njit
def size_of(m):
    """How many values are in a queue or stack."""
    head, tail = get(m, Field.HEAD), get(m, Field.TAIL)
    return head - tail if head >= tail else head + get(m, Field.SLOTS) - tail


@njit
def next_out(m):
    """Host address of the value that would be popped, or 0."""
    head, tail = get(m, Field.HEAD), get(m, Field.TAIL)
    if head == tail:
        return _0
    if not is_type(m, MapType.STACK):
        return value_at(m, tail, _0)
    return value_at(m, (head if head != _0 else get(m, Field.SLOTS)) - _1, _0)


@njit
def drop_next(m):
    """Remove the value that would be popped next."""
    if is_type(m, MapType.STACK):
        head = get(m, Field.HEAD)
        put(m, Field.HEAD, (head if head != _0 else get(m, Field.SLOTS)) - _1)
    else:
        put(m, Field.TAIL, _following(m, get(m, Field.TAIL)))
    put(m, Field.COUNT, size_of(m))


@njit
def add_to_bloom(m, value, flags):
    """Set a value's bits; 0 or -EINVAL for any flag."""
    if flags != _0:
        return -EINVAL
    for index in range(np.int64(get(m, Field.HASHES))):
        bit = np.uint64(jhash(value, get(m, Field.VALUE), index)) & get(m, Field.MASK)
        word = get(m, Field.VALUES) + (bit >> np.uint64(6)) * _8
        note_all(get(m, Field.JOURNAL), word, _8)
        store64(word, load64(word) | _1 << (bit & _63))
    return 0


@njit
def in_bloom(m, value):
    """0 if the value may have been added, -ENOENT if certainly not."""
    for index in range(np.int64(get(m, Field.HASHES))):
        bit = np.uint64(jhash(value, get(m, Field.VALUE), index)) & get(m, Field.MASK)
        word = load64(get(m, Field.VALUES) + (bit >> np.uint64(6)) * _8)
        if word >> (bit & _63) & _1 == _0:
            return -ENOENT
    return 0
