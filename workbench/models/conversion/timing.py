"""A workload under both flags on one engine, timed; one process's share of the repetition."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from workbench.arena import Arena, ArenaFlags
from workbench.errors import WorkbenchError
from workbench.evidence.measurement import Opening, collect
from workbench.models.conversion.workloads import Workload, workload

if TYPE_CHECKING:
    import pandas as pd

    from workbench.engines.base import Engine

    Make = Callable[..., Engine]

FLAGS = {"conversion": ArenaFlags(0), "no_user_conv": ArenaFlags.NO_USER_CONV}
ENGINES = ("kernel", "jit", "interpreter")


def time_workload(
    what: "str | Workload",
    engine: str,
    instances: int = 1,
    iterations: int = 9,
    warmup: int = 2,
    seed: int = 0,
) -> "pd.DataFrame":
    """Time a workload, or one of `workloads` by name, with and without conversion, in turns.

    Returns the frame of `measurement.collect`, in ns per operation, subjects "conversion" and
    "no_user_conv". Each instance has an arena and a loaded program of its own. Raises
    WorkbenchError for a wrong result, KernelError where the kernel cannot be asked.
    """
    load = workload(what) if isinstance(what, str) else what
    subjects = {flag: partial(opened, load, engine, bits) for flag, bits in FLAGS.items()}
    return collect(subjects, instances, iterations, warmup, seed)


def each_engine(load: Workload, engines: Sequence[str]) -> dict[str, Opening]:
    """What opens an instance of a workload, with conversion, by engine: for `collect`."""
    return {engine: partial(opened, load, engine, ArenaFlags(0)) for engine in engines}


@contextmanager
def opened(load: Workload, engine: str, flags: ArenaFlags) -> Iterator[Callable[[], float]]:
    """Open an instance of a workload; what it gives runs it once and returns ns per operation.

    Raises WorkbenchError for an unknown engine, and when a run gives a wrong result.
    """
    if engine not in ENGINES:
        raise WorkbenchError(f"no engine '{engine}'; choose from {', '.join(ENGINES)}")
    open_one = _on_kernel if engine == "kernel" else partial(_in_process, engine)
    with ExitStack() as stack:
        run = open_one(load, flags, stack)
        yield lambda: run() / load.operations


def _in_process(
    engine: str, load: Workload, flags: ArenaFlags, stack: ExitStack
) -> Callable[[], float]:
    """An in-process engine: ns spent executing.

    Its wall time, or the thread's processor time where that is less, as when others interrupted.
    """
    from workbench.engines.interpreter.engine import Interpreter
    from workbench.engines.jit import Jit

    make: Make = Jit if engine == "jit" else Interpreter
    arena = stack.enter_context(Arena(load.pages, flags))
    machine: Engine = stack.enter_context(make(load.program, arena))
    if isinstance(machine, Jit):
        machine.improve()
    if load.setup is not None:
        load.setup(arena, make)

    def run() -> float:
        if load.reset is not None:
            load.reset(arena)
        began = time.thread_time_ns()
        result = machine.run(load.ctx)
        used = time.thread_time_ns() - began
        _check(load, engine, result.r0)
        if result.stop != "exit":
            raise WorkbenchError(f"{load.name} did not come to its exit on {engine}: {result}")
        return min(result.seconds * 1e9, float(used))

    return run


def _on_kernel(load: Workload, flags: ArenaFlags, stack: ExitStack) -> Callable[[], float]:
    """The real kernel: the ns that it counts itself, system call left out."""
    from workbench.engines.kernel import Kernel, KernelArena, counting, run_time

    stack.enter_context(counting())
    arena = stack.enter_context(KernelArena(load.pages, flags))
    machine = stack.enter_context(Kernel(load.program, arena))
    if load.setup is not None:
        load.setup(arena, Kernel)
    _reset(load, arena)
    _check(load, "kernel", machine.run(load.ctx).r0)

    def run() -> float:
        _reset(load, arena)
        return run_time(machine, load.ctx)

    return run


def _reset(load: Workload, arena: object) -> None:
    if load.reset is not None:
        load.reset(arena)  # type: ignore[arg-type]


def _check(load: Workload, engine: str, r0: int) -> None:
    """A time of a wrong result is worth nothing."""
    if load.r0 is not None and r0 & 0xFFFFFFFF != load.r0 & 0xFFFFFFFF:
        raise WorkbenchError(f"{load.name} gave {r0:#x} on {engine}, not {load.r0:#x}")
