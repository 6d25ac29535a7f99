"""What a recording takes: bytes per step in memory, on its way to the browser, and in a file."""

import time
from statistics import median

import numpy as np

from workbench.arena import Arena
from workbench.engines.interpreter.engine import Interpreter
from workbench.examples import programs
from workbench.experiments.bench.pages import Cost
from workbench.recording.format import compress
from workbench.recording.trace import Trace

NAMES = ("lcg32", "chase", "sieve")  # registers alone; mostly loads; stores to many pages
IN_BROWSER = 48  # bytes per step: 1,000,000 steps then take 48 MB there


def measure(steps: int) -> list[Cost]:
    """Record up to `steps` steps of some programs; the figures are medians over the programs."""
    traces = [_record(name, steps) for name in NAMES]
    packed, seconds = zip(*(_packed(trace) for trace in traces), strict=True)
    lengths = [len(trace) for trace in traces]
    rows = {
        "recording, in memory": (map(_memory, traces), None),
        "recording, for the browser": (map(len, packed), IN_BROWSER),
        "recording, compressed": ((len(compress(payload)) for payload in packed), None),
    }
    costs = [
        Cost(name, "B/step", _each(sizes, lengths), None, limit)
        for name, (sizes, limit) in rows.items()
    ]
    return [*costs, Cost("packing a recording", "ns/step", _each(seconds, lengths) * 1e9, None)]


def _record(name: str, steps: int) -> Trace:
    example = programs.example(name)
    assert example.sizes is not None
    with Arena(pages=example.pages) as arena:
        programs.prepare(name, arena, Interpreter)
        with Interpreter(programs.load(name)[name], arena) as engine:
            ctx = example.contexts[name].pack(example.sizes.full)
            trace = engine.run(ctx, steps, "steps", capacity=steps).trace
    assert trace is not None
    return trace


def _packed(trace: Trace) -> tuple[bytes, float]:
    began = time.thread_time()
    return trace.payload(), time.thread_time() - began


def _memory(trace: Trace) -> int:
    """Bytes of the columns and keyframes of a recording."""
    assert trace.recorded is not None
    arrays: list[np.ndarray] = [*trace.recorded.values(), *trace.keyframes]
    return sum(array.nbytes for array in arrays)


def _each(totals, lengths) -> float:  # type: ignore[no-untyped-def]
    return float(median(total / length for total, length in zip(totals, lengths, strict=True)))
