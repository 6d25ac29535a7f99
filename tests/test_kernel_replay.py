"""Judge: one workload replayed under the emulated range tree and on a real arena, row by row.

Every request gets the same pages on both, and the free extents that the kernel's own range tree
holds give the same fragmentation curves as the replay.
"""

import numpy as np
import pytest
from kernel_support import KERNEL

import workbench as wb
from workbench import fragmentation, workloads
from workbench.allocators import replay
from workbench.allocators.replay import SIZES

pytestmark = KERNEL
PAGE = 4096
SAMPLES = 100
CURVES = ("live_pages", "free_pages", "largest_extent", "extents", "external_fragmentation",
          "unusable", "entropy")  # fmt: skip


class OnLinux:
    """Requests carried out on a real arena, block by block."""

    def __init__(self, arena: wb.KernelArena) -> None:
        self.arena, self.start = arena, {}
        self.there = np.zeros(arena.page_count, bool)

    def request(self, kind: str, page: int, count: int, block: int, offset: int) -> int:
        """Do one request; returns the page it got, or -1 if it was refused or changed nothing."""
        arena = self.arena
        base = arena.user_start
        if kind == "free":
            if block not in self.start:
                return -1
            page = self.start[block] + offset
            arena.free(base + page * PAGE, count)
        elif kind == "user_fault":
            arena.user.store(base + page * PAGE, "u8", 1)
            if self.there[page]:
                return -1
        else:
            address = arena.alloc(count, base + page * PAGE if page >= 0 else 0)
            if not address:
                return -1
            page = (address - base) // PAGE
        self.there[page : page + count] = kind != "free"
        self.start.setdefault(block, page)
        return page


def measured(arena: wb.KernelArena, live: int) -> dict[str, float]:
    """The sample that the kernel's own free ranges give."""
    lengths = arena.free_extents[:, 1]
    return {
        "live_pages": live,
        "free_pages": int(lengths.sum()),
        "largest_extent": int(lengths.max(initial=0)),
        "extents": len(lengths),
        "external_fragmentation": fragmentation.external_fragmentation(lengths),
        "unusable": fragmentation.unusable_index(lengths, 8),
        "entropy": fragmentation.entropy(lengths),
    }


@pytest.mark.parametrize("name", ["exponential", "user_faults", "fixed_addresses", "checkerboard"])
def test_linux_places_a_workload_where_the_replay_does(name, scale):
    rows, pages = scale(4_000, 100_000), 2048
    log = workloads.make(name, rows, pages, seed=20)
    every = rows // SAMPLES
    model = replay(log, "range_tree", pages, every=every)
    wanted = np.where(model.status == 0, model.page, -1)
    samples = model.samples.set_index("row")
    columns = [log[column].tolist() for column in ("kind", "page", "count", "block", "offset")]
    with wb.KernelArena(pages) as arena:
        linux = OnLinux(arena)
        for row, request in enumerate(zip(*columns, strict=True)):
            assert linux.request(*request) == wanted[row], f"row {row}: {request}"
            if (row + 1) % every == 0:
                real = measured(arena, int(linux.there.sum()))
                for curve in CURVES:
                    assert samples.at[row, curve] == pytest.approx(real[curve], nan_ok=True)
                curve = fragmentation.unusable_curve(arena.free_extents[:, 1], SIZES)
                np.testing.assert_allclose(model.unusable[(row + 1) // every], curve)
        assert arena.free_extents.tolist() == model.extents.tolist()
