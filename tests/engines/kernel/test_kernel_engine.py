"""The kernel engine: runs, verdicts, rewritten and machine code, resources, refusals."""

import gc
import signal
import struct
import time

import numpy as np
import pytest
from support.kernel_support import KERNEL, held

from workbench.arena import Arena, ArenaFlags
from workbench.bpf import isa
from workbench.bpf.assembler import assemble
from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.engines.kernel import Kernel, KernelArena, syscall
from workbench.engines.kernel import xlated as rewritten
from workbench.errors import KernelError, Unsupported, VerificationError, WorkbenchError
from workbench.examples import programs

pytestmark = KERNEL

PAGE = 4096
ALLOC = """
    r6 = r1
    r1 = arena ll
    r2 = 0
    r3 = 2
    r4 = -1
    r5 = 0
    call bpf_arena_alloc_pages
    *(u64 *)(r6 + 0) = r0
    r1 = cast_kern(r0)
    *(u64 *)(r1 + 8) = r0
    r2 = cast_user(r1)
    *(u64 *)(r6 + 8) = r2
    call sub
    exit
sub:
    r0 = 3
    exit
"""
CONVERT = "r1 = arena ll\nr1 = 16\nr1 = cast_kern(r1)\nr2 = cast_user(r1)\nr0 = r2\nexit"


def fails_soon() -> Program:
    return assemble("r0 = *(u64 *)(r5 + 0)\nexit")


def test_a_run_changes_context_and_arena() -> None:
    with Kernel(assemble(ALLOC)) as engine:
        assert isinstance(engine.arena, KernelArena)
        result = engine.run(bytes(16))
        first = engine.arena.user_start
        assert (result.engine, result.stop, result.r0, result.fault) == ("kernel", "exit", 3, False)
        assert struct.unpack("<2Q", result.ctx) == (first, first)
        assert engine.arena.user.load(first + 8) == first
        assert np.flatnonzero(engine.arena.present).tolist() == [0, 1]
        assert result.seconds > 0


def test_two_runs_go_on_where_the_first_ended() -> None:
    with Kernel(assemble(ALLOC)) as engine:
        addresses = [struct.unpack("<2Q", engine.run(bytes(16)).ctx)[0] for _ in range(3)]
        assert np.diff(addresses).tolist() == [2 * PAGE, 2 * PAGE]


def test_r0_is_its_low_half() -> None:
    with Kernel(assemble("r0 = 0x123456789abcdef0 ll\nexit")) as engine:
        assert engine.run().r0 == 0x9ABCDEF0


@pytest.mark.parametrize("size", [0, 1, 8, 100, 0xFFFF])
def test_contexts_of_any_size_come_back(size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    with Kernel(assemble("r0 = 0\nexit")) as engine:
        assert engine.run(content).ctx == content


def test_context_errors_are_explained() -> None:
    with Kernel(assemble("r0 = *(u64 *)(r1 + 8)\nexit")) as engine:
        with pytest.raises(KernelError, match="a context of 8 bytes may be shorter"):
            engine.run(bytes(8))
        with pytest.raises(KernelError, match="at most 65535"):
            engine.run(bytes(1 << 16))
        with pytest.raises(KernelError, match="only packet programs repeat"):
            engine.run(bytes(16), repeat=5)
        assert engine.run(bytes(8) + b"\x05" + bytes(7)).r0 == 5


XDP = """
    r2 = *(u32 *)(r1 + 4)
    r1 = *(u32 *)(r1 + 0)
    r3 = r1
    r3 += 16
    if r3 > r2 goto out
    r4 = *(u8 *)(r1 + 15)
    r4 += 1
    *(u8 *)(r1 + 15) = r4
out:
    r0 = 2
    exit
"""


def test_xdp_sees_and_changes_its_packet() -> None:
    with Kernel(assemble(XDP, type="xdp")) as engine:
        result = engine.run(bytes(20))
        assert result.r0 == 2
        assert result.ctx == bytes(15) + b"\x01" + bytes(4)
        assert engine.run(bytes(14)).ctx == bytes(14)


def test_packet_programs_repeat_and_are_timed_by_the_kernel() -> None:
    text = (
        "r1 = arena ll\nr1 = 16\nr1 = cast_kern(r1)\nr2 = 1\nlock *(u64 *)(r1 + 0) += r2\n"
        "r0 = 5\nexit"
    )
    with KernelArena(1, user_base=1 << 44) as arena:
        arena.user.load(arena.user_start)
        for kind in ("socket_filter", "tc", "xdp"):
            arena.user.store(arena.user_start + 16, "u64", 0)
            with Kernel(assemble(text, type=kind), arena) as engine:
                begin = time.perf_counter()
                result = engine.run(bytes(64), repeat=1000)
                around = time.perf_counter() - begin
            assert (result.r0, len(result.ctx)) == (5, 64)
            assert arena.user.load(arena.user_start + 16) == 1000
            assert 0 < result.seconds * 1000 < around  # of one run, and the kernel's own


@pytest.mark.parametrize("kind", ["socket_filter", "tc", "xdp"])
def test_short_packets_are_refused(kind: str) -> None:
    with (
        Kernel(assemble("r0 = 0\nexit", type=kind)) as engine,
        pytest.raises(KernelError, match="at least 14 bytes"),
    ):
        engine.run(b"short")


def test_a_signal_ends_a_long_run_with_an_error() -> None:
    before = held()
    usual = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        with Kernel(assemble("r0 = 0\nexit", type="xdp")) as engine:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KernelError, match="EINTR"):
                engine.run(bytes(64), repeat=2**31 - 1)
            assert engine.run(bytes(64)).stop == "exit"
    finally:
        signal.signal(signal.SIGALRM, usual)
    gc.collect()
    assert held() == before


