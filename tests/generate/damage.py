"""Programs damaged after they were generated: they do wrong things, the same on every engine."""

import random

from generate import Case


def broken(case: Case, rng: random.Random) -> Case:
    """The case with a few registers, offsets and immediates changed, mostly where they count."""
    code = bytearray(case.bytecode)
    for _ in range(rng.randrange(1, 6)):
        at = 8 * rng.randrange(len(code) // 8)
        opcode, registers = code[at], code[at + 1]
        if opcode in (0, 0x18, 0x85, 0x95):
            if opcode == 0x85 and registers >> 4 == 1:  # a local call
                code[at + 4] = rng.randrange(256)
        elif opcode & 7 in (1, 2, 3) or (opcode & 7 in (5, 6) and rng.random() < 0.5):
            field = at + rng.choice((2, 2, 3))
            code[field] = rng.choice((rng.randrange(256), code[field] ^ 1 << rng.randrange(8)))
        else:
            source = rng.randrange(11) if registers >> 4 else 0
            code[at + 1] = source << 4 | rng.randrange(11)
    return case._replace(bytecode=bytes(code))
