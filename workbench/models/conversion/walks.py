"""User space following pointers, compiled: as addresses, and as 32-bit offsets from a base.

Native pointers are what conversion stores. Under NO_USER_CONV only the low half of what memory
holds can be relied on, so each step loads 32 bits and adds the upper half, which `base` is. (Some
upper halves are there even so: those of addresses that bpf_arena_alloc_pages returned.) Nothing
here checks an address.
"""

import numpy as np

from workbench.compiled.njit import njit
from workbench.compiled.raw import load32, load64

_ZERO, _ONE, _EIGHT = np.uint64(0), np.uint64(1), np.uint64(8)
_KEY = np.uint64(24)  # of a red-black tree's node: left, right, parent, key
_GOLDEN, _HALF, _THREE = np.uint64(0x9E3779B97F4A7C15), np.uint64(32), np.uint64(3)


@njit
def chain(first, rounds):
    """Sum the values of a chain of nodes (next, value), `rounds` times, by native pointers."""
    total = _ZERO
    for _ in range(rounds):
        node = first
        while node != _ZERO:
            total += load64(node + _EIGHT)
            node = load64(node)
    return total


@njit
def chain_from_base(base, first, rounds):
    """Sum the values of a chain of nodes (next, value), `rounds` times, by offsets from `base`."""
    total = _ZERO
    for _ in range(rounds):
        node = first
        while node != _ZERO:
            at = base + node
            total += load64(at + _EIGHT)
            node = np.uint64(load32(at))
    return total


@njit
def search(root, keys, rounds):
    """Look keys up in a search tree by native pointers: how many nodes were met in all."""
    met = _ZERO
    for _ in range(rounds):
        for key in keys:
            node = root
            while node != _ZERO:
                met += _ONE
                here = load64(node + _KEY)
                if here == key:
                    break
                node = load64(node if key < here else node + _EIGHT)
    return met


@njit
def search_from_base(base, root, keys, rounds):
    """Look keys up in a search tree by offsets from `base`: how many nodes were met in all."""
    met = _ZERO
    for _ in range(rounds):
        for key in keys:
            node = root
            while node != _ZERO:
                met += _ONE
                at = base + node
                here = load64(at + _KEY)
                if here == key:
                    break
                node = np.uint64(load32(at if key < here else at + _EIGHT))
    return met


@njit
def lookup(buckets, mask, keys, rounds):
    """Look keys up in a chained hash table by native pointers: how many entries were met in all."""
    met = _ZERO
    for _ in range(rounds):
        for key in keys:
            entry = load64(buckets + ((((key * _GOLDEN) >> _HALF) & mask) << _THREE))
            while entry != _ZERO:
                met += _ONE
                if load64(entry + _EIGHT) == key:
                    break
                entry = load64(entry)
    return met


@njit
def lookup_from_base(base, buckets, mask, keys, rounds):
    """Look keys up in a chained hash table by offsets from `base`: how many entries were met."""
    met = _ZERO
    for _ in range(rounds):
        for key in keys:
            place = base + buckets + ((((key * _GOLDEN) >> _HALF) & mask) << _THREE)
            entry = np.uint64(load32(place))
            while entry != _ZERO:
                met += _ONE
                at = base + entry
                if load64(at + _EIGHT) == key:
                    break
                entry = np.uint64(load32(at))
    return met
