"""The example programs: accepted, right, and readable from user space, emulated and in Linux."""

import random
import struct
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pytest
from support.kernel_support import KERNEL

from workbench.arena import Arena, ArenaFlags
from workbench.engines.interpreter.engine import Interpreter
from workbench.engines.kernel import Kernel, KernelArena
from workbench.errors import SegmentationFault, WorkbenchError
from workbench.examples import programs
from workbench.verifier import verify

M64 = (1 << 64) - 1
STRUCTURES = [name for name in programs.names() if programs.example(name).sizes is None]
MICRO = [name for name in programs.names() if programs.example(name).sizes is not None]
FLAGS = [ArenaFlags(0), ArenaFlags.NO_USER_CONV, ArenaFlags.SEGV_ON_FAULT]


class Machine(NamedTuple):
    """An arena and the engine that runs programs in it."""

    arena: type[Arena] | type[KernelArena]
    engine: type[Interpreter] | type[Kernel]


@pytest.fixture(params=["interpreter", pytest.param("kernel", marks=KERNEL)])
def machine(request: pytest.FixtureRequest) -> Machine:
    emulated = request.param == "interpreter"
    return Machine(Arena, Interpreter) if emulated else Machine(KernelArena, Kernel)


class Session(NamedTuple):
    """One example's programs, loaded once, in one arena."""

    call: Callable[..., dict[str, int]]
    arena: Arena | KernelArena


@pytest.fixture
def session(machine: Machine) -> Iterator[Callable[..., Session]]:
    """`session("list", pages=8).call("add", 5)` runs a program and gives its context's fields."""
    opened: list = []

    def start(name: str, pages: int = 64, flags: int = 0) -> Session:
        arena = machine.arena(pages=pages, flags=flags)
        opened.append(arena)
        engines = {}
        for key, program in programs.load(name).items():
            engines[key] = machine.engine(program, arena=arena)
            opened.append(engines[key])

        def call(program: str, *values: int) -> dict[str, int]:
            context = programs.example(name).contexts[program]
            result = engines[program].run(context.pack(*values))
            assert result.stop == "exit", result
            return {**context.unpack(result.ctx), "r0": result.r0}

        return Session(call, arena)

    yield start
    for thing in reversed(opened):
        thing.close()


# All of them


@pytest.mark.parametrize("name", programs.names())
def test_each_program_has_a_described_context_and_is_accepted(name: str) -> None:
    loaded = programs.load(name)
    assert list(loaded) == list(programs.example(name).contexts)
    for program in loaded.values():
        assert program.type == "syscall"
        report = verify(program)
        assert report.ok, report


def test_names_that_are_not_there() -> None:
    with pytest.raises(WorkbenchError, match="no example 'tree'; there are list, hash, allocator,"):
        programs.load("tree")


def test_contexts() -> None:
    context = programs.Context("<QQq", ("key", "value", "inserted"))
    assert context.pack(1, 2) == struct.pack("<QQq", 1, 2, 0)
    assert context.unpack(context.pack(1, 2, -1)) == {"key": 1, "value": 2, "inserted": -1}


@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: flags.name or "plain")
@pytest.mark.parametrize("name", STRUCTURES)
def test_main_shows_the_whole_job(
    name: str, flags: ArenaFlags, session: Callable[..., Session]
) -> None:
    run = session(name, flags=flags)
    r0 = run.call("main")["r0"]
    if name == "list":
        assert r0 == sum(range(1, 12, 2))
        assert programs.walk_list(run.arena) == [1, 3, 5, 7, 9, 11]
    elif name == "hash":
        assert r0 == 24
        assert programs.walk_hash(run.arena) == {n * n: n for n in range(1, 25)}
    else:
        assert r0 == 2
        assert sum(pages for _, pages in programs.walk_runs(run.arena)) == 56


# The list


def test_a_list_against_a_sorted_list(session: Callable[..., Session]) -> None:
    random.seed(1)
    run = session("list", pages=3)
    model: list[int] = []
    for _ in range(300):
        value = random.choice((random.randrange(40), random.getrandbits(64)))
        if random.random() < 0.6:
            assert run.call("add", value)["address"]
            insort(model, value)
        else:
            there = value in model
            assert run.call("delete", value)["deleted"] == there
            if there:
                del model[bisect_left(model, value)]
        assert programs.walk_list(run.arena) == model
    assert run.call("walk")["sum"] == sum(model) & M64
    assert run.arena.user.load(run.arena.user_start + 8) == len(model)


