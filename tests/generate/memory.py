"""Actions on memory: context, stack and arena, plain and atomic."""

from support import wire as b

from generate.body import CTX_BYTES, CTX_RANDOM, PAGE, Body
from generate.state import ARENA, SCALAR

# context


def load_ctx(body: Body) -> None:
    if body.ctx is not None:
        size, dst = body.rng.choice((1, 2, 4, 8)), body.target()
        body.writer.load(size, dst, body.ctx, body.rng.randrange(CTX_BYTES // size) * size)
        body.state.kinds[dst] = SCALAR


def store_ctx(body: Body) -> None:
    src, size = body.pick(), body.rng.choice((1, 2, 4, 8))
    if body.ctx is None:
        return
    off = body.rng.randrange(CTX_RANDOM // size) * size
    if src is None or body.chance(0.3):
        body.writer.store_constant(size, body.ctx, off, body.immediate())
    else:
        body.writer.store(size, body.ctx, off, src)


# stack


def moved_base(body: Body, off: int) -> tuple[int, int]:
    """r10 and the offset; or a copy of r10 moved down, and the rest."""
    if body.chance(0.75):
        return 10, off
    register, distance = body.target(), body.rng.randrange(body.state.stack_bytes)
    body.writer.alu(b.MOV, register, src=10)
    body.writer.alu(b.ADD, register, imm=-distance)
    body.state.kinds[register] = None
    return register, off + distance


def may_write(body: Body, off: int, arena: bool) -> bool:
    """Inside a loop, slots that its head knows keep their kind."""
    if body.loop_head is None:
        return True
    known = set(range(off & ~7, (off & ~7) + 8)) & body.loop_head.initialised
    return not known or (off & ~7 in body.loop_head.spilled) == arena


def store_stack(body: Body) -> None:
    size = body.rng.choice((1, 2, 4, 8, 8, 8))
    off = -body.rng.randrange(1, body.state.stack_bytes // size + 1) * size
    src = body.pick(SCALAR, ARENA) if size == 8 else body.pick(SCALAR)
    constant = src is None or body.chance(0.2)
    arena = not constant and body.state.kinds[src or 0] == ARENA
    if not may_write(body, off, arena):
        return
    if constant or src is None:
        base, rest = moved_base(body, off)
        body.writer.store_constant(size, base, rest, body.immediate())
    elif body.chance(0.15) and not arena:
        body.writer.atomic(size, b.STORE_RELEASE, 10, off, src)
    else:
        body.writer.store(size, 10, off, src)
    body.state.write(off, size, arena)


def readable_place(body: Body, size: int) -> int | None:
    offs = range(-body.state.stack_bytes, 0, size)
    found = [off for off in offs if body.state.readable(off, size)]
    return body.rng.choice(found) if found else None


def load_stack(body: Body) -> None:
    size, dst = body.rng.choice((1, 2, 4, 8, 8)), body.target()
    off = readable_place(body, size)
    if off is None:
        return
    arena = off in body.state.spilled and size == 8
    base, rest = moved_base(body, off)
    if arena or body.chance(0.6):
        body.writer.load(size, dst, base, rest)
    elif size < 8 and body.chance(0.6):
        body.writer.load(size, dst, base, rest, signed=True)
    else:
        body.writer.atomic(size, b.LOAD_ACQUIRE, base, rest, dst)
    body.state.kinds[dst] = ARENA if arena else SCALAR


def atomic_stack(body: Body) -> None:
    size = body.rng.choice((4, 8))
    off, src = readable_place(body, size), body.changeable(SCALAR)
    if off is None or src is None or off & ~7 in body.state.spilled:
        return
    plain = body.rng.choice((b.ADD, b.AND, b.OR, b.XOR))
    fetch = plain | b.FETCH
    operation = body.rng.choice((plain, fetch, fetch, fetch, b.XCHG, b.CMPXCHG))
    if operation == b.CMPXCHG:
        expect(body, size, 10, off, src)
    body.writer.atomic(size, operation, 10, off, src)
    if operation == b.CMPXCHG:
        keep_honest(body, 0, size)


# arena


def place(body: Body, size: int) -> tuple[int, int]:
    """A pointer register and an instruction offset for an access of `size` bytes."""
    draw, pages = body.rng.random(), body.shared.pages
    if draw < 0.08:  # across the boundary of two pages, or of the arena
        register = body.target()
        boundary = body.shared.base + body.rng.randrange(pages + 1) * PAGE
        body.writer.constant(register, boundary)
        body.writer.cast(register, register, b.CAST_KERN)
        body.state.kinds[register] = ARENA
        return register, -body.rng.randrange(size + 1)
    if draw < 0.65:
        return body.pointer(), body.rng.randrange(-4, 16) * size
    near = body.rng.randrange(-40, 40) if draw < 0.9 else body.rng.randrange(-0x8000, 0x8000)
    return body.pointer(), near


def load_arena(body: Body) -> None:
    size = body.rng.choice((1, 2, 4, 8))
    base, off = place(body, size)
    in_place = body.chance(0.1) and base not in body.reserved
    dst = base if in_place else body.target()
    body.writer.load(size, dst, base, off, signed=size < 8 and body.chance(0.4))
    body.state.kinds[dst] = SCALAR


def follow(body: Body) -> None:
    """Load a pointer from the arena and cast it."""
    base, dst = body.pointer(), body.target()
    body.writer.load(8, dst, base, body.rng.randrange(8) * 8)
    body.writer.cast(dst, dst, b.CAST_KERN)
    body.state.kinds[dst] = ARENA


def store_arena(body: Body) -> None:
    size = body.rng.choice((1, 2, 4, 8))
    base, off = place(body, size)
    src = body.pick()
    if src is None or body.chance(0.3):
        body.writer.store_constant(size, base, off, body.immediate())
    elif body.chance(0.2):
        body.writer.atomic(size, b.STORE_RELEASE, base, off, src)
    else:
        body.writer.store(size, base, off, src)


def atomic_arena(body: Body) -> None:
    """Read-modify-write; Linux on x86 has no fetching and, or, xor for arenas."""
    size = body.rng.choice((4, 8))
    base, off = place(body, size)
    src = body.changeable()
    if src is None:
        return
    choices = (b.ADD, b.AND, b.OR, b.XOR, b.ADD | b.FETCH, b.XCHG, b.CMPXCHG)
    operation = body.rng.choice(choices)
    result = 0 if operation == b.CMPXCHG else src
    if operation & b.FETCH and result == base:
        return  # Linux refuses a result that replaces the address
    if operation == b.CMPXCHG:
        expect(body, size, base, off, src)
    body.writer.atomic(size, operation, base, off, src)
    if operation & b.FETCH:
        keep_honest(body, result, size)


def acquire_arena(body: Body) -> None:
    size = body.rng.choice((1, 2, 4, 8))
    base, off = place(body, size)
    dst = body.changeable()
    if dst is not None:
        body.writer.atomic(size, b.LOAD_ACQUIRE, base, off, dst)
        keep_honest(body, dst, size)


def expect(body: Body, size: int, base: int, off: int, src: int) -> None:
    """Give r0 what a compare-and-exchange expects: often what is there, under any upper half."""
    if body.state.kinds[0] not in (SCALAR, ARENA):
        body.remake(0, SCALAR)
    if body.chance(0.4):
        return
    body.writer.load(size, 0, base, off)
    body.state.kinds[0] = SCALAR
    if size == 4 and body.chance(0.7):
        upper = body.target(0, base, src)
        body.writer.constant(upper, body.rng.getrandbits(32) << 32)
        body.writer.alu(b.OR, 0, src=upper)
        body.state.kinds[upper] = SCALAR


def keep_honest(body: Body, register: int, size: int) -> None:
    """Record a result that may be stale, then cut it to the size of the access.

    The verifier believes that a narrow result is narrow and removes branches that contradict it,
    but an absent page leaves the whole register as it was. It also leaves the upper half of r0
    alone after a 32-bit exchange unless something reads it.
    """
    body.state.kinds[register] = SCALAR
    if body.ctx is not None and body.chance(0.8):
        body.writer.store(8, body.ctx, body.rng.randrange(CTX_RANDOM // 8) * 8, register)
    if size == 4:
        body.writer.alu(b.MOV, register, src=register, bits=32)
    elif size < 4:
        body.writer.alu(b.AND, register, imm=(1 << 8 * size) - 1)


ACTIONS = ((load_ctx, 2), (store_ctx, 2), (store_stack, 4), (load_stack, 3), (atomic_stack, 3))
ACTIONS += ((load_arena, 6), (follow, 2), (store_arena, 6), (atomic_arena, 3), (acquire_arena, 2))
