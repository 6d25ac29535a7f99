"""The emulated and the real arena as one type: what code may use that works with either.

`workbench.Arena` and `workbench.KernelArena` have these members; neither knows of the other.
"""

from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from workbench.arena.rules import ArenaFlags
from workbench.arena.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd


class UserSide(Protocol):
    """User space looking at an arena; every touch of an absent page is a fault."""

    def load(self, address: int, kind: str = "u64") -> int:
        """Read one number ("u8" to "s64"); raises SegmentationFault."""

    def store(self, address: int, kind: str, value: int) -> None:
        """Write one number, reduced to its width; raises SegmentationFault."""

    def read(self, address: int, size: int) -> bytes:
        """Read bytes; raises SegmentationFault."""

    def write(self, address: int, data: bytes) -> None:
        """Write bytes; raises SegmentationFault."""

    def array(self, address: int, kind: str, count: int, write: bool = True) -> np.ndarray:
        """View `count` numbers without copying, in one dimension; raises SegmentationFault."""

    def describe(
        self, struct: "Callable[..., dict[str, Any]]", walk: "Callable[..., pd.DataFrame]"
    ) -> None:
        """Take over how structures are read."""

    def struct(self, address: int, name: str) -> dict[str, Any]:
        """Read a structure of the object that filled the arena: a dict by member.

        Raises WorkbenchError without such an object, SegmentationFault.
        """

    def walk(self, address: int, name: str, next: str = "next") -> "pd.DataFrame":
        """Follow member `next` until it is NULL: a row per structure.

        Raises WorkbenchError without such an object, SegmentationFault.
        """


class AnyArena(Protocol):
    """An arena, emulated or of the running kernel; a context manager."""

    flags: ArenaFlags
    page_count: int

    @property
    def user(self) -> UserSide:
        """The arena as user space sees it."""

    @property
    def user_start(self) -> int:
        """User address of the first page."""

    @property
    def user_end(self) -> int:
        """User address after the last page."""

    @property
    def live_pages(self) -> int:
        """How many pages are present."""

    @property
    def free_pages(self) -> int:
        """How many pages can still be allocated."""

    @property
    def free_extents(self) -> np.ndarray:
        """Free ranges in address order: int64[n, 2] of (first page, pages)."""

    @property
    def present(self) -> np.ndarray:
        """Which pages are present: bool[page_count]."""

    @property
    def bytes(self) -> np.ndarray:
        """The arena's memory without copying: uint8[page_count * page size]."""

    @property
    def pages(self) -> "pd.DataFrame":
        """A row for each page in use: page, address, present, user (mapped there too)."""

    @property
    def events(self) -> "pd.DataFrame":
        """What happened to pages, oldest first; see workbench.arena.events."""

    def alloc(self, count: int = 1, address: int = 0, node: int = -1, flags: int = 0) -> int:
        """Allocate pages as a program would: the user address of the first, or 0."""

    def free(self, address: int, count: int = 1) -> None:
        """Free pages as a program would; silent on every input."""

    def reserve(self, address: int, count: int = 1) -> int:
        """Keep pages from being allocated: 0 or a negative errno."""

    def snapshot(self) -> Snapshot:
        """Copy the present pages; nothing is faulted in."""

    def close(self) -> None:
        """Give back what the arena holds."""

    def __enter__(self) -> Self:
        """Enter a with block."""

    def __exit__(self, *error: object) -> None:
        """Close."""
