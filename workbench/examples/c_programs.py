"""The C examples of data/programs/c: what they are, how to run them, what they must leave behind.

Their objects come along, so that no compiler is needed. Each example is a sequence of programs
that share the arena; afterwards user space walks what they built, by the object's types, and a
model in plain Python says what it must find.

    example = c_programs.example("tree")
    obj = example.load()
    with obj.arena() as arena:
        example.run(obj, arena, wb.Interpreter)
        assert example.walk(obj, arena) == example.model()
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workbench.arena.either import AnyArena
from workbench.errors import WorkbenchError
from workbench.examples import programs
from workbench.objects import Object, load_object

if TYPE_CHECKING:
    from workbench.engines.base import Engine, Result

STRIDE = 1 << 26  # bytes between the pages of the sparse array


class Step(NamedTuple):
    """One program of an example, and its context: 64-bit words."""

    program: str
    context: tuple[int, ...] = ()


class CExample(NamedTuple):
    """An example: programs in turn, what user space finds afterwards, and what it should."""

    name: str
    summary: str
    steps: tuple[Step, ...]
    walk: "Callable[[Object, AnyArena], object]"
    model: Callable[[], object]

    @property
    def source(self) -> Path:
        """The C file."""
        return programs.directory() / "c" / f"{self.name}.c"

    def load(self) -> Object:
        """The object that comes along."""
        return load_object(self.source.with_suffix(".o"))

    def run(self, obj: Object, arena: AnyArena, engine: "Callable[..., Engine]") -> "list[Result]":
        """Run the steps in an engine such as `wb.Interpreter`, up to one that does not exit."""
        results: list[Result] = []
        for step in self.steps:
            context = struct.pack(f"<{len(step.context)}Q", *step.context)
            with engine(obj.program(step.program), arena) as loaded:
                results.append(loaded.run(context))
            if results[-1].stop != "exit":
                break
        return results


def _walk_list(obj: Object, arena: AnyArena) -> list[int]:
    """The list's values, from its head on."""
    head = obj.globals_in(arena)["list_head"]
    return [int(value) for value in obj.walk(arena, int(head), "node")["value"]]  # type: ignore


def _list_model() -> list[int]:
    """Thirty numbers of a generator, the last first, without 244."""
    seed, values = 7, []
    for _ in range(30):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        values.append(seed >> 56)
    return [value for value in reversed(values) if value != 244]


def _walk_hash(obj: Object, arena: AnyArena) -> dict[int, int]:
    """All keys with their values."""
    found: dict[int, int] = {}
    for head in obj.globals_in(arena)["buckets"]:  # type: ignore[union-attr]
        entries = obj.walk(arena, head, "entry")
        found |= dict(zip(entries["key"].tolist(), entries["value"].tolist(), strict=True))
    return dict(sorted(found.items()))


def _hash_model() -> dict[int, int]:
    """The squares of 0, 3, 6, ...; one of them changed, one key more."""
    return dict(sorted(({3 * i: 9 * i * i for i in range(200)} | {30: 5, 31: 6}).items()))


def _walk_tree(obj: Object, arena: AnyArena) -> list[int]:
    """The keys in order; raises WorkbenchError for a tree that breaks the rules of colors."""
    keys: list[int] = []

    def below(address: int, parent: int, red: bool) -> int:
        """Visit a subtree; gives the number of black nodes on each of its paths."""
        if not address:
            return 0
        node = obj.struct(arena, address, "rb_node")
        black = node["color"] == 1
        if node["parent"] != parent or (red and not black):
            raise WorkbenchError(f"the tree is broken at {address:#x}")
        left = below(int(node["left"]), address, not black)  # type: ignore[arg-type]
        keys.append(int(node["key"]))  # type: ignore[arg-type]
        if below(int(node["right"]), address, not black) != left:  # type: ignore[arg-type]
            raise WorkbenchError(f"the paths below {address:#x} differ in black nodes")
        return left + black

    below(int(obj.globals_in(arena)["root"]), 0, False)  # type: ignore[arg-type]
    return keys


