"""No test's verdict depends on how busy the machine is: no assert compares a wall clock."""

import ast
from pathlib import Path

from support.paths import TESTS

CLOCKS = {"perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns"}
# Files that read such a clock, and what for. CPU time (thread_time, process_time) is free for all.
PERMITTED = {
    "conftest.py": "tells how long the cache took to fill",
    "engines/kernel/test_kernel_engine.py": "the kernel's time of a run is part of the call's",
    "engines/kernel/test_kernel_faults.py": "the time of an event lies between two others",
    "support/attack.py": "gives up on a process that hangs",
    "support/browser.py": "gives up waiting, so that nothing hangs",
    "support/cold_cache.py": "kills at random moments of the time that the work takes",
    "support/writers.py": "kills at random moments of the time that the work takes",
}
FILES = {str(path.relative_to(TESTS)): path for path in sorted(TESTS.rglob("*.py"))}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def clocks_read(tree: ast.AST) -> list[int]:
    """Lines that read a wall clock of the module `time`, by either way of importing it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [node.lineno for alias in node.names if alias.name in CLOCKS]
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {f"time.{c}" for c in CLOCKS}:
            found.append(node.lineno)
    return found


def seconds_bounded(tree: ast.AST) -> list[int]:
    """Lines with asserts that hold what is called seconds below a number."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assert):
            continue
        for compare in (n for n in ast.walk(node.test) if isinstance(n, ast.Compare)):
            parts = [compare.left, *compare.comparators]
            names = {n.attr for n in parts if isinstance(n, ast.Attribute)}
            names |= {n.id for n in parts if isinstance(n, ast.Name)}
            numbers = [n.value for n in parts if isinstance(n, ast.Constant)]
            if "seconds" in names and any(numbers):
                found.append(node.lineno)
    return found


def test_wall_clocks_are_read_for_a_listed_reason_alone() -> None:
    """Count work instead, or measure CPU time against other work, with support/cpu_time.py."""
    assert {name for name, path in FILES.items() if clocks_read(parsed(path))} == set(PERMITTED)


def test_no_assert_holds_seconds_below_a_number() -> None:
    found = {name: seconds_bounded(parsed(path)) for name, path in FILES.items()}
    assert not {name: lines for name, lines in found.items() if lines}


def test_a_clock_is_seen() -> None:
    text = (
        "import time\nfrom time import monotonic\nstart = time.perf_counter()\nassert x.seconds < 5"
    )
    assert clocks_read(ast.parse(text)) == [2, 3]
    assert seconds_bounded(ast.parse(text)) == [4]
