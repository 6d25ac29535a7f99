"""Structures that programs build: invariants and contents as user space finds them."""

import struct

import pytest
from kernel_support import KERNEL

import workbench as wb
from workbench import corpus
from workbench.errors import WorkbenchError
from workbench.studies import heap
from workbench.studies.structures import Operations, SkipListModel, read_ring, walk_skip_list

ENGINES = [
    pytest.param(wb.Arena, wb.Interpreter, 4_000, 4_000, id="interpreter"),
    pytest.param(wb.Arena, wb.Jit, 100_000, 2_000_000, id="jit"),
    pytest.param(wb.KernelArena, wb.Kernel, 20_000, 200_000, id="kernel", marks=KERNEL),
]
FLAGS = [0, wb.ArenaFlags.NO_USER_CONV]


def load(name):
    return wb.load_object(corpus.directory() / "studies" / f"{name}.o")


@pytest.mark.parametrize("flags", FLAGS, ids=["conversion", "none"])
@pytest.mark.parametrize(("make", "engine", "few", "many"), ENGINES)
def test_a_skip_list_is_that_of_the_model(make, engine, few, many, flags, scale):
    code, seed, parts = load("skiplist"), 88172645463325252, 4
    arena, model = code.arena(make, flags=int(flags)), SkipListModel(seed)
    with engine(code.program("operate"), arena) as machine:
        for part in range(parts):
            count, first = scale(few, many) // parts, seed if part == 0 else 0
            result = machine.run(struct.pack("<7Q", count, first, 700, 0, 0, 0, 0))
            *done, refused = struct.unpack("<7Q", result.ctx)[3:]
            assert Operations(*done) == model.run(count, 700)
            assert refused == 0
            assert walk_skip_list(code, arena) == dict(sorted(model.content.items()))
    arena.close()


def test_a_broken_skip_list_is_recognised():
    code = load("skiplist")
    arena = code.arena()
    with wb.Interpreter(code.program("operate"), arena) as machine:
        machine.run(struct.pack("<7Q", 400, 5, 50, 0, 0, 0, 0))
    start = arena.user_start + code.variables["first"].offset
    second = arena.user.load(start + 24 + 8, "u64")
    arena.user.store(start + 24 + 8, "u64", arena.user.load(second + 24 + 8, "u64"))
    with pytest.raises(WorkbenchError, match="level 1 has"):
        walk_skip_list(code, arena)


@pytest.mark.parametrize(("make", "engine", "few", "many"), ENGINES)
def test_every_record_of_a_ring_arrives_or_is_counted(make, engine, few, many):
    code = load("ring")
    arena = code.arena(make)
    seen, written = [], 0
    with engine(code.program("produce"), arena) as machine:
        for burst in (10, 2000, 3000, 1):
            written += machine.run(struct.pack("<2Q", burst, 1000 * burst)).r0
            records = list(read_ring(code, arena))
            seen += records
            payloads = [record.payload for record in records]
            assert payloads == [1000 * burst + n for n in range(len(payloads))]
    numbers = [record.number for record in seen]
    lost = code.globals_in(arena)["lost"]
    assert numbers == sorted(numbers)
    assert (len(seen), lost) == (written, 5011 - written)
    assert lost == 3000 - 2048
    arena.close()


@pytest.mark.parametrize("flags", FLAGS, ids=["conversion", "none"])
@pytest.mark.parametrize(("make", "engine", "few", "many"), ENGINES)
def test_a_heap_keeps_every_block_whole(make, engine, few, many, flags, scale):
    code = load("heap")
    arena = code.arena(make, flags=int(flags))
    usage = heap.churn(code, arena, engine, scale(few, many), steps=5, largest=3000)
    assert (usage["live_bytes"] <= 4096 * usage["held_pages"]).all()
    assert usage["internal_fragmentation"].between(0, 0.8).all()
    with engine(code.program("drain"), arena) as machine:
        machine.run()
    kept = code.globals_in(arena)
    assert (kept["live_blocks"], kept["held_pages"]) == (0, 0)
    arena.close()


def test_a_full_heap_refuses_and_goes_on():
    code = load("heap")
    arena = code.arena(pages=24)
    usage = heap.churn(code, arena, wb.Jit, 20_000, steps=4, largest=2000)
    assert usage["refused"].iloc[-1] > 0
    assert usage["held_pages"].max() <= 24 - 3


@pytest.mark.parametrize(("make", "engine", "few", "many"), ENGINES)
def test_large_blocks_get_pages_of_their_own(make, engine, few, many):
    code = load("heap")
    arena = code.arena(make)
    with (
        engine(code.program("allocate"), arena) as allocate,
        engine(code.program("release"), arena) as release,
    ):
        places = {}
        for size in (1, 16, 17, 2048, 2049, 4096, 100_000):
            result = allocate.run(struct.pack("<2Q", size, 0))
            places[size] = struct.unpack("<2Q", result.ctx)[1]
            arena.user.write(places[size], b"\xaa" * size)
        assert len(set(places.values())) == len(places)
        for address in places.values():
            assert release.run(struct.pack("<2Q", 0, address)).r0 == 0
    assert code.globals_in(arena)["held_pages"] == 0
    arena.close()