def test_ctrl_c_reaches_python_and_nothing_leaks() -> None:
    before = held()
    with Kernel(assemble("r0 = 0\nexit", type="xdp")) as engine:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        usual = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                engine.run(bytes(64), repeat=2**31 - 1)
        finally:
            signal.signal(signal.SIGALRM, usual)
    gc.collect()
    assert held() == before


def test_what_the_engine_cannot_do_names_what_can() -> None:
    with Kernel(assemble("r0 = 0\nexit")) as engine:
        for refused in (
            lambda: engine.run(fuel=10),
            lambda: engine.run(trace="steps"),
            engine.step,
        ):
            with pytest.raises(Unsupported, match=r"use workbench\.Interpreter"):
                refused()
    with pytest.raises(Unsupported, match="use the interpreter"):
        Kernel(assemble("r0 = 0\nexit", type="raw"))


def test_a_refused_program_raises_with_the_whole_log() -> None:
    with pytest.raises(VerificationError) as caught:
        Kernel(fails_soon())
    assert caught.value.pc == 0
    assert caught.value.reason == "R5 !read_ok"
    assert "processed 1 insns" in caught.value.log
    assert "r0 = *(u64 *)(r5 +0)" in str(caught.value)


def test_non_gpl_programs_may_not_call_kfuncs() -> None:
    with pytest.raises(VerificationError, match="non-GPL"):
        Kernel(assemble(".license MIT\n" + ALLOC))


def test_an_emulated_arena_is_a_description() -> None:
    emulated = Arena(32, ArenaFlags.NO_USER_CONV, user_base=0x3000_2000_0000)
    with Kernel(assemble(CONVERT), emulated) as engine:
        assert isinstance(engine.arena, KernelArena)
        assert engine.arena.user_start == emulated.user_start
        assert engine.arena.page_count == 32
        assert engine.arena.flags == emulated.flags


def test_an_emulated_arena_in_use_is_refused() -> None:
    emulated = Arena(8)
    emulated.alloc(1)
    with pytest.raises(Unsupported, match="is in use"):
        Kernel(assemble(CONVERT), emulated)


def test_an_arena_that_was_given_stays_open() -> None:
    with KernelArena(4) as arena:
        with Kernel(assemble(CONVERT), arena):
            pass
        assert not arena.closed


def test_programs_without_an_arena_get_none() -> None:
    with Kernel(assemble("r0 = 0\nexit")) as engine:
        assert engine.arena is None


def test_closed_engines_say_so() -> None:
    engine = Kernel(assemble("r0 = 0\nexit"))
    engine.close()
    engine.close()
    with pytest.raises(KernelError, match="EBADF"):
        engine.run()


# Rewritten and machine code.


def test_xlated_shows_what_the_verifier_did() -> None:
    with Kernel(assemble(CONVERT)) as engine:
        assert engine.xlated["op"].tolist()[2:] == [
            Op.MOV64,
            Op.MOV32,
            Op.CAST_USER,
            Op.MOV64,
            Op.EXIT,
        ]
    with Kernel(assemble(CONVERT), Arena(4, ArenaFlags.NO_USER_CONV)) as engine:
        assert engine.xlated["op"].tolist()[2:] == [Op.MOV64, Op.MOV32, Op.MOV32, Op.MOV64, Op.EXIT]


def test_normalised_dumps_do_not_depend_on_the_load() -> None:
    with Kernel(assemble(ALLOC)) as first, Kernel(assemble(ALLOC)) as second:
        assert first.xlated_bytes != second.xlated_bytes  # map numbers differ
        assert (first.xlated == second.xlated).all()
        call = isa.decode(assemble(ALLOC).bytecode)
        assert (
            first.xlated[call["op"] == Op.CALL_LOCAL] == call[call["op"] == Op.CALL_LOCAL]
        ).all()


