"""An emulated map as bytes: the memory that compiled code works on, and what bpf(2) does with it.

The kernel's counterpart is workbench.engines.kernel.KernelMap; workbench.maps.Map shows either.
"""

import os
from errno import EINVAL
from pathlib import Path

import numpy as np

from workbench.bpf.declarations import MapDefinition
from workbench.bpf.map_types import ARRAYS, HASHES, HOLDERS, MAP_TYPES, PER_CPU, QUEUES, MapFlag
from workbench.compiled.lazy import lazy_bytes
from workbench.errors import MapError, errno_name
from workbench.maps import layout, operations, ringbuf
from workbench.maps.layout import Field
from workbench.maps.rules import creation_refusal

_LARGEST = 1 << 34  # bytes of values: what the addresses of one map span, both parts
_USUAL_HASHES = 5  # of a bloom filter made without a number (bloom_filter.c)


def possible_cpus() -> int:
    """How many values a per-CPU map has for a key: the processors this machine may have."""
    try:
        text = Path("/sys/devices/system/cpu/possible").read_text()
    except OSError:
        return os.cpu_count() or 1
    return 1 + max(int(part.split("-")[-1]) for part in text.strip().split(","))


class EmulatedMap:
    """One map in the memory of this process.

    `header` is what compiled code gets the address of, `values` the bytes that programs may point
    into. `held` are the maps or programs in a map that holds such, by key. Raises MapError, with
    the errno that Linux gives, for a definition that Linux refuses.
    """

    def __init__(self, definition: MapDefinition, cpus: int | None = None) -> None:
        if refusal := creation_refusal(definition):
            raise MapError(refusal, f"Linux does not make {_described(definition)}")
        self.definition = definition
        self.cpus = (cpus or possible_cpus()) if definition.type in PER_CPU else 1
        self.held: dict[bytes, object] = {}
        self.frozen = False
        self.header = np.zeros(Field.WORDS, np.uint64)
        self._arrays: list[np.ndarray] = []
        self._lay_out()

    @property
    def address(self) -> int:
        """Where compiled code finds the map."""
        return int(self.header.ctypes.data)

    @property
    def value_bytes(self) -> int:
        """Bytes of one key's value as user space has it: all CPUs', each padded to 8."""
        size = self.definition.value_size
        return size if self.definition.type not in PER_CPU else -(-size // 8) * 8 * self.cpus

    def lookup(self, key: bytes) -> bytes | None:
        """The value of a key, for all CPUs; None without one."""
        buffer = _buffer(key)
        at = operations.lookup(self._at, _address(buffer), np.uint64(0), False)
        return None if at == 0 else self._read(int(at), self.value_bytes)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Insert or replace; `value` has all CPUs' values. Raises MapError."""
        self._check_writable()
        self._check_lock(flags)
        one, two = _buffer(key), _buffer(value)
        self._done(
            operations.update(
                self._at, _address(one), _address(two), np.uint64(flags), np.uint64(0), True
            )
        )

    def hold(self, key: bytes, value: object) -> None:
        """Put a map, or a program, into a map that holds such; raises MapError."""
        self.update(key, number_of(value).to_bytes(8, "little"))
        self.held[key] = value

    def delete(self, key: bytes) -> None:
        """Remove a key; raises MapError without it (ENOENT), and for arrays of values (EINVAL)."""
        self._check_writable()
        buffer = _buffer(key)
        self._done(operations.delete(self._at, _address(buffer)))
        self.held.pop(key, None)

    def next_key(self, key: bytes | None) -> bytes | None:
        """The key after another (the first after None); None after the last.

        Arrays go up; hashes go bucket by bucket, as Linux does when made with BPF_F_ZERO_SEED;
        tries go from longer to shorter prefixes, in the order of a walk through the tree. Raises
        MapError (EINVAL) for maps without keys.
        """
        if self.definition.type in ARRAYS:
            index = 0 if key is None else int.from_bytes(key, "little") + 1
            last = index == self.definition.max_entries
            index = 0 if index > self.definition.max_entries else index
            return None if last else index.to_bytes(4, "little")
        if self.definition.type == "lpm_trie":
            return self._next_prefix(key)
        if self.definition.type not in HASHES:
            raise MapError("EINVAL", f"a {self.definition.type} has no keys")
        if key is None:
            at = operations.first(self._at)
        else:
            buffer = _buffer(key)
            at = operations.next_slot(self._at, _address(buffer))
        return None if at == 0 else self._key(int(at) - 1)

    def push(self, value: bytes, flags: int = 0) -> None:
        """Add a value to a queue, stack or bloom filter; raises MapError (E2BIG if it is full)."""
        self._check_writable()
        self._check_lock(flags)
        buffer = _buffer(value)
        self._done(operations.push(self._at, _address(buffer), np.uint64(flags)))

    def peek(self, remove: bool) -> bytes | None:
        """The value that comes out next, taken out with `remove`; None if there is none."""
        buffer = np.zeros(self.definition.value_size, np.uint8)
        if operations.peek(self._at, _address(buffer), remove) != 0:
            return None
        return buffer.tobytes()

    def may_contain(self, value: bytes) -> bool:
        """Whether a value may have been added to a bloom filter."""
        buffer = _buffer(value)
        return bool(operations.peek(self._at, _address(buffer), False) == 0)

    def consume(self) -> bytes | None:
        """The next committed record of a ring buffer; None if there is none."""
        at = int(ringbuf.consume(self._at))
        if at == 0:
            return None
        offset = at - self.values.ctypes.data
        length = int(self.values[offset - 8 : offset - 4].view(np.uint32)[0])
        return self.values[offset : offset + length].tobytes()

    def query(self, what: int) -> int:
        """A ring buffer's bytes to read (0), size (1), consumer (2) or producer position (3)."""
        return int(ringbuf.query(self._at, np.uint64(what)))

    def freeze(self) -> None:
        """Refuse changes from user space from now on; programs are not concerned."""
        self.frozen = True

    def close(self) -> None:
        """Do nothing: memory goes with the last reference."""

    def __len__(self) -> int:
        return int(self.header[Field.COUNT])

    @property
    def _at(self) -> np.uint64:
        return np.uint64(self.header.ctypes.data)

    def _lay_out(self) -> None:
        """Make the arrays and fill in the header."""
        d, kind = self.definition, self.definition.type
        stored = 8 if kind in HOLDERS else d.value_size
        stride = -(-stored // 8) * 8 * self.cpus
        # An update fills a slot before the old one goes: Linux has one to spare for each CPU.
        slots = d.max_entries + (0 if kind in ARRAYS else max(self.cpus, 2))
        if kind in QUEUES:
            slots, stride = d.max_entries + 1, d.value_size
        count = 2 * d.max_entries if kind == "ringbuf" else slots * stride
        self._set("TYPE", MAP_TYPES[kind], "KEY", d.key_size, "VALUE", stored, "SLOTS", slots)
        self._set("MAX", d.max_entries, "FLAGS", d.map_flags, "EXTRA", d.map_extra)
        self._set("STRIDE", stride, "CPUS", self.cpus, "LOCK", d.lock & (1 << 64) - 1)
        if kind == "ringbuf":
            self._set("MASK", d.max_entries - 1)
        if kind == "bloom_filter":
            count = self._lay_out_bloom()
        if kind in HASHES or kind == "lpm_trie":
            self._lay_out_table(slots)
        else:
            self.keys = self._array("KEYS", max(4 * slots if kind in ARRAYS else 0, 1))
        if count > _LARGEST:
            raise MapError("E2BIG", f"the values of {_described(d)} take more than 16 GiB")
        self.values = self._array("VALUES", count)
        self._set("VALUE_BYTES", count)

    def _lay_out_bloom(self) -> int:
        """Bits of a bloom filter as Linux counts them; returns bytes."""
        hashes = self.definition.map_extra & 0xF or _USUAL_HASHES
        wanted = self.definition.max_entries * hashes // 5 * 7  # 7/5 is nearly 1 / ln 2
        bits = 1 << 32 if wanted > 1 << 31 else 1 << (max(wanted, 64) - 1).bit_length()
        self._set("HASHES", hashes, "MASK", bits - 1)
        return bits // 8

    def _lay_out_table(self, slots: int) -> None:
        buckets = 1 << (self.definition.max_entries - 1).bit_length()
        self._set("MASK", buckets - 1)
        self._array("BUCKETS", 8 * buckets)
        self._array("CHAIN", 8 * slots)
        self.keys = self._array("KEYS", slots * self.definition.key_size)
        self._array("USED", slots)
        if self.definition.type == "lpm_trie":
            self._array("LENGTHS", 8 * (8 * self.definition.key_size + 1))
            self._array("SCRATCH", self.definition.key_size)

    def _array(self, field: str, size: int) -> np.ndarray:
        array = lazy_bytes(size)
        self._arrays.append(array)
        self._set(field, array.ctypes.data)
        return array

    def _set(self, *pairs: str | int) -> None:
        for name, value in zip(pairs[::2], pairs[1::2], strict=True):
            self.header[Field[str(name)]] = value

    def _check_writable(self) -> None:
        if self.frozen or self.definition.map_flags & MapFlag.RDONLY:
            raise MapError("EPERM", f"map '{self.definition.name}' is read-only for user space")

    def _check_lock(self, flags: int) -> None:
        """bpf(2) refuses BPF_F_LOCK for a value without a lock before it looks at the key."""
        if flags & layout.LOCKED and self.definition.lock < 0:
            self._done(-EINVAL)

    def _done(self, status: int) -> None:
        if status < 0:
            raise MapError(
                errno_name(-int(status)), f"map '{self.definition.name}' ({self.definition.type})"
            )

    def _read(self, at: int, size: int) -> bytes:
        offset = at - int(self.values.ctypes.data)
        content = bytearray(self.values[offset : offset + size])
        lock = self.definition.lock
        if lock >= 0:
            content[lock : lock + 4] = bytes(4)
        return bytes(content)

    def _key(self, slot: int) -> bytes:
        size = self.definition.key_size
        return self.keys[slot * size : (slot + 1) * size].tobytes()

    def _next_prefix(self, key: bytes | None) -> bytes | None:
        keys, at = [], int(operations.first(self._at))
        while at:
            keys.append(self._key(at - 1))
            at = int(operations.following(self._at, np.uint64(at)))
        ordered = sorted(keys, key=_walk_order)
        same = [n for n, found in enumerate(ordered) if key and _same_prefix(found, key)]
        position = same[0] + 1 if same else 0
        return ordered[position] if position < len(ordered) else None


def number_of(value: object) -> int:
    """How compiled code knows what a map holds: a map by its header, a program by its identity."""
    store = getattr(value, "store", None)
    return store.address if isinstance(store, EmulatedMap) else id(value)


def _prefix(key: bytes) -> str:
    """The bits of a trie's key as text."""
    bits = int.from_bytes(key[:4], "little")
    return "".join(f"{byte:08b}" for byte in key[4:])[:bits]


def _same_prefix(one: bytes, other: bytes) -> bool:
    """Whether keys are of one node; a key with more bits than a trie has is of none."""
    return one[:4] == other[:4] and _prefix(one) == _prefix(other)


def _walk_order(key: bytes) -> str:
    """Sorts a tree's nodes behind those below them."""
    return _prefix(key) + "2"


def _described(definition: MapDefinition) -> str:
    sizes = f"key {definition.key_size}, value {definition.value_size} bytes"
    return (
        f"a {definition.type} '{definition.name}' ({sizes}, {definition.max_entries} entries, "
        f"flags {definition.map_flags:#x})"
    )


def _buffer(content: bytes) -> np.ndarray:
    return np.frombuffer(content or b"\0", np.uint8)


def _address(buffer: np.ndarray) -> np.uint64:
    return np.uint64(buffer.ctypes.data)
