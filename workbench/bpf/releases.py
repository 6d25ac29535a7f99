"""Releases of Linux, a row each: what differs between them for programs that use arenas.

A part of the workbench that follows Linux asks the row, and never compares names. Where it follows
only some values of a column, it says so with `Release.require`, which refuses the others: nothing
pretends to be a release that it is not.

Sources: kernel/bpf/arena.c, kernel/bpf/verifier.c, kernel/bpf/stream.c and arch/x86/net of 6.12.117
and 7.3.4; 6.18 is what a 6.18.44 was seen to do (the rows in tests/rows). 6.13 differs from 6.12 in
its allocator, as far as is known here.
"""

import difflib
from typing import NamedTuple

from workbench.errors import Unsupported, WorkbenchError


class Release(NamedTuple):
    """What one release of Linux does.

    `allocator` places an arena's pages; it is the name of a policy in workbench.models.allocators:
    "maple" (the lowest address that fits) or "range_tree" (the smallest range that fits).
    `free_below_start` is what freeing pages below an arena does: "ignored", or it "corrupts" the
    arena's free ranges. `absent_result` is what becomes of the register that an atomic instruction
    fetches into, or a load-acquire loads into, on an absent page: "kept" or "zeroed".

    `arena_kfuncs_sleep`: a program must be sleepable to call an arena's functions.
    `mixed_arithmetic`: one 64-bit instruction may see arena pointers on some paths only.
    `address_at_end`: a program may name the address one past an arena's last byte.
    `signed_loads`: sign-extending loads from an arena exist.
    `lacks` are the kfuncs of the workbench that the release does not have.
    """

    name: str
    allocator: str
    free_below_start: str
    absent_result: str
    arena_kfuncs_sleep: bool
    mixed_arithmetic: bool
    address_at_end: bool
    signed_loads: bool
    lacks: tuple[str, ...]

    def require(self, who: str, **followed: object) -> None:
        """Raise Unsupported unless the columns named have these values, which `who` follows."""
        for column, value in followed.items():
            if (own := getattr(self, column)) != value:
                raise Unsupported(
                    f"{who} does not follow Linux {self.name} yet: {column} is {own!r} there, "
                    f"and {value!r} here"
                )

    def __str__(self) -> str:
        return self.name


_NEWER = ("bpf_arena_reserve_pages", "bpf_local_irq_save", "bpf_local_irq_restore")
_STREAMS = ("bpf_stream_vprintk_impl", "bpf_stream_vprintk")

_ROWS = (
    Release(
        "6.12",
        allocator="maple",
        free_below_start="ignored",
        absent_result="kept",
        arena_kfuncs_sleep=True,
        mixed_arithmetic=True,
        address_at_end=True,
        signed_loads=False,
        lacks=(*_NEWER, *_STREAMS),
    ),
    Release(
        "6.13",
        allocator="range_tree",
        free_below_start="corrupts",
        absent_result="kept",
        arena_kfuncs_sleep=True,
        mixed_arithmetic=True,
        address_at_end=True,
        signed_loads=False,
        lacks=(*_NEWER, *_STREAMS),
    ),
    Release(
        "6.18",
        allocator="range_tree",
        free_below_start="corrupts",
        absent_result="kept",
        arena_kfuncs_sleep=True,
        mixed_arithmetic=True,
        address_at_end=True,
        signed_loads=True,
        lacks=("bpf_stream_vprintk",),
    ),
    Release(
        "7.3",
        allocator="range_tree",
        free_below_start="ignored",
        absent_result="zeroed",
        arena_kfuncs_sleep=False,
        mixed_arithmetic=False,
        address_at_end=False,
        signed_loads=True,
        lacks=("bpf_stream_vprintk_impl",),
    ),
)

RELEASES: dict[str, Release] = {row.name: row for row in _ROWS}
"""By name, oldest first."""

DEFAULT = RELEASES["6.18"]
"""The release that is followed where none is named: the one that was observed."""


def release(name: "str | Release") -> Release:
    """Look up a release of Linux by its name, such as "6.18"; a Release is given back.

    Raises WorkbenchError for one that has no row.

    >>> release("6.12").allocator
    'maple'
    """
    if isinstance(name, Release):
        return name
    if isinstance(name, str) and name in RELEASES:
        return RELEASES[name]
    near = difflib.get_close_matches(str(name), RELEASES, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise WorkbenchError(f"no release of Linux '{name}' is known; {hint}there is "
                         f"{', '.join(RELEASES)}")  # fmt: skip
