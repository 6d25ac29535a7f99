"""Compiled user space following the stored pointers of the studies' structures, checks included.

Every walk fills `keys` and `values` and returns (status, count): a status of the list below, and
how many it met. No pointer is followed that leads out of the arena.
"""

from typing import Any, NamedTuple

import numpy as np

from workbench.arena.rules import GUARD, PAGE_SIZE, WINDOW, ArenaFlags
from workbench.compiled.njit import njit
from workbench.compiled.raw import LOW_32, load64, store64

WHOLE, WILD, UNSORTED, ENDLESS, BACK_LINK, BUCKET, COLORS, PARENT, LEVEL, HEAD, TORN = range(11)
BROKEN = {
    WILD: "a pointer leads out of the arena",
    UNSORTED: "the keys do not ascend",
    ENDLESS: "there are more nodes than `length` says",
    BACK_LINK: "a link does not know the place that points to it",
    BUCKET: "a key lies in the wrong bucket",
    COLORS: "a red node has a red child, or paths differ in black nodes",
    PARENT: "a child does not know its parent",
    LEVEL: "a level has other nodes than those that are so high",
    HEAD: "a page's head does not count its cells",
    TORN: "a record is torn",
}
_ZERO, _ONE, _WORD = np.uint64(0), np.uint64(1), np.uint64(8)
_PAGE = np.uint64(PAGE_SIZE)
_DEPTH = 128  # twice log2 of the nodes bounds a red-black tree's height; keys have 64 bits


class View(NamedTuple):
    """Where stored pointers lead: `host` is the host address of the arena's 4 GiB block.

    It equals `block`, the block's user address, in a real arena: there a pointer is followed as it
    is. `narrow` says that only the low half of a pointer means something (NO_USER_CONV).
    """

    host: np.uint64
    block: np.uint64
    first: np.uint64
    end: np.uint64
    narrow: bool


def view_of(arena: Any) -> View:
    """An Arena or KernelArena for compiled user space; it must outlive the view."""
    low, block = arena.user_start % WINDOW, arena.user_start // WINDOW * WINDOW
    state = getattr(arena, "state", None)
    host = state.window.ctypes.data + GUARD if state is not None else block
    end = low + arena.page_count * PAGE_SIZE
    narrow = ArenaFlags.NO_USER_CONV in arena.flags
    return View(np.uint64(host), np.uint64(block), np.uint64(low), np.uint64(end), narrow)


@njit(inline=True)
def host_of(view, pointer):
    """The host address that a stored pointer means; 0 for NULL and where it leads out."""
    low = pointer & LOW_32
    if not view.narrow and pointer - low != view.block:
        return _ZERO
    if low < view.first or low + np.uint64(64) > view.end or low == _ZERO:
        return _ZERO
    return view.host + low


@njit
def walk_list(view, head, keys, values):
    """A sorted list of nodes (next, key, value) from the pointer at user address `head`."""
    place, count = host_of(view, head), 0
    while True:
        pointer = load64(place)
        if pointer == _ZERO:
            return WHOLE, count
        if count == len(keys):
            return ENDLESS, count
        node = host_of(view, pointer)
        if node == _ZERO:
            return WILD, count
        keys[count], values[count] = load64(node + _WORD), load64(node + np.uint64(16))
        if count and keys[count] <= keys[count - 1]:
            return UNSORTED, count
        count, place = count + 1, node


@njit
def walk_hash(view, table, bits, keys, values):
    """arena.h's hash table at user address `table`: items (next, place, key, value)."""
    buckets = load64(host_of(view, table))
    count, shift = 0, np.uint64(64 - bits)
    if buckets == _ZERO:
        return WHOLE, 0
    for number in range(1 << bits):
        place = buckets + _WORD * np.uint64(number)
        while True:
            if host_of(view, place) == _ZERO:
                return WILD, count
            pointer = load64(host_of(view, place))
            if pointer == _ZERO:
                break
            if count == len(keys):
                return ENDLESS, count
            item = host_of(view, pointer)
            if item == _ZERO:
                return WILD, count
            if (load64(item + _WORD) ^ place) & LOW_32:
                return BACK_LINK, count
            key = load64(item + np.uint64(16))
            if key * np.uint64(0x9E3779B97F4A7C15) >> shift != np.uint64(number):
                return BUCKET, count
            keys[count], values[count] = key, load64(item + np.uint64(24))
            count, place = count + 1, pointer
    return WHOLE, count


