"""Which pages are free: the kernel's range tree (kernel/bpf/range_tree.c), placement exact.

Free pages form maximal ranges. Allocation takes the smallest range that is large enough; among
equal ones the most recently inserted; and from it the lowest pages.

The kernel keeps two trees. Pages are small integers here, so both become tables indexed by page
or by size, with 64-ary bitmaps to find the next entry, four levels for 2^20 pages:

    level 3                    1 word
    level 2                 4 words        bit i of a word is set while
    level 1            256 words           word i of the level below is not 0
    level 0      16384 words               one bit for each page (or size - 1)

Every operation costs a few word reads however many ranges there are. The functions take all tables
as one array, `ranges`, which `free_ranges` makes: int64[RANGE_COUNT + 1].
"""

import numpy as np

from workbench.arena.rules import MAX_PAGES
from workbench.compiled.lazy import lazy_zeros
from workbench.compiled.njit import njit
from workbench.compiled.raw import leading_zeros, trailing_zeros

CAPACITY = MAX_PAGES
_LEVEL1 = CAPACITY >> 6
_LEVEL2 = _LEVEL1 + (CAPACITY >> 12)
_LEVEL3 = _LEVEL2 + (CAPACITY >> 18)
WORDS = _LEVEL3 + 1
_OFFSETS = (0, _LEVEL1, _LEVEL2, _LEVEL3)

# One int64 array holds every table: compiled code then passes one array, not eight. What belongs to
# one page lies together, at ROW * page + column, and fills half a cache line.
ROW = 4
LENGTH = 0  # [first page] -> pages in the range, 0 where none starts
OLDER = 1  # [first page] -> first page + 1 of the next older range of its size
NEWER = 2  # [first page] -> the same towards newer
NEWEST = ROW * CAPACITY  # [pages - 1] -> first page + 1 of the newest range of that size, 0 if none
POPULATION = NEWEST + CAPACITY  # [pages - 1] -> how many ranges have that size
STARTS = POPULATION + CAPACITY  # bitmap of first pages
SIZES = STARTS + WORDS  # bitmap of pages - 1
FREE_PAGES = SIZES + WORDS
RANGE_COUNT = FREE_PAGES + 1


def free_ranges(pages: int) -> np.ndarray:
    """A set that holds the one range [0, pages): int64[RANGE_COUNT + 1], lazily committed."""
    ranges = lazy_zeros(RANGE_COUNT + 1, np.int64)
    insert(ranges, 0, pages)
    return ranges


@njit(inline=True)
def set_bit(ranges, bitmap, index):
    """Set a bit, and those above it that say so."""
    for offset in _OFFSETS:
        ranges[bitmap + offset + (index >> 6)] |= np.int64(1) << (index & 63)
        index >>= 6


@njit(inline=True)
def clear_bit(ranges, bitmap, index):
    """Clear a bit, and those above it whose words have become 0."""
    for offset in _OFFSETS:
        word = bitmap + offset + (index >> 6)
        ranges[word] &= ~(np.int64(1) << (index & 63))
        if ranges[word] != 0:
            return
        index >>= 6


@njit(inline=True)
def _descend(ranges, bitmap, level, index, lowest):
    """From a set bit of some level, follow lowest or highest set bits down to level 0."""
    while level > 0:
        level -= 1
        word = np.uint64(ranges[bitmap + _OFFSETS[level] + index])
        bit = np.int64(trailing_zeros(word)) if lowest else 63 - np.int64(leading_zeros(word))
        index = index << 6 | bit
    return index


@njit(inline=True)
def next_set(ranges, bitmap, index):
    """The smallest set index >= `index`, else -1."""
    for level in range(4):
        at = index >> 6
        if at >= (CAPACITY >> (6 * (level + 1))) + (level == 3):
            return np.int64(-1)
        bits = np.uint64(ranges[bitmap + _OFFSETS[level] + at])
        bits &= ~np.uint64(0) << np.uint64(index & 63)
        if bits != np.uint64(0):
            lowest = np.int64(trailing_zeros(bits))
            return _descend(ranges, bitmap, level, at << 6 | lowest, True)
        index = at + 1
    return np.int64(-1)


