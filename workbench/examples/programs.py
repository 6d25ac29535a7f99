"""The example programs of data/programs: what they are, how to run them, how to read their results.

A program leaves its data structures in the arena. The functions here are the user side: they
follow the user addresses that they find in arena memory, in an emulated `Arena` or a real
`KernelArena` alike, and return plain Python values.

    with wb.Arena(pages=64) as arena:
        with wb.Interpreter(programs.load("list")["main"], arena=arena) as engine:
            engine.run()
        print(programs.walk_list(arena))
"""

import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workbench.arena.either import AnyArena
from workbench.arena.rules import PAGE_SIZE, WINDOW, ArenaFlags
from workbench.bpf.files import read_programs
from workbench.bpf.program import Program
from workbench.errors import WorkbenchError
from workbench.evidence import places

if TYPE_CHECKING:
    from workbench.engines.base import Engine


class Context(NamedTuple):
    """The layout of a program's context: a struct format (docs.python.org/library/struct)."""

    format: str = ""
    fields: tuple[str, ...] = ()

    def pack(self, *values: int) -> bytes:
        """Make a context; fields without a value are 0."""
        return struct.pack(self.format, *values, *[0] * (len(self.fields) - len(values)))

    def unpack(self, ctx: bytes) -> dict[str, int]:
        """Read a context, such as Result.ctx, by field name."""
        return dict(zip(self.fields, struct.unpack(self.format, ctx), strict=True))


class Sizes(NamedTuple):
    """Counts for a micro program's ctx[0], a large one and a quick one, with the r0 they give."""

    full: int
    full_r0: int
    quick: int
    quick_r0: int


class Example(NamedTuple):
    """One file of data/programs.

    `pages` is an arena size that shows what the program is about; `contexts` has one layout for
    each of the file's programs, the first being the one to begin with; `sizes` is for the micro
    programs, whose `setup`, if there is one, must run before.
    """

    name: str
    file: str
    summary: str
    pages: int
    contexts: dict[str, Context]
    sizes: Sizes | None = None


def _micro(name: str, summary: str, sizes: Sizes, setup: bool = True) -> Example:
    contexts = {name: Context("<QQ", ("count", "result"))}
    if setup:
        contexts["setup"] = Context()
    return Example(name, f"micro/{name}.bpf", summary, 256, contexts, sizes)


EXAMPLES: tuple[Example, ...] = (
    Example(
        "list",
        "list.bpf",
        "a sorted linked list: add, delete and walk",
        64,
        {
            "main": Context(),
            "add": Context("<QQ", ("value", "address")),
            "delete": Context("<QQ", ("value", "deleted")),
            "walk": Context("<QQ", ("unused", "sum")),
            "build": Context("<QQ", ("count", "built")),
        },
    ),
    Example(
        "hash",
        "hash.bpf",
        "a hash table with chaining: insert, look up and resize",
        64,
        {
            "main": Context(),
            "insert": Context("<QQq", ("key", "value", "inserted")),
            "lookup": Context("<QQQ", ("key", "value", "found")),
            "resize": Context("<Q", ("size",)),
            "fill": Context("<QQ", ("count", "inserted")),
        },
    ),
    Example(
        "allocator",
        "allocator.bpf",
        "runs of pages and small blocks: allocate and free until memory is fragmented",
        64,
        {
            "main": Context(),
            "allocate": Context("<QQ", ("pages", "address")),
            "release": Context("<QQ", ("address", "pages")),
            "bump": Context("<QQ", ("bytes", "address")),
            "churn": Context("<QQQ", ("rounds", "seed", "refused")),
        },
    ),
    _micro(
        "xorshift",
        "xorshift64, rounds: registers only, each step needs the last",
        Sizes(10_000_000, 0x2A2EDEEF160A3819, 1_000, 0x12EAEAD265975125),
        setup=False,
    ),
    _micro(
        "lcg32",
        "32-bit linear congruential generator, rounds: w registers",
        Sizes(10_000_000, 0xC69B1AB9, 1_000, 0x14E875E1),
        setup=False,
    ),
    _micro(
        "memsum",
        "sum of 1 MiB of 64-bit words, passes: independent loads",
        Sizes(100, 0xE5BB374F87CC0000, 1, 0x84DB78DF83EB0000),
    ),
    _micro(
        "chase",
        "linked ring of 65,536 shuffled nodes, rounds: dependent loads",
        Sizes(64, 0x1FFFE00000, 1, 0x7FFF8000),
    ),
    _micro(
        "fnv1a",
        "FNV-1a hash of 1 MiB, passes: byte loads and multiplications",
        Sizes(10, 0xADB5A41B60BE6C7D, 1, 0x4C568ECCAEAF6C44),
    ),
    _micro(
        "primes",
        "trial division below a limit: divisions and branches",
        Sizes(200_000, 0x4640, 1_000, 168),
        setup=False,
    ),
    _micro(
        "sieve",
        "sieve of Eratosthenes below a limit: strided byte stores",
        Sizes(1 << 20, 0x14069, 10_000, 1229),
    ),
)

