"""How long a new process takes to its first result, with and without compiled code at hand."""

import os
import subprocess
import sys
import tempfile
import time
from statistics import median

from workbench.errors import WorkbenchError
from workbench.evidence import places
from workbench.experiments.bench.pages import Cost

IMPORT = "import workbench"
FIRST_RESULT = """
import workbench as wb
program = wb.assemble("r1 = arena + 0 ll\\nr1 = cast_kern(r1)\\nr0 = *(u64 *)(r1 + 0)\\nexit")
with wb.Arena(pages=64) as arena, wb.Interpreter(program, arena=arena) as engine:
    assert engine.run().stop == "exit"
"""


def measure(repeats: int, cold: bool) -> list[Cost]:
    """Wall seconds of a whole process, Python's own start included; `cold` takes half a minute.

    The compilation cache is a temporary one, so that nothing outside changes.
    """
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as directory:
        python = median(_process("pass", directory) for _ in range(repeats))
        bare = median(_process(IMPORT, directory) for _ in range(repeats))
        first = _process(FIRST_RESULT, directory) if cold else None
        warm = None
        if cold:
            warm = median(_process(FIRST_RESULT, directory) for _ in range(repeats))
    if not cold:
        warm = median(_process(FIRST_RESULT, None) for _ in range(repeats))
    return [
        Cost("python -c pass", "s", python, None),
        Cost("import workbench", "s", bare, None, 1.0),
        Cost("first result, warm cache", "s", warm, None, 1.5),
        Cost("first result, cold cache", "s", first, None, 20.0),
    ]


def _process(code: str, cache: str | None) -> float:
    """Run Python code in a process of its own; return its wall seconds."""
    environment = {**os.environ, "PYTHONPATH": str(places.CHECKOUT)}
    if cache is not None:
        environment["WORKBENCH_CACHE"] = cache
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise WorkbenchError(f"a new process failed: {done.stderr.strip()[-300:]}")
    return seconds