@njit(inline=True)
def last_set(ranges, bitmap, index):
    """The largest set index <= `index`, else -1."""
    for level in range(4):
        if index < 0:
            return np.int64(-1)
        at = index >> 6
        bits = np.uint64(ranges[bitmap + _OFFSETS[level] + at])
        bits &= ~np.uint64(0) >> np.uint64(63 - (index & 63))
        if bits != np.uint64(0):
            highest = 63 - np.int64(leading_zeros(bits))
            return _descend(ranges, bitmap, level, at << 6 | highest, False)
        index = at - 1
    return np.int64(-1)


@njit
def insert(ranges, first, count):
    """Add a range that touches no other; it becomes the newest of its size."""
    size = count - 1
    ranges[LENGTH + ROW * first] = count
    head = ranges[NEWEST + size]
    ranges[OLDER + ROW * first] = head
    ranges[NEWER + ROW * first] = 0
    if head:
        ranges[NEWER + ROW * (head - 1)] = first + 1
    else:
        set_bit(ranges, SIZES, size)
    ranges[NEWEST + size] = first + 1
    ranges[POPULATION + size] += 1
    set_bit(ranges, STARTS, first)
    ranges[FREE_PAGES] += count
    ranges[RANGE_COUNT] += 1


@njit
def remove(ranges, first):
    """Take out the range that starts at `first`; returns its page count."""
    count = ranges[LENGTH + ROW * first]
    size = count - 1
    older, newer = ranges[OLDER + ROW * first], ranges[NEWER + ROW * first]
    if older:
        ranges[NEWER + ROW * (older - 1)] = newer
    if newer:
        ranges[OLDER + ROW * (newer - 1)] = older
    else:
        ranges[NEWEST + size] = older
        if not older:
            clear_bit(ranges, SIZES, size)
    ranges[POPULATION + size] -= 1
    ranges[LENGTH + ROW * first] = 0
    clear_bit(ranges, STARTS, first)
    ranges[FREE_PAGES] -= count
    ranges[RANGE_COUNT] -= 1
    return count


@njit
def find(ranges, count):
    """First page of the range that an allocation of `count` pages takes, else -1."""
    if count > CAPACITY:
        return np.int64(-1)
    size = next_set(ranges, SIZES, count - 1)
    return np.int64(-1) if size < 0 else ranges[NEWEST + size] - 1


@njit(inline=True)
def is_free(ranges, first, count):
    """Whether all of [first, first + count) lies in one free range."""
    at = last_set(ranges, STARTS, first)
    return at >= 0 and at + ranges[LENGTH + ROW * at] >= first + count


@njit
def take(ranges, first, count):
    """Make [first, first + count) not free; pages that were not free stay so (range_tree_clear)."""
    end = first + count
    at = last_set(ranges, STARTS, first)
    if at < 0 or at + ranges[LENGTH + ROW * at] <= first:
        at = next_set(ranges, STARTS, first)
    while 0 <= at < end:
        stop = at + remove(ranges, at)
        if at < first:
            insert(ranges, at, first - at)
        if stop > end:
            insert(ranges, end, stop - end)
            return
        at = np.int64(-1) if stop >= CAPACITY else next_set(ranges, STARTS, stop)


@njit
def give(ranges, first, count):
    """Make [first, first + count) free and join it with its neighbours (range_tree_set)."""
    if is_free(ranges, first, count):
        return
    take(ranges, first, count)
    end = first + count
    if end < CAPACITY and ranges[LENGTH + ROW * end]:
        end += remove(ranges, end)
    if first > 0:
        left = last_set(ranges, STARTS, first - 1)
        if left >= 0 and left + ranges[LENGTH + ROW * left] == first:
            remove(ranges, left)
            first = left
    insert(ranges, first, end - first)


@njit(allocates=True)
def extents(ranges):
    """Every free range as rows (first page, page count), in address order: int64[n, 2]."""
    out = np.empty((ranges[RANGE_COUNT], 2), np.int64)
    at = np.int64(0)
    for row in range(out.shape[0]):
        at = next_set(ranges, STARTS, at)
        out[row, 0] = at
        out[row, 1] = ranges[LENGTH + ROW * at]
        at += ranges[LENGTH + ROW * at]
    return out
