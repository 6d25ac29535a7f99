"""What machine code costs: made anew, and found on disk."""

import time
from statistics import median

from workbench.experiments.bench.pages import Cost

SLOTS = 100  # the unit that costs of compiling are given in
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
    loop, for which better code is made when it has run for long.
    """
    straight = [_once(seed, False) for seed in range(repeats)]
    looping = [_once(seed, True) for seed in range(repeats)]
    rows = (
        (f"compile {SLOTS} instructions", [times[0] for times in straight], 10.0),
        (f"compile {SLOTS} that loop", [times[0] for times in looping], 10.0),
        (f"the same, with more care: {SLOTS} that loop", [times[2] for times in looping], None),
        (f"find {SLOTS} instructions compiled", [times[1] for times in straight], 2.0),
    )
    return tuple(
        Cost(f"jit: {name}", "ms", median(seconds) * 1e3, None, limit)
        for name, seconds, limit in rows
    )


def _once(seed: int, loops: bool) -> tuple[float, float, float]:
    """Seconds until a program can run, the same when it is on disk, and to make good code of it."""
    from workbench.arena import Arena
    from workbench.bpf.assembler import assemble
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
    began = time.perf_counter()
    engine.improve()
    return seconds[0], seconds[1], time.perf_counter() - began
