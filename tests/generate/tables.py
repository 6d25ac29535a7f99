"""Actions on maps: lookups with accesses through what they find, updates, queues, ring buffers."""

from support import wire as b

from generate.body import CTX_BYTES, PAGE
from generate.memory import keep_honest
from generate.scratch import ENTRY, OUTER, SHARED_BYTES, STATE, VALUE_BYTES, MixedBody
from generate.state import SCALAR
from workbench.bpf.declarations import MapDefinition

KEYED = ("array", "percpu_array", "hash", "percpu_hash", "lru_hash", "lpm_trie")
HASHED = ("hash", "percpu_hash", "lru_hash", "lpm_trie")
FLAGS = (0, 0, 0, 0, 0, 1, 2, 3, 4, 8)
FETCHING = (b.ADD, b.AND, b.OR, b.XOR, b.ADD | b.FETCH, b.AND | b.FETCH, b.OR | b.FETCH)
FETCHING += (b.XOR | b.FETCH, b.XCHG, b.CMPXCHG)


def some_map(body: MixedBody, *types: str) -> MapDefinition | None:
    found = [row for row in body.shared.maps if row.type in types and row.name != "state"]
    return body.rng.choice(found) if found else None


# plain memory that a pointer leads to


def access(body: MixedBody, base: int, room: int) -> None:
    """One load, store or atomic somewhere in `room` bytes."""
    size, draw = body.rng.choice((1, 2, 4, 8)), body.rng.random()
    off = body.rng.randrange(room // size) * size
    if draw < 0.35:
        dst = body.target(base)
        body.writer.load(size, dst, base, off, signed=size < 8 and body.chance(0.4))
        body.state.kinds[dst] = SCALAR
    elif draw < 0.6:
        src = body.pick(SCALAR)
        if src is None or body.chance(0.3):
            body.writer.store_constant(size, base, off, body.immediate())
        else:
            body.writer.store(size, base, off, src)
    elif draw < 0.7:
        src = body.changeable(SCALAR)
        if src is not None and src != base:
            kind = body.rng.choice((b.LOAD_ACQUIRE, b.STORE_RELEASE))
            body.writer.atomic(size, kind, base, off, src)
    else:
        change(body, base, room)


def change(body: MixedBody, base: int, room: int) -> None:
    """A read-modify-write."""
    size, src = body.rng.choice((4, 8)), body.changeable(SCALAR)
    off = body.rng.randrange(room // size) * size
    operation = body.rng.choice(FETCHING)
    if src is None or src == base or (operation == b.CMPXCHG and base == 0):
        return
    if operation == b.CMPXCHG and body.state.kinds[0] != SCALAR:
        body.remake(0, SCALAR)
    if operation == b.CMPXCHG and body.chance(0.5):
        body.writer.load(size, 0, base, off)
    body.writer.atomic(size, operation, base, off, src)
    if operation & b.FETCH:
        keep_honest(body, 0 if operation == b.CMPXCHG else src, size)


def use_state(body: MixedBody) -> None:
    found = body.pick(STATE)
    register = body.made(STATE) if found is None else found
    access(body, register, CTX_BYTES)


def use_outer(body: MixedBody) -> None:
    """Words on the caller's stack, which stay numbers."""
    if body.outer is not None and body.state.kinds[body.outer] == OUTER:
        access(body, body.outer, SHARED_BYTES)


def use_entry(body: MixedBody) -> None:
    if body.entry is not None and body.state.kinds[body.entry] == ENTRY:
        access(body, body.entry, VALUE_BYTES)


# keys and values


def put_key(body: MixedBody, row: MapDefinition) -> None:
    """Let the key lie in its place."""
    if row.type == "lpm_trie":
        body.writer.store_constant(4, 10, body.key_at, body.rng.choice((0, 3, 8, 32, 33)))
        body.writer.store_constant(4, 10, body.key_at + 4, body.rng.choice((0, 0x80, 0xC0, 0xFF)))
        return
    src = body.changeable(SCALAR)
    if src is None or body.chance(0.6):
        body.writer.store_constant(4, 10, body.key_at, body.rng.randrange(8))
    else:
        body.writer.alu(b.AND, src, imm=7)
        body.writer.store(4, 10, body.key_at, src)


def put_value(body: MixedBody) -> None:
    body.store_word(body.value_at)
    body.store_word(body.value_at + 8)


def keep_result(body: MixedBody) -> None:
    """What a helper returned goes where it is seen afterwards."""
    if body.ctx is not None and body.chance(0.5):
        body.writer.store(8, body.ctx, body.rng.randrange(4) * 8, 0)


def look_up(body: MixedBody) -> None:
    """Look a key up, and work on the value if there is one."""
    row = some_map(body, *KEYED)
    if row is None:
        return
    put_key(body, row)
    percpu = row.type.startswith("percpu") and body.chance(0.4)
    body.writer.map(1, row.name)
    body.stack_address(2, body.key_at)
    if percpu:
        body.writer.alu(b.MOV, 3, imm=body.rng.choice((0, 0, 1, 2, 99)))
    body.writer.helper(195 if percpu else 1)
    body.called(returns=False)
    absent = body.writer.jump(b.JEQ, 0, imm=0)
    other = body.state.copy()
    free = [register for register in (0, 1, 8, 9) if register not in body.reserved]
    base = body.rng.choice(free)
    if base:
        body.writer.alu(b.MOV, base, src=0)
    body.state.kinds[base] = ENTRY
    outside = base in body.reserved
    body.reserved.add(base)
    for _ in range(body.rng.randrange(1, 5)):
        access(body, base, row.value_size)
    if not outside:
        body.reserved.discard(base)
    body.state.kinds[base] = None
    body.writer.land(absent)
    body.state.meet(other)


def update(body: MixedBody) -> None:
    row = some_map(body, *KEYED)
    if row is None or (body.quiet and row.type in HASHED):
        return
    put_key(body, row)
    put_value(body)
    body.writer.map(1, row.name)
    body.stack_address(2, body.key_at)
    if body.chance(0.15):
        body.writer.map_value(3, "state", body.rng.randrange(CTX_BYTES - row.value_size))
    else:
        body.stack_address(3, body.value_at)
    body.writer.alu(b.MOV, 4, imm=body.rng.choice(FLAGS))
    body.writer.helper(2)
    body.called()
    keep_result(body)


def delete(body: MixedBody) -> None:
    row = some_map(body, *KEYED)
    if row is None or (body.quiet and row.type in HASHED):
        return
    put_key(body, row)
    body.writer.map(1, row.name)
    body.stack_address(2, body.key_at)
    body.writer.helper(3)
    body.called()
    keep_result(body)


def use_queue(body: MixedBody) -> None:
    """Push, pop or peek; of a bloom filter, add or ask."""
    row = some_map(body, "queue", "stack", "bloom_filter")
    if row is None:
        return
    number = body.rng.choice((87, 87, 88, 89))
    if row.type == "bloom_filter" and number == 88:
        number = 89
    if number == 87 or row.type == "bloom_filter":
        put_value(body)
    body.writer.map(1, row.name)
    body.stack_address(2, body.value_at)
    if number == 87:
        body.writer.alu(b.MOV, 3, imm=body.rng.choice((0, 0, 0, 2, 1, 4)))
    body.writer.helper(number)
    body.called()
    keep_result(body)
    dst = body.target(0)
    body.writer.load(8, dst, 10, body.value_at + 8 * body.rng.randrange(2))
    body.state.kinds[dst] = SCALAR


# ring buffers


def put_out(body: MixedBody) -> None:
    row = some_map(body, "ringbuf")
    if row is None:
        return
    put_value(body)
    body.writer.map(1, row.name)
    body.stack_address(2, body.value_at)
    body.writer.alu(b.MOV, 3, imm=body.rng.randrange(VALUE_BYTES + 1))
    body.writer.alu(b.MOV, 4, imm=body.rng.choice((0, 0, 1, 2, 3, 4)))
    body.writer.helper(130)
    body.called()
    keep_result(body)


def reserve_record(body: MixedBody) -> None:
    row = some_map(body, "ringbuf")
    if row is None:
        return
    words = body.rng.randrange(1, 4)
    body.writer.map(1, row.name)
    body.writer.alu(b.MOV, 2, imm=8 * words)
    body.writer.alu(b.MOV, 3, imm=int(body.chance(0.05)))
    body.writer.helper(131)
    body.called(returns=False)
    full = body.writer.jump(b.JEQ, 0, imm=0)
    for word in range(words):
        src = body.pick(SCALAR)
        if src is None:
            body.writer.store_constant(8, 0, 8 * word, body.immediate())
        else:
            body.writer.store(8, 0, 8 * word, src)
    body.writer.alu(b.MOV, 1, src=0)
    body.writer.alu(b.MOV, 2, imm=body.rng.choice((0, 1, 2)))
    body.writer.helper(body.rng.choice((132, 132, 133)))
    body.called(returns=False)
    body.writer.land(full)


def query_ring(body: MixedBody) -> None:
    row = some_map(body, "ringbuf")
    if row is None:
        return
    body.writer.map(1, row.name)
    body.writer.alu(b.MOV, 2, imm=body.rng.choice((0, 1, 2, 3, 9)))
    body.writer.helper(134)
    body.called()
    keep_result(body)


# helpers without a map


def unpredictable(body: MixedBody) -> None:
    """A number that nobody can foretell, masked away."""
    body.writer.helper(body.rng.choice((5, 7, 8, 14)))
    body.called()
    body.writer.alu(b.AND, 0, imm=0)


def probe_read(body: MixedBody) -> None:
    """Read from the stack, from the arena as user space has it, or where nothing can be read."""
    put_value(body)
    body.store_word(body.key_at)
    draw, number = body.rng.random(), body.rng.choice((112, 113, 114, 115))
    if draw < 0.4 and number in (113, 115):
        body.stack_address(3, body.value_at)
    elif draw < 0.8:
        body.writer.constant(3, body.shared.base + body.inside(body.shared.pages * PAGE))
    else:
        body.writer.constant(3, body.rng.choice((0, 8, 1 << 46, 1 << 60, 1 << 63)))
    body.writer.alu(b.MOV, 2, imm=body.rng.randrange(9))
    body.stack_address(1, body.key_at)
    body.writer.helper(number)
    body.called()
    body.writer.load(8, 1, 10, body.key_at)
    body.state.kinds[1] = SCALAR
    keep_result(body)


ACTIONS = ((use_state, 4), (use_outer, 6), (use_entry, 6), (look_up, 6), (update, 5), (delete, 2))
ACTIONS += ((use_queue, 4), (put_out, 1.5), (reserve_record, 1.5), (query_ring, 0.5))
ACTIONS += ((unpredictable, 0.3), (probe_read, 0.5))
