"""The real arena: members, touches, observation without faults, and agreement with the emulated."""

import gc
import random
import resource

import numpy as np
import pytest
from support.kernel_support import KERNEL, held

from workbench.arena import Arena, ArenaFlags
from workbench.engines.kernel import KernelArena
from workbench.engines.kernel.service import Service
from workbench.errors import ArenaError, KernelError, SegmentationFault, Unsupported

pytestmark = KERNEL

PAGE = 4096
BASE = 0x1000_1000_0000
BOTH = [ArenaFlags(0), ArenaFlags.SEGV_ON_FAULT]


@pytest.fixture
def arena():
    with KernelArena(pages=64) as made:
        yield made


def test_public_members_are_those_of_the_emulated_arena(arena: KernelArena) -> None:
    emulated = {name for name in dir(Arena) if not name.startswith("_")}
    # parts of the emulation itself: its page bits, its clock of executed instructions, and its
    # free ranges, whose order no system call could restore
    shared = emulated - {"page_bits", "clock", "restore"}
    assert shared <= {name for name in dir(arena) if name[0] != "_"}
    shown = {name for name in dir(Arena(1).user) if not name.startswith("_")}
    assert shown <= set(dir(arena.user))


def test_default_base_is_the_emulated_one() -> None:
    for pages in (1, 1024, (1 << 20) - 1, 1 << 20):
        with KernelArena(pages) as real:
            assert real.user_start == Arena(pages).user_start


def test_stated_base_is_used() -> None:
    with KernelArena(4, user_base=0x7000_0000_0000) as real:
        assert (real.user_start, real.user_end) == (0x7000_0000_0000, 0x7000_0000_4000)


def test_a_second_arena_takes_the_next_base(arena: KernelArena) -> None:
    with KernelArena(64) as second:
        assert second.user_start > arena.user_start
        assert second.user_start % (1 << 32) == arena.user_start % (1 << 32)


def test_an_occupied_base_is_refused_and_nothing_leaks(arena: KernelArena) -> None:
    before = held()
    with pytest.raises(ArenaError, match="EEXIST"):
        KernelArena(4, user_base=arena.user_start + PAGE)
    assert held() == before


@pytest.mark.parametrize(
    ("pages", "base"),
    [
        (0, None),
        ((1 << 20) + 1, BASE),
        (4, BASE + 1),
        (4, (1 << 44) + (1 << 32) - PAGE),
    ],
)
def test_creation_errors_are_those_of_the_emulated_arena(pages: int, base: int | None) -> None:
    before = held()
    with pytest.raises(ArenaError) as real:
        KernelArena(pages, user_base=base)
    with pytest.raises(ArenaError) as emulated:
        Arena(pages, user_base=base)
    assert str(real.value) == str(emulated.value)
    assert held() == before


@pytest.mark.parametrize(
    "base",
    [
        (1 << 47) - 2 * PAGE,
        1 << 47,
        0xFFFF_8000_0000_0000,
        (1 << 64) - 4 * PAGE,
    ],
)
def test_a_base_that_user_space_does_not_have_is_not_tried(base: int) -> None:
    before = held()
    with pytest.raises(ArenaError, match="EBUSY: user space cannot map"):
        KernelArena(4, user_base=base)
    assert held() == before


def test_the_kernel_may_choose_the_base() -> None:
    with KernelArena(4, user_base=0) as arena:
        assert arena.user_start % PAGE == 0 < arena.user_start
        assert arena.alloc() == arena.user_start


def test_unknown_flags_are_refused() -> None:
    with pytest.raises(ArenaError, match="EINVAL"):
        KernelArena(1, flags=1 << 3)


def test_bytes_are_the_mapping_itself(arena: KernelArena) -> None:
    address = arena.alloc(1)
    arena.bytes[5] = 77
    assert arena.user.load(address + 5, "u8") == 77
    arena.user.store(address + 8, "u64", BASE)
    assert arena.bytes[8:16].view("<u8")[0] == BASE
    assert arena.bytes.__array_interface__["data"][0] == arena.user_start
    assert len(arena.bytes) == 64 * PAGE


def test_stored_pointers_are_addresses_of_this_process(arena: KernelArena) -> None:
    import ctypes

    address = arena.alloc(1)
    arena.user.store(address, "u64", address + 24)
    arena.user.store(address + 24, "u32", 0xCAFE)
    pointer = ctypes.cast(address, ctypes.POINTER(ctypes.POINTER(ctypes.c_uint32)))
    assert pointer[0][0] == 0xCAFE


