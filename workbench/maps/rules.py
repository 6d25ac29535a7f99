"""Which maps Linux makes: the refusals of BPF_MAP_CREATE, type by type.

Source: the alloc_check functions of kernel/bpf/{arraymap,hashtab,lpm_trie,queue_stack_maps,
bloom_filter,ringbuf,map_in_map}.c, and a run of them all on Linux 6.18.
"""

from workbench.arena.rules import PAGE_SIZE
from workbench.bpf.declarations import MapDefinition
from workbench.bpf.map_types import ARRAYS, HASHES, HOLDERS, KEYLESS, LRU, MAPS, PER_CPU, MapFlag

_CONTRARY = (MapFlag.RDONLY | MapFlag.WRONLY, MapFlag.RDONLY_PROG | MapFlag.WRONLY_PROG)
_PERCPU_LIMIT = 32768  # PCPU_MIN_UNIT_SIZE
_KMALLOC_LIMIT = 1 << 22  # KMALLOC_MAX_SIZE: an entry is allocated in one piece
_MOST_BUCKETS = 1 << 31  # the greatest power of 2 in the 32 bits of a hash table's n_buckets
_TRIE_KEYS = range(5, 4 + 256 + 1)  # LPM_KEY_SIZE_MIN to LPM_KEY_SIZE_MAX


def creation_refusal(definition: MapDefinition) -> str:
    """The errno's name with which Linux refuses to make this map; "" if it makes it."""
    kind, flags, extra = definition.type, definition.map_flags, definition.map_extra
    if kind not in MAPS or not MAPS[kind].kind:
        return "EINVAL"
    if flags & ~MAPS[kind].flags or any(flags & both == both for both in _CONTRARY):
        return "EINVAL"
    if extra and (kind != "bloom_filter" or extra & ~0xF):
        return "EINVAL"
    if kind in LRU and flags & MapFlag.NO_PREALLOC:
        return "ENOTSUPP"
    if kind in ("array_of_maps", "hash_of_maps") and definition.inner is None:
        return "EBADF"
    return _sizes(definition)


def _sizes(definition: MapDefinition) -> str:
    kind, key, value = definition.type, definition.key_size, definition.value_size
    plain = definition.map_flags & MapFlag.NO_PREALLOC
    if kind == "ringbuf":
        size = definition.max_entries
        bad = key or value or size % PAGE_SIZE or size & (size - 1) or not size
        return "EINVAL" if bad else ""
    if not definition.max_entries or not value or (kind in ARRAYS and key != 4):
        return "EINVAL"
    if (kind in KEYLESS and key) or (kind in HASHES and not key):
        return "EINVAL"
    if kind in HOLDERS and value != 4:
        return "EINVAL"
    if kind == "lpm_trie" and not (key in _TRIE_KEYS and plain):
        return "EINVAL"
    if kind in PER_CPU and -(-value // 8) * 8 > _PERCPU_LIMIT:
        return "E2BIG"
    if kind in HASHES and definition.max_entries > _MOST_BUCKETS:
        return "E2BIG"
    return "E2BIG" if kind not in ARRAYS and key + value > _KMALLOC_LIMIT else ""
