"""The operations of a map, chosen by its type: what helpers and bpf(2) call.

Keys and values are host addresses. Results are 0, a negative errno, or a host address. Values of
maps of maps are headers' addresses, those of program arrays are programs' numbers plus 1.
Source: kernel/bpf/arraymap.c for arrays; the others are named in their modules.
"""

from errno import E2BIG, EEXIST, EINVAL, ENOENT, EOPNOTSUPP

import numpy as np

from workbench.bpf.map_types import ARRAYS, HASHES, QUEUES, MapType
from workbench.compiled.njit import njit
from workbench.compiled.raw import load64
from workbench.maps import queues, table, trie
from workbench.maps.layout import (
    EXIST,
    LOCKED,
    NOEXIST,
    Field,
    clear,
    copy,
    get,
    is_of,
    is_type,
    read32,
    set_everywhere,
    type_bits,
    value_at,
)

_ARRAYS, _HASHES, _QUEUES = type_bits(ARRAYS), type_bits(HASHES), type_bits(QUEUES)
_0, _1 = np.uint64(0), np.uint64(1)


@njit
def is_array(m):
    """Whether keys are the numbers below max_entries."""
    return is_of(m, _ARRAYS)


@njit
def is_hash(m):
    """Whether the map is a table of chains with exact keys."""
    return is_of(m, _HASHES)


@njit
def lookup(m, key, cpu, touch):
    """Host address of the value of a key for a CPU, or 0."""
    cpu = cpu if get(m, Field.CPUS) > _1 else _0
    if is_array(m):
        index = read32(key)
        return value_at(m, index, cpu) if index < get(m, Field.MAX) else _0
    if is_hash(m):
        return table.lookup(m, key, cpu, touch)
    if is_type(m, MapType.LPM_TRIE):
        return trie.lookup(m, key)
    return _0


@njit
def _update_array(m, key, value, flags, cpu, all_cpus):
    if (flags if all_cpus else flags & ~np.uint64(LOCKED)) > np.uint64(EXIST):
        return -EINVAL
    if read32(key) >= get(m, Field.MAX):
        return -E2BIG
    if flags & np.uint64(NOEXIST):
        return -EEXIST
    if flags & np.uint64(LOCKED) and np.int64(get(m, Field.LOCK)) < 0:
        return -EINVAL
    set_everywhere(m, read32(key), value, cpu, all_cpus)
    return 0


@njit
def update(m, key, value, flags, cpu, all_cpus):
    """Insert or replace a value; with `all_cpus` one for every CPU, side by side."""
    many = get(m, Field.CPUS) > _1
    cpu = cpu if many else _0
    if is_array(m):
        return _update_array(m, key, value, flags, cpu, all_cpus and many)
    if is_hash(m):
        return table.update(m, key, value, flags, cpu, all_cpus and many)
    if is_type(m, MapType.LPM_TRIE):
        return trie.update(m, key, value, flags)
    return -EINVAL


@njit
def delete(m, key):
    """Remove an entry; arrays have all of theirs always."""
    if is_hash(m):
        return table.delete(m, key)
    if is_type(m, MapType.LPM_TRIE):
        return trie.delete(m, key)
    if is_array(m) and get(m, Field.VALUE) == np.uint64(8) and _holds_references(m):
        return _empty(m, key)
    return -EINVAL


@njit
def _holds_references(m):
    return is_type(m, MapType.ARRAY_OF_MAPS) or is_type(m, MapType.PROG_ARRAY)


@njit
def _empty(m, key):
    """Take a map or program out of an array."""
    if read32(key) >= get(m, Field.MAX):
        return -E2BIG
    at = value_at(m, read32(key), _0)
    if load64(at) == _0:
        return -ENOENT
    clear(m, at, np.uint64(8))
    return 0


@njit
def push(m, value, flags):
    """Add a value to a queue, stack or bloom filter."""
    if is_type(m, MapType.BLOOM_FILTER):
        return queues.add_to_bloom(m, value, flags)
    if is_of(m, _QUEUES):
        return queues.push(m, value, flags)
    return -EINVAL


@njit
def peek(m, value, remove):
    """Copy the next value out of a queue or stack (zeros if empty), or ask a bloom filter."""
    if is_type(m, MapType.BLOOM_FILTER):
        return -EOPNOTSUPP if remove else queues.in_bloom(m, value)
    found = queues.next_out(m)
    if found == _0:
        clear(m, value, get(m, Field.VALUE))
        return -ENOENT
    copy(m, value, found, get(m, Field.VALUE))
    if remove:
        queues.drop_next(m)
    return 0


@njit
def first(m):
    """Where iteration begins: a slot plus 1, or 0 for an empty map."""
    if is_array(m):
        return _1
    return table.first_from(m, _0)


@njit
def following(m, at):
    """The slot, plus 1, after another; 0 after the last."""
    if is_array(m):
        return at + _1 if at < get(m, Field.MAX) else _0
    if is_type(m, MapType.LPM_TRIE):
        return trie.following(m, at)
    return table.after(m, at)


@njit
def next_slot(m, key):
    """The slot, plus 1, after a key's in a hash; the first if there is no such key."""
    at = table.find(m, table.bucket_of(m, key), key)
    return table.first_from(m, _0) if at == _0 else table.after(m, at)