def test_arrays_outlive_the_arena_without_harm() -> None:
    before = held()
    arena = KernelArena(4)
    view = arena.bytes[:8]
    array = arena.user.array(arena.user_start, "u64", 3)
    view[0] = 9
    arena.close()
    arena.close()
    assert array[0] == 9
    assert held()[1] == before[1] + 1
    with pytest.raises(KernelError, match="EBADF"):
        _ = arena.bytes
    with pytest.raises(KernelError, match="EBADF"):
        arena.user.load(arena.user_start)
    with pytest.raises(KernelError, match="EBADF"):
        arena.alloc()
    del view, array
    gc.collect()
    assert held() == before


def test_an_arena_that_nobody_closed_goes_with_its_last_reference() -> None:
    before = held()
    arena = KernelArena(4)
    arena.alloc()
    arena.user.load(arena.user_start)
    del arena
    gc.collect()
    assert held() == before


def test_present_tells_absent_pages_without_faulting(arena: KernelArena) -> None:
    arena.alloc(2)
    arena.user.store(arena.user_start + 9 * PAGE, "u8", 1)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        assert np.flatnonzero(arena.present).tolist() == [0, 1, 9]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults < 50


def test_presence_does_not_depend_on_the_contents(arena: KernelArena) -> None:
    address = arena.alloc(1)
    for value in range(256):
        arena.user.store(address, "u8", value)
        assert arena.present.tolist() == [True] + [False] * 63


def test_presence_without_the_free_ranges(
    arena: KernelArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Service) -> np.ndarray:
        raise Unsupported("not here")

    arena.alloc(3)
    arena.reserve(arena.user_start + 5 * PAGE, 2)
    usual = arena.present
    monkeypatch.setattr(Service, "free_ranges", refuse)
    assert (arena.present == usual).all()
    assert usual.sum() == 3


def test_a_snapshot_neither_faults_nor_maps(arena: KernelArena) -> None:
    first = arena.alloc(3)
    arena.user.store(first + PAGE, "u64", 0x1122334455667788)
    mapped = arena.user.mapped(arena.user_start, 64).tolist()
    snapshot = arena.snapshot()
    assert arena.user.mapped(arena.user_start, 64).tolist() == mapped
    assert snapshot.pages.tolist() == [0, 1, 2]
    assert snapshot.bytes.shape == (3, PAGE)
    assert snapshot.bytes[1, :8].view("<u8")[0] == 0x1122334455667788
    assert not snapshot.bytes[0].any()
    assert arena.live_pages == 3


def test_snapshots_of_many_pages(arena: KernelArena) -> None:
    contents = np.random.default_rng(3).integers(0, 256, (64, PAGE), np.uint8)
    arena.alloc(64)
    arena.bytes[:] = contents.ravel()
    assert (arena.snapshot().bytes == contents).all()
    arena.free(arena.user_start + 10 * PAGE, 40)
    snapshot = arena.snapshot()
    assert (snapshot.bytes == contents[snapshot.pages]).all()
    assert len(snapshot.pages) == 24


def test_a_snapshot_of_an_empty_arena(arena: KernelArena) -> None:
    snapshot = arena.snapshot()
    assert snapshot.pages.shape == (0,)
    assert snapshot.bytes.shape == (0, PAGE)
    assert snapshot == Arena(64).snapshot()


def test_largest_arena() -> None:
    with KernelArena(1 << 20) as arena:
        assert arena.free_extents.tolist() == [[0, 1 << 20]]
        assert arena.live_pages == 0
        assert arena.alloc(1) == arena.user_start
        assert arena.alloc(1, address=arena.user_end - PAGE) == arena.user_end - PAGE
        arena.user.store(arena.user_end - 8, "u64", 5)
        assert arena.snapshot().pages.tolist() == [0, (1 << 20) - 1]
        assert arena.free_pages == (1 << 20) - 2


def test_reset_gives_back_a_new_arena(arena: KernelArena) -> None:
    for page in (3, 40, 7):
        arena.alloc(2, address=arena.user_start + page * PAGE)
    arena.reserve(arena.user_start + 20 * PAGE, 5)
    arena.user.store(arena.user_end - 8, "u64", 1)
    arena.reset()
    assert arena.free_extents.tolist() == [[0, 64]]
    assert len(arena.events) == 0
    assert [arena.alloc() for _ in range(3)] == [arena.user_start + n * PAGE for n in range(3)]
    assert not arena.snapshot().bytes.any()


def test_free_below_the_start_is_not_passed_on(arena: KernelArena) -> None:
    arena.alloc(2)
    for address in (arena.user_start - PAGE, arena.user_start - 64 * PAGE, 1 << 44, 8):
        arena.free(address, 4)
    assert arena.free_extents.tolist() == [[2, 62]]


