"""Actions that call the arena's kernel functions.

An address to free is never below the start of the arena, whatever the registers hold: that would
corrupt the arena of a 6.18 kernel. The instructions that see to it are pinned.
"""

from support import wire as b

from generate.body import M32, PAGE, Body
from generate.state import ARENA, SCALAR


def put_page_address(body: Body) -> None:
    """Let r2 be an address at or after the start of the arena; uses r5."""
    start, src = len(body.writer), body.pick()
    if src is None or body.chance(0.6):
        body.writer.constant(2, constant_address(body))
    else:
        body.writer.alu(b.MOV, 2, src=src)
        body.writer.alu(b.AND, 2, imm=offset_mask(body))
        body.writer.constant(5, body.shared.base)
        body.writer.alu(b.ADD, 2, src=5)
    body.shared.pinned.update(range(start, len(body.writer)))


def room(body: Body) -> int:
    """Bytes from the start of the arena to the end of the 4 GiB window."""
    return (1 << 32) - (body.shared.base & M32)


def constant_address(body: Body) -> int:
    base = body.shared.base
    page = min(body.rng.randrange(body.shared.pages + 2), room(body) // PAGE - 1)
    address = base + page * PAGE + (body.rng.randrange(PAGE) if body.chance(0.1) else 0)
    upper = body.rng.choice((base >> 32, base >> 32, 0, 0xDEADBEEF))
    return upper << 32 | address & M32


def offset_mask(body: Body) -> int:
    """Mask for an offset about twice as large as the arena, but inside the window."""
    wanted = (2 * body.shared.pages * PAGE).bit_length()
    bits = min(wanted, room(body).bit_length() - 1)
    return (1 << bits) - 1 & ~(0 if body.chance(0.2) else PAGE - 1)


def put_count(body: Body) -> None:
    """Let r3 be a number of pages; the kernel looks at its low half."""
    pages = body.shared.pages
    if body.chance(0.9):
        count = body.rng.choice((1, 1, 1, 2, 3, body.rng.randrange(1, pages + 1)))
    else:
        count = body.rng.choice((0, -1, pages, pages + 1, 1 << 20, -(1 << 31)))
    if body.chance(0.1):
        body.writer.constant(3, (1 << 32) + (count & M32))
    else:
        body.writer.alu(b.MOV, 3, imm=count)


def call(body: Body, name: str) -> None:
    """r2 on are set; r0 to r5 are lost."""
    start = len(body.writer)
    body.writer.arena_map(1)
    body.writer.kfunc(name)
    body.shared.pinned.update(range(start, len(body.writer)))
    body.state.kinds[:6] = [None] * 6


def alloc(body: Body) -> None:
    draw = body.rng.random()
    if draw < 0.65:
        body.writer.alu(b.MOV, 2, imm=0)
    elif draw < 0.95:
        put_page_address(body)
    else:
        body.writer.alu(b.MOV, 2, src=body.scalar())
    put_count(body)
    node = body.rng.choice((0, 1, -2, 1 << 20)) if body.chance(0.06) else -1
    body.writer.alu(b.MOV, 4, imm=node, bits=body.rng.choice((32, 64)))
    body.writer.alu(b.MOV, 5, imm=int(body.chance(0.03)))
    call(body, "bpf_arena_alloc_pages")
    body.state.kinds[0] = SCALAR
    if body.chance(0.7):
        kept = body.target()
        body.writer.cast(kept, 0, b.CAST_KERN)
        body.state.kinds[kept] = ARENA


def free(body: Body) -> None:
    put_page_address(body)
    put_count(body)
    call(body, "bpf_arena_free_pages")


def reserve(body: Body) -> None:
    if body.chance(0.8):
        put_page_address(body)
    else:
        body.writer.alu(b.MOV, 2, src=body.scalar())
    put_count(body)
    call(body, "bpf_arena_reserve_pages")
    body.writer.alu(b.MOV, 0, src=0, bits=32)  # an int: its upper half is not defined
    body.state.kinds[0] = SCALAR


ACTIONS = ((alloc, 2), (free, 1.3), (reserve, 0.7))
