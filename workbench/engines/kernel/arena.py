"""A real arena map with the members of the emulated `Arena`, so that either serves the views.

The map is mapped at its user base, so pointers that programs store are addresses of this process.
"""

import mmap
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import numpy as np

from workbench.arena.events import Actor, Kind
from workbench.arena.rules import (
    PAGE_SIZE,
    WINDOW,
    ArenaFlags,
    check_user_range,
    creation_refusal,
    default_user_base,
)
from workbench.arena.snapshot import Snapshot
from workbench.arguments import LAST, MOST, flags, optional, takes, whole
from workbench.bpf.map_types import MapType
from workbench.engines.kernel import memory
from workbench.engines.kernel.log import Log
from workbench.engines.kernel.memory import Mapping
from workbench.engines.kernel.service import Service
from workbench.engines.kernel.syscall import (
    Descriptor,
    create_map,
    freeze_map,
)
from workbench.engines.kernel.user import UserView
from workbench.errors import ArenaError, KernelError, Unsupported

if TYPE_CHECKING:
    import pandas as pd

USER_LIMIT = (1 << 47) - PAGE_SIZE  # of user space with four-level page tables
BASE_STEP = 1 << 33  # between bases of arenas that are open together: twice the largest arena
BASE_ATTEMPTS = 512  # bases that are tried: 4 TiB of 128; not measured


