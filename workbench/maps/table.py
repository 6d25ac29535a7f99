"""Hash maps, plain, per CPU and LRU: chains of slots, the newest entry of a bucket first.

Slots are taken from those given back (FREE, the newest first), then from those never used (FRESH).
There are more slots than entries, because an update fills a new slot before the old one goes, as
in Linux: a pointer to the old value stays valid and keeps the old value.

An LRU map that is full drops an entry that was not looked up lately: a clock hand (HAND) goes
round, spares entries with their mark in USED once, and drops the first without. Linux keeps an
active and an inactive list and drops several at once, up to 128 for each CPU, so that its map may
hold fewer entries than max_entries; which ones are dropped differs. Source:
kernel/bpf/hashtab.c, bpf_lru_list.c.
"""

from errno import E2BIG, EEXIST, EINVAL, ENOENT

import numpy as np

from workbench.bpf.map_types import LRU, PER_CPU
from workbench.compiled.njit import njit
from workbench.compiled.raw import load8, store8
from workbench.maps.hashing import jhash
from workbench.maps.layout import (
    EXIST,
    LOCKED,
    NOEXIST,
    Field,
    clear,
    get,
    is_of,
    link,
    move,
    per_cpu,
    put,
    set_everywhere,
    set_link,
    type_bits,
    value_at,
)

_PER_CPU, _LRU = type_bits(PER_CPU), type_bits(LRU)
_0, _1 = np.uint64(0), np.uint64(1)


@njit
def same_bytes(one, other, size):
    """Whether two pieces of memory are equal."""
    for byte in range(np.int64(size)):
        if load8(one + np.uint64(byte)) != load8(other + np.uint64(byte)):
            return False
    return True


@njit(inline=True)
def key_at(m, slot):
    """Host address of the key in a slot."""
    return get(m, Field.KEYS) + slot * get(m, Field.KEY)


@njit
def bucket_of(m, key):
    """The bucket of a key."""
    return np.uint64(jhash(key, get(m, Field.KEY), 0)) & get(m, Field.MASK)


@njit
def find(m, bucket, key):
    """The slot of a key plus 1, or 0."""
    chain, at = get(m, Field.CHAIN), link(get(m, Field.BUCKETS), bucket)
    while at != _0:
        if same_bytes(key_at(m, at - _1), key, get(m, Field.KEY)):
            return at
        at = link(chain, at - _1)
    return _0


@njit
def take(m):
    """A slot that is not in use."""
    free = get(m, Field.FREE)
    if free != _0:
        put(m, Field.FREE, link(get(m, Field.CHAIN), free - _1))
        return free - _1
    fresh = get(m, Field.FRESH)
    put(m, Field.FRESH, fresh + _1)
    return fresh


@njit
def hang(m, bucket, slot):
    """Put a slot at the head of a bucket."""
    buckets = get(m, Field.BUCKETS)
    set_link(get(m, Field.CHAIN), slot, link(buckets, bucket))
    set_link(buckets, bucket, slot + _1)
    put(m, Field.COUNT, get(m, Field.COUNT) + _1)


@njit
def unhang(m, bucket, slot):
    """Take a slot out of its bucket and give it back."""
    buckets, chain = get(m, Field.BUCKETS), get(m, Field.CHAIN)
    after, at = link(chain, slot), link(buckets, bucket)
    if at == slot + _1:
        set_link(buckets, bucket, after)
    else:
        while link(chain, at - _1) != slot + _1:
            at = link(chain, at - _1)
        set_link(chain, at - _1, after)
    set_link(chain, slot, get(m, Field.FREE))
    put(m, Field.FREE, slot + _1)
    put(m, Field.COUNT, get(m, Field.COUNT) - _1)


@njit
def _evict(m):
    """Drop an entry that was not used since the hand last passed it."""
    used, hand = get(m, Field.USED), get(m, Field.HAND)
    while True:
        slot = hand
        hand = hand + _1 if hand + _1 < get(m, Field.FRESH) else _0
        mark = load8(used + slot)
        if mark & 2 == 0:
            continue
        if mark & 1:
            store8(used + slot, np.uint8(2))
            continue
        store8(used + slot, np.uint8(0))
        put(m, Field.HAND, hand)
        unhang(m, bucket_of(m, key_at(m, slot)), slot)
        return


@njit
def lookup(m, key, cpu, touch):
    """Host address of a value, or 0; with `touch` an LRU map takes it for used."""
    at = find(m, bucket_of(m, key), key)
    if at == _0:
        return _0
    if touch and is_of(m, _LRU):
        store8(get(m, Field.USED) + at - _1, np.uint8(3))
    return value_at(m, at - _1, cpu)


@njit
def _insert(m, bucket, key, value, cpu, all_cpus):
    """Fill a new slot; the other CPUs' values become 0."""
    slot = take(m)
    move(key_at(m, slot), key, get(m, Field.KEY))
    if get(m, Field.CPUS) > _1 and not all_cpus:
        for other in range(np.int64(get(m, Field.CPUS))):
            if np.uint64(other) != cpu:
                clear(m, value_at(m, slot, np.uint64(other)), per_cpu(m))
    set_everywhere(m, slot, value, cpu, all_cpus)
    if is_of(m, _LRU):
        store8(get(m, Field.USED) + slot, np.uint8(2))
    hang(m, bucket, slot)


@njit
def update(m, key, value, flags, cpu, all_cpus):
    """Insert or replace; 0 or a negative errno."""
    percpu = is_of(m, _PER_CPU)
    lock = flags & np.uint64(LOCKED) != _0
    lockable = not percpu and not is_of(m, _LRU)
    if (flags & ~np.uint64(LOCKED) if lockable else flags) > np.uint64(EXIST):
        return -EINVAL
    if lock and lockable and np.int64(get(m, Field.LOCK)) < 0:
        return -EINVAL
    bucket = bucket_of(m, key)
    old = find(m, bucket, key)
    wanted = flags & ~np.uint64(LOCKED)
    if old != _0 and wanted == np.uint64(NOEXIST):
        return -EEXIST
    if old == _0 and wanted == np.uint64(EXIST):
        return -ENOENT
    if old != _0 and (percpu or lock):
        set_everywhere(m, old - _1, value, cpu, all_cpus)
        return 0
    if old == _0 and get(m, Field.COUNT) >= get(m, Field.MAX):
        if not is_of(m, _LRU):
            return -E2BIG
        _evict(m)
    _insert(m, bucket, key, value, cpu, all_cpus)
    if old != _0:
        drop(m, bucket, old - _1)
    return 0


@njit
def drop(m, bucket, slot):
    """Take the entry in a slot out of the map."""
    if is_of(m, _LRU):
        store8(get(m, Field.USED) + slot, np.uint8(0))
    unhang(m, bucket, slot)


@njit
def delete(m, key):
    """Remove an entry; 0 or -ENOENT."""
    bucket = bucket_of(m, key)
    at = find(m, bucket, key)
    if at == _0:
        return -ENOENT
    drop(m, bucket, at - _1)
    return 0


@njit
def first_from(m, bucket):
    """The first slot, plus 1, of the first filled bucket from `bucket` on; 0 after the last."""
    while bucket <= get(m, Field.MASK):
        at = link(get(m, Field.BUCKETS), bucket)
        if at != _0:
            return at
        bucket += _1
    return _0


@njit
def after(m, at):
    """The slot, plus 1, that follows `at` (a slot plus 1): bucket by bucket, newest first."""
    following = link(get(m, Field.CHAIN), at - _1)
    if following != _0:
        return following
    return first_from(m, bucket_of(m, key_at(m, at - _1)) + _1)
