"""The functions a program can call: a row per helper or kfunc, for text, verifier and engines.

Argument kinds: "map" (a map reference), "arena_or_scalar" (any arena pointer or number), "scalar".
Sources: kernel/bpf/arena.c (kfuncs), include/uapi/linux/bpf.h (helper numbers).
"""

from typing import NamedTuple


class Function(NamedTuple):
    """A callable row: `number` is the helper id, or for kfuncs our own dispatch number."""

    name: str
    kind: str
    number: int
    arguments: tuple[str, ...]
    sleepable: bool = False


FUNCTIONS: tuple[Function, ...] = (
    Function("bpf_ktime_get_ns", "helper", 5, ()),
    Function("bpf_get_prandom_u32", "helper", 7, ()),
    Function("bpf_get_smp_processor_id", "helper", 8, ()),
    Function("bpf_get_current_pid_tgid", "helper", 14, ()),
    Function(
        "bpf_arena_alloc_pages",
        "kfunc",
        1,
        ("map", "arena_or_scalar", "scalar", "scalar", "scalar"),
        sleepable=True,
    ),
    Function(
        "bpf_arena_free_pages", "kfunc", 2, ("map", "arena_or_scalar", "scalar"), sleepable=True
    ),
    Function(
        "bpf_arena_reserve_pages", "kfunc", 3, ("map", "arena_or_scalar", "scalar"), sleepable=True
    ),
)

BY_NAME: dict[str, Function] = {row.name: row for row in FUNCTIONS}
HELPERS: dict[int, Function] = {row.number: row for row in FUNCTIONS if row.kind == "helper"}
KFUNCS: dict[str, Function] = {row.name: row for row in FUNCTIONS if row.kind == "kfunc"}
