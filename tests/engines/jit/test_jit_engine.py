"""The jit's own behaviour: what it refuses, shows and shares with other threads."""

import signal
import threading

import pytest
from support.kernel_support import REASON

import workbench as wb
from workbench.errors import Unsupported, VerificationError, WorkbenchError
from workbench.examples import programs


def test_says_what_it_cannot_do() -> None:
    program = wb.assemble("r0 = 0\nexit")
    with wb.Jit(program) as engine:
        with pytest.raises(Unsupported, match="use the interpreter"):
            engine.run(trace="steps")
        with pytest.raises(WorkbenchError, match="fuel must be a whole number"):
            engine.run(fuel=-1)
    with pytest.raises(VerificationError):
        wb.Jit(wb.assemble("r0 = *(u64 *)(r1 + 8)\nr0 = *(u64 *)(r0 + 0)\nexit"))
    large = wb.assemble("\n".join(["r0 = 0"] * 20_001 + ["exit"]))
    with pytest.raises(Unsupported, match="20002 slots"):
        wb.Jit(large)


def test_shows_its_code() -> None:
    """Machine code belongs to instructions, but for the entry; Linux's is beside it."""
    program = programs.load("memsum")["memsum"]
    with wb.Jit(program) as engine:
        assert "define" in engine.llvm_ir
        table = engine.native
        size = len(engine.machine_code)
    assert set(table["pc"]) <= set(range(len(program)))
    ours = table[table["native"] != ""]
    assert 0.7 * size < sum(len(code) // 2 for code in ours["code"]) <= size
    assert not ours["address"].duplicated().any()
    loads = set(table[table["bpf"] == "r4 = *(u64 *)(r1 + 0)"]["kernel"])
    if REASON:
        assert loads == {""}
    else:
        assert any("qword ptr" in text for text in loads)


def test_runs_again_and_again() -> None:
    program = wb.assemble("r0 = *(u64 *)(r1 + 0)\nr0 += 1\n*(u64 *)(r1 + 0) = r0\nexit")
    with wb.Jit(program) as engine:
        for n in range(5):
            result = engine.run(n.to_bytes(8, "little"))
            assert (result.r0, result.ctx) == (n + 1, (n + 1).to_bytes(8, "little"))


def test_ctrl_c_stops_an_endless_program() -> None:
    program = wb.assemble("x: r0 += 1\ngoto x")
    with wb.Jit(program, verify=False) as engine:
        timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
        timer.start()
        result = engine.run()
        timer.join()
    assert result.stop == "interrupt"
    assert result.steps > 0


LOCKED = """
    r6 = *(u64 *)(r1 + 0)
    r7 = arena + 0 ll
    r7 = cast_kern(r7)
again:
    may_goto out
    if r6 == 0 goto out
    r6 -= 1
take:
    may_goto out
    r1 = 1
    w1 = xchg32_32(r7 + 0, w1)
    if w1 != 0 goto take
    r2 = *(u64 *)(r7 + 8)
    r2 += 1
    *(u64 *)(r7 + 8) = r2
    r1 = 0
    store_release((u32 *)(r7 + 0), w1)
    goto again
out:
    r0 = r6
    exit
"""


def in_threads(engines: list[wb.Jit], ctx: bytes = b"") -> list[int]:
    """Run all at once; returns what each gave."""
    left: list[int] = []
    threads = [threading.Thread(target=lambda e=e: left.append(e.run(ctx).r0)) for e in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return left


def test_two_threads_count_under_a_lock() -> None:
    """The GIL is released, and atomics are atomic: a spin lock in the arena loses no count."""
    count, arena = 200_000, wb.Arena(1)
    arena.alloc(1)
    engines = [wb.Jit(wb.assemble(LOCKED), arena) for _ in range(2)]
    assert in_threads(engines, count.to_bytes(8, "little")) == [0, 0]
    assert arena.user.load(arena.user_start + 8) == 2 * count


PAGES_TAKEN = """
    r6 = *(u64 *)(r1 + 0)             ; a known number of rounds would be followed one by one
    r7 = 0
again:
    may_goto out
    if r6 == 0 goto out
    r6 -= 1
    r1 = arena ll
    r2 = 0
    r3 = 1
    r4 = -1
    r5 = 0
    call bpf_arena_alloc_pages
    if r0 == 0 goto again
    r7 += 1
    r8 = r0
    r1 = cast_kern(r0)
    r2 = *(u64 *)(r1 + 0)
    r7 += r2
    *(u64 *)(r1 + 0) = 1000000
    r2 = *(u64 *)(r1 + 8192)
    r1 = arena ll
    r2 = r8
    r3 = 1
    call bpf_arena_free_pages
    goto again
out:
    r0 = r7
    exit
"""


def test_threads_share_page_tables_and_events() -> None:
    """No page is given to two at once, each comes zeroed, and no event is lost."""
    rounds, arena = 5_000, wb.Arena(8)
    program = wb.assemble(PAGES_TAKEN)
    engines = [wb.Jit(program, arena) for _ in range(4)]
    assert in_threads(engines, rounds.to_bytes(8, "little")) == [rounds] * 4
    assert arena.live_pages == 0
    assert arena.free_extents.tolist() == [[0, 8]]
    kinds = arena.events["kind"].value_counts()
    assert kinds["alloc"] == kinds["free"] == 4 * rounds
    assert not kinds["alloc_failed"]


def test_may_goto_ends_exactly() -> None:
    """The budget is used up to the last round, whatever way it is counted."""
    for text in ("", "call f\n"):
        lines = f"r0 = 0\nx: may_goto out\nr0 += 1\n{text}goto x\nout: exit\nf: r0 += 1\nexit"
        program = wb.assemble(lines if text else lines.split("\nf:")[0])
        with wb.Jit(program, verify=False) as engine:
            result = engine.run()
        assert result.stop == "exit"
        assert result.r0 == (1 << 28) * (2 if text else 1)
