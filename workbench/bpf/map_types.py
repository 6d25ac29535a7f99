"""The map types that a program can name: a row for each, for maps, engines, verifier and text.

Sources: enum bpf_map_type and BPF_F_* in include/uapi/linux/bpf.h (numbers); the alloc_check
functions of kernel/bpf/{arraymap,hashtab,lpm_trie,queue_stack_maps,bloom_filter,ringbuf,
map_in_map}.c (flags); check_map_func_compatibility in kernel/bpf/verifier.c (functions).
"""

from enum import IntEnum
from functools import cache
from typing import NamedTuple


class MapType(IntEnum):
    """The numbers of map types in bpf(2)."""

    HASH, ARRAY, PROG_ARRAY, PERF_EVENT_ARRAY, PERCPU_HASH, PERCPU_ARRAY, STACK_TRACE = range(1, 8)
    LRU_HASH, LPM_TRIE, ARRAY_OF_MAPS, HASH_OF_MAPS = 9, 11, 12, 13
    QUEUE, STACK, RINGBUF, BLOOM_FILTER, ARENA = 22, 23, 27, 30, 33


class MapFlag(IntEnum):
    """Flags of BPF_MAP_CREATE, without their prefix BPF_F_."""

    NO_PREALLOC, NO_COMMON_LRU, NUMA_NODE, RDONLY, WRONLY, STACK_BUILD_ID, ZERO_SEED = (
        1 << n for n in range(7)
    )
    RDONLY_PROG, WRONLY_PROG, CLONE, MMAPABLE, PRESERVE_ELEMS, INNER_MAP = (
        1 << n for n in range(7, 13)
    )


class MapRow(NamedTuple):
    """One map type: its number, what it is made of, and the `flags` that Linux makes it with.

    `kind` is "array", "hash" or "trie" for maps with keys, "queue", "bloom" or "ring" for those
    without, "" for one that the workbench only knows by name. A `per_cpu` map has a value for
    each CPU; a `holder` has maps, programs or events, for user space file descriptors; a map with
    `lru` drops entries when it is full. `only` are the helpers (without bpf_) that work on it, None
    for those that need no certain type.
    """

    type: MapType
    kind: str = ""
    flags: int = 0
    per_cpu: bool = False
    holder: bool = False
    lru: bool = False
    only: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """The name of the type as declarations have it."""
        return self.type.name.lower()


_F, _T = MapFlag, MapType
_ACCESS = _F.RDONLY | _F.WRONLY | _F.RDONLY_PROG | _F.WRONLY_PROG
_USUAL = _F.NUMA_NODE | _ACCESS
_HASH = _F.NO_PREALLOC | _ACCESS | _F.ZERO_SEED
_QUEUE = ("map_peek_elem", "map_pop_elem", "map_push_elem")
_RING = ("ringbuf_output", "ringbuf_reserve", "ringbuf_query")
_LISTS = _F.NUMA_NODE | _F.RDONLY | _F.WRONLY  # of programs or events

_ROWS = (
    MapRow(_T.HASH, "hash", _HASH | _F.NUMA_NODE),
    MapRow(_T.ARRAY, "array", _USUAL | _F.MMAPABLE | _F.INNER_MAP),
    MapRow(_T.PROG_ARRAY, "array", _LISTS, holder=True, only=("tail_call",)),
    MapRow(_T.PERF_EVENT_ARRAY, "array", _LISTS | _F.PRESERVE_ELEMS, holder=True,
           only=("perf_event_output",)),
    MapRow(_T.PERCPU_HASH, "hash", _HASH, per_cpu=True),
    MapRow(_T.PERCPU_ARRAY, "array", _ACCESS, per_cpu=True),
    MapRow(_T.STACK_TRACE, only=()),
    MapRow(_T.LRU_HASH, "hash", _HASH | _F.NUMA_NODE | _F.NO_COMMON_LRU, lru=True),
    MapRow(_T.LPM_TRIE, "trie", _F.NO_PREALLOC | _USUAL),
    MapRow(_T.ARRAY_OF_MAPS, "array", _USUAL, holder=True, only=("map_lookup_elem",)),
    MapRow(_T.HASH_OF_MAPS, "hash", _HASH | _F.NUMA_NODE, holder=True, only=("map_lookup_elem",)),
    MapRow(_T.QUEUE, "queue", _USUAL, only=_QUEUE),
    MapRow(_T.STACK, "queue", _USUAL, only=_QUEUE),
    MapRow(_T.RINGBUF, "ring", _F.NUMA_NODE, only=_RING),
    MapRow(_T.BLOOM_FILTER, "bloom", _USUAL | _F.ZERO_SEED,
           only=("map_peek_elem", "map_push_elem")),
    MapRow(_T.ARENA),
)  # fmt: skip

MAPS: dict[str, MapRow] = {row.name: row for row in _ROWS}
MAP_TYPES: dict[str, int] = {row.name: row.type.value for row in _ROWS}
"""The numbers by name."""

ARRAYS = tuple(row.name for row in _ROWS if row.kind == "array")
HASHES = tuple(row.name for row in _ROWS if row.kind == "hash")
QUEUES = tuple(row.name for row in _ROWS if row.kind == "queue")
KEYLESS = tuple(row.name for row in _ROWS if row.kind in ("queue", "bloom", "ring"))
PER_CPU = tuple(row.name for row in _ROWS if row.per_cpu)
LRU = tuple(row.name for row in _ROWS if row.lru)
HOLDERS = tuple(row.name for row in _ROWS if row.holder)
ITERABLE = tuple(name for name in ARRAYS + HASHES if name not in HOLDERS)
"""Maps that bpf_for_each_map_elem goes through."""


@cache
def types_for(function: str) -> frozenset[str]:
    """The names of the map types that a function (without bpf_) works on.

    Source: check_map_func_compatibility in kernel/bpf/verifier.c.
    """
    fitting = {row.name for row in _ROWS if row.only is None or function in row.only}
    if function in _OWN:
        fitting &= {row.name for row in _ROWS if function in (row.only or ())}
    elif function == "map_lookup_percpu_elem":
        fitting &= set(PER_CPU)
    elif function == "for_each_map_elem":
        fitting &= set(ITERABLE)
    return frozenset(fitting)


_OWN = {function for row in _ROWS for function in row.only or ()} - {"map_lookup_elem"}
"""Functions that work on no map but those of certain types."""
