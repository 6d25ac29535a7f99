"""Random valid programs with maps, callbacks, iterators, tail calls and packets, as in `generate`.

Every program has the array `state` of one value: where there is no context to write to, as in
packet programs and callbacks, results go there. Below what `State` knows of the stack a function
has room for keys, values, an iterator and the words that it shares with callbacks.
"""

import random
from typing import NamedTuple

from support import wire as b

from generate import (
    BASES,
    NO_USER_CONV,
    Case,
    compute,
    content,
    control,
    memory,
    packets,
    pages,
    rounds,
    tables,
)
from generate.body import CTX_BYTES, PAGE, Function, Shared
from generate.scratch import MixedBody
from generate.state import CTX, SCALAR
from workbench.bpf.declarations import MapDefinition

NO_PREALLOC, ZERO_SEED = 1, 1 << 6
KINDS = ("syscall", "syscall", "syscall", "xdp", "tc")
MAIN_STACK, SUB_STACK = 128, 24
STATE = MapDefinition("state", "array", 4, CTX_BYTES, 1)
ANYWHERE = (
    MapDefinition("array", "array", 4, 16, 5),
    MapDefinition("hash", "hash", 4, 16, 6, ZERO_SEED),
    MapDefinition("lazy", "hash", 4, 16, 5, ZERO_SEED | NO_PREALLOC),
    MapDefinition("array_cpu", "percpu_array", 4, 16, 3),
    MapDefinition("hash_cpu", "percpu_hash", 4, 16, 4, ZERO_SEED),
    MapDefinition("lru", "lru_hash", 4, 16, 64, ZERO_SEED),
    MapDefinition("queue", "queue", 0, 16, 4),
    MapDefinition("stack", "stack", 0, 16, 3),
    MapDefinition("ring", "ringbuf", 0, 0, 4096),
)
NOT_SLEEPING = (
    MapDefinition("trie", "lpm_trie", 8, 16, 5, NO_PREALLOC),
    MapDefinition("bloom", "bloom_filter", 0, 16, 8, ZERO_SEED),
)
JUMPS = MapDefinition("jumps", "prog_array", 4, 4, 3)


class Mixed(NamedTuple):
    """A program with its maps, and those that it may go to; `case.ctx` is the packet, if any."""

    case: Case
    kind: str
    maps: tuple[MapDefinition, ...]
    state: bytes
    entries: tuple[tuple[str, int, bytes], ...]
    tails: tuple[tuple[int, bytes, tuple[b.Reference, ...]], ...]  # index, bytecode, references

    def __repr__(self) -> str:
        return f"mixed({self.case.seed}): {self.kind}, {len(self.case.bytecode) // 8} slots"


def mixed(seed: int) -> Mixed:
    """A program of some 10 to 150 instructions, with its surroundings."""
    rng = random.Random(seed)
    kind = rng.choice(KINDS)
    count = rng.choice((1, 2, 3, 5, 8, 16))
    base = rng.choice((*BASES, 0x300100000000 - count * PAGE))
    flags = rng.choice((0, NO_USER_CONV))
    filled = [page for page in range(count) if rng.random() < rng.choice((0, 0.3, 0.9))]
    touched = tuple((page, content(rng, base, count)) for page in filled)
    known = ANYWHERE if kind == "syscall" else (*ANYWHERE, *NOT_SLEEPING)
    maps = (STATE, *rng.sample(known, rng.randrange(1, 5)))
    if kind != "syscall" and rng.random() < 0.6:
        maps = (*maps, JUMPS)
    actions = [*compute.ACTIONS, *memory.ACTIONS, *control.ACTIONS]
    actions += [*tables.ACTIONS, *rounds.ACTIONS]
    actions += [(calm(pages.alloc), 2), (calm(pages.free), 1.3), (calm(pages.reserve), 0.7)]
    if kind != "syscall":
        actions = [*actions[:-3], *packets.ACTIONS]
    weights = tuple(weight * rng.choice((0, 1, 1, 6)) + 0.001 for _, weight in actions)

    def written(size: int) -> tuple[Shared, bytes, tuple[b.Reference, ...]]:
        chosen = tuple(action for action, _ in actions)
        shared = Shared(rng, b.Writer(), base, count, chosen, weights, [], set(), maps, kind)
        write(shared, size)
        return shared, shared.writer.bytes(), tuple(shared.writer.references)

    size = int(10 * 15 ** rng.random())
    shared, code, references = written(size)
    indices = rng.sample(range(3), rng.randrange(1, 3)) if JUMPS in maps else []
    tails = tuple((index, *written(size // 2 + 5)[1:]) for index in indices)
    ctx = content(rng, base, count)[:CTX_BYTES]
    case = Case(
        seed, size, code, references, count, base, flags, touched, ctx, frozenset(shared.pinned)
    )
    state = content(rng, base, count)[:CTX_BYTES]
    return Mixed(case, kind, maps, state, tuple(entries(rng, maps)), tails)


def calm(action):  # type: ignore[no-untyped-def]
    """The same action, left out where nothing may sleep."""
    return lambda body: None if body.quiet else action(body)


def entries(rng: random.Random, maps: tuple[MapDefinition, ...]) -> list[tuple[str, int, bytes]]:
    """What is in arrays and hashes before the run."""
    found = []
    for row in maps:
        if row.type in ("array", "hash", "percpu_array", "percpu_hash") and row is not STATE:
            keys = rng.sample(range(row.max_entries), rng.randrange(row.max_entries))
            found += [(row.name, key, rng.randbytes(row.value_size)) for key in keys]
    return found


def write(shared: Shared, size: int) -> None:
    """Write main, then the functions that it, they and helpers call."""
    syscall = shared.kind == "syscall"
    main = MixedBody(shared, Function((CTX,) if syscall else (), SCALAR, 0, []), MAIN_STACK)
    if not syscall:
        main.keep_packet()
    shared.writer.arena_map(9)
    main.remake(9, SCALAR)
    main.block(size)
    main.finish()
    for function in shared.functions:  # grows while functions are written
        for call in function.calls:
            shared.writer.land(call)
        body = MixedBody(shared, function, SUB_STACK)
        body.block(max(4, size // 6))
        body.finish()
