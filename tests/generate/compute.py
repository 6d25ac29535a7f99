"""Actions without memory: constants, arithmetic, moves and casts."""

from support import wire as b

from generate.body import PAGE, Body
from generate.state import ARENA, SCALAR

BINARY = (b.ADD, b.SUB, b.MUL, b.DIV, b.OR, b.AND, b.LSH, b.RSH, b.MOD, b.XOR, b.ARSH)
MOVES = ((64, 0), (64, 0), (32, 0), (64, 8), (64, 16), (64, 32), (32, 8), (32, 16))  # bits, off


def make_scalar(body: Body) -> None:
    body.made(SCALAR)


def make_pointer(body: Body) -> None:
    body.made(ARENA)


def move(body: Body) -> None:
    """mov and movsx; only a plain 64-bit move keeps an arena pointer."""
    src, dst = body.pick(), body.target()
    if src is None:
        return
    bits, off = body.rng.choice(MOVES)
    body.writer.alu(b.MOV, dst, src=src, bits=bits, off=off)
    body.state.kinds[dst] = body.state.kinds[src] if (bits, off) == (64, 0) else SCALAR


def unary(body: Body) -> None:
    """neg, le, be and bswap, which end an arena pointer."""
    register = body.changeable()
    if register is None:
        return
    code = body.rng.choice((0x87, 0x84, 0xD4, 0xDC, 0xD7))
    imm = body.rng.choice((16, 32, 64)) if code & 0xF0 == b.END else 0
    body.writer.emit(code, register, imm=imm)
    body.state.kinds[register] = SCALAR


def alu(body: Body) -> None:
    """Any two-operand instruction; an arena pointer on either side makes the result one."""
    dst, src = body.changeable(), body.pick()
    if dst is None or src is None:
        return
    operation, bits = body.rng.choice(BINARY), body.rng.choice((32, 64))
    off = int(operation in (b.DIV, b.MOD) and body.chance(0.5))
    if body.chance(0.5):
        body.writer.alu(operation, dst, operand(body, operation, bits), bits=bits, off=off)
        return
    body.writer.alu(operation, dst, src=src, bits=bits, off=off)
    if ARENA in (body.state.kinds[dst], body.state.kinds[src]):
        body.state.kinds[dst] = ARENA


def operand(body: Body, operation: int, bits: int) -> int:
    """An immediate that Linux takes: no division by zero, no shift beyond the width."""
    shift = operation in (b.LSH, b.RSH, b.ARSH)
    return body.rng.randrange(bits) if shift else body.immediate() or 3


def divide(body: Body) -> None:
    """Division by a register with one of the special divisors."""
    dst = body.changeable(SCALAR)
    if dst is None:
        return
    src = body.target(dst)
    body.writer.constant(src, body.rng.choice((0, 0, -1, 1 << 32, 1, 1 << 63)))
    body.state.kinds[src] = SCALAR
    if body.chance(0.3):
        body.writer.constant(dst, body.rng.choice((1 << 63, 1 << 31, -(1 << 31), -1)))
    operation, bits = body.rng.choice((b.DIV, b.MOD)), body.rng.choice((32, 64))
    body.writer.alu(operation, dst, src=src, bits=bits, off=int(body.chance(0.5)))


def shift_pointer(body: Body) -> None:
    """Move a pointer by a small constant, so that it stays near its page."""
    register = body.changeable(ARENA)
    if register is not None:
        operation, distance = body.rng.choice((b.ADD, b.SUB)), (1, 8, 24, PAGE, PAGE - 1)
        body.writer.alu(operation, register, imm=body.rng.choice(distance))


def cast(body: Body) -> None:
    src, dst = body.pick(), body.target()
    if src is not None:
        kind = body.rng.choice((b.CAST_KERN, b.CAST_USER))
        body.writer.cast(dst, src, kind)
        body.state.kinds[dst] = ARENA if kind == b.CAST_KERN else SCALAR


ACTIONS = ((make_scalar, 3), (make_pointer, 2), (move, 3), (unary, 2), (alu, 12), (divide, 0.7))
ACTIONS += ((shift_pointer, 2), (cast, 3))
