"""A binary buddy system: free pages as blocks of 2**order pages at multiples of their size.

Freed blocks join with their buddy at once, so that the free blocks are always the largest aligned
ones. They are kept as one bitmap of arena.ranges for each order; bit i of order o stands for the
pages [i << o, (i + 1) << o). Source: Knowlton (1965); mm/page_alloc.c.
"""

import numpy as np

from workbench.arena.ranges import WORDS, clear_bit, next_set, set_bit
from workbench.compiled.njit import njit
from workbench.compiled.raw import trailing_zeros

ORDERS = 21  # 0 to 20: the largest block is the largest arena, 2**20 pages


@njit(inline=True)
def order_of(count):
    """The order of the smallest block with at least `count` pages."""
    order = np.int64(0)
    while (np.int64(1) << order) < count:
        order += 1
    return order


@njit(inline=True)
def _is_free(blocks, order, index):
    return (blocks[order * WORDS + (index >> 6)] >> (index & 63)) & 1 != 0


@njit
def find(blocks, count, top):
    """First page of the lowest smallest free block (of at most order `top`) for `count` pages.

    -1 if there is none.
    """
    for order in range(order_of(count), top + 1):
        index = next_set(blocks, order * WORDS, 0)
        if index >= 0:
            return index << order
    return np.int64(-1)


@njit
def _largest(page, count):
    """The order of the largest aligned block that starts at `page` and ends within `count`."""
    order = ORDERS - 1
    if page:
        order = min(order, np.int64(trailing_zeros(np.uint64(page))))
    while (np.int64(1) << order) > count:
        order -= 1
    return order


@njit
def _split(blocks, order, index):
    """Make the block free by itself: halve the free block that it is part of."""
    above = order
    while not _is_free(blocks, above, index >> (above - order)):
        above += 1
    clear_bit(blocks, above * WORDS, index >> (above - order))
    while above > order:
        above -= 1
        set_bit(blocks, above * WORDS, (index >> (above - order)) ^ 1)


@njit
def merge(blocks, order, index, top):
    """Add a free block, joined with its buddies up to order `top`; returns (order, index) then."""
    while order < top and _is_free(blocks, order, index ^ 1):
        clear_bit(blocks, order * WORDS, index ^ 1)
        index >>= 1
        order += 1
    set_bit(blocks, order * WORDS, index)
    return order, index


@njit
def take(blocks, page, count):
    """Take the pages [page, page + count), all of them free, out of the free blocks."""
    while count > 0:
        order = _largest(page, count)
        _split(blocks, order, page >> order)
        page += np.int64(1) << order
        count -= np.int64(1) << order


@njit
def give(blocks, page, count):
    """Add the pages [page, page + count), none of them free, to the free blocks."""
    while count > 0:
        order = _largest(page, count)
        merge(blocks, order, page >> order, ORDERS - 1)
        page += np.int64(1) << order
        count -= np.int64(1) << order
