"""The emulated arena: what `bpf(BPF_MAP_CREATE)` and `mmap` give, in one Python object."""

import os
import weakref
from typing import TYPE_CHECKING

import numpy as np

from workbench.arena import events
from workbench.arena import state as core
from workbench.arena.holes import text_histogram
from workbench.arena.ranges import FREE_PAGES, extents, take
from workbench.arena.rules import (
    GUARD,
    PAGE_SIZE,
    ArenaFlags,
    check_creation,
    check_user_range,
    default_user_base,
)
from workbench.arena.snapshot import Snapshot
from workbench.arena.user import UserView
from workbench.arguments import LAST, MOST, flags, optional, takes, whole
from workbench.bpf.releases import DEFAULT, Release
from workbench.bpf.releases import release as find_release
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    import pandas as pd


class Arena:
    """A sparse memory of up to 2**20 pages, shared by BPF programs and user space, emulated.

    `user_base` (page aligned; None or 0: one whose low half is not 0) is the user address of the
    first page; user space maps the whole arena there. Raises ArenaError with the errno that
    Linux returns. Memory is committed as it is touched.

    `release` is the Linux that is followed, in the arena and by engines on it: a name such as
    "6.18", or a row of workbench.bpf.releases. Raises Unsupported for one with another allocator.
    Freeing pages below the arena's start is ignored whatever the release.

    >>> arena = wb.Arena(pages=16)
    >>> address = arena.alloc(2)  # as a program would
    >>> arena.user.store(address + 4096, "u64", 42)  # as user space would
    >>> arena
    <Arena 16 pages at 0x100010000000: 2 present, 14 free in 1 ranges>
    """

    @takes(pages=whole(-MOST), flags=flags, user_base=optional(whole(high=LAST)))
    def __init__(
        self,
        pages: int = 1024,
        flags: ArenaFlags | int = 0,
        user_base: int | None = None,
        release: str | Release = DEFAULT,
    ) -> None:
        self.release = find_release(release)
        self.release.require("the emulated arena", allocator="range_tree")
        self.flags = ArenaFlags(flags) | ArenaFlags.MMAPABLE
        start = user_base or default_user_base(max(1, min(pages, 1 << 20)))
        check_creation(pages, int(self.flags), start)
        check_user_range(start, pages * PAGE_SIZE)
        self.page_count = pages
        end = start + pages * PAGE_SIZE
        self.state = core.arena_state(pages, int(self.flags), start, end)
        self.state.meta[core.VMA_START : core.WRITABLE + 1] = start, end, 1
        self.user = UserView(self.state)
        _ALIVE.add(self)

    def alloc(self, count: int = 1, address: int = 0, node: int = -1, flags: int = 0) -> int:
        """Allocate pages as a program would (bpf_arena_alloc_pages): user address, or 0.

        `address` is the user address of the first page wanted, 0 for any.
        """
        arguments = _u64(address), _u64(count), np.int64(_s32(node)), _u64(flags), -1
        return int(core.alloc_pages(self.state, *arguments))

    def free(self, address: int, count: int = 1) -> None:
        """Free pages as a program would (bpf_arena_free_pages); silent on every input."""
        core.free_pages(self.state, _u64(address), _u64(count), -1)

    def reserve(self, address: int, count: int = 1) -> int:
        """Keep pages from being allocated (bpf_arena_reserve_pages): 0 or a negative errno."""
        return int(core.reserve_pages(self.state, _u64(address), _u64(count), -1))

    @property
    def user_start(self) -> int:
        """User address of the first page."""
        return int(self.state.meta[core.START])

    @property
    def user_end(self) -> int:
        """User address after the last page."""
        return int(self.state.meta[core.END])

    @property
    def live_pages(self) -> int:
        """How many pages are present."""
        return int(self.state.meta[core.LIVE])

    @property
    def clock(self) -> int:
        """Instructions executed on this arena so far: the time axis of its events."""
        return int(self.state.meta[core.CLOCK])

    @property
    def page_bits(self) -> np.ndarray:
        """Page bits (PRESENT, USER, DIRTY) of the arena's own pages: a view, uint8[page_count]."""
        first = (self.user_start % (1 << 32)) // PAGE_SIZE + core.GUARD_PAGES
        return self.state.pages[first : first + (self.user_end - self.user_start) // PAGE_SIZE]

    @property
    def present(self) -> np.ndarray:
        """Which pages are present: bool[page_count]."""
        return (self.page_bits & core.PRESENT).astype(bool)

    @property
    def free_extents(self) -> np.ndarray:
        """Free ranges as int64[n, 2] rows (first page, pages), in address order."""
        return extents(self.state.ranges)

    @property
    def free_pages(self) -> int:
        """How many pages can still be allocated."""
        return int(self.state.ranges[FREE_PAGES])

    @property
    def bytes(self) -> np.ndarray:
        """The arena's memory without copying or faulting: uint8[page_count * 4096]."""
        low = GUARD + self.user_start % (1 << 32)
        return self.state.window[low : low + self.user_end - self.user_start]

    @property
    def pages(self) -> "pd.DataFrame":
        """A row for each page ever used: page, address, present, user (mapped there too)."""
        import pandas as pd

        used = np.nonzero(self.page_bits)[0]
        bits = self.page_bits[used]
        return pd.DataFrame(
            {
                "page": used,
                "address": self.user_start + used.astype(np.uint64) * np.uint64(PAGE_SIZE),
                "present": (bits & core.PRESENT).astype(bool),
                "user": (bits & core.USER).astype(bool),
            }
        )

    @property
    def events(self) -> "pd.DataFrame":
        """The newest page events (up to 2**20), oldest first; see workbench.arena.events.

        Its `attrs["lost"]` says how many were before them.
        """
        log = self.state.log
        return events.frame(events.columns(log), lost=events.lost(log))

    def snapshot(self) -> Snapshot:
        """Copy the present pages; nothing is faulted in."""
        present = np.nonzero(self.present)[0]
        content = self.bytes.reshape(-1, PAGE_SIZE)[present]
        return Snapshot(present.astype(np.uint32), content, self.free_extents)

    def restore(self, snapshot: Snapshot) -> None:
        """Make a fresh arena hold what another one held; its log stays empty.

        Without `snapshot.free` every absent page is free. Raises WorkbenchError for an arena that
        is in use, or too small.
        """
        if self.live_pages or self.free_pages != self.page_count:
            raise WorkbenchError("only a fresh arena can be restored; make a new one")
        if len(snapshot.pages) and int(snapshot.pages[-1]) >= self.page_count:
            raise WorkbenchError(f"the snapshot has pages beyond {self.page_count}")
        for first, count in _gaps(self.page_count, snapshot):
            take(self.state.ranges, first, count)
        pages = snapshot.pages.astype(np.int64)
        self.bytes.reshape(-1, PAGE_SIZE)[pages] = snapshot.bytes
        self.page_bits[pages] = core.PRESENT | core.DIRTY
        self.state.meta[core.LIVE] = len(pages)

    def close(self) -> None:
        """Do nothing: memory goes with the last reference. For symmetry with KernelArena."""

    def __enter__(self) -> "Arena":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        flags = self.flags & ~ArenaFlags.MMAPABLE
        named = f" {flags.name}" if flags else ""
        named += f" of Linux {self.release}" if self.release != DEFAULT else ""
        lengths = self.free_extents[:, 1]
        return (
            f"<Arena {self.page_count} pages at {self.user_start:#x}{named}: "
            f"{self.live_pages} present, {self.free_pages} free in {len(lengths)} ranges>"
            + (f"\n{text_histogram(lengths)}" if len(lengths) > 1 else "")
        )


_ALIVE: "weakref.WeakSet[Arena]" = weakref.WeakSet()
_HELD: list[core.ArenaState] = []


def _hold() -> None:
    """Let no thread be in the midst of a change: its child would wait for it for ever."""
    _HELD.extend(arena.state for arena in list(_ALIVE))
    for state in _HELD:
        core.lock(state)


def _let_go() -> None:
    while _HELD:
        core.unlock(_HELD.pop())


os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_let_go)


def _gaps(page_count: int, snapshot: Snapshot) -> list[tuple[int, int]]:
    """What is not free in a snapshot: (first page, pages)."""
    taken = np.zeros(page_count + 2, np.int8)
    if snapshot.free is None:
        taken[snapshot.pages.astype(np.int64) + 1] = 1
    else:
        taken[1:-1] = 1
        for first, count in snapshot.free.tolist():
            taken[first + 1 : first + count + 1] = 0
    edges = np.flatnonzero(np.diff(taken))
    return [(int(first), int(end - first)) for first, end in edges.reshape(-1, 2)]


def _u64(value: int) -> np.uint64:
    try:
        return np.uint64(value & (1 << 64) - 1)
    except TypeError:
        raise _no_number(value) from None


def _s32(value: int) -> int:
    try:
        return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    except TypeError:
        raise _no_number(value) from None


def _no_number(value: object) -> WorkbenchError:
    return WorkbenchError(f"addresses, counts, nodes and flags are whole numbers, not {value!r}")
