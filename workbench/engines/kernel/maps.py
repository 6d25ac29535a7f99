"""Maps of the running kernel through bpf(2), as bytes; `kernel_map` shows one as a Map."""

import ctypes
import errno
import mmap
from ctypes import addressof, c_uint32, c_uint64

import numpy.typing as npt

from workbench.arguments import instance, takes
from workbench.bpf.declarations import MapDefinition
from workbench.bpf.map_types import PER_CPU
from workbench.engines.kernel import syscall
from workbench.engines.kernel.declared import made
from workbench.engines.kernel.memory import map_memory, unmap_memory
from workbench.engines.kernel.syscall import Descriptor, bpf
from workbench.errors import KernelError, Unsupported, errno_name
from workbench.maps import Map
from workbench.maps.emulated import possible_cpus
from workbench.maps.ringbuf import BUSY, DISCARDED, HEADER

LOOKUP, UPDATE, DELETE, NEXT_KEY, LOOKUP_AND_DELETE = 1, 2, 3, 4, 21
_ABSENT = (-errno.ENOENT,)


class Element(ctypes.Structure):
    """Attributes of the commands on one element; `value` is the next key for NEXT_KEY."""

    _fields_ = [
        ("map_fd", c_uint32),
        ("_", c_uint32),
        ("key", c_uint64),
        ("value", c_uint64),
        ("flags", c_uint64),
    ]


@takes(definition=instance(MapDefinition))
def kernel_map(
    definition: MapDefinition,
    key: npt.DTypeLike | None = None,
    value: npt.DTypeLike | None = None,
) -> Map:
    """Make a map in the running kernel; arguments as for `workbench.Map`, and used as one.

    Close it, or use it as a context manager. Raises KernelError with the errno's name.

        >>> definition = wb.MapDefinition("counts", "hash", 4, 8, max_entries=16)
        >>> with wb.kernel_map(definition, "u4", "u8") as counts:
        ...     counts.update(3, 40)
        ...     int(counts[3])
        40
    """
    return Map(definition, key, value, KernelMap(definition))


