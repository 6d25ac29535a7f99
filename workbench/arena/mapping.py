"""How processes map an arena: mmap and its relatives as Linux answers them, mapping nothing.

A small state machine over addresses. It knows which range the arena's mapping has, what else the
process has mapped, and which answer Linux gives; it holds no pages and no resources.

Sources: kernel/bpf/arena.c (get_unmapped_area, mmap), mm/{mmap,mprotect,madvise,mremap}.c; 6.18.
"""

from dataclasses import dataclass, field
from enum import Enum, IntEnum, IntFlag
from typing import NoReturn

from workbench.arena.rules import (
    PAGE_SIZE,
    USER_END,
    WINDOW,
    check_user_range,
    crosses_block,
    default_user_base,
)
from workbench.errors import ArenaError, SegmentationFault

LOWEST_HINT = 65536  # a smaller hint is raised to this (CONFIG_LSM_MMAP_MIN_ADDR)


class Protection(IntFlag):
    """PROT_* of mmap(2)."""

    NONE, READ, WRITE, EXEC = 0, 1, 2, 4


class MapFlags(IntFlag):
    """MAP_* of mmap(2) that matter to an arena; the two low bits are the type."""

    SHARED = 1
    PRIVATE = 2
    SHARED_VALIDATE = 3
    FIXED = 0x10
    LOCKED = 0x2000
    POPULATE = 0x8000
    HUGETLB = 0x40000
    FIXED_NOREPLACE = 0x100000


class RemapFlags(IntFlag):
    """MREMAP_* of mremap(2)."""

    MAYMOVE, FIXED, DONTUNMAP = 1, 2, 4


class SyncFlags(IntFlag):
    """MS_* of msync(2)."""

    ASYNC, INVALIDATE, SYNC = 1, 2, 4


class Advice(IntEnum):
    """MADV_* of madvise(2)."""

    NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED = range(5)
    FREE, REMOVE, DONTFORK, DOFORK = range(8, 12)
    MERGEABLE, UNMERGEABLE, HUGEPAGE, NOHUGEPAGE, DONTDUMP, DODUMP = range(12, 18)
    WIPEONFORK, KEEPONFORK, COLD, PAGEOUT, POPULATE_READ, POPULATE_WRITE = range(18, 24)
    DONTNEED_LOCKED, COLLAPSE = range(24, 26)


class Trait(Enum):
    """Properties of a mapping that advice sets and clears."""

    DONT_COPY, RANDOM, SEQUENTIAL, HUGE, NOT_HUGE, DONT_DUMP = range(6)


READ_WRITE = Protection.READ | Protection.WRITE
_NO_REMAP_FLAGS = RemapFlags(0)
_TYPE = 3  # the bits of MapFlags that are the type
_REFUSED_ADVICE = {
    Advice.FREE: "EINVAL",
    Advice.DODUMP: "EINVAL",
    Advice.WIPEONFORK: "EINVAL",
    Advice.COLLAPSE: "EINVAL",
    Advice.REMOVE: "ENODEV",
}
_NEEDED = {Advice.POPULATE_READ: Protection.READ, Advice.POPULATE_WRITE: Protection.WRITE}
# Advice that changes the mapping: the traits that it clears and those that it sets.
_CHANGES: dict[Advice, tuple[set[Trait], set[Trait]]] = {
    Advice.NORMAL: ({Trait.RANDOM, Trait.SEQUENTIAL}, set()),
    Advice.RANDOM: ({Trait.SEQUENTIAL}, {Trait.RANDOM}),
    Advice.SEQUENTIAL: ({Trait.RANDOM}, {Trait.SEQUENTIAL}),
    Advice.DONTFORK: (set(), {Trait.DONT_COPY}),
    Advice.DOFORK: ({Trait.DONT_COPY}, set()),
    Advice.HUGEPAGE: ({Trait.NOT_HUGE}, {Trait.HUGE}),
    Advice.NOHUGEPAGE: ({Trait.HUGE}, {Trait.NOT_HUGE}),
    Advice.DONTDUMP: (set(), {Trait.DONT_DUMP}),
}


def _refuse(errno_name: str, message: str) -> NoReturn:
    raise ArenaError(errno_name, message)


