"""What user space pays to walk what a program built: native pointers, or a base and offsets.

The structures are built by the BPF programs of `workloads`, under either flag, and walked by
compiled code where their pointers point: in the mapping of a real arena, or, without one, in a
copy of the emulated arena at its user addresses. The bytes are the same.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.arena import Arena, ArenaFlags
from workbench.arena.either import AnyArena
from workbench.arena.rules import PAGE_SIZE, WINDOW
from workbench.compiled.lazy import bytes_at
from workbench.errors import WorkbenchError
from workbench.evidence.measurement import collect
from workbench.examples import programs
from workbench.models.conversion import walks
from workbench.models.conversion.timing import FLAGS
from workbench.models.conversion.workloads import RING, Workload, workload
from workbench.objects import load_object

if TYPE_CHECKING:
    import pandas as pd

    from workbench.engines.base import Engine

    Make = Callable[..., Engine]

BASE = 1 << 44  # of copies: far from what the system maps


class Walk(NamedTuple):
    """A way for user space to walk a workload's structure; `operations` are per round."""

    name: str
    builder: str
    operations: int
    rounds: int
    meaning: str


WALKS = {
    "list": Walk("list", "list build", workload("list build").operations, 12,
                 "all nodes in order, 16 bytes apart"),
    "hash": Walk("hash", "hash insert and resize", workload("hash insert and resize").operations,
                 2, "every key looked up, in random order"),
    "ring": Walk("ring", "pointer-chasing walk", RING, 1, "65,536 shuffled nodes of 16 bytes"),
    "tree": Walk("tree", "red-black tree", workload("red-black tree").operations, 1,
                 "every key looked up"),
}  # fmt: skip


def time_walk(
    name: str, engine: str = "jit", instances: int = 1, iterations: int = 15, seed: int = 0
) -> "pd.DataFrame":
    """Time a walk of WALKS over pointers of both kinds, in turns, in this process.

    `engine` built the structure: "kernel" in a real arena, "jit" or "interpreter" in an emulated
    one. Returns the frame of `measurement.collect`, in ns per node or lookup, subjects
    "conversion" (native pointers in memory) and "no_user_conv" (offsets). Every pointer is followed
    with checks before anything is timed. Raises WorkbenchError for an unknown walk, KernelError
    without a kernel.
    """
    if name not in WALKS:
        raise WorkbenchError(f"no walk '{name}'; there are {', '.join(WALKS)}")
    subjects = {flag: partial(opened, WALKS[name], engine, bits) for flag, bits in FLAGS.items()}
    return collect(subjects, instances, iterations, seed=seed)


@contextmanager
def opened(walk: Walk, engine: str, flags: ArenaFlags) -> Iterator[Callable[[], float]]:
    """Build the structure and give a function that walks it and returns ns per operation.

    That raises WorkbenchError for a walk that found something else than the checked one.
    """
    load = workload(walk.builder)
    with ExitStack() as stack:
        arena = _built(load, engine, flags, stack)
        call, expected = _checked_walk(walk, arena)
        if engine != "kernel":
            copy = stack.enter_context(bytes_at(arena.user_start, arena.page_count * PAGE_SIZE))
            copy[:] = arena.bytes

        def run() -> float:
            began = time.thread_time_ns()
            found = call(walk.rounds)
            taken = time.thread_time_ns() - began
            if found != np.uint64(expected * walk.rounds):
                raise WorkbenchError(f"the walk of the {walk.name} gave {found}, not {expected}")
            return taken / (walk.rounds * walk.operations)

        yield run


def _engine(
    engine: str, pages: int, flags: ArenaFlags, stack: ExitStack
) -> "tuple[AnyArena, Make]":
    """A fresh arena of an engine, and what loads programs into it."""
    from workbench.engines.interpreter.engine import Interpreter
    from workbench.engines.jit import Jit

    if engine == "kernel":
        from workbench.engines.kernel import Kernel, KernelArena

        return stack.enter_context(KernelArena(pages, flags)), Kernel
    base = BASE + (WINDOW * 4 if flags else 0) + 16 * PAGE_SIZE
    return Arena(pages, flags, base), Jit if engine == "jit" else Interpreter