def test_a_list_grows_until_pages_are_used_up(session: Callable[..., Session]) -> None:
    run = session("list", pages=4)
    assert run.call("build", 1000)["built"] == 3 * 256
    assert programs.walk_list(run.arena) == list(range(1000 - 3 * 256 + 1, 1001))
    assert run.call("add", 0)["address"] == 0
    assert run.call("delete", 500)["deleted"] == 1
    assert run.call("add", 0)["address"] != 0


def test_a_user_touch_before_the_first_node_does_no_harm(session: Callable[..., Session]) -> None:
    run = session("list")
    assert programs.walk_list(run.arena) == []
    run.call("add", 7)
    assert programs.walk_list(run.arena) == [7]


def test_a_list_at_the_page_that_aliases_null(machine: Machine) -> None:
    program = programs.load("list")["main"]
    with machine.arena(pages=1 << 20) as arena, machine.engine(program, arena=arena) as engine:
        assert arena.user_start % (1 << 32) == 0
        assert engine.run().r0 == 36
        assert programs.walk_list(arena) == [1, 3, 5, 7, 9, 11]


# The hash table


@pytest.mark.parametrize("flags", FLAGS[:2], ids=["plain", "no_user_conv"])
def test_a_table_against_a_dict(flags: ArenaFlags, session: Callable[..., Session]) -> None:
    random.seed(2)
    run = session("hash", flags=flags)
    model: dict[int, int] = {}
    for step in range(300):
        key, value = random.choice((step, random.randrange(40))), random.getrandbits(64)
        fresh = key not in model
        assert run.call("insert", key, value)["inserted"] == fresh
        model[key] = value
        asked = random.randrange(60)
        found = run.call("lookup", asked)
        assert (found["found"], found["value"]) == (asked in model, model.get(asked, 0))
        if step % 100 == 0:
            run.call("resize")
        if step % 20 == 0:
            assert programs.walk_hash(run.arena) == model
    assert programs.walk_hash(run.arena) == model
    assert run.arena.user.load(run.arena.user_start + 16) == len(model)


def test_a_table_grows_and_gives_old_arrays_back(session: Callable[..., Session]) -> None:
    run = session("hash")
    assert run.call("fill", 2000)["inserted"] == 2000
    assert run.call("fill", 2000)["inserted"] == 0
    assert programs.walk_hash(run.arena) == {n: n for n in range(1, 2001)}
    entries, array, header = 16, 2048 * 8 // 4096, 1
    assert int(np.count_nonzero(run.arena.present)) == entries + array + header


def test_a_table_without_memory(session: Callable[..., Session]) -> None:
    run = session("hash", pages=2)
    assert run.call("insert", 1, 1)["inserted"] == -1
    assert programs.walk_hash(run.arena) == {}


# The allocator


def check_runs(arena: Arena | KernelArena) -> None:
    """Runs do not overlap, are present, and are stamped with their length."""
    pages = set()
    for address, count in programs.walk_runs(arena):
        first = (address - arena.user_start) // 4096
        assert not pages & set(range(first, first + count))
        pages |= set(range(first, first + count))
        assert arena.user.load(address) == count
    assert arena.present[sorted(pages)].all()
    assert arena.user.load(arena.user_start + 24) == len(pages)


def test_churn(session: Callable[..., Session]) -> None:
    run = session("allocator")
    for seed in range(1, 6):
        run.call("churn", 200, seed)
        check_runs(run.arena)
    assert run.call("churn", 0, 1)["refused"] > 0
    assert len(run.arena.free_extents) > 1


def test_runs_by_hand(session: Callable[..., Session]) -> None:
    run = session("allocator")
    first, second = (run.call("allocate", pages)["address"] for pages in (3, 2))
    assert second - first == 3 * 4096
    assert run.call("release", first)["pages"] == 3
    assert run.call("release", first)["pages"] == 0
    assert run.call("release", 0)["pages"] == 0
    assert programs.walk_runs(run.arena) == [programs.Run(second, 2)]
    assert run.call("allocate", 64)["address"] == 0
    check_runs(run.arena)


