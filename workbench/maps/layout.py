"""A map in memory: one header of 64-bit words, and the arrays that it points to.

    header   TYPE KEY VALUE MAX ...         one word for each Field
    values   slot 0 | slot 1 | ...          STRIDE bytes each; a per-CPU map has STRIDE / CPUS for
                                            every CPU, side by side
    keys     slot 0 | slot 1 | ...          KEY bytes each (hashes and tries)
    buckets, chain                          one word each: a slot plus 1, 0 for none

Compiled code knows a map by the host address of its header, `m`, so that machine code can call it
too; sizes are in bytes, and numbers are uint64.
Everything that changes a value goes through `copy`, which leaves the old bytes in a journal when
a run is being recorded.
"""

from collections.abc import Iterable
from enum import IntEnum

import numpy as np

from workbench.bpf.map_types import MAP_TYPES
from workbench.compiled.njit import njit
from workbench.compiled.raw import load8, load32, load64, store8, store32, store64


class Field(IntEnum):
    """Index of each word of a header; addresses are host addresses."""

    TYPE, KEY, VALUE, MAX, FLAGS, EXTRA, STRIDE, CPUS, LOCK = range(9)
    VALUES, VALUE_BYTES, KEYS, BUCKETS, MASK, CHAIN, SLOTS = range(9, 16)
    COUNT, FREE, FRESH, HAND, USED = range(16, 21)  # of tables: see `table`
    LENGTHS, SCRATCH = range(21, 23)  # of tries: entries by length; a key being compared
    HEAD, TAIL = range(23, 25)  # of queues: slot to fill, slot to empty
    HASHES = 25  # of bloom filters; bits - 1 is in MASK
    CONSUMER, PRODUCER, PENDING = range(26, 29)  # of ring buffers: positions in bytes
    JOURNAL = 29  # where `copy` keeps old bytes; 0 when nothing is recorded
    WORDS = 30


ANY, NOEXIST, EXIST, LOCKED = 0, 1, 2, 4
"""Flags of an update."""

NOTED, NOTE_ROOM, NOTES = range(3)  # words of a journal: rows filled, rows there are, the rows
JOURNAL_ROW = 3  # host address, bytes (at most 8), old content
_0, _1, _8 = np.uint64(0), np.uint64(1), np.uint64(8)


@njit(inline=True)
def get(m, field):
    """A word of the header at `m`."""
    return load64(m + np.uint64(field * 8))


@njit(inline=True)
def put(m, field, value):
    """Set a word of the header at `m`."""
    store64(m + np.uint64(field * 8), value)


def type_bits(names: Iterable[str]) -> np.uint64:
    """Some map types as a bit each, for `is_of`."""
    return np.uint64(sum(1 << MAP_TYPES[name] for name in names))


@njit(inline=True)
def is_of(m, bits):
    """Whether the type of the map at `m` is one of `type_bits`."""
    return bits >> get(m, Field.TYPE) & _1 != _0


@njit(inline=True)
def is_type(m, type):
    """Whether the map at `m` is of a MapType."""
    return get(m, Field.TYPE) == np.uint64(type)


@njit
def note(journal, host, size):
    """Keep up to 8 bytes that are about to change; a full journal only counts."""
    row = load64(journal)
    store64(journal, row + _1)
    if row >= load64(journal + _8):
        return
    at = journal + _8 + _8 + row * np.uint64(8 * JOURNAL_ROW)
    old = _0
    for byte in range(np.int64(size)):
        old |= np.uint64(load8(host + np.uint64(byte))) << np.uint64(8 * byte)
    store64(at, host)
    store64(at + _8, size)
    store64(at + _8 + _8, old)


@njit
def note_all(journal, host, size):
    """Keep `size` bytes that are about to change, unless nothing is recorded."""
    if journal == _0:
        return
    done = _0
    while done < size:
        part = size - done if size - done < _8 else _8
        note(journal, host + done, part)
        done += part


@njit
def move(to, source, size):
    """Copy bytes that do not overlap."""
    done = _0
    while done + _8 <= size:
        store64(to + done, load64(source + done))
        done += _8
    while done < size:
        store8(to + done, load8(source + done))
        done += _1


@njit
def copy(m, to, source, size):
    """Give memory of the map at `m` new content."""
    note_all(get(m, Field.JOURNAL), to, size)
    move(to, source, size)


@njit
def clear(m, to, size):
    """Set memory of the map at `m` to 0."""
    note_all(get(m, Field.JOURNAL), to, size)
    for byte in range(np.int64(size)):
        store8(to + np.uint64(byte), np.uint8(0))


@njit
def set_value(m, to, source):
    """Give one value new content; its spin lock stays as it is (copy_map_value)."""
    size, lock = get(m, Field.VALUE), np.int64(get(m, Field.LOCK))
    if lock < 0:
        copy(m, to, source, size)
        return
    after = np.uint64(lock + 4)
    copy(m, to, source, np.uint64(lock))
    copy(m, to + after, source + after, size - after)


@njit(inline=True)
def per_cpu(m):
    """Bytes of one CPU's value."""
    return get(m, Field.STRIDE) // get(m, Field.CPUS)


@njit(inline=True)
def value_at(m, slot, cpu):
    """Host address of the value in a slot; `cpu` is 0 for maps that have one value for all."""
    return get(m, Field.VALUES) + slot * get(m, Field.STRIDE) + cpu * per_cpu(m)


@njit
def set_everywhere(m, slot, source, cpu, all_cpus):
    """Set one CPU's value, or with `all_cpus` everyone's from values side by side."""
    if not all_cpus:
        set_value(m, value_at(m, slot, cpu), source)
        return
    for other in range(np.int64(get(m, Field.CPUS))):
        part = np.uint64(other)
        set_value(m, value_at(m, slot, part), source + part * per_cpu(m))


@njit(inline=True)
def link(array, index):
    """A word of `buckets` or `chain`: a slot plus 1, or 0."""
    return load64(array + index * _8)


@njit(inline=True)
def set_link(array, index, value):
    """Set a word of `buckets` or `chain`."""
    store64(array + index * _8, value)


@njit(inline=True)
def read32(address):
    """Four bytes as uint64."""
    return np.uint64(load32(address))


@njit(inline=True)
def write32(address, value):
    """Store the low four bytes."""
    store32(address, np.uint32(value))