def _tree_model() -> list[int]:
    key, keys = 1, set()
    for _ in range(500):
        key = (key * 1103515245 + 12345) & 0xFFFF
        keys.add(key)
    return sorted(keys)


def _walk_atomics(obj: Object, arena: AnyArena) -> dict[str, object]:
    return dict(obj.globals_in(arena))


def _atomics_model() -> dict[str, object]:
    """The variables after one update, one raise to 500, and two turns of the lock."""
    return {
        "narrow": 6,
        "mask": (0xFF00 | 0x0F) & 0xF00F ^ 0x1001,
        "counter": 40,
        "highest": 500,
        "lock_word": 0,
        "guarded": (0 * 3 + 1) * 3 + 1,
    }


def _walk_search(obj: Object, arena: AnyArena) -> list[int]:
    values = obj.globals_in(arena)
    return values["found"][: values["matches"]]  # type: ignore[index,return-value,misc]


def _search_model() -> list[int]:
    text = "it was the best of times, it was the worst of times"
    return [at for at in range(len(text)) if text.startswith("times", at)]


def _walk_lock(obj: Object, arena: AnyArena) -> object:
    return obj.globals_in(arena)["account"]


def _lock_model() -> object:
    """Paid in once; then somebody keeps the lock, and the next one gives up."""
    return {"lock": 1, "failures": 1, "balance": 150, "changes": 1}


def _walk_sparse(obj: Object, arena: AnyArena) -> list[int]:
    values = obj.globals_in(arena)
    first, made = int(values["first"]), int(values["made"])  # type: ignore[arg-type]
    return [arena.user.load(first + i * STRIDE + 8 * i, "u64") for i in range(made)]


def _sparse_model() -> list[int]:
    return [i * i + 1 for i in range(60)]


EXAMPLES: tuple[CExample, ...] = (
    CExample(
        "list",
        "a linked list; user space follows the stored pointers",
        (Step("add", (30,)), Step("walk", (0,)), Step("delete", (244,)), Step("walk", (0,))),
        _walk_list,
        _list_model,
    ),
    CExample(
        "hash",
        "a hash table whose buckets are a global variable",
        (
            Step("fill", (200,)),
            Step("get", (30, 0)),
            Step("get", (31, 7)),
            Step("put", (30, 5)),
            Step("put", (31, 6)),
            Step("get", (30, 0)),
        ),
        _walk_hash,
        _hash_model,
    ),
    CExample(
        "tree",
        "a red-black tree",
        (
            Step("grow", (500, 1)),
            Step("find", (32422,)),
            Step("find", (5,)),
            Step("grow", (20, 1)),
        ),
        _walk_tree,
        _tree_model,
    ),
    CExample(
        "atomics",
        "fetch-and-add, exchange, compare-and-swap, and what x86 cannot fetch",
        (
            Step("update", (0, 0, 0)),
            Step("raise", (500,)),
            Step("locked", (0,)),
            Step("locked", (0,)),
        ),
        _walk_atomics,
        _atomics_model,
    ),
    CExample(
        "lock",
        "a spin lock in arena memory",
        (Step("pay_in", (50,)), Step("hold"), Step("pay_in", (1,))),
        _walk_lock,
        _lock_model,
    ),
    CExample(
        "search",
        "string search in text that user space wrote",
        (Step("search"),),
        _walk_search,
        _search_model,
    ),
    CExample(
        "sparse",
        "a 4 GiB arena with pages far apart",
        (Step("scatter", (60,)), Step("gather", (60,))),
        _walk_sparse,
        _sparse_model,
    ),
)

_BY_NAME = {example.name: example for example in EXAMPLES}


def names() -> tuple[str, ...]:
    """Name every C example."""
    return tuple(_BY_NAME)


def example(name: str) -> CExample:
    """One example; raises WorkbenchError for a name that is not in `names()`."""
    if name not in _BY_NAME:
        raise WorkbenchError(f"no C example '{name}'; there are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]
