"""Emulated maps against the running kernel's: random calls, the same answers and contents."""

import random
import struct
from collections.abc import Callable
from functools import partial

import pytest
from support.kernel_support import KERNEL

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.maps import Map, MapDefinition
from workbench.maps.rules import creation_refusal

ZERO_SEED, NO_PREALLOC, RDONLY = 1 << 6, 1, 1 << 3


def in_kernel(test: Callable[..., None]) -> Callable[..., None]:
    """Skip where bpf(2) is not allowed."""
    for mark in KERNEL:
        test = mark(test)
    return test


FLAGS = (0, 0, 0, 1, 2, 3, 4, 8)

TABLES = [
    MapDefinition("array", "array", 4, 12, 5),
    MapDefinition("percpu_array", "percpu_array", 4, 5, 3),
    MapDefinition("hash", "hash", 4, 8, 6, ZERO_SEED),
    MapDefinition("hash_13", "hash", 13, 3, 6, ZERO_SEED | NO_PREALLOC),
    MapDefinition("hash_24", "hash", 24, 1, 20, ZERO_SEED),
    MapDefinition("percpu_hash", "percpu_hash", 3, 4, 5, ZERO_SEED),
    MapDefinition("trie", "lpm_trie", 8, 8, 6, NO_PREALLOC),
    MapDefinition("trie_long", "lpm_trie", 13, 2, 12, NO_PREALLOC),
    MapDefinition("locked", "array", 4, 16, 3, lock=4),
    MapDefinition("locked_hash", "hash", 4, 16, 3, ZERO_SEED, lock=8),
    MapDefinition("read_only", "hash", 4, 4, 3, RDONLY),
]
QUEUES = [
    MapDefinition("queue", "queue", 0, 3, 4),
    MapDefinition("stack", "stack", 0, 8, 4),
    MapDefinition("bloom", "bloom_filter", 0, 4, 20, ZERO_SEED),
    MapDefinition("bloom_3", "bloom_filter", 0, 7, 100, ZERO_SEED, 3),
]


def outcome_of(call: Callable[[], object]) -> object:
    """The answer, or the errno's name."""
    try:
        return call()
    except KeyError:
        return "nothing"
    except WorkbenchError as error:
        return getattr(error, "errno_name", str(error))


def draw_key(rng: random.Random, definition: MapDefinition) -> bytes:
    size = definition.key_size
    if definition.type == "lpm_trie":
        bits = rng.choice((0, 1, 7, 8, 9, 16, 8 * (size - 4), 8 * (size - 4) + 1))
        content = bytes(rng.choice((0, 0x80, 0xFF, 10)) for _ in range(size - 4))
        return struct.pack("<I", bits) + content
    return rng.randrange(2 * definition.max_entries).to_bytes(4, "little").ljust(size, b"k")[:size]


def table_call(rng: random.Random, map: Map, key: bytes, value: bytes, call: str) -> object:
    store = map.store
    if call == "update":
        return store.update(key, value, rng.choice(FLAGS))
    if call == "delete":
        return store.delete(key)
    return store.lookup(key) if call == "lookup" else store.next_key(key)


@in_kernel
@pytest.mark.parametrize("definition", TABLES, ids=lambda d: d.name)
def test_tables(definition: MapDefinition, scale: Callable[[int, int], int]) -> None:
    """Values, errno, and the order of keys, after every call."""
    with wb.kernel_map(definition) as theirs:
        ours, rng = wb.Map(definition), random.Random(1)
        for step in range(scale(400, 20_000)):
            call = rng.choice(("update", "update", "update", "delete", "lookup", "next"))
            key = draw_key(rng, definition)
            value = rng.randbytes(ours.store.value_bytes)
            draws = rng.getrandbits(32)
            found = [
                outcome_of(partial(table_call, random.Random(draws), m, key, value, call))
                for m in (ours, theirs)
            ]
            assert found[0] == found[1] or padded(definition, found), (step, call, key, found)
            assert list(ours.contents()) == list(theirs.contents()), (step, call, key)


def padded(definition: MapDefinition, found: list[object]) -> bool:
    """Whether two per-CPU values are equal but for what is between them."""
    if not definition.type.startswith("percpu") or not isinstance(found[0], bytes):
        return False
    width, size = -(-definition.value_size // 8) * 8, definition.value_size
    parts = [[v[at : at + size] for at in range(0, len(v), width)] for v in found]
    return parts[0] == parts[1]


def queue_call(rng: random.Random, map: Map, value: bytes, call: str) -> object:
    if map.definition.type == "bloom_filter":
        return map.store.push(value, rng.choice((0, 0, 1, 2))) if call == "push" else (
            map.store.may_contain(value)
        )  # fmt: skip
    return map.store.push(value, rng.choice(FLAGS)) if call == "push" else (
        map.store.peek(call == "pop")
    )  # fmt: skip


@in_kernel
@pytest.mark.parametrize("definition", QUEUES, ids=lambda d: d.name)
def test_queues(definition: MapDefinition, scale: Callable[[int, int], int]) -> None:
    with wb.kernel_map(definition) as theirs:
        ours, rng = wb.Map(definition), random.Random(2)
        for step in range(scale(400, 20_000)):
            call = rng.choice(("push", "push", "pop", "peek"))
            value, draws = rng.randrange(60).to_bytes(definition.value_size, "little"), step
            found = [
                outcome_of(partial(queue_call, random.Random(draws), m, value, call))
                for m in (ours, theirs)
            ]
            assert found[0] == found[1], (step, call, found)


SIZES = (0, 1, 4, 5, 8, 260, 261, 40_000)
TOKEN_AND_NODE = 1 << 16 | 1 << 2  # flags that speak of further attributes


@in_kernel
def test_creation(scale: Callable[[int, int], int]) -> None:
    """Random sizes and flags: the same errno."""
    rng = random.Random(3)
    kinds = sorted({d.type for d in TABLES + QUEUES} | {"lru_hash", "ringbuf"})
    for _ in range(scale(1500, 30_000)):
        kind, bit = rng.choice(kinds), rng.randrange(20)
        definition = MapDefinition(
            "made", kind, rng.choice(SIZES), rng.choice(SIZES),
            rng.choice((0, 1, 3, 4096, 8192, 12288)),
            rng.choice((0, 0, 1, 1 << bit, 1 | 1 << bit)) & ~TOKEN_AND_NODE,
            rng.choice((0, 0, 0, 1, 16)),
        )  # fmt: skip
        refused = creation_refusal(definition)
        theirs = outcome_of(partial(make_and_close, definition))
        assert (refused or None) == theirs, definition


def make_and_close(definition: MapDefinition) -> None:
    wb.kernel_map(definition).close()


def test_lru_drops_what_was_not_used() -> None:
    """A key that is looked up between insertions stays."""
    map = wb.Map(MapDefinition("lru", "lru_hash", 4, 8, 8))
    for key in range(100):
        map[key] = key
        assert key in map
        assert len(map) <= 8
    assert set(map) <= set(range(80, 100))


def test_ring_buffer_is_empty_at_first() -> None:
    ring = wb.Map(MapDefinition("ring", "ringbuf", 0, 0, 4096))
    assert ring.consume() == []
    assert [ring.query(what) for what in range(5)] == [0, 4096, 0, 0, 0]
