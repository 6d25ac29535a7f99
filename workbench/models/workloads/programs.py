"""What real programs ask for: the examples of data/programs, run in an emulated arena."""

import struct
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from workbench.arena import Arena
from workbench.bpf.program import Program
from workbench.engines.interpreter.engine import Interpreter
from workbench.errors import WorkbenchError
from workbench.examples import programs
from workbench.models import requests


class Work(NamedTuple):
    """A program to run: its file, its name there, and the words of its context for a size."""

    file: str
    program: str
    context: Callable[[int, int], tuple[int, ...]]


PROGRAMS = {
    "list": Work("list", "build", lambda size, seed: (size, 0)),
    "hash": Work("hash", "fill", lambda size, seed: (size, 0)),
    "runs": Work("allocator", "churn", lambda size, seed: (size, seed, 0)),
    "tree": Work("c/tree.o", "grow", lambda size, seed: (size, seed)),
}
"""list: nodes of 16 bytes. hash: a table that doubles. runs: runs of pages, allocated and freed at
random. tree: a red-black tree in C."""


def record(name: str, size: int = 1000, seed: int = 1, pages: int = 1024) -> pd.DataFrame:
    """Run a program in an arena of `pages` pages and return what it and user space asked for.

    `size` is what the program counts: nodes, keys, rounds. Raises WorkbenchError for a name that is
    not in PROGRAMS.
    """
    if name not in PROGRAMS:
        raise WorkbenchError(f"no program '{name}'; there are {', '.join(PROGRAMS)}")
    work = PROGRAMS[name]
    words = work.context(size, seed)
    program, arena = _open(work, pages)
    with arena, Interpreter(program, arena=arena) as engine:
        result = engine.run(ctx=struct.pack(f"<{len(words)}Q", *words))
        if result.stop != "exit":
            raise WorkbenchError(f"{name}: {result.reason}")
        return requests.from_events(arena.events)


def _open(work: Work, pages: int) -> tuple[Program, Arena]:
    """The program and a fresh arena for it, with an object's variables in it."""
    if not work.file.endswith(".o"):
        return programs.load(work.file)[work.program], Arena(pages)
    from workbench.objects import load_object

    loaded = load_object(programs.directory() / work.file)
    return loaded.programs[work.program], loaded.arena(pages=pages)
