"""Structures that programs build in an arena, as user space finds them: walked through the stored
pointers, with every invariant checked, beside a model in Python that does the same operations.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from workbench.corpus import user_address
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.arena import Arena
    from workbench.engines.kernel import KernelArena
    from workbench.objects import Object

    AnyArena = Arena | KernelArena

LEVELS = 12
_NEXT = 24  # offset of next[0] in a node of skiplist.c
_MASK = (1 << 64) - 1
RING_BYTES = 16 * 4096
CHECK = 0x5BD1E995


class Operations(NamedTuple):
    """What a run of skiplist.c's `operate` did."""

    inserted: int
    deleted: int
    found: int


class SkipListModel:
    """The same random operations on a dict; `run` goes on where the last one stopped."""

    def __init__(self, seed: int) -> None:
        self.content: dict[int, int] = {}
        self._state = seed

    def run(self, count: int, keys: int) -> Operations:
        """Do `count` operations on keys below `keys`."""
        content = self.content
        inserted = deleted = found = 0
        for _ in range(count):
            number = self._draw()
            key, what = (number >> 8) % keys, number & 3
            if what < 2:
                if key not in content:
                    inserted += 1
                    self._draw()  # the height of the new node
                content[key] = number
            elif what == 2:
                deleted += content.pop(key, None) is not None
            else:
                found += key in content
        return Operations(inserted, deleted, found)

    def _draw(self) -> int:
        x = self._state
        x ^= x << 13 & _MASK
        x ^= x >> 7
        x ^= x << 17 & _MASK
        self._state = x
        return x


def walk_skip_list(code: "Object", arena: "AnyArena") -> dict[int, int]:
    """Keys and values of skiplist.c's list, in list order, every invariant checked.

    On each level keys ascend; a level's nodes are those of the level below that are high enough;
    `length` counts level 0. Raises WorkbenchError for a list that breaks one.
    """
    load = arena.user.load
    start = arena.user_start + code.variables["first"].offset
    below = list(_level(arena, start, 0))
    content = {load(node, "u64"): load(node + 8, "u64") for node in below}
    length = load(arena.user_start + code.variables["length"].offset, "u64")
    if len(content) != length or len(below) != length:
        raise WorkbenchError(f"length says {length}, the list has {len(below)} nodes")
    for level in range(1, LEVELS):
        nodes = list(_level(arena, start, level))
        tall = [node for node in below if load(node + 16, "u64") > level]
        if nodes != tall:
            raise WorkbenchError(f"level {level} has {len(nodes)} nodes, {len(tall)} are so high")
        below = nodes
    return content


def _level(arena: "AnyArena", node: int, level: int) -> Iterator[int]:
    """The nodes of one level; WorkbenchError where keys do not ascend."""
    last = -1
    while node := user_address(arena, arena.user.load(node + _NEXT + 8 * level, "u64")):
        key = arena.user.load(node, "u64")
        if key <= last:
            raise WorkbenchError(f"level {level}: key {key} comes after {last}")
        yield node
        last = key


class Record(NamedTuple):
    """A record of ring.c: its number, counted from 1, and its payload."""

    number: int
    payload: int


def read_ring(code: "Object", arena: "AnyArena") -> Iterator[Record]:
    """Take the records that wait in ring.c's ring, oldest first; each is free once it is taken.

    Raises WorkbenchError for a record that is not whole.
    """
    user, at = arena.user, {n: arena.user_start + v.offset for n, v in code.variables.items()}
    ring = user_address(arena, user.load(at["ring"], "u64"))
    consumed = user.load(at["consumed"], "u64")
    while consumed < user.load(at["produced"], "u64"):
        place = ring + consumed % RING_BYTES
        number, payload, check = (user.load(place + 8 * n, "u64") for n in range(3))
        if number ^ payload ^ CHECK != check:
            raise WorkbenchError(f"record {number} at {place:#x} is torn")
        yield Record(number, payload)
        consumed += 32
        user.store(at["consumed"], "u64", consumed)