@njit(allocates=True)
def walk_tree(view, root, keys, values):
    """The red-black tree whose root's pointer is at `root`: child[2], parent, key, value, color."""
    stack = np.zeros(_DEPTH, np.uint64)
    blacks = np.zeros(_DEPTH, np.int64)
    pointer, parent, depth, count, black, expected = load64(host_of(view, root)), _ZERO, 0, 0, 0, -1
    parent_red = True  # so that the root must be black
    while True:
        while pointer != _ZERO:
            node = host_of(view, pointer)
            if node == _ZERO or depth == _DEPTH:
                return WILD, count
            if (load64(node + np.uint64(16)) ^ parent) & LOW_32:
                return PARENT, count
            red = load64(node + np.uint64(40)) == _ONE
            if red and parent_red:
                return COLORS, count
            black += not red
            stack[depth], blacks[depth] = pointer, black
            depth, parent, parent_red, pointer = depth + 1, pointer, red, load64(node)
        if expected >= 0 and black != expected:
            return COLORS, count
        expected = black
        if depth == 0:
            return WHOLE, count
        depth -= 1
        parent, black = stack[depth], blacks[depth]
        node = host_of(view, parent)
        if count == len(keys):
            return ENDLESS, count
        keys[count], values[count] = load64(node + np.uint64(24)), load64(node + np.uint64(32))
        if count and keys[count] <= keys[count - 1]:
            return UNSORTED, count
        count += 1
        parent_red = load64(node + np.uint64(40)) == _ONE
        pointer = load64(node + _WORD)


@njit(allocates=True)
def walk_skip_list(view, first, levels, keys, values):
    """Nodes (key, value, height, next[levels]) from the node at user address `first`."""
    nodes = np.zeros(len(keys), np.uint64)
    count = 0
    for level in range(levels):
        link = np.uint64(24 + 8 * level)
        pointer, met = load64(host_of(view, first) + link), 0
        while pointer != _ZERO:
            node = host_of(view, pointer)
            if node == _ZERO:
                return WILD, count
            if level == 0:
                if count == len(keys):
                    return ENDLESS, count
                nodes[count] = node
                keys[count], values[count] = load64(node), load64(node + _WORD)
                if count and keys[count] <= keys[count - 1]:
                    return UNSORTED, count
                count += 1
            else:
                while met < count and load64(nodes[met] + np.uint64(16)) <= np.uint64(level):
                    met += 1
                if met == count or nodes[met] != node:
                    return LEVEL, count
                met += 1
            pointer = load64(node + link)
        while level and met < count:
            if load64(nodes[met] + np.uint64(16)) > np.uint64(level):
                return LEVEL, count
            met += 1
    return WHOLE, count


@njit
def walk_sparse(view, bitmap, first_page, per_page, keys, values):
    """The used cells of the sparse array, page by page of the bit map; keys are cell numbers."""
    count, words = 0, load64(host_of(view, bitmap))
    if words == _ZERO:
        return WHOLE, 0
    for word in range(1 << 14):
        bits, number = load64(host_of(view, words) + _WORD * np.uint64(word)), word * 64
        while bits != _ZERO:
            if bits & _ONE:
                page, used = view.host + np.uint64(number) * _PAGE, count
                for n in range(per_page):
                    cell = page + np.uint64(16 * (n + 1))
                    if load64(cell + _WORD) == _ZERO:
                        continue
                    if count == len(keys):
                        return ENDLESS, count
                    keys[count] = np.uint64((number - first_page) * per_page + n)
                    values[count] = load64(cell)
                    count += 1
                if load64(page + _WORD) != np.uint64(count - used) or count == used:
                    return HEAD, count
            bits >>= _ONE
            number += 1
    return WHOLE, count


@njit
def take_records(view, ring, size, produced, consumed, keys, values):
    """Take up to len(keys) records (number, payload, check) that wait; `consumed` moves along."""
    place, count = host_of(view, load64(host_of(view, ring))), 0
    done = load64(host_of(view, consumed))
    ready = load64(host_of(view, produced))
    while done < ready and count < len(keys):
        record = place + done % np.uint64(size)
        keys[count], values[count] = load64(record), load64(record + _WORD)
        if keys[count] ^ values[count] ^ np.uint64(0x5BD1E995) != load64(record + np.uint64(16)):
            return TORN, count
        count += 1
        done += np.uint64(32)
    store64(host_of(view, consumed), done)
    return WHOLE, count
