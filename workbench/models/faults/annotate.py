"""The compiled look back: has this page been faulted on before, and was it freed since?"""

import numpy as np

from workbench.arena.events import Kind
from workbench.compiled.njit import njit

ALLOC, FREE = int(Kind.ALLOC), int(Kind.FREE)
_SEEN, _FREED = 1, 2


@njit(allocates=True)
def look_back(kind, page, count, is_fault, pages):
    """For each event: whether its page had a fault before, and whether it was freed since alloc.

    `kind`, `page` and `count` are int[n] columns of events, `pages` the arena's size;
    `is_fault[kind]` is 0, 1 for a fault, 2 for one that fills its page. Returns two bool[n].
    """
    rows = kind.shape[0]
    state = np.zeros(pages, np.uint8)
    repeat, after_free = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    for row in range(rows):
        first = np.int64(page[row])
        if first < 0 or first >= pages:
            continue
        if is_fault[kind[row]]:
            repeat[row] = state[first] & _SEEN
            after_free[row] = state[first] & _FREED
            state[first] |= _SEEN
            if is_fault[kind[row]] == 2:  # it filled the page
                state[first] &= ~_FREED & 0xFF
        elif kind[row] == ALLOC:
            for at in range(first, min(first + count[row], pages)):
                state[at] &= ~_FREED & 0xFF
        elif kind[row] == FREE:
            for at in range(first, min(first + count[row], pages)):
                state[at] |= _FREED
    return repeat, after_free


@njit(allocates=True)
def cells(x, y, part, shape):
    """Count points by (part, row, column): x and y are 0 <= v < 1; int64[parts, rows, columns]."""
    out = np.zeros(shape, np.int64)
    for at in range(x.shape[0]):
        row = min(np.int64(y[at] * shape[1]), shape[1] - 1)
        column = min(np.int64(x[at] * shape[2]), shape[2] - 1)
        out[part[at], row, column] += 1
    return out


@njit(allocates=True)
def count_pages(page, part, last, parts):
    """Count points by page + 1 (the first row is for page -1) and part: int64[last + 2, parts]."""
    out = np.zeros((last + 2, parts), np.int64)
    for at in range(page.shape[0]):
        out[page[at] + 1, part[at]] += 1
    return out
