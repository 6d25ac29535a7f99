"""The programs that conversion is measured on, small and large, known by name.

structures   list, hash table and red-black tree built, a linked ring walked
stores       a loop of 16 stores, of which some store pointers
NULL share   a loop that converts pointers from a table, of which some are NULL
casts        loops of single casts, as in a paper's first table
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.arena.either import AnyArena
from workbench.arena.rules import PAGE_SIZE, WINDOW
from workbench.bpf.assembler import assemble
from workbench.bpf.program import Program
from workbench.errors import WorkbenchError
from workbench.examples import programs
from workbench.objects import load_object

if TYPE_CHECKING:
    from workbench.engines.base import Engine

    Make = Callable[..., Engine]

UNROLL = 16  # operations in a round, so that the loop itself costs little beside them
SHARES = (0, 25, 50, 75, 100)
TABLE = 512  # pointers in the NULL loop's table: one page
NODES, ENTRIES, KEYS, RING = 4000, 4000, 2000, 65_536
ROUNDS = 2048  # of the loops: 32,768 operations in a run


class Workload(NamedTuple):
    """One program and what it needs, ready for any engine.

    `operations` of kind `unit` is what one run does; `share` is the loops' percentage; `setup`
    fills a fresh arena once (it may run programs, in engines that `make` gives); `reset` brings
    the arena back before each run; `r0` is what the low half of r0 must be (None: not known).
    """

    name: str
    family: str
    program: Program
    pages: int
    ctx: bytes
    operations: int
    unit: str
    share: int | None = None
    setup: "Callable[[AnyArena, Make], object] | None" = None
    reset: "Callable[[AnyArena], object] | None" = None
    r0: int | None = None
    meaning: str = ""


class Case(NamedTuple):
    """A loop body that does `operations` operations, and what waits for what in it."""

    name: str
    body: str
    meaning: str
    operations: int = 1


CLOCK = "add"
"""The case that takes one clock cycle: each addition waits for the last."""
CASES = (
    Case("empty loop", "", "the loop alone, a sixteenth of a round"),
    Case(CLOCK, "r1 += 8", "each addition waits for the last: one clock cycle"),
    Case("cast_kern", "r2 = cast_kern(r1)", "independent casts"),
    Case("cast_user", "r2 = cast_user(r1)", "independent casts"),
    Case("cast_user, store", "r2 = cast_user(r1)\n*(u64 *)(r1 + 0) = r2",
         "independent casts, each result stored"),
    Case("chain", "r2 = cast_user(r1)\nr1 = cast_kern(r2)",
         "each cast waits for the last, over two registers"),
    Case("chain in place", "r1 = cast_user(r1)\nr1 = cast_kern(r1)",
         "each cast waits for the last, in one register"),
    Case("chain, add", "r2 = cast_user(r1)\nr1 = cast_kern(r2)\nr1 += 8",
         "the chain over two registers with one addition in it"),
    Case("16 casts and stores", "r3 = r1\nr4 = 16\nr2 = cast_user(r3)\n*(u64 *)(r3 + 0) = r2\n"
         "r3 += 8\nr4 -= 1\nif r4 != 0 goto -5",
         "a loop over 16 words, its counting included; per word", 16),
    Case("16 casts, may_goto", "r3 = r1\nr4 = 16\nmay_goto +5\nr2 = cast_user(r3)\n"
         "*(u64 *)(r3 + 0) = r2\nr3 += 8\nr4 -= 1\nif r4 != 0 goto -6",
         "the same loop, ended by may_goto, whose counter is in memory", 16),
)  # fmt: skip
SETUP = "r1 = arena + 0 ll\nr1 = cast_kern(r1)\nr2 = r1"


def names(family: str = "") -> tuple[str, ...]:
    """Name every workload, or those of one family."""
    return tuple(w.name for w in _all().values() if family in ("", w.family))


def workload(name: str) -> Workload:
    """The workload called so; raises WorkbenchError for a name that is not in `names()`."""
    if name not in _all():
        raise WorkbenchError(f"no workload '{name}'; there are {', '.join(_all())}")
    return _all()[name]


@cache
def _all() -> dict[str, Workload]:
    found = [_list(), _hash(), _tree(), _ring()]
    found += [stores(share) for share in SHARES]
    found += [nulls(share) for share in SHARES]
    found += [_case(case) for case in CASES]
    return {workload.name: workload for workload in found}


def empty(arena: AnyArena) -> None:
    """Free every page of an arena."""
    arena.free(arena.user_start, arena.page_count)


def _list() -> Workload:
    build = programs.load("list")["build"]
    ctx = programs.example("list").contexts["build"].pack(NODES)
    return Workload(
        "list build", "structures", build, 64, ctx, NODES, "node",
        reset=empty, r0=NODES, meaning="nodes cut from pages, put at the head",
    )  # fmt: skip


def _hash() -> Workload:
    fill = programs.load("hash")["fill"]
    ctx = programs.example("hash").contexts["fill"].pack(ENTRIES)
    return Workload(
        "hash insert and resize", "structures", fill, 128, ctx, ENTRIES, "entry",
        reset=empty, r0=ENTRIES, meaning="8 buckets at first, doubled on the way",
    )  # fmt: skip


def _tree() -> Workload:
    found = load_object(programs.directory() / "c" / "tree.o")
    ctx = KEYS.to_bytes(8, "little") + (1).to_bytes(8, "little")

    def renew(arena: AnyArena) -> None:
        empty(arena)
        found.fill(arena)

    return Workload(
        "red-black tree", "structures", found.program("grow"), 128, ctx, KEYS, "key",
        reset=renew, meaning="scattered keys put into a balanced tree; clang needs no cast_user",
    )  # fmt: skip


def _ring() -> Workload:
    sizes = programs.example("chase").sizes
    assert sizes is not None
    ctx = programs.example("chase").contexts["chase"].pack(1)
    return Workload(
        "pointer-chasing walk", "structures", programs.load("chase")["chase"], 256, ctx, RING,
        "node", setup=lambda arena, make: programs.prepare("chase", arena, make),
        r0=sizes.quick_r0, meaning="a shuffled ring followed: no pointer is stored",
    )  # fmt: skip


def stores(share: int) -> Workload:
    """A loop of 16 stores per round, of which `share` percent store a converted pointer."""
    pointers = UNROLL * share // 100
    lines = []
    for place in range(UNROLL):
        # spread evenly, so that no two shares differ in how they cluster
        pointer = (place + 1) * pointers // UNROLL > place * pointers // UNROLL
        lines += ["r3 = cast_user(r2)"] if pointer else []
        lines += [f"*(u64 *)(r1 + {8 * place}) = {'r3' if pointer else 'r7'}"]
    program = _loop("\n".join(lines), SETUP + "\nr7 = 1", f"stores_{share}")
    return Workload(
        f"stores, {share} % pointers", "stores", program, 1, _count(ROUNDS), ROUNDS * UNROLL,
        "store", share, setup=_first_page, meaning="independent stores to one page",
    )  # fmt: skip


def nulls(share: int, seed: int = 1) -> Workload:
    """A loop that copies a table of pointers, converting each; `share` percent are NULL."""
    line = (
        "r3 = *(u64 *)(r1 + {0})\nr3 = cast_kern(r3)\nr3 = cast_user(r3)\n*(u64 *)(r2 + {0}) = r3"
    )
    body = "\n".join(line.format(8 * place) for place in range(UNROLL))
    rounds = ROUNDS * UNROLL // TABLE
    program = assemble(
        f"""
        r9 = *(u64 *)(r1 + 0)
        again:
        may_goto done
        if r9 == 0 goto done
        r9 -= 1
        r1 = arena + 0 ll
        r1 = cast_kern(r1)
        r2 = arena + {PAGE_SIZE} ll
        r2 = cast_kern(r2)
        r8 = {TABLE // UNROLL}
        part:
        {body}
        r1 += {8 * UNROLL}
        r2 += {8 * UNROLL}
        r8 -= 1
        if r8 != 0 goto part
        goto again
        done:
        r1 = arena ll
        r0 = 0
        exit
        """,
        name=f"nulls_{share}",
    )

    def fill(arena: AnyArena, make: "Make") -> None:
        generator = np.random.default_rng(seed)
        offsets = generator.integers(1, 2 * TABLE, TABLE, np.uint64) * np.uint64(8)
        pointers = (np.uint64(arena.user_start) + offsets) % np.uint64(WINDOW)
        pointers[generator.permutation(TABLE)[: TABLE * share // 100]] = 0
        arena.user.array(arena.user_start, "u64", 2 * TABLE)[:TABLE] = pointers

    return Workload(
        f"pointers, {share} % NULL", "NULL share", program, 2, _count(rounds), ROUNDS * UNROLL,
        "pointer", share, setup=fill, meaning="pointers loaded, converted, stored",
    )  # fmt: skip


def _case(case: Case) -> Workload:
    program = _loop("\n".join([case.body] * UNROLL), SETUP, case.name.replace(" ", "_"))
    return Workload(
        case.name, "casts", program, 1, _count(ROUNDS), ROUNDS * UNROLL * case.operations,
        "operation", setup=_first_page, meaning=case.meaning,
    )  # fmt: skip


def _first_page(arena: AnyArena, make: "Make") -> None:
    arena.alloc(1)


def _count(rounds: int) -> bytes:
    return rounds.to_bytes(8, "little")


def _loop(body: str, setup: str, name: str) -> Program:
    """Assemble a loop whose number of rounds is the context's first u64."""
    lines: list[Any] = ["r9 = *(u64 *)(r1 + 0)", setup, "again:", "may_goto done",
                        "if r9 == 0 goto done", "r9 -= 1", body, "goto again", "done:",
                        "r1 = arena ll", "r0 = 0", "exit"]  # fmt: skip
    return assemble("\n".join(lines), name=name)