def test_a_frozen_arena_that_is_mapped(arena: KernelArena) -> None:
    with pytest.raises(KernelError, match="EBUSY"):
        arena.freeze()


def test_segv_on_fault_is_an_exception_and_we_live() -> None:
    with KernelArena(4, ArenaFlags.SEGV_ON_FAULT) as arena:
        start = arena.user_start
        for touch in (
            lambda: arena.user.load(start + 12),
            lambda: arena.user.store(start, "u8", 1),
            lambda: arena.user.array(start, "u64", 4),
            lambda: arena.user.read(start, 1),
        ):
            with pytest.raises(SegmentationFault, match="SEGV_ON_FAULT"):
                touch()
        with pytest.raises(Unsupported, match="SEGV_ON_FAULT"):
            _ = arena.bytes
        arena.alloc(4)
        assert arena.bytes.sum() == 0
        arena.free(start + PAGE, 1)
        with pytest.raises(SegmentationFault) as caught:
            arena.user.write(start + 4090, bytes(20))
        assert caught.value.address == start + PAGE
        assert caught.value.access == "store"


@pytest.mark.parametrize("flags", BOTH)
def test_touches_outside_are_refused_alike(flags: ArenaFlags) -> None:
    with KernelArena(4, flags) as real:
        emulated = Arena(4, flags)
        start = emulated.user_start
        for address, size in (
            (8, 8),
            (start - 8, 8),
            (start - 4, 8),
            (start + 4 * PAGE, 1),
            (start + 4 * PAGE - 4, 8),
            (1 << 63, 8),
            ((1 << 64) - 4, 8),
            (start, (1 << 32) + 1),
            (-1, 8),
            (start, -1),
        ):
            seen = []
            for arena in (real, emulated):
                with pytest.raises(SegmentationFault) as caught:
                    arena.user.read(address, size)
                seen.append((caught.value.address, str(caught.value)))
            assert seen[0] == seen[1]


def test_null_is_refused(arena: KernelArena) -> None:
    with pytest.raises(SegmentationFault, match="at 0x0 "):
        arena.user.load(0)


def random_step(choose: random.Random, arena: Arena | KernelArena, pages: int) -> object:
    """One allocation, free, reservation or touch, the same for the same state of `choose`."""
    what, page = choose.randrange(6), choose.randrange(pages)
    count, address = choose.randint(1, 5), arena.user_start + page * PAGE
    if what < 2:
        return arena.alloc(count)
    if what == 2:
        return arena.alloc(count, address=address)
    if what == 3:
        return arena.free(address, count)
    if what == 4:
        return arena.reserve(address, count)
    try:
        return arena.user.load(address + choose.randrange(PAGE - 8))
    except SegmentationFault as error:
        return str(error)


@pytest.mark.parametrize("flags", BOTH)
@pytest.mark.parametrize("seed", range(3))
def test_random_steps_agree_with_the_emulated_arena(flags: ArenaFlags, seed: int) -> None:
    pages, emulated = 48, Arena(48, flags)
    first, second = random.Random(seed), random.Random(seed)
    with KernelArena(pages, flags) as real:
        for _ in range(150):
            assert random_step(first, real, pages) == random_step(second, emulated, pages)
            assert real.free_extents.tolist() == emulated.free_extents.tolist()
            assert (real.present == emulated.present).all()
        shared = ["kind", "actor", "pc", "page", "address", "count"]
        ours, theirs = real.events[shared], emulated.events[shared]
        assert ours.astype(str).equals(theirs.astype(str))
        assert (real.events.dtypes[shared] == emulated.events.dtypes[shared]).all()
        assert real.snapshot() == emulated.snapshot()


def test_event_times_are_nanoseconds_in_order(arena: KernelArena) -> None:
    for _ in range(5):
        arena.alloc()
    events = arena.events
    assert events["ns"].is_monotonic_increasing
    assert events["time"].tolist() == [0, 1, 2, 3, 4]
    assert (events["source"] == "kernel").all()


def test_pages_show_who_mapped_them(arena: KernelArena) -> None:
    arena.alloc(2)
    arena.user.load(arena.user_start + PAGE)
    table = arena.pages
    assert table["page"].tolist() == [0, 1]
    assert table["user"].tolist() == [False, True]


def test_hundreds_of_arenas_at_once_leak_nothing() -> None:
    before = held()
    arenas = [KernelArena(16) for _ in range(200)]
    assert len({arena.user_start for arena in arenas}) == 200
    for arena in arenas:
        arena.alloc()
        arena.close()
    del arena, arenas
    gc.collect()
    assert held() == before
