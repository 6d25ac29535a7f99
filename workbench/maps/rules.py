"""Which maps Linux makes: the refusals of BPF_MAP_CREATE, type by type.

Source: the alloc_check functions of kernel/bpf/{arraymap,hashtab,lpm_trie,queue_stack_maps,
bloom_filter,ringbuf,map_in_map}.c, and a run of them all on Linux 6.18.
"""

import mmap

from workbench.bpf.declarations import MAP_TYPES, MapDefinition

HASHES = ("hash", "percpu_hash", "lru_hash", "hash_of_maps")
ARRAYS = ("array", "percpu_array", "array_of_maps", "prog_array", "perf_event_array")
PER_CPU = ("percpu_array", "percpu_hash")
HOLDERS = ("array_of_maps", "hash_of_maps", "prog_array", "perf_event_array")
"""Maps whose values are file descriptors for user space."""
QUEUES = ("queue", "stack")
KEYLESS = (*QUEUES, "bloom_filter", "ringbuf")

_NO_PREALLOC, _NO_COMMON_LRU, _NUMA, _RDONLY, _WRONLY, _STACK_BUILD_ID = (1 << n for n in range(6))
_ZERO_SEED, _RDONLY_PROG, _WRONLY_PROG, _CLONE, _MMAPABLE, _PRESERVE, _INNER = (
    1 << n for n in range(6, 13)
)
_ACCESS = _RDONLY | _WRONLY | _RDONLY_PROG | _WRONLY_PROG
_ALLOWED = {
    "array": _NUMA | _ACCESS | _MMAPABLE | _INNER,
    "percpu_array": _ACCESS,
    "array_of_maps": _NUMA | _ACCESS,
    "prog_array": _NUMA | _RDONLY | _WRONLY,
    "perf_event_array": _NUMA | _RDONLY | _WRONLY | _PRESERVE,
    "hash": _NO_PREALLOC | _NUMA | _ACCESS | _ZERO_SEED,
    "percpu_hash": _NO_PREALLOC | _ACCESS | _ZERO_SEED,
    "lru_hash": _NO_PREALLOC | _NO_COMMON_LRU | _NUMA | _ACCESS | _ZERO_SEED,
    "hash_of_maps": _NO_PREALLOC | _NUMA | _ACCESS | _ZERO_SEED,
    "lpm_trie": _NO_PREALLOC | _NUMA | _ACCESS,
    "queue": _NUMA | _ACCESS,
    "stack": _NUMA | _ACCESS,
    "bloom_filter": _NUMA | _ZERO_SEED | _ACCESS,
    "ringbuf": _NUMA,
}
_PERCPU_LIMIT = 32768  # PCPU_MIN_UNIT_SIZE
_KMALLOC_LIMIT = 1 << 22
_TRIE_KEYS = range(5, 4 + 256 + 1)


def creation_refusal(definition: MapDefinition) -> str:
    """The errno's name with which Linux refuses to make this map; "" if it makes it."""
    kind, flags, extra = definition.type, definition.map_flags, definition.map_extra
    if kind not in MAP_TYPES or kind not in _ALLOWED:
        return "EINVAL"
    both = _RDONLY_PROG | _WRONLY_PROG
    if flags & ~_ALLOWED[kind] or flags & both == both or flags & _ACCESS & 24 == 24:
        return "EINVAL"
    if extra and (kind != "bloom_filter" or extra & ~0xF):
        return "EINVAL"
    if kind == "lru_hash" and flags & _NO_PREALLOC:
        return "ENOTSUPP"
    if kind in ("array_of_maps", "hash_of_maps") and definition.inner is None:
        return "EBADF"
    return _sizes(definition)


def _sizes(definition: MapDefinition) -> str:
    kind, key, value = definition.type, definition.key_size, definition.value_size
    if kind == "ringbuf":
        size = definition.max_entries
        bad = key or value or size % mmap.PAGESIZE or size & (size - 1) or not size
        return "EINVAL" if bad else ""
    if not definition.max_entries or not value or (kind in ARRAYS and key != 4):
        return "EINVAL"
    if (kind in KEYLESS and key) or (kind in HASHES and not key):
        return "EINVAL"
    if kind in HOLDERS and value != 4:
        return "EINVAL"
    if kind == "lpm_trie" and not (key in _TRIE_KEYS and definition.map_flags & _NO_PREALLOC):
        return "EINVAL"
    if kind in PER_CPU and -(-value // 8) * 8 > _PERCPU_LIMIT:
        return "E2BIG"
    if kind in HASHES and (definition.max_entries > 1 << 31 or key > 512 + 1 << 16):
        return "E2BIG"
    return "E2BIG" if kind not in ARRAYS and key + value > _KMALLOC_LIMIT else ""