def test_blocks(session: Callable[..., Session]) -> None:
    run = session("allocator")
    sizes = (1000, 13, 5000, 4096, 1)
    addresses = [run.call("bump", size)["address"] for size in sizes]
    assert all(address % 8 == 0 for address in addresses)
    ends = [address + size for address, size in zip(addresses, sizes, strict=True)]
    assert all(end <= after for end, after in zip(ends, addresses[1:], strict=False))
    assert [run.arena.user.load(address) for address in addresses] == [1000, 16, 5000, 4096, 8]


def test_fragmentation_in_main(session: Callable[..., Session]) -> None:
    run = session("allocator")
    run.call("main")
    check_runs(run.arena)
    assert run.arena.free_extents.tolist() == [[6, 4], [24, 1]]


# The micro programs


def model(name: str, count: int) -> int:
    """What a micro program computes, said in another way."""
    if name == "xorshift":
        x = 88172645463325252
        for _ in range(count):
            x ^= x << 13 & M64
            x ^= x >> 7
            x ^= x << 17 & M64
        return x
    if name == "lcg32":
        a, c, m = 1664525, 1013904223, 1 << 32
        power = pow(a, count, m * (a - 1))
        return (power * 12345 + (power - 1) // (a - 1) * c) % m
    if name == "memsum":
        words = np.arange(131072, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return int(words.sum()) * count & M64
    if name == "chase":
        return count * sum(range(65536))
    if name == "fnv1a":
        basis = 0xCBF29CE484222325
        for n in range(count << 20):
            basis = (basis ^ n % (1 << 20) % 251) * 0x100000001B3 & M64
        return basis
    sieve = np.ones(count, bool)
    sieve[:2] = False
    for n in range(2, int(count**0.5) + 1):
        sieve[n * n :: n] = False
    return int(sieve.sum())


@pytest.mark.parametrize("name", MICRO)
def test_micro_programs(name: str, machine: Machine) -> None:
    sizes, context = programs.example(name).sizes, programs.example(name).contexts[name]
    assert model(name, sizes.quick) == sizes.quick_r0
    if name not in ("xorshift", "fnv1a"):
        assert model(name, sizes.full) == sizes.full_r0
    with machine.arena(pages=programs.example(name).pages) as arena:
        programs.prepare(name, arena, machine.engine)
        program = programs.load(name)[name]
        with machine.engine(program, arena if program.uses_arena else None) as engine:
            for count, expected in ((sizes.quick, sizes.quick_r0), (sizes.full, sizes.full_r0)):
                result = engine.run(context.pack(count))
                assert context.unpack(result.ctx)["result"] == expected
                assert result.r0 in (expected, expected & 0xFFFFFFFF)


PUBLISHED = {"xorshift": 0x2A2EDEEF160A3819, "lcg32": 0xC69B1AB9, "primes": 17984, "sieve": 82025}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_results(name: str) -> None:
    assert programs.example(name).sizes.full_r0 == PUBLISHED[name]


def test_chase_is_shuffled_and_visits_each_node_once() -> None:
    with Arena(pages=256) as arena:
        programs.prepare("chase", arena, Interpreter)
        nodes = [arena.user_start, *programs.follow(arena, arena.user_start)]
        assert sorted(nodes) == list(range(arena.user_start, arena.user_end, 16))
        steps = np.abs(np.diff(nodes))
        assert np.median(steps) > 4096


def test_setup_needs_its_pages() -> None:
    with Arena(pages=255) as arena, pytest.raises(WorkbenchError, match="not 256 pages in a row"):
        programs.prepare("memsum", arena, Interpreter)


# Walks through damaged memory


def test_a_chain_that_leads_out_of_the_arena() -> None:
    with Arena(pages=4) as arena:
        arena.user.store(arena.user_start, "u64", 0x1000)
        with pytest.raises(SegmentationFault, match="0x1000"):
            programs.walk_list(arena)


def test_a_chain_that_does_not_end() -> None:
    with Arena(pages=1) as arena:
        arena.user.store(arena.user_start, "u64", arena.user_start)
        with pytest.raises(WorkbenchError, match="does not end"):
            programs.walk_list(arena)


def test_user_addresses_without_conversion() -> None:
    with Arena(pages=1, flags=ArenaFlags.NO_USER_CONV) as arena:
        low = arena.user_start % (1 << 32)
        assert programs.user_address(arena, low + 8) == arena.user_start + 8
        assert programs.user_address(arena, 0) == 0
