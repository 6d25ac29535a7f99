"""Judge: the programs of every example, in long sessions, leave Linux and the interpreter equal.

Both have an arena at the same address. Programs of one file are run one after the other with
random contexts, and after every run the low half of r0, the context and all arena bytes are equal.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from support.kernel_support import KERNEL

from workbench.arena import Arena, ArenaFlags
from workbench.engines.interpreter.engine import Interpreter
from workbench.engines.kernel import Kernel, KernelArena
from workbench.examples import programs

STRUCTURES = [name for name in programs.names() if programs.example(name).sizes is None]
MICRO = [name for name in programs.names() if programs.example(name).sizes is not None]
FLAGS = [ArenaFlags(0), ArenaFlags.NO_USER_CONV]

pytestmark = KERNEL
flagged = pytest.mark.parametrize("flags", FLAGS, ids=["conversion", "no_user_conv"])


class Pair:
    """One example on Linux and on the interpreter, run in step."""

    def __init__(self, stack: ExitStack, name: str, flags: ArenaFlags, pages: int) -> None:
        self.example = programs.example(name)
        self.real = stack.enter_context(KernelArena(pages, flags))
        self.model = stack.enter_context(Arena(pages, flags, self.real.user_start))
        self.engines = {
            key: (stack.enter_context(Kernel(program, self.real)),
                  stack.enter_context(Interpreter(program, self.model)))
            for key, program in programs.load(name).items()
        }  # fmt: skip

    def run(self, program: str, *values: int) -> dict[str, int]:
        """Run a program on both, hold them equal, and return its context's fields."""
        layout = self.example.contexts[program]
        linux, emulated = (engine.run(layout.pack(*values)) for engine in self.engines[program])
        assert emulated.stop == "exit", emulated
        assert emulated.r0 & 0xFFFFFFFF == linux.r0
        assert emulated.ctx == linux.ctx
        assert not self.real.snapshot().difference(self.model.snapshot())
        return layout.unpack(linux.ctx)


@pytest.fixture
def pair() -> Iterator[Callable[..., Pair]]:
    with ExitStack() as stack:
        yield lambda name, flags, pages: Pair(stack, name, flags, pages)


class Call(NamedTuple):
    """A program to run, and how to choose the first fields of its context."""

    program: str
    values: Callable[[random.Random], tuple[int, ...]]
    weight: int = 4


def small(rng: random.Random) -> int:
    return rng.choice((0, rng.randrange(40), rng.randrange(40), rng.getrandbits(64)))


CALLS = {
    "list": (
        Call("add", lambda rng: (small(rng),), 8),
        Call("delete", lambda rng: (small(rng),)),
        Call("walk", lambda rng: ()),
        Call("build", lambda rng: (rng.randrange(300),), 1),
        Call("main", lambda rng: (), 1),
    ),
    "hash": (
        Call("insert", lambda rng: (small(rng), rng.getrandbits(64)), 8),
        Call("lookup", lambda rng: (small(rng),)),
        Call("resize", lambda rng: (1 << rng.randrange(11),), 2),
        Call("fill", lambda rng: (rng.randrange(200),), 1),
        Call("main", lambda rng: (), 1),
    ),
    "allocator": (
        Call("allocate", lambda rng: (rng.choice((0, 1, 1, 2, 3, 5, 8, 100)),), 8),
        Call("bump", lambda rng: (rng.choice((1, 16, 100, 1000, 4096, 4097)),)),
        Call("churn", lambda rng: (rng.randrange(30), rng.getrandbits(32)), 1),
        Call("main", lambda rng: (), 1),
    ),
}


def test_every_program_has_its_turn() -> None:
    for name in STRUCTURES:
        called = {call.program for call in CALLS[name]} | ({"release"} & set(programs.load(name)))
        assert called == set(programs.load(name))


@flagged
@pytest.mark.parametrize("pages", [3, 64])
@pytest.mark.parametrize("name", STRUCTURES)
def test_sessions(
    name: str, pages: int, flags: ArenaFlags, pair: Callable[..., Pair],
    scale: Callable[[int, int], int],
) -> None:  # fmt: skip
    rng = random.Random(f"{name} {pages} {flags}")
    both, calls = pair(name, flags, pages), CALLS[name]
    weights = [call.weight for call in calls]
    for _ in range(scale(60, 1000)):
        call = rng.choices(calls, weights)[0]
        left = both.run(call.program, *call.values(rng))
        if call.program == "allocate" and rng.random() < 0.5:
            both.run("release", left["address"])


@flagged
@pytest.mark.parametrize("name", MICRO)
def test_micro_programs(name: str, flags: ArenaFlags, pair: Callable[..., Pair]) -> None:
    example = programs.example(name)
    assert example.sizes is not None
    both = pair(name, flags, example.pages + 1)
    if "setup" in both.engines:
        both.run("setup")
    for count in (0, 1, example.sizes.quick):
        result = both.run(name, count)["result"]
    assert result == example.sizes.quick_r0
