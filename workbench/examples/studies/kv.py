"""The user-space side of the key-value store; data/programs/studies/kv.c answers from it in XDP.

The table is an array of entries in the arena, open addressing with linear probing. Programs may
read while this side writes: every entry has a sequence number that is odd during a change, and so
has the table during a resize.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from workbench.arena.either import AnyArena
from workbench.arena.rules import PAGE_SIZE
from workbench.errors import WorkbenchError
from workbench.examples.studies import native, walks
from workbench.examples.studies.native import PROBES

KEY_BYTES, VALUE_BYTES = 32, 64
EMPTY, DELETED, USED = range(3)
ENTRY = np.dtype(
    [
        ("sequence", "<u4"),
        ("state", "<u2"),
        ("value_bytes", "<u2"),
        ("flags", "<u4"),
        ("touched", "<u4"),
        ("key", "<u8", 4),
        ("value", "<u8", 8),
    ]
)
_TABLE = struct.Struct("<QQQQ")  # sequence, entries, mask, seed
_HEADER = struct.Struct("<IHHII")
_MASK = (1 << 64) - 1
FULL = 0.7  # share of used or deleted entries above which the table grows: probes are few


class Value(NamedTuple):
    """A stored value and the flags that memcached hands back with it."""

    data: bytes
    flags: int = 0


class Store:
    """A key-value store in an arena, changed by user space: up to 32 bytes of key, 64 of value.

    `table` is the user address of the program's table (its global `table`); entries lie from
    `first_page` on, `limit` of them at most (a power of two), then the least recently read make
    room. Raises WorkbenchError for keys and values that do not fit.
    """

    def __init__(
        self, arena: AnyArena, table: int, first_page: int, entries: int = 64, limit: int = 1 << 14
    ) -> None:
        if entries & (entries - 1) or limit & (limit - 1) or not 0 < entries <= limit:
            raise WorkbenchError("entries and limit are powers of two, entries not above limit")
        self.arena, self.table, self.limit = arena, table, limit
        self._next = arena.user_start + first_page * PAGE_SIZE
        self._spare: dict[int, int] = {}  # freed arrays: pages -> address
        self._hand = self._filled = self.count = 0
        self.sequence = 0
        self._publish(self._new_array(entries), entries)

    def __len__(self) -> int:
        return self.count

    def __setitem__(self, key: bytes, value: bytes | Value) -> None:
        """Insert or replace."""
        content = value if isinstance(value, Value) else Value(value)
        words = _padded(key, KEY_BYTES, "key")
        body = _padded(content.data, VALUE_BYTES, "value")
        place = self._find(words) or self._room(words)
        self._write(place, words, body, content)

    def __getitem__(self, key: bytes) -> Value:
        place = self._find(_padded(key, KEY_BYTES, "key"))
        if not place:
            raise KeyError(key)
        _, _, size, flags, _ = _HEADER.unpack(self.arena.user.read(place, _HEADER.size))
        return Value(self.arena.user.read(place + 48, size), flags)

    def __delitem__(self, key: bytes) -> None:
        place = self._find(_padded(key, KEY_BYTES, "key"))
        if not place:
            raise KeyError(key)
        self._delete(place)

    def __contains__(self, key: bytes) -> bool:
        return bool(self._find(_padded(key, KEY_BYTES, "key")))

    def __iter__(self) -> Iterator[bytes]:
        """Every key, in table order."""
        for n in range(self.size):
            if self.arena.user.load(self._at(n) + 4, "u16") == USED:
                yield self.arena.user.read(self._at(n) + 16, KEY_BYTES).rstrip(b"\0")

    def update(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Insert or replace many, natively: compiled code writes to the arena's memory.

        The table grows, or forgets, as in single changes.
        """
        words = b"".join(_padded(key, KEY_BYTES, "key") for key in keys)
        body = b"".join(_padded(value, VALUE_BYTES, "value") for value in values)
        lengths = np.array([len(value) for value in values], np.uint64)
        columns = np.frombuffer(words, np.uint64).reshape(-1, 4)
        content = np.frombuffer(body, np.uint64).reshape(-1, 8)
        row = 0
        while row < len(keys):
            array, room = self.host, max(0, int(FULL * self.size) - self._filled)
            row, new, filled = native.put_many(
                array, self.size, room, columns, content, lengths, row
            )
            self.count += new
            self._filled += filled
            if row < len(keys):
                self[keys[row]] = values[row]
                row += 1

    @property
    def host(self) -> np.uint64:
        """The host address of the entries, for compiled code."""
        return walks.host_of(walks.view_of(self.arena), np.uint64(self.entries))

    def rewrite(self, key: bytes, rounds: int) -> None:
        """Replace a key's value natively, `rounds` times: eight words, all the round's number."""
        words = np.frombuffer(_padded(key, KEY_BYTES, "key"), np.uint64)
        native.rewrite(self.host, self.size, words, rounds)

    def discard(self, key: bytes) -> bool:
        """Delete a key natively; False if it was not there."""
        words = np.frombuffer(_padded(key, KEY_BYTES, "key"), np.uint64)
        place, used = native.find_entry(self.host, self.size, words)
        if used:
            native.delete_entry(place)
            self.count -= 1
        return bool(used)

    @property
    def pages(self) -> int:
        """Pages that the entries take."""
        return _pages(self.size)

    def _at(self, index: int) -> int:
        return self.entries + (index & (self.size - 1)) * ENTRY.itemsize

    def _find(self, words: bytes) -> int:
        """The user address of a key's entry, or 0."""
        user, start = self.arena.user, hash_key(words)
        for n in range(min(PROBES, self.size)):
            place = self._at(start + n)
            state = user.load(place + 4, "u16")
            if state == EMPTY:
                return 0
            if state == USED and user.read(place + 16, KEY_BYTES) == words:
                return place
        return 0

    def _room(self, words: bytes) -> int:
        """A free entry for a new key; the table grows, or at its limit forgets, if need be."""
        place = self._hole(words) if self._filled < FULL * self.size else 0
        while not place and self.size < self.limit:
            self._rebuild(2 * self.size)
            place = self._hole(words)
        if not place:
            if self.count >= 0.5 * self.size:
                self._evict()
            self._rebuild(self.size)
            place = self._hole(words) or self._victim(words)
        return place

    def _victim(self, words: bytes) -> int:
        """The entry that makes room where a key's probes find none: an unread one if there is."""
        start = hash_key(words)
        places = [self._at(start + n) for n in range(min(PROBES, self.size))]
        unread = [place for place in places if not self.arena.user.load(place + 12, "u32")]
        place = (unread or places)[0]
        self._delete(place)
        return place

    def _hole(self, words: bytes) -> int:
        start = hash_key(words)
        for n in range(min(PROBES, self.size)):
            place = self._at(start + n)
            if self.arena.user.load(place + 4, "u16") != USED:
                return place
        return 0

    def _write(self, place: int, words: bytes, body: bytes, content: Value) -> None:
        """Change an entry under its sequence number."""
        user = self.arena.user
        before, state, _, _, touched = _HEADER.unpack(user.read(place, _HEADER.size))
        user.store(place, "u32", before + 1 & 0xFFFFFFFF)
        user.write(place + 16, words + body)
        user.write(place + 4, struct.pack("<HHII", USED, len(content.data), content.flags, touched))
        user.store(place, "u32", before + 2 & 0xFFFFFFFF)
        self.count += state != USED
        self._filled += state == EMPTY

    def _delete(self, place: int) -> None:
        user = self.arena.user
        before = user.load(place, "u32")
        user.store(place, "u32", before + 1 & 0xFFFFFFFF)
        user.store(place + 4, "u16", DELETED)
        user.store(place, "u32", before + 2 & 0xFFFFFFFF)
        self.count -= 1

    def _evict(self) -> None:
        """Let the clock's hand pass until an eighth of the entries is gone: the unread ones."""
        user, goal = self.arena.user, self.count - max(1, self.count // 8)
        for _ in range(2 * self.size):
            place = self._at(self._hand)
            self._hand += 1
            if user.load(place + 4, "u16") != USED:
                continue
            if user.load(place + 12, "u32"):
                user.store(place + 12, "u32", 0)
            else:
                self._delete(place)
                if self.count <= goal:
                    return

    def _rebuild(self, size: int) -> None:
        """Move what is used to a new array and publish that; readers meanwhile see the old one."""
        user = self.arena.user
        old, old_size = self.entries, self.size
        kept = [
            user.read(old + n * ENTRY.itemsize, ENTRY.itemsize)
            for n in range(old_size)
            if user.load(old + n * ENTRY.itemsize + 4, "u16") == USED
        ]
        array = self._new_array(size)
        while not self._place_all(array, size, kept):
            self.arena.free(array, _pages(size))
            size *= 2
            array = self._new_array(size)
        self._publish(array, size)
        self.arena.free(old, _pages(old_size))
        self._spare[_pages(old_size)] = old

    def _place_all(self, array: int, size: int, entries: list[bytes]) -> bool:
        """Put whole entries into an array that nobody reads yet; False if one finds no place."""
        user = self.arena.user
        for entry in entries:
            start = hash_key(entry[16 : 16 + KEY_BYTES])
            for n in range(min(PROBES, size)):
                place = array + ((start + n) & (size - 1)) * ENTRY.itemsize
                if user.load(place + 4, "u16") == EMPTY:
                    user.write(place, entry)
                    break
            else:
                return False
        self._filled = len(entries)
        return True

    def _new_array(self, entries: int) -> int:
        """Populate zeroed pages for an array, by touching them; its user address."""
        pages = _pages(entries)
        address = self._spare.pop(pages, 0)
        if not address:
            address = self._next
            self._next += pages * PAGE_SIZE
        for page in range(pages):
            self.arena.user.write(address + page * PAGE_SIZE, bytes(PAGE_SIZE))
        return address

    def _publish(self, array: int, size: int) -> None:
        """Let programs see an array, under the table's sequence number."""
        user = self.arena.user
        user.store(self.table, "u64", self.sequence + 1)
        user.write(self.table + 8, struct.pack("<QQQ", array, size - 1, 0))
        self.sequence += 2
        user.store(self.table, "u64", self.sequence)
        self.entries, self.size = array, size


def hash_key(words: bytes) -> int:
    """The hash of a padded key, as kv.c computes it with seed 0."""
    value = 0
    for word in struct.unpack("<4Q", words):
        value = (value ^ word) * 0x9E3779B97F4A7C15 & _MASK
        value ^= value >> 32
    return value


def _pages(entries: int) -> int:
    """Pages that an array of entries takes."""
    return -(-entries * ENTRY.itemsize // PAGE_SIZE)


def _padded(text: bytes, size: int, what: str) -> bytes:
    if len(text) > size or (what == "key" and not text):
        raise WorkbenchError(f"a {what} has 1 to {size} bytes, not {len(text)}: {text[:20]!r}")
    return text.ljust(size, b"\0")
