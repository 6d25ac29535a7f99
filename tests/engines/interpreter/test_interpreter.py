"""The interpreter's own behaviour: stops, faults, stepping, counters. Semantics: test_oracle.py."""

import _thread
import struct
import threading

import numpy as np
import pytest

import workbench as wb
from workbench.engines.base import Result
from workbench.errors import DecodeError, Unsupported, VerificationError, WorkbenchError

LOOP = """
    r0 = 0
again:
    r0 += 1
    if r0 != 1000 goto again
    exit
"""

RAW = [
    ("load", "r0 = *(u32 *)(r1 + 4)\nexit", bytes(range(16)), "exit", 0x07060504),
    ("length", "r0 = r2\nexit", bytes(5), "exit", 5),
    ("no memory", "r0 = r1\nexit", b"", "exit", 0),
    ("store past the end", "*(u64 *)(r1 + 4) = 1\nr0 = 0\nexit", bytes(8), "fault", 0),
    ("load before the start", "r0 = *(u8 *)(r1 - 1)\nexit", bytes(8), "fault", 0),
    ("last byte", "r0 = *(u8 *)(r1 + 7)\nexit", bytes(range(8)), "exit", 7),
    ("below the stack", "r0 = *(u64 *)(r10 - 4104)\nexit", b"", "fault", 0),
    ("host address", "r1 = 0x7fff00000000 ll\nr0 = *(u64 *)(r1 + 0)\nexit", b"", "fault", 0),
    ("NULL", "r1 = 0\nr0 = *(u64 *)(r1 + 0)\nexit", b"", "fault", 0),
    ("wrap", "r1 = -4\nr0 = *(u64 *)(r1 + 0)\nexit", b"", "fault", 0),
    ("call nowhere", "r1 = 5000\ncallx r1\nexit", b"", "fault", 0),
    ("endless recursion", "f: call f\nexit", b"", "fault", 0),
    ("off the end", "r0 = 1", b"", "fault", 1),
    ("jump out", "r0 = 2\ngoto +99", b"", "fault", 2),
    ("into a wide load", "goto +1\nr0 = 0 ll\nexit", b"", "fault", 0),
]


def run(text: str, memory: bytes = b"", **options: object) -> Result:
    program = wb.assemble(text, type="raw")
    with wb.Interpreter(program, verify=False) as engine:
        return engine.run(memory, **options)


@pytest.mark.parametrize(("name", "text", "memory", "stop", "r0"), RAW, ids=[row[0] for row in RAW])
def test_unverified_programs_stay_in_their_memory(name, text, memory, stop, r0):
    result = run(text, memory)
    assert (result.stop, result.r0) == (stop, r0)
    assert bool(result.reason) == (stop == "fault")


def test_fault_names_instruction_address_and_size():
    reason = run("*(u64 *)(r1 + 4) = 1\nr0 = 0\nexit", bytes(8)).reason
    assert reason == (
        "instruction 0 (*(u64 *)(r1 + 4) = 1): 0xffff888100000004 is in no memory of the program"
        " (its memory has 8 bytes)"
    )


@pytest.mark.parametrize("load", ["map[fd:7]", "map[idx:7][0] + 8", "btf_id 7 ll"])
def test_fault_says_that_what_is_loaded_is_not_there(load):
    reason = run(f"r1 = {load}\nr0 = 0\nexit").reason
    assert reason.endswith("nothing here has that descriptor, index or id")


def test_memory_is_copied_in_and_given_back():
    memory = bytes(8)
    assert run("*(u8 *)(r1 + 1) = 7\nr0 = 0\nexit", memory).ctx == b"\0\7" + bytes(6)
    assert memory == bytes(8)


@pytest.mark.parametrize("fuel", [0, 1, 2, 500, 2001, 2002])
def test_fuel_counts_steps_and_a_run_goes_on(fuel):
    with wb.Interpreter(wb.assemble(LOOP)) as engine:
        first = engine.run(fuel=fuel)
        assert first.steps == min(fuel, 2002)
        assert first.stop == ("exit" if fuel == 2002 else "fuel")
        if first.stop == "fuel":
            rest = engine.resume()
            assert (rest.stop, rest.r0, first.steps + rest.steps) == ("exit", 1000, 2002)


def test_stepping_shows_registers():
    with wb.Interpreter(wb.assemble(LOOP)) as engine:
        seen = []
        for _ in range(5):
            engine.step()
            seen.append((engine.pc, int(engine.registers[0])))
    assert seen == [(1, 0), (2, 1), (1, 1), (2, 2), (1, 2)]


def test_breakpoints_stop_before_their_instruction_each_time():
    with wb.Interpreter(wb.assemble(LOOP)) as engine:
        first = engine.run(breakpoints=(2,))
        second = engine.resume(breakpoints=(2,))
        last = engine.resume()
    assert [r.stop for r in (first, second, last)] == ["breakpoint", "breakpoint", "exit"]
    assert (first.steps, second.steps, first.pc) == (2, 2, 2)


