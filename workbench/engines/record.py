"""Run a program for its recording."""

from workbench.arena import Arena
from workbench.bpf.program import Program
from workbench.engines.interpreter.engine import Interpreter
from workbench.engines.machine.recorded import CAPACITY
from workbench.recording.trace import Trace


def record(
    program: Program,
    arena: Arena | None = None,
    ctx: bytes = b"",
    fuel: int | None = None,
    verify: bool = True,
    capacity: int = CAPACITY,
) -> Trace:
    r"""Run a program on the interpreter and return the recording of its first `capacity` steps.

    `ctx` is its context, or the packet of a packet program; the run ends after `fuel` steps where
    that is given. Raises VerificationError for a program that may not run, unless `verify` is
    false; then every access is checked as it happens.

        >>> trace = wb.record(wb.assemble("r0 = 6\nr0 *= 7\nexit"))
        >>> len(trace), [int(trace.state(step).registers[0]) for step in (1, 2)]
        (3, [6, 42])
    """
    with Interpreter(program, arena, verify=verify) as engine:
        trace = engine.run(ctx, fuel=fuel, trace="steps", capacity=capacity).trace
    assert trace is not None
    return trace