class KernelMap:
    """One map in the kernel: what workbench.maps.EmulatedMap does, done by Linux.

    Methods raise KernelError with the errno's name for what Linux refuses, EBADF after `close`.
    """

    def __init__(self, definition: MapDefinition) -> None:
        self.definition = definition
        self.cpus = possible_cpus() if definition.type in PER_CPU else 1
        self.held: dict[bytes, object] = {}
        self._descriptor: Descriptor = made(definition)
        self._ring: _Ring | None = None

    def fileno(self) -> int:
        """Return the map's file descriptor."""
        return self._descriptor.fileno()

    def lookup(self, key: bytes) -> bytes | None:
        """The value of a key, for all CPUs; None without one."""
        value = self._room()
        return value.raw if self._element(LOOKUP, key, value) == 0 else None

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Insert or replace the value of a key; `flags` are BPF_ANY, BPF_NOEXIST or BPF_EXIST."""
        self._required(UPDATE, key, ctypes.create_string_buffer(value, len(value)), flags)

    def hold(self, key: bytes, value: object) -> None:
        """Put a map or a loaded program into a map that holds such.

        A Program is remembered until an engine with this map loads it. Raises Unsupported for an
        emulated map.
        """
        number = _descriptor_of(value)
        if number is not None:
            self.update(key, number.to_bytes(4, "little"))
        self.held[key] = value

    def delete(self, key: bytes) -> None:
        """Remove a key and its value."""
        self._required(DELETE, key, None)
        self.held.pop(key, None)

    def next_key(self, key: bytes | None) -> bytes | None:
        """The key after another (the first after None); None after the last."""
        following = ctypes.create_string_buffer(max(self.definition.key_size, 1))
        if self._element(NEXT_KEY, key, following) != 0:
            return None
        return following.raw

    def push(self, value: bytes, flags: int = 0) -> None:
        """Add a value."""
        self._required(UPDATE, None, ctypes.create_string_buffer(value, len(value)), flags)

    def peek(self, remove: bool) -> bytes | None:
        """The value that comes out next; None if there is none."""
        value = self._room()
        command = LOOKUP_AND_DELETE if remove else LOOKUP
        return value.raw if self._element(command, None, value) == 0 else None

    def may_contain(self, value: bytes) -> bool:
        """Whether a value may have been added to a bloom filter."""
        asked = ctypes.create_string_buffer(value, len(value))
        return self._element(LOOKUP, None, asked) == 0

    def consume(self) -> bytes | None:
        """The next committed record of a ring buffer; None if there is none."""
        return self._ring_buffer().consume()

    def query(self, what: int) -> int:
        """A number of a ring buffer, by the `what` of bpf_ringbuf_query; 0 for an unknown one."""
        return self._ring_buffer().query(what)

    def freeze(self) -> None:
        """Refuse changes from user space from now on."""
        syscall.freeze_map(self.fileno())

    def close(self) -> None:
        """Give the descriptor back; programs that use the map keep it alive."""
        if self._ring is not None:
            self._ring.close()
        self._descriptor.close()

    def _room(self) -> "ctypes.Array[ctypes.c_char]":
        size = self.definition.value_size
        padded = -(-size // 8) * 8 * self.cpus if self.definition.type in PER_CPU else size
        return ctypes.create_string_buffer(padded)

    def _element(
        self,
        command: int,
        key: bytes | None,
        value: "ctypes.Array[ctypes.c_char] | None",
        flags: int = 0,
    ) -> int:
        """Carry out a command; 0 or the negated errno; raises unless that means 'none there'."""
        result = self._try(command, key, value, flags)
        if result < 0 and result not in _ABSENT:
            self._fail(result)
        return result

    def _required(
        self,
        command: int,
        key: bytes | None,
        value: "ctypes.Array[ctypes.c_char] | None",
        flags: int = 0,
    ) -> None:
        """Carry out a command that must succeed."""
        result = self._try(command, key, value, flags)
        if result < 0:
            self._fail(result)

    def _try(
        self,
        command: int,
        key: bytes | None,
        value: "ctypes.Array[ctypes.c_char] | None",
        flags: int,
    ) -> int:
        kept = None if key is None else ctypes.create_string_buffer(key, max(len(key), 1))
        attributes = Element(
            self.fileno(),
            0,
            addressof(kept) if kept else 0,
            addressof(value) if value else 0,
            flags,
        )
        return bpf(command, attributes)

    def _fail(self, result: int) -> None:
        name = f"map '{self.definition.name}' ({self.definition.type})"
        raise KernelError(errno_name(-result), name)

    def _ring_buffer(self) -> "_Ring":
        if self._ring is None:
            self._ring = _Ring(self.fileno(), self.definition.max_entries)
        return self._ring


class _Ring:
    """A ring buffer's mapping: consumer page (ours to write), producer page, data twice."""

    def __init__(self, fd: int, size: int) -> None:
        page, self._size = mmap.PAGESIZE, size
        self._consumer = map_memory(fd, 0, page)
        self._length = page + 2 * size
        self._rest = map_memory(fd, 0, self._length, mmap.PROT_READ, offset=page)
        self._data = self._rest + page

    def consume(self) -> bytes | None:
        """Read the next record that was not discarded."""
        position, end = _word(self._consumer), _word(self._rest)
        while position.value < end.value:
            at = self._data + position.value % self._size
            length = c_uint32.from_address(at).value
            if length & BUSY:
                return None
            plain = length & ~DISCARDED
            content = ctypes.string_at(at + HEADER, plain)
            position.value += -(-(plain + HEADER) // 8) * 8
            if not length & DISCARDED:
                return content
        return None

    def query(self, what: int) -> int:
        """Numbers as bpf_ringbuf_query gives them."""
        consumer, producer = _word(self._consumer).value, _word(self._rest).value
        return (producer - consumer, self._size, consumer, producer)[what] if what < 4 else 0

    def close(self) -> None:
        """Unmap."""
        unmap_memory(self._consumer, mmap.PAGESIZE)
        unmap_memory(self._rest, self._length)


def _word(address: int) -> c_uint64:
    return c_uint64.from_address(address)


def _descriptor_of(value: object) -> int | None:
    """The file descriptor of a map or of a loaded program; None for a Program."""
    from workbench.bpf.program import Program

    if isinstance(value, Program):
        return None
    store = value.store if isinstance(value, Map) else value
    if not hasattr(store, "fileno"):
        raise Unsupported(
            "the kernel holds maps made by workbench.kernel_map, and its own programs"
        )
    return int(store.fileno())
