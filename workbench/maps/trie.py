"""Longest-prefix-match tries: entries by (length, first bits), looked for from the longest on.

A key is {u32 prefixlen, data}. Only lengths that have entries are tried. As in Linux an entry keeps
all the bytes of the key it was last updated with, also those behind its prefix.
Source: kernel/bpf/lpm_trie.c.
"""

from errno import EEXIST, EINVAL, ENOENT, ENOSPC

import numpy as np

from workbench.compiled.njit import njit
from workbench.compiled.raw import load8, load64, store8, store64
from workbench.maps.hashing import jhash
from workbench.maps.layout import (
    EXIST,
    NOEXIST,
    Field,
    get,
    link,
    move,
    read32,
    set_value,
    value_at,
)
from workbench.maps.table import first_from, hang, key_at, take, unhang

_0, _1, _3, _4, _8 = (np.uint64(n) for n in (0, 1, 3, 4, 8))


@njit(inline=True)
def longest(m):
    """The most bits that a prefix of this map has."""
    return (get(m, Field.KEY) - _4) * _8


@njit
def _same_prefix(one, other, bits):
    """Whether the first `bits` bits of two keys' data are equal."""
    whole = bits >> _3
    for byte in range(np.int64(whole)):
        if load8(one + _4 + np.uint64(byte)) != load8(other + _4 + np.uint64(byte)):
            return False
    rest = bits & np.uint64(7)
    if rest == _0:
        return True
    difference = load8(one + _4 + whole) ^ load8(other + _4 + whole)
    return np.uint64(difference) >> (_8 - rest) == _0


@njit
def _bucket(m, key, bits):
    """The bucket of the first `bits` bits of a key."""
    whole, rest, scratch = bits >> _3, bits & np.uint64(7), get(m, Field.SCRATCH)
    move(scratch, key + _4, whole)
    size = whole
    if rest != _0:
        mask = np.uint64(0xFF00) >> rest
        store8(scratch + whole, np.uint8(np.uint64(load8(key + _4 + whole)) & mask))
        size += _1
    return np.uint64(jhash(scratch, size, bits)) & get(m, Field.MASK)


@njit
def _find(m, key, bits):
    """The slot, plus 1, of the prefix of this length; 0 without one."""
    at = link(get(m, Field.BUCKETS), _bucket(m, key, bits))
    while at != _0:
        found = key_at(m, at - _1)
        if read32(found) == bits and _same_prefix(found, key, bits):
            return at
        at = link(get(m, Field.CHAIN), at - _1)
    return _0


@njit
def lookup(m, key):
    """Host address of the value of the longest prefix that matches, or 0."""
    bits = read32(key)
    if bits > longest(m):
        return _0
    lengths = get(m, Field.LENGTHS)
    for shorter in range(np.int64(bits) + 1):
        tried = bits - np.uint64(shorter)
        if load64(lengths + tried * _8) != _0:
            at = _find(m, key, tried)
            if at != _0:
                return value_at(m, at - _1, _0)
    return _0


@njit
def _count(m, bits, change):
    at = get(m, Field.LENGTHS) + bits * _8
    store64(at, np.uint64(np.int64(load64(at)) + change))


@njit
def update(m, key, value, flags):
    """Insert or replace a prefix; 0 or a negative errno."""
    bits = read32(key)
    if flags > np.uint64(EXIST) or bits > longest(m):
        return -EINVAL
    old = _find(m, key, bits)
    if old != _0 and flags == np.uint64(NOEXIST):
        return -EEXIST
    if old == _0 and flags == np.uint64(EXIST):
        return -ENOENT
    if old == _0 and get(m, Field.COUNT) >= get(m, Field.MAX):
        return -ENOSPC
    slot, bucket = take(m), _bucket(m, key, bits)
    move(key_at(m, slot), key, get(m, Field.KEY))
    set_value(m, value_at(m, slot, _0), value)
    hang(m, bucket, slot)
    _count(m, bits, 1)
    if old != _0:
        unhang(m, bucket, old - _1)
        _count(m, bits, -1)
    return 0


@njit
def delete(m, key):
    """Remove a prefix; 0 or a negative errno."""
    bits = read32(key)
    if bits > longest(m):
        return -EINVAL
    at = _find(m, key, bits)
    if at == _0:
        return -ENOENT
    unhang(m, _bucket(m, key, bits), at - _1)
    _count(m, bits, -1)
    return 0


@njit
def following(m, at):
    """The slot, plus 1, after another, bucket by bucket; 0 after the last."""
    further = link(get(m, Field.CHAIN), at - _1)
    if further != _0:
        return further
    key = key_at(m, at - _1)
    return first_from(m, _bucket(m, key, read32(key)) + _1)
