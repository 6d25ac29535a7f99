"""The example programs, engine by engine: result, and a digest of every byte of the arena.

The kernel's rows can be recorded: an interpreter whose arena is at the recorded address then has
to give the same digests, on any machine.
"""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from workbench.arena import Arena
from workbench.arena.either import AnyArena
from workbench.arena.rules import ArenaFlags
from workbench.engines.interpreter.engine import Interpreter
from workbench.engines.kernel import Kernel, KernelArena
from workbench.examples import programs

if TYPE_CHECKING:
    from workbench.arena.snapshot import Snapshot

FLAGS = {"conversion": ArenaFlags(0), "no_user_conv": ArenaFlags.NO_USER_CONV}
COLUMNS = ["engine", "program", "flag", "r0", "user_base", "pages_present", "digest"]
SAME = ["program", "flag", "r0", "pages_present", "digest"]


def names() -> list[str]:
    """The examples that build data structures: their `main` does the whole job."""
    return [name for name in programs.names() if programs.example(name).sizes is None]


def run() -> pd.DataFrame:
    """Run every example in real arenas, with and without conversion; see COLUMNS.

    r0 is its low half, all that the kernel returns; the digest is SHA-256 of the present pages'
    numbers and bytes. Raises KernelError or Unsupported where the kernel cannot be asked.
    """
    return pd.DataFrame(list(_kernel_rows()), columns=COLUMNS)


def emulated(like: pd.DataFrame) -> pd.DataFrame:
    """Run the interpreter on the programs, flags and user addresses of the rows of `like`."""
    rows = []
    for row in like.itertuples():
        arena = Arena(_pages(row.program), FLAGS[row.flag], int(row.user_base))
        with arena, Interpreter(programs.load(row.program)["main"], arena) as engine:
            result = engine.run()
            rows.append(_row("interpreter", row.program, row.flag, result.r0, arena))
    return pd.DataFrame(rows, columns=COLUMNS)


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two frames have equal results and arenas."""
    return [one[name].tolist() for name in SAME] == [other[name].tolist() for name in SAME]


def _kernel_rows() -> Iterator[tuple[object, ...]]:
    for name in names():
        for flag, bits in FLAGS.items():
            arena = KernelArena(_pages(name), bits)
            with arena, Kernel(programs.load(name)["main"], arena) as engine:
                yield _row("kernel", name, flag, engine.run().r0, arena)


def _row(engine: str, program: str, flag: str, r0: int, arena: AnyArena) -> tuple[object, ...]:
    shot = arena.snapshot()
    low = r0 & 0xFFFFFFFF
    return engine, program, flag, low, arena.user_start, len(shot.pages), _digest(shot)


def _digest(shot: "Snapshot") -> str:
    return hashlib.sha256(shot.pages.tobytes() + shot.bytes.tobytes()).hexdigest()


def _pages(name: str) -> int:
    return programs.example(name).pages