def _rounded(length: int) -> int:
    return -(-length // PAGE_SIZE) * PAGE_SIZE


@dataclass
class Window:
    """What the arena itself remembers, whoever maps it: `start` and `end` are fixed for ever.

    They come from map_extra, else from the first successful mmap; 0 before it. `was_writable`
    says that it was mapped for writing at least once, which rules out freezing it.
    """

    start: int = 0
    end: int = 0
    frozen: bool = False
    was_writable: bool = False

    @property
    def length(self) -> int:
        """Bytes that every mapping of the arena has."""
        return self.end - self.start

    def check_usable(self) -> None:
        """Raise ArenaError as loading a program does that uses an arena without an address."""
        if not self.start:
            _refuse("EINVAL", "arena's user address must be set via map_extra or mmap()")

    def freeze(self) -> None:
        """Allow no writable mapping from now on (BPF_MAP_FREEZE).

        Raises ArenaError: EPERM if it is frozen already, EBUSY if it was ever mapped writable.
        """
        if self.frozen:
            _refuse("EPERM", "the arena is frozen already")
        if self.was_writable:
            _refuse("EBUSY", "an arena that was ever mapped writable cannot be frozen")
        self.frozen = True


def new_window(pages: int, map_extra: int = 0) -> Window:
    """Return the window of an arena that was just created."""
    return Window(map_extra, map_extra + pages * PAGE_SIZE) if map_extra else Window()


@dataclass
class UserMapping:
    """One process's mapping of an arena: `start`, `length` (0: not mapped), `prot`.

    `others` are the process's remaining mappings as (start, end). Calls answer as Linux does: they
    return what the system call returns, or raise ArenaError with the errno's name.
    """

    window: Window
    start: int = 0
    length: int = 0
    prot: Protection = Protection.NONE
    may_write: bool = True
    traits: frozenset[Trait] = frozenset({Trait.DONT_COPY})
    others: list[tuple[int, int]] = field(default_factory=list)

    @property
    def end(self) -> int:
        """First address after the mapping."""
        return self.start + self.length

    # mmap

    def mmap(
        self,
        length: int,
        address: int = 0,
        prot: Protection = READ_WRITE,
        flags: MapFlags = MapFlags.SHARED,
        offset: int = 0,
    ) -> int:
        """Map the arena; returns the address, even with FIXED maybe not the requested one.

        Lengths and offsets are in bytes. Raises ArenaError with the errno of mmap(2).
        """
        if length == 0 or offset % PAGE_SIZE or flags & MapFlags.HUGETLB:
            _refuse("EINVAL", "the length is 0, the offset unaligned, or huge pages were wanted")
        length, fixed = _rounded(length), flags & (MapFlags.FIXED | MapFlags.FIXED_NOREPLACE)
        address = self._place(address, length, bool(fixed), offset)
        if flags & MapFlags.FIXED_NOREPLACE and not self._is_free(address, length):
            _refuse("EEXIST", f"{address:#x} is in use, and FIXED_NOREPLACE replaces nothing")
        if prot & Protection.EXEC:
            _refuse("EPERM", "an arena cannot be executed")
        if not flags & _TYPE:
            _refuse("EINVAL", "a mapping is SHARED or PRIVATE, and an arena's is SHARED")
        self.munmap(address, length)  # only a fixed address can have something there
        self._admit(address, length, prot, flags)
        return address

    def _place(self, address: int, length: int, fixed: bool, offset: int) -> int:
        """Choose the address (arena_get_unmapped_area and its callers)."""
        if not fixed:
            address &= -PAGE_SIZE
            address = max(address, LOWEST_HINT) if address else 0
        self._check_request(address, length, offset)
        if not fixed and not self._hint_fits(address, 2 * length):
            address = self._anywhere(length)
        if crosses_block(address, length):
            address = -(-address // WINDOW) * WINDOW
        if self.window.start:
            check_user_range(address, length)
        if address > USER_END - length:
            _refuse("ENOMEM", f"{address:#x} is beyond the user's addresses")
        if address % PAGE_SIZE:
            _refuse("EINVAL", f"{address:#x} is not a multiple of 4096")
        return address

    def _check_request(self, address: int, length: int, offset: int) -> None:
        if offset:
            _refuse("EINVAL", "an arena is mapped from its beginning: the offset is 0")
        if length > WINDOW:
            _refuse("E2BIG", "a mapping of an arena has at most 4 GiB")
        if not self.window.start:
            return
        if length > self.window.length:
            _refuse("E2BIG", f"the arena's window has {self.window.length} bytes, for ever")
        if length != self.window.length:
            _refuse("EINVAL", f"the arena's window has {self.window.length} bytes, for ever")
        if address != self.window.start:
            _refuse("EINVAL", f"the arena's address is {self.window.start:#x}, for ever")

    def _hint_fits(self, address: int, length: int) -> bool:
        """Linux keeps a hint only when twice the arena's length is free there."""
        return bool(address) and address <= USER_END - length and self._is_free(address, length)

    def _anywhere(self, length: int) -> int:
        """Choose a place as the workbench does; Linux takes the highest gap of twice the length."""
        address = default_user_base(length // PAGE_SIZE)
        while not self._is_free(address, 2 * length):
            address += 2 * WINDOW
        return address

    def _is_free(self, address: int, length: int) -> bool:
        taken = [*self.others, (self.start, self.end)]
        return all(end <= address or address + length <= start for start, end in taken)

    def _admit(self, address: int, length: int, prot: Protection, flags: MapFlags) -> None:
        """The map's own conditions (bpf_map_mmap, arena_map_mmap), tested when a gap is ready."""
        if flags & _TYPE == MapFlags.PRIVATE:
            _refuse("EINVAL", "a mapping of an arena is SHARED")
        if prot & Protection.WRITE and self.window.frozen:
            _refuse("EPERM", "the arena is frozen: user space may only read it")
        window = self.window.start, self.window.end
        if self.window.start and (address, address + length) != window:
            _refuse("EBUSY", f"{self.window.start:#x}, the arena's address, is in use")
        self.window.start, self.window.end = address, address + length
        self.window.was_writable |= bool(prot & Protection.WRITE)
        self.start, self.length, self.prot = address, length, prot
        self.may_write = bool(prot & Protection.WRITE)
        self.traits = frozenset({Trait.DONT_COPY})

    def map_other(self, address: int, length: int) -> int:
        """Map something else at a fixed address, over whatever is there (anonymous MAP_FIXED).

        Raises ArenaError (EINVAL) where that would split the arena's mapping.
        """
        self.munmap(address, length)
        self.others.append((address, address + _rounded(length)))
        return address

    # the other calls

    def munmap(self, address: int, length: int) -> None:
        """Unmap `length` bytes; nothing happens where nothing is mapped.

        Raises ArenaError (EINVAL) for an unaligned address, a length of 0, or a part of the arena.
        """
        end = address + _rounded(length)
        if address % PAGE_SIZE or length == 0:
            _refuse("EINVAL", "munmap takes a multiple of 4096 and a length that is not 0")
        if self._overlaps(address, end):
            self._keep_whole(address, end)
            self.start, self.length = 0, 0
        pieces = [(start, min(stop, address)) for start, stop in self.others]
        pieces += [(max(start, end), stop) for start, stop in self.others]
        self.others = [(start, stop) for start, stop in pieces if start < stop]

    def mprotect(self, address: int, length: int, prot: Protection) -> None:
        """Change what the user may do; the program's access does not depend on it.

        Raises ArenaError with the errno of mprotect(2): EINVAL, ENOMEM or EACCES.
        """
        end = self._end_of(address, length)
        if end > address and not self.start <= address < self.end:
            _refuse("ENOMEM", f"the arena is not mapped at {address:#x}")
        if end > address and prot != self.prot:
            self._check_protection(prot)
            self._keep_whole(address, end)
            self.prot = prot
        self._check_mapped(address, end)

    def _check_protection(self, prot: Protection) -> None:
        if prot & Protection.EXEC or (prot & Protection.WRITE and not self.may_write):
            _refuse("EACCES", "an arena is never executable; one mapped to read stays read-only")

    def madvise(self, address: int, length: int, advice: Advice) -> None:
        """Give advice; none of it makes an arena lose its data.

        Raises ArenaError with the errno of madvise(2).
        """
        end = self._end_of(address, length)
        if self._overlaps(address, end):
            self._check_advice(advice)
            cleared, added = _CHANGES.get(advice, (set(), set()))
            traits = self.traits - cleared | added
            if traits != self.traits:
                self._keep_whole(address, end)
            self.traits = frozenset(traits)
        self._check_mapped(address, end)

    def _check_advice(self, advice: Advice) -> None:
        if advice is Advice.REMOVE and not self.may_write:
            _refuse("EACCES", "an arena mapped to read cannot be changed")
        if advice in _REFUSED_ADVICE:
            _refuse(_REFUSED_ADVICE[advice], f"{advice.name} does not apply to an arena")
        if advice in _NEEDED and not self.prot & _NEEDED[advice]:
            _refuse("EINVAL", f"{advice.name} needs an access that the mapping does not allow")

    def mremap(
        self, address: int, old_length: int, new_length: int, flags: RemapFlags = _NO_REMAP_FLAGS
    ) -> int:
        """Resize or move, which no arena allows; returns the address when nothing changes.

        `old_length` must not reach out of the mapping. Raises ArenaError: EINVAL or EFAULT.
        """
        moves = flags & (RemapFlags.FIXED | RemapFlags.DONTUNMAP)
        old, new = _rounded(old_length), _rounded(new_length)
        if address % PAGE_SIZE or new == 0 or (moves and not flags & RemapFlags.MAYMOVE):
            _refuse("EINVAL", "mremap takes whole pages, and MAYMOVE to move")
        if flags & RemapFlags.DONTUNMAP and old != new:
            _refuse("EINVAL", "DONTUNMAP does not resize")
        if not self.start <= address < self.end:
            _refuse("EFAULT", f"the arena is not mapped at {address:#x}")
        if new > old:
            _refuse("EFAULT", "an arena's mapping does not grow")
        if moves or new < old:
            _refuse("EINVAL", "an arena's mapping does not move or shrink")
        return address

    def msync(self, address: int, length: int, flags: SyncFlags) -> None:
        """Write back; raises ArenaError, as an arena has no file to write to (EINVAL, ENOMEM)."""
        if flags & SyncFlags.SYNC and flags & SyncFlags.ASYNC:
            _refuse("EINVAL", "write back now or later, not both")
        end = self._end_of(address, length)
        if self._overlaps(address, end) and flags & SyncFlags.SYNC:
            _refuse("EINVAL", "an arena has no storage to synchronise with")
        self._check_mapped(address, end)

    def mlock(self, address: int, length: int) -> None:
        """Lock in memory, or unlock: nothing stays locked, but locking faults the range in.

        Raises ArenaError (ENOMEM) for a range that is not mapped as a whole.
        """
        first = address - address % PAGE_SIZE
        self._check_mapped(first, self._end_of(first, address + length - first))

    def touch(self, address: int, access: str = "load") -> None:
        """Check a user access against mapping and protection; raises SegmentationFault."""
        needed = Protection.WRITE if access == "store" else READ_WRITE
        if not self.start <= address < self.end:
            raise SegmentationFault(address, access, "MAPERR: nothing is mapped there")
        if not self.prot & needed:
            raise SegmentationFault(address, access, "ACCERR: the mapping does not allow it")

    def fork(self) -> "UserMapping":
        """Return the child's mapping: none, unless advice DOFORK was given."""
        if Trait.DONT_COPY in self.traits:
            return UserMapping(self.window, others=list(self.others))
        return UserMapping(
            self.window,
            self.start,
            self.length,
            self.prot,
            self.may_write,
            self.traits,
            list(self.others),
        )

    def _overlaps(self, start: int, end: int) -> bool:
        return max(start, self.start) < min(end, self.end)

    def _end_of(self, address: int, length: int) -> int:
        """Return the end of a range in whole pages, which may be empty."""
        if address % PAGE_SIZE:
            _refuse("EINVAL", f"{address:#x} is not a multiple of 4096")
        return address + _rounded(length)

    def _check_mapped(self, address: int, end: int) -> None:
        """Refuse a range that reaches out of the mapping, after what lies in it was served."""
        if end > address and not (self.start <= address and end <= self.end):
            _refuse("ENOMEM", f"[{address:#x}, {end:#x}) is not mapped as a whole")

    def _keep_whole(self, start: int, end: int) -> None:
        """A mapping of an arena cannot be split in two."""
        if start > self.start or end < self.end:
            _refuse("EINVAL", "only the whole mapping of an arena can be changed or unmapped")