def test_leaked_modes_are_put_back() -> None:
    text = (
        "r1 = arena ll\nr1 = 16\nr1 = cast_kern(r1)\nr2 = *(s8 *)(r1 + 3)\n"
        "r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)\nw2 = load_acquire((u8 *)(r1 + 1))\n"
        "store_release((u32 *)(r1 + 4), w2)\nr0 = 0\nexit"
    )
    with Kernel(assemble(text)) as engine:
        assert engine.xlated["op"].tolist()[4:8] == [
            Op.LDXS8,
            Op.FETCH_ADD64,
            Op.LOAD_ACQUIRE8,
            Op.STORE_RELEASE32,
        ]


def test_listings_show_even_what_only_the_kernel_has() -> None:
    text = "r1 = 0\nagain: may_goto done\nr1 += 1\ngoto again\ndone: r0 = 0\nexit"
    with Kernel(assemble(text)) as engine:
        report = engine.report
    listing = report.listing
    assert len(listing) == len(report.code) // 8
    assert any(line.startswith(".bytes") for line in listing)
    assert listing[-2:] == ["r0 = 0", "exit"]


def test_normalise_keeps_ordinary_code() -> None:
    code = assemble("r0 = 1\nr0 += 5\nif r0 > 3 goto out\nr0 = 9 ll\nout: exit").bytecode
    assert rewritten.normalise(code) == code


def test_machine_code_of_a_cast_in_both_modes() -> None:
    counts = {}
    for flags in (ArenaFlags(0), ArenaFlags.NO_USER_CONV):
        with KernelArena(4, flags) as arena, Kernel(assemble(CONVERT), arena) as engine:
            table = engine.native
            counts[flags] = table[table["bpf"] == "r2 = cast_user(r1)"]
    assert len(counts[ArenaFlags(0)]) == 7
    assert len(counts[ArenaFlags.NO_USER_CONV]) == 1
    assert counts[ArenaFlags.NO_USER_CONV]["native"].tolist() == ["mov esi, edi"]
    assert counts[ArenaFlags(0)]["native"].iloc[-1].startswith("cmov")


def test_machine_code_covers_every_function_in_order() -> None:
    with Kernel(assemble(ALLOC)) as engine:
        table = engine.native
        kept = held()
        assert set(table["pc"]) == set(range(len(engine.program))) - {2}
        assert table["pc"].is_monotonic_increasing
        assert (table["native"] == "push rbp").sum() == 2
        assert (table["code"].str.len() > 0).all()
        assert held() == kept


# Resources.


def test_a_thousand_engines_leak_nothing() -> None:
    program = assemble(ALLOC)
    with Kernel(program) as engine:
        engine.run(bytes(16))
    gc.collect()
    before = held()
    for _ in range(1000):
        with Kernel(program) as engine:
            engine.run(bytes(16))
            assert engine.arena is not None
            engine.arena.snapshot()
    assert held() == before


def test_a_thousand_failures_leak_nothing() -> None:
    broken = [
        fails_soon(),
        assemble("r1 = arena ll\nr0 = *(u64 *)(r5 + 0)\nexit"),
        assemble("r1 = arena ll\ncall bpf_no_such_thing\nexit"),
        assemble("r1 = arena ll\nr2 = other ll\nexit"),
    ]
    before = held()
    for _ in range(250):
        for program in broken:
            with pytest.raises(WorkbenchError):
                Kernel(program)
    gc.collect()
    assert held() == before


def test_engines_that_nobody_closed_go_with_their_last_reference() -> None:
    before = held()
    for _ in range(20):
        Kernel(assemble(CONVERT)).run()
    gc.collect()
    assert held() == before


def test_engines_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arena, load, run and snapshot need few calls of the kernel, and no more the second time."""
    program, calls, counts = assemble(CONVERT), [], []
    real = syscall._syscall
    monkeypatch.setattr(syscall, "_syscall", lambda *given: calls.append(given[1]) or real(*given))
    for _ in range(3):
        calls.clear()
        with KernelArena(64) as arena, Kernel(program, arena) as engine:
            engine.run()
            arena.snapshot()
        counts.append(len(calls))
    assert counts[2] == counts[1] <= counts[0]
    assert counts[1] <= 10, calls


@pytest.mark.parametrize("name", programs.names())
def test_machine_code_of_the_examples_names_each_instruction(name: str) -> None:
    """Linux inserts instructions (may_goto's counter): lines still lead to the program's slots."""
    for program in programs.load(name).values():
        with KernelArena(300) as arena, Kernel(program, arena) as engine:
            table = engine.native
        written = set(np.nonzero(program.instructions["op"] != Op.INVALID)[0].tolist())
        assert set(table["pc"]) <= written
        assert len(set(table["pc"])) > 0.8 * len(written)
