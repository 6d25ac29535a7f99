"""Free extents by size, the lowest address first among equals: one pairing heap for each size.

An int32 array of four tables, each as long as the arena has pages. Links are first page + 1, and 0
is none, so that untouched memory is an empty heap:

    ROOT     [pages - 1]   the lowest extent of that size
    CHILD    [first page]  its first child in the heap
    SIBLING  [first page]  the next child of its parent
    BEFORE   [first page]  the sibling before it, or its parent if it is the first child

Source: Fredman, Sedgewick, Sleator and Tarjan, "The pairing heap" (1986); O(log n) amortised.
"""

from workbench.compiled.njit import njit

ROOT, CHILD, SIBLING, BEFORE = range(4)


@njit(inline=True)
def _meld(heap, one, other):
    """Join two heaps; the lower root becomes the parent of the other."""
    if one == 0 or other == 0:
        return one + other
    low, high = min(one, other), max(one, other)
    child = heap[CHILD, low - 1]
    heap[SIBLING, high - 1] = child
    if child:
        heap[BEFORE, child - 1] = high
    heap[CHILD, low - 1] = high
    heap[BEFORE, high - 1] = low
    return low


@njit
def _join_children(heap, node):
    """Make one heap of a node's children: in pairs from the left, then from the right."""
    child = heap[CHILD, node - 1]
    heap[CHILD, node - 1] = 0
    pairs = 0
    while child:
        second = heap[SIBLING, child - 1]
        following = heap[SIBLING, second - 1] if second else 0
        pair = _meld(heap, child, second)
        heap[SIBLING, pair - 1] = pairs
        pairs, child = pair, following
    joined = 0
    while pairs:
        following = heap[SIBLING, pairs - 1]
        joined = _meld(heap, joined, pairs)
        pairs = following
    return joined


@njit
def add(heap, first, pages):
    """Put in the extent of `pages` pages that starts at `first`."""
    heap[CHILD, first] = 0
    heap[SIBLING, first] = 0
    heap[ROOT, pages - 1] = _meld(heap, heap[ROOT, pages - 1], first + 1)


@njit
def discard(heap, first, pages):
    """Take the extent out, wherever in its heap it is."""
    node = first + 1
    root = heap[ROOT, pages - 1]
    if root == node:
        heap[ROOT, pages - 1] = _join_children(heap, node)
        return
    before, after = heap[BEFORE, first], heap[SIBLING, first]
    if heap[CHILD, before - 1] == node:
        heap[CHILD, before - 1] = after
    else:
        heap[SIBLING, before - 1] = after
    if after:
        heap[BEFORE, after - 1] = before
    heap[ROOT, pages - 1] = _meld(heap, root, _join_children(heap, node))


@njit(inline=True)
def lowest(heap, pages):
    """First page of the lowest extent of exactly `pages` pages, else -1."""
    return heap[ROOT, pages - 1] - 1
