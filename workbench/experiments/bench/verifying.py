"""How many instructions a second the verifier looks at, next to Linux's on the same programs."""

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING

from workbench.bpf.assembler import assemble
from workbench.examples import programs
from workbench.experiments.bench.pages import Cost
from workbench.verifier import verify

if TYPE_CHECKING:
    from workbench.bpf.program import Program

LIMIT = 20.0  # µs an instruction: 50,000 a second
REPEATS = 3  # at most, of ours: 100,000 instructions take one to two seconds
LOOP = "r0 = 0\nr1 = 0\nagain:\nr1 += 1\nr0 += r1\nif r1 < {rounds} goto again\nexit"
TOTALS = 4  # the log level at which Linux prints nothing but totals


def subjects(quick: bool) -> "Iterator[tuple[str, Program]]":
    """What data/programs has largest, by instructions that are looked at, and a loop of 100,000."""
    yield "the hash table", programs.load("hash")["main"]
    rounds = 3_333 if quick else 33_333
    yield f"a loop of {3 * rounds:,}", assemble(LOOP.format(rounds=rounds), name="loop")


def measure(repeats: int, quick: bool, kernel: bool) -> tuple[Cost, ...]:
    """Microseconds for each instruction that is looked at, with the log off on both sides."""
    return tuple(
        Cost(
            f"verifier: {name}, each instruction",
            "µs",
            _each(_here, program, min(repeats, REPEATS)),
            _each(_by_linux, program, repeats) if kernel else None,
            LIMIT,
        )
        for name, program in subjects(quick)
    )


def _here(program: "Program") -> int:
    return verify(program).processed


def _by_linux(program: "Program") -> int:
    from workbench.engines.kernel import verdict

    return verdict(program, log_level=TOTALS).processed


def _each(judge: "Callable[[Program], int]", program: "Program", repeats: int) -> float:
    """Median time of an instruction."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        processed = judge(program)
        found.append((time.perf_counter() - began) / processed * 1e6)
    return median(found)
