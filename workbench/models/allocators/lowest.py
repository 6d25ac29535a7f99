"""Free extents by address: the first one, from some page on, that is long enough.

A binary tree of maxima over pages, as one int32 array of 2n (n a power of two). Leaf n + p holds
the length of the extent that starts at page p, 0 where none does; node i the larger of its
children 2i and 2i + 1:

            1                     longest of all
        2       3
      4   5   6   7               n = 4: leaves 4..7 are pages 0..3

An update climbs one path, a search climbs and descends one: log n steps each.
"""

import numpy as np

from workbench.compiled.njit import njit


def size_for(pages: int) -> int:
    """Length of the int32 array `tree` for an arena of so many pages."""
    return 2 << max(0, pages - 1).bit_length()


@njit
def assign(tree, first, length):
    """Set the length of the extent at page `first`; 0 takes it out."""
    at = (tree.shape[0] >> 1) + first
    tree[at] = length
    at >>= 1
    while at:
        longest = max(tree[2 * at], tree[2 * at + 1])
        if tree[at] == longest:
            return
        tree[at] = longest
        at >>= 1


@njit
def first_from(tree, start, count):
    """The lowest page >= `start` where an extent of at least `count` pages starts, else -1."""
    leaves = tree.shape[0] >> 1
    if start >= leaves:
        return np.int64(-1)
    at = leaves + start
    while tree[at] < count:
        while at & 1:  # a right child: what lies to the right hangs from an ancestor
            at >>= 1
        if at == 0:
            return np.int64(-1)
        at += 1
    while at < leaves:
        at *= 2
        if tree[at] < count:
            at += 1
    return np.int64(at - leaves)
