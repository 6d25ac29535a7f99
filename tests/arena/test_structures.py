"""Structures that programs build: invariants and contents as user space finds them."""

import struct
from importlib import metadata
from importlib.util import find_spec

import pytest
from support.compilers import ZIG
from support.kernel_support import KERNEL

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.examples import programs
from workbench.examples.studies import heap, structures
from workbench.examples.studies.structures import read_ring
from workbench.objects.compiler import compile_c

ENGINES = [
    pytest.param(wb.Arena, wb.Interpreter, 4_000, 4_000, id="interpreter"),
    pytest.param(wb.Arena, wb.Jit, 100_000, 2_000_000, id="jit"),
    pytest.param(wb.KernelArena, wb.Kernel, 20_000, 200_000, id="kernel", marks=KERNEL),
]
FLAGS = [0, wb.ArenaFlags.NO_USER_CONV]


load = structures.load


SEED, KEYS = 88172645463325252, 700


@pytest.mark.parametrize("flags", FLAGS, ids=["conversion", "none"])
@pytest.mark.parametrize("name", structures.MAPS)
@pytest.mark.parametrize(("make", "engine", "few", "many"), ENGINES)
def test_a_structure_holds_what_the_model_holds(name, make, engine, few, many, flags, scale):
    code, model, parts = load(name), structures.Model(SEED, name == "skiplist"), 2
    arena, count = structures.make_arena(code, make, int(flags)), scale(few, many) // parts
    with (
        engine(code.program("operate"), arena) as machine,
        engine(code.program("iterate"), arena) as iterate,
    ):
        for part in range(parts):
            done = structures.operate(machine, count, KEYS, 0 if part else SEED)
            assert done == model.run(count, KEYS)
            found = structures.content(name, code, arena)
            assert found == model.content
            assert structures.iterate(iterate) == model.digest(name)
            if name in ("sorted_list", "rb_tree", "skiplist"):
                assert list(found) == sorted(found)
    arena.close()


def built(name):
    code = load(name)
    arena = structures.make_arena(code)
    with wb.Jit(code.program("operate"), arena) as machine:
        structures.operate(machine, 400, 50, seed=5)
    return code, arena, arena.user


def pointer(code, arena, variable, offset=0):
    return arena.user.load(int(structures.place(code, arena, variable)) + offset, "u64")


# Where each is broken, from a node that a variable points to; and what the walk must say.
BROKEN = {
    "sorted_list": ("head", 0, 8, "the keys do not ascend"),
    "rb_tree": ("root", 0, 40, "a red node"),
    "skiplist": ("first", 24 + 8, 16, "a level has other nodes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_structure_is_recognised(name):
    code, arena, user = built(name)
    variable, offset, member, message = BROKEN[name]
    node = pointer(code, arena, variable, offset)
    user.store(node + member, "u64", 1 if name != "sorted_list" else 1 << 40)
    with pytest.raises(WorkbenchError, match=f"{name}: {message}"):
        structures.content(name, code, arena)


@pytest.mark.parametrize("name", ["sorted_list", "rb_tree", "skiplist"])
def test_a_wild_pointer_is_not_followed(name):
    code, arena, user = built(name)
    node = pointer(code, arena, BROKEN[name][0], BROKEN[name][1])
    user.store(node + (24 if name == "skiplist" else 0), "u64", 0x1234_5678_9000)
    with pytest.raises(WorkbenchError, match=f"{name}: a pointer leads out of the arena"):
        structures.content(name, code, arena)


def test_a_link_that_does_not_lead_back_is_recognised():
    code, arena, user = built("hash_table")
    buckets = pointer(code, arena, "table")
    item = next(filter(None, (user.load(buckets + 8 * n, "u64") for n in range(256))))
    user.store(item + 8, "u64", item)
    with pytest.raises(WorkbenchError, match="a link does not know"):
        structures.content("hash_table", code, arena)


def test_a_sparse_array_holds_only_the_pages_in_use():
    code, arena, _ = built("sparse_array")
    bitmap, variables = 32, 1
    held = code.globals_in(arena)["held_pages"]
    assert arena.present.sum() == held + bitmap + variables
    assert held <= code.globals_in(arena)["length"]


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (programs.directory() / "studies").glob("*.c"))
)
def test_an_object_is_that_of_its_source(name, monkeypatch):
    if find_spec("ziglang") is None or metadata.version("ziglang") != "0.17.1":
        pytest.skip("the objects are those of ziglang 0.17.1 (the extra cc)")
    monkeypatch.setenv("WORKBENCH_CC", ZIG)
    built, prebuilt = compile_c(programs.directory() / "studies" / f"{name}.c"), load(name)
    assert prebuilt.programs == built.programs
    assert prebuilt.contents == built.contents
    lines = [line.file for program in prebuilt.programs.values() for line in program.lines]
    assert not [file for file in lines if file.startswith("/")]


@pytest.mark.parametrize(("make", "engine", "few", "many"), ENGINES)
def test_every_record_of_a_ring_arrives_or_is_counted(make, engine, few, many):
    code = load("ring")
    arena = code.arena(make)
    seen, written = [], 0
    with engine(code.program("produce"), arena) as machine:
        for burst in (10, 2000, 3000, 1):
            written += machine.run(struct.pack("<2Q", burst, 1000 * burst)).r0
            records = list(read_ring(code, arena, 4096))
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
