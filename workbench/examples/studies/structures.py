"""Structures that programs build in an arena, as user space finds them: walked natively through the
stored pointers, with every invariant checked, beside a model in Python that does the same.

    code = structures.load("rb_tree")
    with code.arena() as arena, wb.Jit(code.program("operate"), arena) as machine:
        model = structures.Model(seed=1)
        assert structures.operate(machine, 10_000, keys=700, seed=1) == model.run(10_000, 700)
        assert structures.content("rb_tree", code, arena) == model.content
"""

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.arena.either import AnyArena
from workbench.arena.rules import PAGE_SIZE
from workbench.errors import WorkbenchError
from workbench.examples import programs
from workbench.examples.studies import walks
from workbench.objects import Object, load_object

if TYPE_CHECKING:
    from workbench.engines.base import Engine

MAPS = {
    "sorted_list": "a sorted linked list",
    "hash_table": "a hash table with chains",
    "rb_tree": "a red-black tree",
    "skiplist": "a skip list",
    "sparse_array": "a sparse array over 4 GiB",
}
"""The structures that map keys to values, all under the same random operations."""
BASE = 0x7E0_0000_0000
"""A user address whose low half is 0, as an arena of 4 GiB wants it."""
RING_BYTES = 16 * PAGE_SIZE  # ring.c's
_LEVELS = 12  # skiplist.c's
# sparse_array.c's: where cells begin, how many a page has, how many in all, and what scatters keys
_FIRST_PAGE, _PER_PAGE, _CELLS, _SCATTER = 64, 255, 267_370_559, 2_654_435_761
_OPERATIONS = struct.Struct("<7Q")
_MASK = (1 << 64) - 1


class Operations(NamedTuple):
    """What a run of `operate` did."""

    inserted: int
    deleted: int
    found: int


class Digest(NamedTuple):
    """What a program's `iterate` met: how many keys, their sum, the sum of their values."""

    met: int
    keys: int
    values: int


def load(name: str) -> Object:
    """The object of a study, by the name of its C file."""
    return load_object(programs.directory() / "studies" / f"{name}.o")


def make_arena(code: Object, make: "Callable[..., Any] | None" = None, flags: int = 0) -> Any:
    """The arena that a structure's object declares, at an address that fits."""
    large = code.arena_map is not None and code.arena_map.max_entries == 1 << 20
    return code.arena(make, BASE if large else None, flags=flags)


class Model:
    """A dict under the random operations that a program's `operate` does to its structure.

    `run` goes on where the last one stopped, as the program does with its seed.

    `heights` is for the skip list, which draws a height for each new node.
    """

    def __init__(self, seed: int, heights: bool = False) -> None:
        self.content: dict[int, int] = {}
        self._state, self._heights = seed, heights

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
                    if self._heights:
                        self._draw()
                content[key] = number
            elif what == 2:
                deleted += content.pop(key, None) is not None
            else:
                found += key in content
        return Operations(inserted, deleted, found)

    def digest(self, name: str = "") -> Digest:
        """What `iterate` must meet; the sparse array's keys are numbers of cells."""
        cell = name == "sparse_array"
        keys = sum(key * _SCATTER % _CELLS if cell else key for key in self.content)
        return Digest(len(self.content), keys & _MASK, sum(self.content.values()) & _MASK)

    def _draw(self) -> int:
        x = self._state
        x ^= x << 13 & _MASK
        x ^= x >> 7
        x ^= x << 17 & _MASK
        self._state = x
        return x


def operate(machine: "Engine", count: int, keys: int, seed: int = 0) -> Operations:
    """Run the program `operate`: random operations; without a seed it goes on from the last run.

    Raises WorkbenchError if the arena had no memory for one of them.
    """
    ctx = machine.run(_OPERATIONS.pack(count, seed, keys, 0, 0, 0, 0)).ctx
    *done, refused = _OPERATIONS.unpack(ctx)[3:]
    if refused:
        raise WorkbenchError(f"{refused} of {count} operations found no memory")
    return Operations(*done)


def iterate(machine: "Engine") -> Digest:
    """Run the program `iterate`: the structure from one end to the other, by the program."""
    return Digest(*struct.unpack("<3Q", machine.run(bytes(24)).ctx))


def content(name: str, code: Object, arena: AnyArena) -> dict[int, int]:
    """Keys and values as compiled user space finds them, in the structure's order.

    Follows the stored pointers in the arena's memory. Raises WorkbenchError for a structure that
    breaks an invariant, with its name.
    """
    length = int(str(code.globals_in(arena)["length"]))
    keys, values = np.zeros(length, np.uint64), np.zeros(length, np.uint64)
    status, count = _WALKS[name](code, arena, keys, values)
    if status != walks.WHOLE:
        raise WorkbenchError(f"{name}: {walks.BROKEN[status]}, after {count} of {length} keys")
    if count != length:
        raise WorkbenchError(f"{name}: length says {length}, the walk met {count} keys")
    if name == "sparse_array":
        inverse = np.uint64(pow(_SCATTER, -1, _CELLS))
        keys = keys * inverse % np.uint64(_CELLS)
    return dict(zip(keys.tolist(), values.tolist(), strict=True))


def place(code: Object, arena: AnyArena, variable: str) -> np.uint64:
    """The user address of a variable of an object, in one of its arenas."""
    return np.uint64(arena.user_start + code.arena_start + code.variables[variable].offset)


Walk = Callable[[Object, AnyArena, np.ndarray, np.ndarray], tuple[int, int]]


def _walk(function: Callable[..., tuple[int, int]], variable: str, *more: int) -> Walk:
    def walk(
        code: Object, arena: AnyArena, keys: np.ndarray, values: np.ndarray
    ) -> tuple[int, int]:
        where = place(code, arena, variable)
        return function(walks.view_of(arena), where, *more, keys, values)

    return walk


_WALKS: dict[str, Walk] = {
    "sorted_list": _walk(walks.walk_list, "head"),
    "hash_table": _walk(walks.walk_hash, "table", 8),
    "rb_tree": _walk(walks.walk_tree, "root"),
    "skiplist": _walk(walks.walk_skip_list, "first", _LEVELS),
    "sparse_array": _walk(walks.walk_sparse, "pages", _FIRST_PAGE, _PER_PAGE),
}


class Record(NamedTuple):
    """A record of ring.c: its number, counted from 1, and its payload."""

    number: int
    payload: int


def read_ring(code: Object, arena: AnyArena, most: int = 1 << 11) -> Iterator[Record]:
    """Take up to `most` records that wait in ring.c's ring, oldest first, natively.

    Raises WorkbenchError for a record that is not whole.
    """
    numbers, payloads = np.zeros(most, np.uint64), np.zeros(most, np.uint64)
    ring, consumed = place(code, arena, "ring"), place(code, arena, "consumed")
    produced = place(code, arena, "produced")
    view = walks.view_of(arena)
    status, count = walks.take_records(
        view, ring, RING_BYTES, produced, consumed, numbers, payloads
    )
    if status != walks.WHOLE:
        raise WorkbenchError(f"record {numbers[count]} of the ring is torn")
    pairs = zip(numbers[:count].tolist(), payloads[:count].tolist(), strict=True)
    return (Record(*pair) for pair in pairs)
