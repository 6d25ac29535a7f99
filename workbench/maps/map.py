"""Maps as Python sees them: one class for the emulated ones and the kernel's."""

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy.typing as npt

from workbench.arguments import instance, takes, want, whole
from workbench.bpf.declarations import MapDefinition
from workbench.bpf.map_types import HOLDERS, KEYLESS, LRU, PER_CPU, QUEUES, MapFlag
from workbench.errors import MapError, Refused, Unsupported, WorkbenchError
from workbench.maps.codec import Codec
from workbench.maps.emulated import EmulatedMap

if TYPE_CHECKING:
    import pandas as pd

ANY, NOEXIST, EXIST = 0, 1, 2
"""Flags of `Map.update`: any key, only a new one, only one that is there."""


class Store(Protocol):
    """A map as bytes: emulated, or in the kernel. Errors have the errno's name."""

    definition: MapDefinition
    cpus: int
    held: dict[bytes, object]

    def lookup(self, key: bytes) -> bytes | None:
        """The value of a key (all CPUs')."""

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Insert or replace."""

    def delete(self, key: bytes) -> None:
        """Remove."""

    def next_key(self, key: bytes | None) -> bytes | None:
        """The key after another."""

    def hold(self, key: bytes, value: object) -> None:
        """Put a map or a program into a map that holds such."""

    def push(self, value: bytes, flags: int = 0) -> None:
        """Add a value to a map without keys."""

    def peek(self, remove: bool) -> bytes | None:
        """The value that comes out next."""

    def may_contain(self, value: bytes) -> bool:
        """Ask a bloom filter."""

    def consume(self) -> bytes | None:
        """Read one record of a ring buffer."""

    def query(self, what: int) -> int:
        """A number of a ring buffer: bytes to read, size, consumer and producer position."""

    def freeze(self) -> None:
        """Refuse changes from user space."""

    def close(self) -> None:
        """Give the map back."""


class Map(MutableMapping[Any, Any]):
    """A BPF map, used like a dict: `m[key]`, `m[key] = value`, `del m[key]`, `for key in m`.

    Keys and values are numbers where they have 1, 2, 4 or 8 bytes, else bytes; `key` and `value`
    are NumPy types that say more, structures become tuples. A per-CPU map gives a list with a
    value for each CPU, and takes one or a single value for all. Queues and stacks have `push`,
    `pop` and `peek`, bloom filters `push` and `may_contain`, ring buffers `consume`. Refusals are
    MapError, of the kernel's maps KernelError, with the errno's name.

    >>> counts = wb.Map(wb.MapDefinition("counts", "hash", 4, 8, 16))
    >>> counts[7] = 1
    >>> counts[7] += 1
    >>> counts, dict(counts)
    (<Map counts: hash, 4-byte keys, 8-byte values, 16 entries>, {7: 2})
    """

    def __init__(
        self,
        definition: MapDefinition,
        key: npt.DTypeLike | None = None,
        value: npt.DTypeLike | None = None,
        store: Store | None = None,
    ) -> None:
        want(definition, "definition", instance(MapDefinition))
        self.store: Store = EmulatedMap(definition) if store is None else store
        self.definition = definition
        self._key = Codec(definition.key_size, key, "key")
        self._value = Codec(definition.value_size, value, "value")

    @property
    def name(self) -> str:
        """The map's name."""
        return self.definition.name

    def __getitem__(self, key: Any) -> Any:
        content = self._key.encode(key)
        if self.definition.type in HOLDERS:
            return self._held(content, key)
        found = self._keyed().lookup(content)
        if found is None:
            raise KeyError(key)
        return self._decoded(found)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.update(key, value)

    def __delitem__(self, key: Any) -> None:
        try:
            self._keyed().delete(self._key.encode(key))
        except Refused as error:
            if error.errno_name == "ENOENT":
                raise KeyError(key) from None
            raise

    def __iter__(self) -> Iterator[Any]:
        return (self._key.decode(key) for key in self._keys())

    def __len__(self) -> int:
        if self.definition.type in KEYLESS:
            raise Unsupported(f"a {self.definition.type} does not say how much it holds")
        return sum(1 for _ in self._keys())

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        d = self.definition
        return (
            f"<Map {d.name}: {d.type}, {d.key_size}-byte keys, {d.value_size}-byte values, "
            f"{d.max_entries:,} entries>"
        )

    def update(self, key: Any, value: Any, flags: int = ANY) -> None:  # type: ignore[override]
        """Insert or replace one value; NOEXIST only inserts, EXIST only replaces.

        Raises MapError or KernelError with the errno's name (EEXIST, ENOENT, E2BIG if it is full),
        WorkbenchError for a key or value that does not fit, Unsupported for a map without keys.
        """
        content = self._key.encode(key)
        if self.definition.type in HOLDERS:
            self._hold(content, value)
        else:
            self._keyed().update(content, self._encoded(value), flags)

    def push(self, value: Any, flags: int = ANY) -> None:
        """Add a value to a queue, stack or bloom filter; EXIST drops the oldest if it is full.

        Raises MapError or KernelError (E2BIG if it is full), Unsupported for other maps.
        """
        self._only(*QUEUES, "bloom_filter").push(self._value.encode(value), flags)

    def pop(self, *key: Any) -> Any:  # type: ignore[override]
        """Take the next value out of a queue or stack; with a key, remove it as a dict does.

        Raises KeyError when there is none, Unsupported for other maps without a key.
        """
        return super().pop(*key) if key else self._out(True)

    def peek(self) -> Any:
        """The next value of a queue or stack, which stays in it; raises KeyError without one."""
        return self._out(False)

    def may_contain(self, value: Any) -> bool:
        """Whether a bloom filter may hold a value; False is certain.

        Raises Unsupported for other maps.
        """
        return self._only("bloom_filter").may_contain(self._value.encode(value))

    def consume(self, limit: int | None = None) -> list[bytes]:
        """Read the committed records of a ring buffer, oldest first, `limit` at most.

        Raises Unsupported for other maps.
        """
        store, found = self._only("ringbuf"), list[bytes]()
        while limit is None or len(found) < limit:
            record = store.consume()
            if record is None:
                break
            found.append(record)
        return found

    @takes(what=whole())
    def query(self, what: int) -> int:
        """A ring buffer's bytes to read (0), size (1), consumer (2) or producer position (3).

        Raises Unsupported for other maps.
        """
        return self._only("ringbuf").query(what)

    def contents(self) -> dict[bytes, bytes]:
        """All keys and values as bytes; raises Unsupported for a map without keys."""
        found = ((key, self.store.lookup(key)) for key in self._keys())
        return {key: value for key, value in found if value is not None}

    @property
    def frame(self) -> "pd.DataFrame":
        """Keys and values as a DataFrame: columns key, value; per-CPU maps a row for each CPU.

        Raises Unsupported for a map without keys.
        """
        import pandas as pd

        if self.definition.type not in PER_CPU:
            return pd.DataFrame(list(self.items()), columns=["key", "value"])
        rows = [
            (key, cpu, value) for key, values in self.items() for cpu, value in enumerate(values)
        ]
        return pd.DataFrame(rows, columns=["key", "cpu", "value"])

    def freeze(self) -> None:
        """Refuse further changes from user space; programs may still write."""
        self.store.freeze()

    def close(self) -> None:
        """Give the map back."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _keys(self) -> Iterator[bytes]:
        """Keys one after the other; ends if a key that was just seen is gone and it starts anew."""
        store, key, seen = self._keyed(), None, set[bytes]()
        while (key := store.next_key(key)) is not None and key not in seen:
            seen.add(key)
            if self.definition.type not in HOLDERS or key in store.held:
                yield key

    def _keyed(self) -> Store:
        if self.definition.type in KEYLESS:
            raise Unsupported(f"a {self.definition.type} has no keys; see the docstring of Map")
        return self.store

    def _only(self, *types: str) -> Store:
        if self.definition.type not in types:
            raise Unsupported(f"a {self.definition.type} cannot do that; a {types[0]} can")
        return self.store

    def _out(self, remove: bool) -> Any:
        found = self._only(*QUEUES).peek(remove)
        if found is None:
            raise KeyError(f"{self.definition.type} '{self.name}' is empty")
        return self._value.decode(found)

    def _encoded(self, value: Any) -> bytes:
        if self.definition.type not in PER_CPU:
            return self._value.encode(value)
        values = value if isinstance(value, list | tuple) else [value] * self.store.cpus
        if len(values) != self.store.cpus:
            raise WorkbenchError(f"{len(values)} values for {self.store.cpus} CPUs")
        padded = -(-self.definition.value_size // 8) * 8
        return b"".join(self._value.encode(one).ljust(padded, b"\0") for one in values)

    def _decoded(self, content: bytes) -> Any:
        if self.definition.type not in PER_CPU:
            return self._value.decode(content)
        padded, size = -(-self.definition.value_size // 8) * 8, self.definition.value_size
        return [self._value.decode(content[at : at + size])
                for at in range(0, len(content), padded)]  # fmt: skip

    def _held(self, content: bytes, key: Any) -> object:
        if content not in self.store.held:
            raise KeyError(key)
        return self.store.held[content]

    def _hold(self, content: bytes, value: Any) -> None:
        if self.definition.type == "perf_event_array":
            raise Unsupported("the workbench opens no perf events; use a ringbuf")
        maps = self.definition.type != "prog_array"
        if maps and not isinstance(value, Map):
            raise WorkbenchError(f"'{self.name}' holds maps, not {type(value).__name__}")
        if maps and (refusal := _unlike(self.definition.inner, value.definition)):
            raise MapError("EINVAL", f"'{value.name}' is no inner map of '{self.name}': {refusal}")
        self.store.hold(content, value)


Content = dict[Any, bytes]
"""What is in a map: values by key, or by number where values come out in order."""


def drained(map: Map) -> Content:
    """Take everything out that can be compared: of queues, stacks and ring buffers by number.

    Values of per-CPU maps are put in order of size, since engines run on different CPUs. Left empty
    are LRU maps, whose choice what to drop differs, bloom filters, and maps that hold maps or
    programs.
    """
    kind, store = map.definition.type, map.store
    if kind in ("bloom_filter", *LRU, *HOLDERS):
        return {}
    if kind == "ringbuf":
        return dict(enumerate(map.consume()))
    if kind in QUEUES:
        values = iter(lambda: store.peek(True), None)
        return {number: value for number, value in enumerate(values) if value is not None}
    if kind not in PER_CPU:
        return map.contents()
    width, size = -(-map.definition.value_size // 8) * 8, map.definition.value_size
    return {
        key: b"".join(sorted(value[at : at + size] for at in range(0, len(value), width)))
        for key, value in map.contents().items()
    }


def _unlike(pattern: MapDefinition | None, found: MapDefinition) -> str:
    """How a map differs from the pattern of inner maps; "" if it does not (bpf_map_meta_equal)."""
    assert pattern is not None
    names = ["type", "key_size", "value_size", "map_flags"]
    if pattern.type == "array" and not pattern.map_flags & MapFlag.INNER_MAP:
        names.append("max_entries")
    for name in names:
        wanted, got = getattr(pattern, name), getattr(found, name)
        if wanted != got:
            return f"{name} is {got}, not {wanted}"
    return ""
