"""What a program declares besides its instructions: the maps it names and its functions."""

from collections.abc import Sequence
from typing import NamedTuple

from workbench.bpf.map_types import MAP_TYPES


class MapDefinition(NamedTuple):
    """A map as declared: sizes in bytes, flags and extra as bpf(2) takes them.

    `inner` is the pattern for the maps in an array or hash of maps. `values` names what fills the
    first entries: maps, or the programs of a program array; "" leaves one empty. `initial` is the
    content of a map of global variables, which a program may not write if it is `frozen`.
    `lock` is the offset of a bpf_spin_lock in the value, -1 without one. `key_type` and
    `value_type` are names of C types ("" if unknown).

    >>> table = wb.MapDefinition("table", "array", key_size=4, value_size=8, max_entries=3)
    >>> list(wb.Map(table).values())
    [0, 0, 0]
    """

    name: str
    type: str
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    map_flags: int = 0
    map_extra: int = 0
    inner: "MapDefinition | None" = None
    values: tuple[str, ...] = ()
    initial: bytes = b""
    frozen: bool = False
    lock: int = -1
    key_type: str = ""
    value_type: str = ""


class Subprogram(NamedTuple):
    """A function of a program: its first slot and what its BTF says of it.

    `is_global` functions are verified on their own, for any arguments of these kinds: "scalar",
    "ctx", "arena", "mem:SIZE" and "mem_or_null:SIZE" (a pointer to SIZE bytes); any other is the
    C type of a parameter that Linux refuses. `returns` is "scalar" or "void". Static functions are
    verified where they are called, with what they get. `type` is the number of the function's type
    in the program's BTF, 0 without one. The program itself is the one at slot 0.
    """

    pc: int
    name: str
    is_global: bool = False
    arguments: tuple[str, ...] = ()
    returns: str = "scalar"
    type: int = 0


class Field(NamedTuple):
    """A plain value in memory: `size` bytes at `offset` of its structure, or of the arena.

    Members of members have names like "pool.next" and "slots[3]". `kind` is "int", "uint",
    "float", "pointer" or "bytes"; `to` names the structure that a pointer points to, "" if none.
    """

    name: str
    offset: int
    size: int
    kind: str
    to: str = ""


class Layout(NamedTuple):
    """A C structure as bytes: its fields, those of nested structures among them."""

    name: str
    size: int
    fields: tuple[Field, ...]


_SETTINGS = {
    "key": "key_size",
    "value": "value_size",
    "entries": "max_entries",
    "flags": "map_flags",
    "extra": "map_extra",
    "lock": "lock",
}


def read_map(words: Sequence[str]) -> MapDefinition:
    """Read a map written as NAME TYPE key=4 value=8 entries=16 [flags=0] [extra=0] [lock=0].

    Raises ValueError, with what to write.
    """
    if len(words) < 2 or words[1] not in MAP_TYPES or words[1] == "arena":
        known = ", ".join(name for name in MAP_TYPES if name != "arena")
        raise ValueError(f"write .map NAME TYPE key=4 value=8 entries=16; types are {known}")
    settings = {}
    for word in words[2:]:
        name, sign, number = word.partition("=")
        if name not in _SETTINGS or not sign or not number.replace("x", "0").isalnum():
            raise ValueError(f"cannot read '{word}'; settings are {'=N '.join(_SETTINGS)}=N")
        settings[_SETTINGS[name]] = int(number, 0)
    return MapDefinition(words[0], words[1], **settings)  # type: ignore[arg-type]