def test_counts_are_exact():
    result = wb.Interpreter(wb.assemble(LOOP)).run(trace="counts")
    assert result.trace.counts.tolist() == [1, 1000, 1000, 1]


def test_control_c_ends_an_endless_program_and_keeps_its_state():
    with wb.Interpreter(wb.assemble("x: r0 = 7\ngoto x", type="raw"), verify=False) as engine:
        engine.run(fuel=1)
        timer = threading.Timer(0.3, _thread.interrupt_main)
        timer.start()
        result = engine.run()
    assert (result.stop, result.r0) == ("interrupt", 7)
    assert result.steps > 0


def test_local_calls_have_frames_of_their_own():
    text = """
        r6 = 1
        *(u64 *)(r10 - 8) = 5
        r1 = 10
        call double
        r2 = *(u64 *)(r10 - 8)
        r0 += r2
        r0 += r6
        exit
    double:
        r6 = 99
        *(u64 *)(r10 - 8) = 77
        r0 = r1
        r0 += r1
        exit
    """
    assert wb.Interpreter(wb.assemble(text)).run().r0 == 26


def test_random_numbers_repeat_with_the_seed():
    program = wb.assemble("call bpf_get_prandom_u32\nexit")
    values = [wb.Interpreter(program, seed=seed).run().r0 for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_packet_loads_are_big_endian_and_end_the_program_outside():
    assert run("r0 = *(u16 *)skb[1]\nexit", b"\1\2\3\4").r0 == 0x0203
    outside = run("r0 = 9\nr0 = *(u32 *)skb[1]\nr0 = 5\nexit", b"\1\2\3\4")
    assert (outside.stop, outside.r0) == ("exit", 0)


def test_arena_clock_is_shared_by_program_and_user():
    arena = wb.Arena(4)
    program = wb.assemble("r1 = arena ll\nr0 = 0\nexit")
    wb.Interpreter(program, arena).run()
    arena.user.load(arena.user_start)
    assert arena.events["time"].tolist() == [3]


REFUSED = [
    (lambda: wb.Interpreter(wb.assemble("r0 = r5\nexit")), VerificationError, "R5 !read_ok"),
    (lambda: wb.Interpreter(wb.assemble(LOOP)).resume(), WorkbenchError, "call run first"),
    (
        lambda: wb.Interpreter(wb.assemble(LOOP)).run(fuel=-1),
        WorkbenchError,
        "fuel must be",
    ),
    (lambda: wb.Interpreter(wb.assemble(LOOP)).run(trace="all"), WorkbenchError, "choose from"),
    (lambda: wb.Interpreter(wb.assemble(LOOP)).run(breakpoints=(9,)), WorkbenchError, "0 to 3"),
    (lambda: wb.Interpreter(wb.assemble(LOOP), object()), Unsupported, "workbench.Kernel"),
    (lambda: wb.Program("x", "raw", b"\xff" * 8), DecodeError, "unknown opcode 0xff"),
]


@pytest.mark.parametrize(("call", "kind", "words"), REFUSED, ids=[row[2] for row in REFUSED])
def test_mistakes_are_explained_in_one_line(call, kind, words):
    with pytest.raises(kind, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_engine_on_half_an_arena_word_is_exact():
    """A fetch on an absent page leaves memory and register as they were, as 6.18 does."""
    text = "r1 = arena ll\nr2 = 0x10000000\nr2 = cast_kern(r2)\nr3 = 5\n"
    text += "r3 = atomic_fetch_add((u64 *)(r2 + 0), r3)\nr0 = r3\nexit"
    result = wb.Interpreter(wb.assemble(text), wb.Arena(1)).run()
    assert result.r0 == 5


def test_context_comes_back_changed():
    text = "r2 = *(u64 *)(r1 + 0)\nr2 += 1\n*(u64 *)(r1 + 8) = r2\nr0 = 0\nexit"
    result = wb.Interpreter(wb.assemble(text)).run(struct.pack("<QQ", 41, 0))
    assert struct.unpack("<QQ", result.ctx) == (41, 42)


def test_registers_are_a_copy():
    engine = wb.Interpreter(wb.assemble(LOOP))
    engine.step()
    engine.registers[:] = np.uint64(5)
    assert engine.registers[0] == 0


def test_a_missing_context_is_a_fault_and_not_the_arena():
    text = "r2 = *(u64 *)(r1 + 0)\nr3 = arena ll\nr0 = 0\nexit"
    result = wb.Interpreter(wb.assemble(text), wb.Arena(1)).run()
    assert result.stop == "fault"
    assert "its context has 0 bytes" in result.reason
