"""How long programs take inside the kernel, measured so that the numbers can be compared.

The kernel itself counts each program's run time (BPF_ENABLE_STATS), so system calls are left out.
Programs take turns, A B A B, on one processor, after warm-up runs that are not counted.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from workbench.bpf.assembler import assemble
from workbench.bpf.program import Program
from workbench.engines.kernel import syscall
from workbench.engines.kernel.engine import Kernel
from workbench.errors import KernelError
from workbench.evidence.measurement import pinned

if TYPE_CHECKING:
    import pandas as pd

UNROLL = 16  # copies, so that a sixteenth of the loop's own cost goes to each; not measured


class Sample(NamedTuple):
    """One measurement: `ns` in the kernel for one run of `operations` operations."""

    round: int
    name: str
    ns: float
    operations: int
    ns_per_operation: float
    cpu: int


def time_engines(
    engines: Mapping[str, Kernel],
    ctx: bytes = b"",
    operations: int = 1,
    rounds: int = 20,
    warmup: int = 3,
    cpu: int | None = None,
) -> "pd.DataFrame":
    """Time several loaded programs in turns; one row per round and program.

    `ctx` is given to each run; `operations` is how many operations one run does (for `loop`, the
    count times UNROLL), by which `ns_per_operation` divides. `cpu` None takes the last one
    allowed. Columns: round, name, ns, operations, ns_per_operation, cpu. Raises KernelError.
    """
    import pandas as pd

    chosen = max(os.sched_getaffinity(0)) if cpu is None else cpu
    with pinned(chosen), syscall.enable_stats():
        for _ in range(warmup):
            for engine in engines.values():
                engine.run(ctx)
        samples = [
            _sample(number, name, engine, ctx, operations, chosen)
            for number in range(rounds)
            for name, engine in engines.items()
        ]
    return pd.DataFrame(samples, columns=list(Sample._fields))


def _sample(
    number: int, name: str, engine: Kernel, ctx: bytes, operations: int, cpu: int
) -> Sample:
    """Run once and ask the kernel how long that took."""
    ns = run_time(engine, ctx)
    return Sample(number, name, ns, operations, ns / operations, cpu)


def run_time(engine: Kernel, ctx: bytes = b"") -> float:
    """Run once and return how many nanoseconds the kernel says the program took.

    Counting must be on, see `counting`; raises KernelError ENODATA if it is not.
    """
    before = syscall.program_info(engine.fileno())
    engine.run(ctx)
    after = syscall.program_info(engine.fileno())
    runs = after.run_cnt - before.run_cnt
    if runs == 0:
        raise KernelError("ENODATA", "this kernel did not count the run (BPF statistics are off)")
    return (after.run_time_ns - before.run_time_ns) / runs


def counting() -> AbstractContextManager[object]:
    """Have the kernel time every program, for the length of a `with` block.

    Raises KernelError EPERM without CAP_SYS_ADMIN.
    """
    return syscall.enable_stats()


def loop(body: str, setup: str = "", name: str = "loop") -> Program:
    """Assemble a syscall program that runs `body` again and again, UNROLL copies per round.

    The number of rounds is the first u64 of its context, which `rounds_ctx` makes. `setup` comes
    before; r1 is the context there. The body may use r0 to r8; the arena is associated anyway.
    """
    lines = [
        "r9 = *(u64 *)(r1 + 0)",
        setup,
        "again:",
        "may_goto done",
        "if r9 == 0 goto done",
        "r9 -= 1",
        *[body] * UNROLL,
        "goto again",
        "done:",
        "r1 = arena ll",
        "r0 = 0",
        "exit",
    ]
    return assemble("\n".join(lines), name=name)


def rounds_ctx(rounds: int) -> bytes:
    """Make the context of a `loop` program: the number of rounds as one u64."""
    return rounds.to_bytes(8, "little")