class KernelArena:
    """A BPF arena of the running kernel, mapped into this process at `user_start`.

    `pages` is max_entries; MMAPABLE is implied in `flags`; `user_base` becomes map_extra, None
    takes the usual base, or the next free one 8 GiB further when other arenas are open, and 0
    lets the kernel choose. Raises ArenaError with the errno's name for what Linux refuses,
    KernelError where bpf(2) is unusable; members raise KernelError EBADF after `close`.
    Use as a context manager, or `close`.

        >>> with wb.KernelArena(pages=4) as arena:
        ...     address = arena.alloc()
        ...     arena.user.store(address, "u64", 7)
        ...     arena.live_pages, arena.user.load(address)
        (1, 7)
    """

    @takes(pages=whole(-MOST), flags=flags, user_base=optional(whole(high=LAST)))
    def __init__(
        self, pages: int = 1024, flags: ArenaFlags | int = 0, user_base: int | None = None
    ) -> None:
        self.page_count = pages
        self.flags = ArenaFlags(flags) | ArenaFlags.MMAPABLE
        self._map, mapping = _open(pages, int(self.flags), user_base)
        self._mapping: Mapping | None = mapping
        self.user_start = mapping.address
        self.user_end = self.user_start + mapping.length
        self._service = Service(self._map)
        self._log = Log(self.user_start, pages)
        self._ranges_readable = True
        self._watchers: list[Callable[[], None]] = []
        self.user = UserView(mapping, self._service, self.flags, self._log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        flags = self.flags & ~ArenaFlags.MMAPABLE
        named = f" {flags.name}" if flags else ""
        closed = ", closed" if self.closed else ""
        return f"<KernelArena {self.page_count} pages at {self.user_start:#x}{named}{closed}>"

    def close(self) -> None:
        """Unload the helpers, unmap and give the map back; arrays made before keep their memory."""
        self._service.close()
        self.user.close()
        self._mapping = None
        self._map.close()

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._map.closed

    def fileno(self) -> int:
        """Return the map's file descriptor."""
        return self._map.fileno()

    @property
    def bytes(self) -> np.ndarray:
        """The arena as a zero-copy uint8 array of this process's mapping.

        Touching an absent page of it populates the page, as in any process. Raises Unsupported
        for an arena with SEGV_ON_FAULT and absent pages, where that touch would end the process.
        """
        mapping = self._open_mapping()
        if self.flags & ArenaFlags.SEGV_ON_FAULT and not self.present.all():
            raise Unsupported(
                "a touch of an absent page of this arena ends the process "
                "(SEGV_ON_FAULT); use .user, .snapshot() or .user.array()"
            )
        return mapping.bytes

    def _open_mapping(self) -> Mapping:
        if self._mapping is None:
            raise KernelError("EBADF", "this arena was closed")
        return self._mapping

    # What a program asks for with kfuncs, asked from Python.

    def alloc(self, count: int = 1, address: int = 0, node: int = -1, flags: int = 0) -> int:
        """Call bpf_arena_alloc_pages; returns the user address of the first page, 0 on failure."""
        result = self._service.alloc(address, count, node, flags)
        kind = Kind.ALLOC if result else Kind.ALLOC_FAILED
        self._log.note(kind, Actor.PROGRAM, result or address, count)
        self.program_ran()
        return result

    def free(self, address: int, count: int = 1) -> None:
        """Call bpf_arena_free_pages, silent on every input.

        An address below the arena's start is ignored here: Linux 6.18 would corrupt the arena.
        """
        first = self.user_start - self.user_start % WINDOW + (address % WINDOW & -PAGE_SIZE)
        count &= 0xFFFFFFFF
        if address == 0 or count == 0 or not self.user_start <= first < self.user_end:
            return
        self._service.free(address, count)
        count = min(count, (self.user_end - first) // PAGE_SIZE)
        self._log.note(Kind.FREE, Actor.PROGRAM, first, count)
        self.program_ran()

    def reserve(self, address: int, count: int = 1) -> int:
        """Call bpf_arena_reserve_pages; returns 0 or a negative errno."""
        result = self._service.reserve(address, count)
        if result == 0 and count and address % PAGE_SIZE == 0:
            self._log.note(Kind.RESERVE, Actor.PROGRAM, address, count)
        return result

    def reset(self) -> None:
        """Free every page: pages, contents and placement are again those of a new arena."""
        self._service.free(self.user_start, self.page_count)
        self._log.clear()
        self.program_ran()

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called after each run of a program that may have changed the pages."""
        self._watchers.append(changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        """Stop calling `changed`; raises ValueError if it is not called."""
        self._watchers.remove(changed)

    def program_ran(self) -> None:
        """Call the watchers: a program ran on this arena."""
        for changed in self._watchers:
            changed()

    def freeze(self) -> None:
        """Forbid writable mappings from now on.

        Raises KernelError EBUSY while one exists, such as this object's own.
        """
        freeze_map(self.fileno())

    # Observation.

    @property
    def present(self) -> np.ndarray:
        """Which pages exist, as bool[page_count]; asked without faulting any in."""
        found = np.zeros(self.page_count, bool)
        candidates = self._not_free()
        found[candidates] = self._service.presence(self.user_start + candidates * PAGE_SIZE)
        return found

    def _not_free(self) -> np.ndarray:
        """Page numbers that may be present: those outside the kernel's free ranges, if readable."""
        maybe = np.ones(self.page_count, bool)
        if self._ranges_readable:
            try:
                for first, last in self._service.free_ranges().tolist():
                    maybe[first : last + 1] = False
            except (KernelError, Unsupported):  # asking again would cost two refused programs
                self._ranges_readable = False
        return np.flatnonzero(maybe)

    @property
    def free_extents(self) -> np.ndarray:
        """The kernel's free ranges in address order: int64[n, 2] of (first page, count).

        Read from the kernel's own range tree. Raises KernelError or Unsupported where its layout
        or its memory cannot be read (before Linux 6.13, or lockdown=confidentiality).
        """
        ranges = self._service.free_ranges()
        return np.column_stack([ranges[:, 0], ranges[:, 1] - ranges[:, 0] + 1])

    @property
    def live_pages(self) -> int:
        """How many pages are present."""
        return int(self.present.sum())

    @property
    def free_pages(self) -> int:
        """How many pages can still be allocated; raises as `free_extents` does."""
        return int(self.free_extents[:, 1].sum())

    @property
    def pages(self) -> "pd.DataFrame":
        """A row for each present page: page, address, present, user (mapped there too)."""
        import pandas as pd

        page = np.flatnonzero(self.present)
        user = self.user.mapped(self.user_start, self.page_count)[page]
        address = (self.user_start + page * PAGE_SIZE).astype(np.uint64)
        return pd.DataFrame({"page": page, "address": address, "present": True, "user": user})

    @property
    def events(self) -> "pd.DataFrame":
        """What Python asked of the arena and touched, oldest first; see workbench.arena.events.

        Time counts the events; ns is CLOCK_MONOTONIC. A program's own calls are not seen here.
        """
        return self._log.frame()

    def snapshot(self) -> Snapshot:
        """Copy every present page; neither faults pages in nor maps them for the user."""
        pages = np.flatnonzero(self.present)
        content = self._service.copy(self.user_start + pages * PAGE_SIZE)
        return Snapshot(pages.astype(np.uint32), content)


def _open(pages: int, flags: int, user_base: int | None) -> tuple[Descriptor, Mapping]:
    """Create and map an arena; with no base given, at the first of our bases that is free."""
    if user_base is not None:
        return _open_at(pages, flags, user_base)
    base = default_user_base(pages)
    for attempt in range(BASE_ATTEMPTS):
        try:
            return _open_at(pages, flags, base + attempt * BASE_STEP)
        except ArenaError as error:
            if error.errno_name not in ("EEXIST", "EBUSY"):
                raise
    raise ArenaError("EEXIST", f"{BASE_ATTEMPTS} arenas are open already; close some")


def _open_at(pages: int, flags: int, base: int) -> tuple[Descriptor, Mapping]:
    """Create an arena with map_extra = `base` and map all of it there.

    A base in the kernel's half is refused here: Linux 6.18 creates such an arena, and warns in
    its log when it is then mapped.
    """
    if base + pages * PAGE_SIZE > USER_LIMIT and base % PAGE_SIZE == 0 and base < 1 << 64:
        raise ArenaError(
            "EBUSY",
            f"user space cannot map {pages} pages at {base:#x}; its "
            f"addresses end at {USER_LIMIT:#x}",
        )
    check_user_range(base, pages * PAGE_SIZE)  # Linux 6.18 warns in its log where this raises
    try:
        arena = create_map(MapType.ARENA, 0, 0, pages, flags, base, "arena")
    except KernelError as error:
        if error.errno_name in ("EINVAL", "E2BIG", "ERANGE"):
            raise _refusal(error, pages, flags, base) from None
        raise
    try:
        where = mmap.MAP_SHARED | memory.MAP_FIXED_NOREPLACE if base else mmap.MAP_SHARED
        return arena, Mapping(arena.fileno(), pages * PAGE_SIZE, base, where)
    except KernelError as error:
        arena.close()
        raise ArenaError(
            error.errno_name,
            f"cannot map the arena at {base:#x}; the range may be "
            "in use by another arena or library",
        ) from None


def _refusal(error: KernelError, pages: int, flags: int, base: int) -> ArenaError:
    """Explain a refused creation by our own rules, when they agree with the kernel."""
    known = creation_refusal(pages, flags, base)
    if known is not None and known.errno_name == error.errno_name:
        return ArenaError(*known)
    return ArenaError(
        error.errno_name,
        f"Linux refuses an arena of {pages} pages at {base:#x} with flags {flags:#x}",
    )
