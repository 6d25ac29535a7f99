"""The compiled allocators inside pages: objects of some bytes, cut from pages of an arena.

    bump    objects cut one after another from a chunk of pages; a chunk goes back to the arena
            when its last object is freed (the kernel's page fragments, mm/page_frag_cache.c)
    slab    a page holds objects of one size class; freed ones are used again last in, first out;
            an empty page goes back (Bonwick, "The slab allocator", 1994)
    buddy   a page is halved and halved again; free halves join; a whole page goes back

Objects too large for that get pages of their own. All take their pages from a Book, so that
addresses are those of the arena under its policy.
"""

from typing import NamedTuple

import numpy as np

from workbench.arena.events import Kind
from workbench.arena.ranges import WORDS
from workbench.arena.rules import PAGE_SIZE
from workbench.compiled.lazy import lazy_zeros
from workbench.compiled.njit import njit
from workbench.models.allocators import buddy
from workbench.models.allocators.book import occupy, place, release

BUMP, SLAB, HALVES = range(3)
CELL = 16  # bytes: the smallest object
CELLS = PAGE_SIZE // CELL
TOP = 8  # a page is 2**8 cells
MAX_PAGES = (1 << 20) // CELLS  # as many as 2**20 cells make
CHUNK = 8  # pages of a bump chunk: 32 KiB, as for page fragments
CLASSES = np.array([16, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048])

ALLOC, RELEASE = int(Kind.ALLOC), int(Kind.FREE)
LIVE, GRANTED, COMMITTED, REFUSED = range(4)  # of totals
AT, END, FIRST = range(3)  # of the bump allocator's chunk


class Heap(NamedTuple):
    """Objects and the pages that they lie in.

    address, granted: of each object, int64 bytes (-1: none; what it takes). used: bytes of live
    objects in each page. users: objects in each page, or in the bump chunk that begins there.
    owner: first page of each page's chunk or run. spare, fresh, next: a slab's free list, cells not
    yet cut, and links (cell + 1). partial: first page + 1 with room, for each class; before, after:
    links of that list. blocks: free cells of the buddy system. chunk: AT, END, FIRST.
    log: page requests (kind, page, pages) and how many. totals: LIVE .. REFUSED.
    """

    address: np.ndarray
    granted: np.ndarray
    used: np.ndarray
    users: np.ndarray
    owner: np.ndarray
    spare: np.ndarray
    fresh: np.ndarray
    next: np.ndarray
    partial: np.ndarray
    before: np.ndarray
    after: np.ndarray
    blocks: np.ndarray
    chunk: np.ndarray
    log: np.ndarray
    totals: np.ndarray


def open_heap(objects: int, rows: int, pages: int) -> Heap:
    """An empty heap for so many objects, requests and pages."""
    by_page = ("used", "users", "owner", "spare", "fresh", "before", "after")
    return Heap(
        address=np.full(objects, -1, np.int64),
        granted=np.zeros(objects, np.int64),
        next=lazy_zeros(pages * CELLS, np.int16),
        partial=np.zeros(len(CLASSES), np.int64),
        blocks=lazy_zeros((TOP + 1) * WORDS, np.int64),
        chunk=np.array([0, 0, -1], np.int64),
        log=lazy_zeros(4 * (2 * rows + 1), np.int64).reshape(-1, 4),
        totals=np.zeros(4, np.int64),
        **{name: np.zeros(pages, np.int64) for name in by_page},
    )


@njit
def _note(heap, row, kind, page, pages):
    """Log a page request; the first entry of the log counts them."""
    heap.log[0, 0] += 1
    at = heap.log[0, 0]
    heap.log[at, 0], heap.log[at, 1], heap.log[at, 2], heap.log[at, 3] = row, kind, page, pages
    heap.totals[COMMITTED] += pages if kind == ALLOC else -pages


@njit
def _get_pages(heap, book, row, pages):
    """Take pages from the arena; -1 if it has not so many in one piece."""
    first = place(book, pages)
    if first >= 0:
        occupy(book, first, pages)
        heap.owner[first : first + pages] = first
        _note(heap, row, ALLOC, first, pages)
    return first


@njit
def _put_pages(heap, book, row, first, pages):
    release(book, first, pages)
    _note(heap, row, RELEASE, first, pages)


@njit
def _cut(heap, book, row, size):
    """Bump: the next bytes of the chunk, or the first of a new one."""
    chunk = heap.chunk
    if chunk[AT] + size > chunk[END]:
        first = _get_pages(heap, book, row, np.int64(CHUNK))
        if first < 0:
            return np.int64(-1)
        _drop_chunk(heap, book, row)
        chunk[FIRST], chunk[AT], chunk[END] = first, first * PAGE_SIZE, (first + CHUNK) * PAGE_SIZE
    address = chunk[AT]
    chunk[AT] += size
    heap.users[chunk[FIRST]] += 1
    return address


@njit
def _drop_chunk(heap, book, row):
    """Let go of the chunk that is full: its objects keep it, if there are any."""
    first = heap.chunk[FIRST]
    if first >= 0 and heap.users[first] == 0:
        _put_pages(heap, book, row, first, CHUNK)
    heap.chunk[FIRST] = -1


