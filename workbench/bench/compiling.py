"""What machine code costs: made anew, and found on disk."""

import time
from statistics import median

from workbench.bench.pages import Cost

SLOTS = 100
_BODY = """
    r2 = *(u64 *)(r7 + 0)
    r2 += r3
    r2 ^= r6
    r3 *= 31
    *(u64 *)(r7 + 8) = r2
    r7 += 16
    if r2 s> r3 goto next{0}
    r3 += 1
next{0}:
"""


def measure(repeats: int) -> tuple[Cost, ...]:
    """Compile a program of 100 instructions that nobody has compiled yet, and find it on disk.

    A quarter of its instructions reach arena memory, an eighth are branches; as they are, and in a
    loop, for which LLVM tries harder.
    """
    cold, found = zip(*(_once(seed, False) for seed in range(repeats)), strict=True)
    looping, _ = zip(*(_once(seed, True) for seed in range(repeats)), strict=True)
    return (
        Cost(f"jit: compile {SLOTS} instructions", "ms", median(cold) * 1e3, None, 10.0),
        Cost(f"jit: compile {SLOTS} that loop", "ms", median(looping) * 1e3, None, 10.0),
        Cost(f"jit: find {SLOTS} instructions compiled", "ms", median(found) * 1e3, None, 2.0),
    )


def _once(seed: int, loops: bool) -> tuple[float, float]:
    from workbench.arena import Arena
    from workbench.assembler import assemble
    from workbench.engines.jit import Jit
    from workbench.engines.jit.native import forget

    lines = "".join(_BODY.format(n) for n in range(12))
    if loops:
        lines = f"r9 = r7\nagain: may_goto out\nr7 = r9\n{lines}goto again\nout: "
    unique = time.time_ns() % (1 << 31) + seed  # no earlier run has left this one on disk
    text = f"r7 = arena + 0 ll\nr7 = cast_kern(r7)\nr6 = {unique & 0x7FFFFFFF}\nr3 = 1\n{lines}exit"
    program = assemble("r0 = 0\n" + text, name="compiled")
    seconds = []
    for _ in range(2):
        forget()
        with Jit(program, Arena(1)) as engine:
            seconds.append(engine.compile_seconds)
    return seconds[0], seconds[1]