def _built(load: Workload, engine: str, flags: ArenaFlags, stack: ExitStack) -> AnyArena:
    """An arena in which an engine has built a workload's structure."""
    arena, make = _engine(engine, load.pages, flags, stack)
    if load.reset is not None:
        load.reset(arena)
    if load.setup is not None:
        load.setup(arena, make)
    else:
        with make(load.program, arena) as machine:
            machine.run(load.ctx)
    return arena


def _checked_walk(walk: Walk, arena: AnyArena) -> tuple[Callable[[int], int], int]:
    """The compiled walk by rounds, and what one round gives, found by a checked walk before."""
    offsets = ArenaFlags.NO_USER_CONV in arena.flags
    base = np.uint64(arena.user_start // WINDOW * WINDOW)
    if walk.name == "hash":
        table, mask, keys, met = _hash(arena)
        if offsets:
            start = table - base
            return lambda rounds: walks.lookup_from_base(base, start, mask, keys, rounds), met
        return lambda rounds: walks.lookup(table, mask, keys, rounds), met
    if walk.name == "tree":
        root, keys, met = _tree(arena)
        if offsets:
            return lambda rounds: walks.search_from_base(base, root - base, keys, rounds), met
        return lambda rounds: walks.search(root, keys, rounds), met
    first, total = _chain(walk, arena)
    if offsets:
        return lambda rounds: walks.chain_from_base(base, first - base, rounds), total
    return lambda rounds: walks.chain(first, rounds), total


def _chain(walk: Walk, arena: AnyArena) -> tuple[np.uint64, int]:
    """The first node of a list or ring, and the sum of its values."""
    start = arena.user_start
    if walk.name == "list":
        nodes = list(programs.follow(arena, start))
        values = [arena.user.load(node + 8, "u64") for node in nodes]
        return np.uint64(nodes[0]), sum(values)
    words = arena.user.array(start, "u64", 2 * RING, write=False)
    low, mask = np.uint64(start % WINDOW), np.uint64(WINDOW - 1)
    follows = (((words[::2] & mask) - low) // np.uint64(16)).tolist()
    follows = [node if pointer else RING for node, pointer in zip(follows, words[::2], strict=True)]
    node, met = 0, 0
    while node < RING and met < RING:
        node, met = follows[node], met + 1
    if node != RING or met != RING:
        raise WorkbenchError(f"the ring is broken after {met} of {RING} nodes")
    return np.uint64(start), int(words[1::2].sum())


def _hash(arena: AnyArena) -> tuple[np.uint64, np.uint64, np.ndarray, int]:
    """Bucket array and mask of the hash table, its keys in random order, entries met."""
    load, start = arena.user.load, arena.user_start
    table, size = programs.user_address(arena, load(start, "u64")), load(start + 8, "u64")
    keys: dict[int, int] = {}
    for bucket in range(size):
        chain = programs.follow(arena, table + 8 * bucket)
        keys |= {load(entry + 8, "u64"): depth for depth, entry in enumerate(chain, 1)}
    return np.uint64(table), np.uint64(size - 1), _shuffled(keys), sum(keys.values())


def _shuffled(keys: Iterable[int]) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.array(list(keys), np.uint64))


def _tree(arena: AnyArena) -> tuple[np.uint64, np.ndarray, int]:
    """Root of the red-black tree, its keys in random order, nodes met."""
    tree = load_object(programs.directory() / "c" / "tree.o")
    root = programs.user_address(arena, int(tree.globals_in(arena)["root"]))  # type: ignore[arg-type]
    keys: dict[int, int] = {}
    todo = [(root, 1)]
    while todo:
        node, depth = todo.pop()
        left, right, _, key = arena.user.array(node, "u64", 4, write=False).tolist()
        keys[key] = depth
        todo += [(programs.user_address(arena, n), depth + 1) for n in (left, right) if n]
    return np.uint64(root), _shuffled(keys), sum(keys.values())