@njit
def _uncut(heap, book, row, address):
    first = heap.owner[address // PAGE_SIZE]
    heap.users[first] -= 1
    if heap.users[first]:
        return
    if first == heap.chunk[FIRST]:
        heap.chunk[AT] = first * PAGE_SIZE  # the chunk in use begins anew
    else:
        _put_pages(heap, book, row, first, CHUNK)


@njit
def _link(heap, at, page):
    """Make a page the first of its class with room."""
    head = heap.partial[at]
    heap.after[page], heap.before[page] = head, 0
    if head:
        heap.before[head - 1] = page + 1
    heap.partial[at] = page + 1


@njit
def _unlink(heap, at, page):
    before, after = heap.before[page], heap.after[page]
    if before:
        heap.after[before - 1] = after
    else:
        heap.partial[at] = after
    if after:
        heap.before[after - 1] = before


@njit
def _from_slab(heap, book, row, at, size):
    """Slab: the object freed last in the class's first page with room, else a fresh one."""
    page = heap.partial[at] - 1
    if page < 0:
        page = _get_pages(heap, book, row, np.int64(1))
        if page < 0:
            return np.int64(-1)
        heap.spare[page] = heap.fresh[page] = heap.users[page] = 0
        _link(heap, at, page)
    slot = heap.spare[page] - 1
    if slot >= 0:
        heap.spare[page] = heap.next[page * CELLS + slot]
    else:
        slot = heap.fresh[page]
        heap.fresh[page] += 1
    heap.users[page] += 1
    if heap.users[page] == PAGE_SIZE // size:
        _unlink(heap, at, page)
    return page * PAGE_SIZE + slot * size


@njit
def _to_slab(heap, book, row, at, size, address):
    page = address // PAGE_SIZE
    slot = (address - page * PAGE_SIZE) // size
    if heap.users[page] == PAGE_SIZE // size:
        _link(heap, at, page)
    heap.next[page * CELLS + slot] = heap.spare[page]
    heap.spare[page] = slot + 1
    heap.users[page] -= 1
    if heap.users[page] == 0:
        _unlink(heap, at, page)
        _put_pages(heap, book, row, page, np.int64(1))


@njit
def _halve(heap, book, row, cells):
    """Buddy: the lowest smallest free block that is large enough, halved until it fits."""
    cell = buddy.find(heap.blocks, cells, TOP)
    if cell < 0:
        page = _get_pages(heap, book, row, np.int64(1))
        if page < 0:
            return np.int64(-1)
        buddy.merge(heap.blocks, TOP, page, TOP)
        cell = page * CELLS
    buddy.take(heap.blocks, cell, cells)
    return cell * CELL


@njit
def _join(heap, book, row, address, cells):
    order, index = buddy.merge(
        heap.blocks, buddy.order_of(cells), (address // CELL) >> buddy.order_of(cells), TOP
    )
    if order == TOP:
        buddy.take(heap.blocks, index * CELLS, CELLS)
        _put_pages(heap, book, row, index, np.int64(1))


@njit
def _class_of(size):
    at = np.int64(0)
    while CLASSES[at] < size:
        at += 1
    return at


@njit(inline=True)
def _largest(kind):
    """Bytes of the largest object that shares pages."""
    return CHUNK * PAGE_SIZE if kind == BUMP else CLASSES[-1] if kind == SLAB else PAGE_SIZE


@njit
def _grant(kind, size):
    """How many bytes an object of `size` takes."""
    if size > _largest(kind):
        return (size + PAGE_SIZE - 1) // PAGE_SIZE * PAGE_SIZE
    if kind == BUMP:
        return (size + CELL - 1) // CELL * CELL
    if kind == SLAB:
        return CLASSES[_class_of(size)]
    return CELL << buddy.order_of((size + CELL - 1) // CELL)


@njit
def _use(heap, address, size):
    """Count the bytes of an object (negative: take them off) in every page that it lies in."""
    at, left = address, abs(size)
    while left > 0:
        page = at // PAGE_SIZE
        part = min(left, (page + 1) * PAGE_SIZE - at)
        heap.used[page] += part if size > 0 else -part
        at += part
        left -= part


@njit
def _create(heap, book, kind, row, name, size):
    granted = _grant(kind, size)
    if granted > _largest(kind):
        first = _get_pages(heap, book, row, granted // PAGE_SIZE)
        address = first * PAGE_SIZE if first >= 0 else np.int64(-1)
    elif kind == BUMP:
        address = _cut(heap, book, row, granted)
    elif kind == SLAB:
        address = _from_slab(heap, book, row, _class_of(size), granted)
    else:
        address = _halve(heap, book, row, granted // CELL)
    heap.address[name] = address
    if address < 0:
        heap.totals[REFUSED] += 1
        return
    heap.granted[name] = granted
    heap.totals[LIVE] += size
    heap.totals[GRANTED] += granted
    _use(heap, address, size)


@njit
def _destroy(heap, book, kind, row, name, size):
    address, granted = heap.address[name], heap.granted[name]
    if address < 0:
        return
    heap.totals[LIVE] -= size
    heap.totals[GRANTED] -= granted
    _use(heap, address, -size)
    if granted > _largest(kind):
        _put_pages(heap, book, row, address // PAGE_SIZE, granted // PAGE_SIZE)
    elif kind == BUMP:
        _uncut(heap, book, row, address)
    elif kind == SLAB:
        _to_slab(heap, book, row, _class_of(size), granted, address)
    else:
        _join(heap, book, row, address, granted // CELL)
    heap.address[name] = -1


@njit
def run(heap, book, kind, requests, placed, totals):
    """Carry out all requests; `placed` gets each object's address, `totals` each row's LIVE .. ."""
    for row in range(requests.kind.shape[0]):
        name = requests.block[row]
        if requests.kind[row] == ALLOC:
            _create(heap, book, kind, row, name, requests.count[row])
            placed[row] = heap.address[name]
        elif requests.kind[row] == RELEASE:
            placed[row] = heap.address[name]
            _destroy(heap, book, kind, row, name, requests.count[row])
        for column in range(totals.shape[1]):
            totals[row, column] = heap.totals[column]