_BY_NAME = {example.name: example for example in EXAMPLES}


def names() -> tuple[str, ...]:
    """Name every example, data structures first."""
    return tuple(_BY_NAME)


def programs() -> tuple[str, ...]:
    """Name every example; the old name of `names`, which goes in the next release."""
    warnings.warn("programs() is now names()", DeprecationWarning, stacklevel=2)
    return names()


def example(name: str) -> Example:
    """Describe one example; raises WorkbenchError for a name that is not in `names()`."""
    if name not in _BY_NAME:
        raise WorkbenchError(f"no example '{name}'; there are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def path(name: str) -> Path:
    """Return an example's file."""
    return directory() / example(name).file


def load(name: str) -> dict[str, Program]:
    """Assemble the programs of an example, by name and in file order."""
    return read_programs(path(name))


def directory() -> Path:
    """Find the example programs; raises WorkbenchError where they are not installed."""
    return places.data("programs")


def prepare(name: str, arena: AnyArena, engine: "Callable[..., Engine]") -> None:
    """Run a micro program's `setup`, if it has one, in an engine such as `wb.Interpreter`.

    The arena must be fresh and have at least `example(name).pages` pages. Raises WorkbenchError
    where it finds no room for them.
    """
    setup = load(name).get("setup")
    if setup is None:
        return
    with engine(setup, arena=arena) as machine:
        if machine.run().r0 == 0:
            raise WorkbenchError(f"{name}: the arena has not {example(name).pages} pages in a row")


def user_address(arena: AnyArena, pointer: int) -> int:
    """Turn a pointer found in arena memory into a user address.

    It is one already, unless the arena is NO_USER_CONV: then memory holds the low 32 bits, and
    user space must do the conversion that the program was spared.
    """
    if pointer and ArenaFlags.NO_USER_CONV in arena.flags:
        return arena.user_start // WINDOW * WINDOW | pointer % WINDOW
    return pointer


def follow(arena: AnyArena, place: int) -> Iterator[int]:
    """Yield the addresses of linked nodes, each of which begins with a pointer to the next.

    `place` is the user address of the pointer to the first. Raises SegmentationFault where the
    chain leads out of the arena, WorkbenchError where it never ends.
    """
    for _ in range(arena.page_count * PAGE_SIZE // 8):
        place = user_address(arena, arena.user.load(place, "u64"))
        if place == 0:
            return
        yield place
    raise WorkbenchError(f"the chain through {place:#x} does not end")


def walk_list(arena: AnyArena) -> list[int]:
    """Return the values of list.bpf's list, in list order."""
    return [arena.user.load(node + 8, "u64") for node in follow(arena, arena.user_start)]


def walk_hash(arena: AnyArena) -> dict[int, int]:
    """Return the keys and values of hash.bpf's table, in bucket order."""
    load = arena.user.load
    buckets = user_address(arena, load(arena.user_start, "u64"))
    size = load(arena.user_start + 8, "u64")
    entries = (entry for n in range(size) for entry in follow(arena, buckets + 8 * n))
    return {load(entry + 8, "u64"): load(entry + 16, "u64") for entry in entries}


class Run(NamedTuple):
    """Adjacent pages held by allocator.bpf: the first one's user address, and how many."""

    address: int
    pages: int


def walk_runs(arena: AnyArena) -> list[Run]:
    """Return the runs in allocator.bpf's table, by address."""
    table = arena.user_start + 64
    slots = arena.user.array(table, "u64", 64, write=False).reshape(32, 2)
    return sorted(Run(user_address(arena, int(a)), int(n)) for a, n in slots if a)
