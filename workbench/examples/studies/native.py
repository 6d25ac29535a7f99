"""Compiled user space that changes the key-value store in place, as a cache server would.

An entry's first word holds sequence, state and length together. It is exchanged atomically, once to
announce the change and once to end it, so neither compiler nor processor moves a store across.
"""

import numpy as np

from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32, load64, store64, swap64

_ONE = np.uint64(1)
_SIZE, _ADDRESS_OF_KEY, _ADDRESS_OF_VALUE = np.uint64(112), np.uint64(16), np.uint64(48)
_USED, _DELETED = np.uint64(2), np.uint64(1)
_SHIFT, _STATE = np.uint64(32), np.uint64(0xFFFF)
_WORD = np.uint64(8)
PROBES = 32  # of one key, as in kv.c: what its loop may look at


@njit
def find_entry(array, size, key):
    """Host address of a key's entry in an array of `size`, or of the hole for it; and whether used.

    `array` is a host address, `key` uint64[4].
    0 where neither is within the probes.
    """
    start, hole = hash_words(key), np.uint64(0)
    for n in range(min(PROBES, size)):
        place = array + ((start + np.uint64(n)) & np.uint64(size - 1)) * _SIZE
        state = load64(place) >> _SHIFT & _STATE
        if state == _USED and _same(place + _ADDRESS_OF_KEY, key):
            return place, True
        if state != _USED and hole == 0:
            hole = place
        if state == 0:
            break
    return hole, False


@njit
def hash_words(key):
    """The hash of a key, uint64[4], as kv.c computes it with seed 0."""
    value = np.uint64(0)
    for word in key:
        value = (value ^ word) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(32)
    return value


@njit
def _same(place, key):
    same = True
    for n in range(4):
        same = same and load64(place + _WORD * np.uint64(n)) == key[n]
    return same


@njit
def write_entry(place, key, value, length, flags):
    """Change an entry under its sequence number; whether it was unused, and whether empty."""
    head = load64(place)
    state = head >> _SHIFT & _STATE
    swap64(place, head & ~LOW_32 | (head + _ONE & LOW_32))
    touched = load64(place + _WORD) & ~LOW_32
    store64(place + _WORD, touched | flags)
    for n in range(4):
        store64(place + _ADDRESS_OF_KEY + _WORD * np.uint64(n), key[n])
    for n in range(8):
        store64(place + _ADDRESS_OF_VALUE + _WORD * np.uint64(n), value[n])
    after = np.uint64(length) << np.uint64(48) | _USED << _SHIFT
    swap64(place, after | (head + np.uint64(2) & LOW_32))
    return state != _USED, state == 0


@njit
def delete_entry(place):
    """Mark an entry as deleted, under its sequence number."""
    head = load64(place)
    swap64(place, head & ~LOW_32 | (head + _ONE & LOW_32))
    gone = head & ~(_STATE << _SHIFT | LOW_32) | _DELETED << _SHIFT
    swap64(place, gone | (head + np.uint64(2) & LOW_32))


@njit
def put_many(array, size, room, keys, values, lengths, first):
    """Insert or replace from row `first` on, until `room` unused entries are filled.

    Returns the row to go on with, and how many entries were new, and how many of them empty.
    """
    new = filled = 0
    for row in range(first, len(keys)):
        place, used = find_entry(array, size, keys[row])
        if place == 0 or (not used and filled >= room):
            return row, new, filled
        fresh, empty = write_entry(place, keys[row], values[row], lengths[row], np.uint64(0))
        new += fresh
        filled += empty
    return len(keys), new, filled


@njit
def rewrite(array, size, key, rounds):
    """Replace a key's value `rounds` times by eight words that are all the round's number."""
    place, used = find_entry(array, size, key)
    if not used:
        return 0
    head = load64(place)
    for turn in range(rounds):
        swap64(place, head & ~LOW_32 | (head + _ONE & LOW_32))
        for n in range(8):
            store64(place + _ADDRESS_OF_VALUE + _WORD * np.uint64(n), np.uint64(turn))
        head = head & ~LOW_32 | (head + np.uint64(2) & LOW_32)
        swap64(place, head)
    return rounds
