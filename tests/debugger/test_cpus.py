"""Several programs on one arena: every schedule repeats, and one that breaks a program is found."""

import numpy as np
import pytest

import workbench as wb
from workbench.debugger.cpus import Random, RoundRobin, Steps, find_schedule, record_cpus
from workbench.errors import WorkbenchError

HEAD = "r6 = arena ll\nr6 = arena + 0 ll\nr6 = cast_kern(r6)\nr7 = 0\nagain:\n"
TAIL = "r7 += 1\nif r7 != 3 goto again\nr0 = 0\nexit\n"
NAIVE = "r1 = *(u64 *)(r6 + 0)\nr1 += 1\n*(u64 *)(r6 + 0) = r1\n"
ATOMIC = "r1 = 1\nlock *(u64 *)(r6 + 0) += r1\n"
LOCKED = """
    r1 = 0
spin:
    may_goto out
    r0 = 0
    r2 = 1
    r0 = cmpxchg_64(r6 + 8, r0, r2)
    if r0 != 0 goto spin
    r1 = *(u64 *)(r6 + 0)
    r1 += 1
    *(u64 *)(r6 + 0) = r1
    r2 = 0
    r2 = xchg_64(r6 + 8, r2)
out:
"""


def counter(update):
    return wb.assemble(HEAD + update + TAIL)


def arena():
    made = wb.Arena(4)
    made.user.store(made.user_start, "u64", 0)
    return made


def total(made):
    return made.user.load(made.user_start, "u64")


def test_round_robin_loses_updates_that_atomics_keep():
    for update, expected in ((NAIVE, 3), (ATOMIC, 6)):
        made = arena()
        trace = record_cpus([counter(update)] * 2, made, RoundRobin(1))
        assert (trace.stop, total(made)) == ("exit", expected)
        assert trace.cpus[:6].tolist() == [0, 1, 0, 1, 0, 1]


def test_a_schedule_that_loses_an_update_is_found_and_repeats():
    programs = [counter(NAIVE)] * 3
    found = find_schedule(programs, arena, lambda made: total(made) != 9, longest=3)
    assert found is not None
    seed = int(found.reason.split("seed=")[1].split(",")[0])
    again = record_cpus(programs, arena(), Random(seed, 3))
    assert np.array_equal(found.cpus, again.cpus)
    assert found.frame.equals(again.frame)
    lost = record_cpus(programs, arena(), Steps(found.cpus.tolist()))
    assert lost.frame.equals(found.frame)


@pytest.mark.parametrize("update", [ATOMIC, LOCKED], ids=["atomic", "locked"])
def test_no_schedule_breaks_the_repaired_program(update, scale):
    seeds = range(scale(50, 2000))
    programs = [counter(update)] * 3
    assert find_schedule(programs, arena, lambda made: total(made) != 9, seeds, longest=3) is None


def test_one_cpu_alone_is_an_ordinary_run():
    program = wb.assemble(
        "r1 = 5\ncall square\nexit\nsquare: r0 = r1\nr0 *= r1\nexit\n", name="square"
    )
    alone = wb.record(program)
    joined = record_cpus([program], wb.Arena(4))
    assert joined.frame.equals(alone.frame)
    for t in range(len(alone) + 1):
        assert joined.state(t).registers.tolist() == alone.state(t).registers.tolist()


def test_each_cpu_has_its_own_registers_stack_context_and_number():
    program = wb.assemble(
        """
        r6 = r1
        r2 = *(u64 *)(r6 + 0)
        *(u64 *)(r10 - 8) = r2
        call bpf_get_smp_processor_id
        r3 = *(u64 *)(r10 - 8)
        r0 += r3
        *(u64 *)(r6 + 0) = r0
        exit
        """
    )
    contexts = [n.to_bytes(8, "little") for n in (100, 200, 300)]
    trace = record_cpus([program] * 3, wb.Arena(4), RoundRobin(2), contexts)
    results = trace.registers(len(trace)).reshape(3, 8, 11)[:, 0, 0]
    assert results.tolist() == [100, 201, 302]


def test_a_saved_trace_of_several_cpus_is_the_same(tmp_path):
    trace = record_cpus([counter(NAIVE), counter(LOCKED)], arena(), Random(7))
    trace.save(tmp_path / "cpus.trace")
    loaded = wb.load_trace(tmp_path / "cpus.trace")
    assert loaded.frame.equals(trace.frame)
    for t in range(0, len(trace) + 1, 7):
        assert np.array_equal(loaded.registers(t), trace.registers(t))


def test_page_events_bear_the_slots_of_the_joined_program():
    alloc = "r1 = arena ll\nr2 = 0\nr3 = 1\nr4 = -1\nr5 = 0\ncall bpf_arena_alloc_pages\nexit\n"
    program = wb.assemble(alloc)
    trace = record_cpus([program] * 2, wb.Arena(4))
    events = trace.events
    assert events[events["kind"] == "alloc"]["pc"].tolist() == [6, 6 + len(program)]
    assert set(trace.program.line_of(6 + len(program)).text.split()) >= {"call"}


def test_a_fault_ends_the_run_and_names_the_cpu():
    bad = wb.assemble("r1 = *(u64 *)(r1 + 8)\nr0 = 0\nexit")
    trace = record_cpus([wb.assemble("r0 = 0\nexit"), bad], wb.Arena(4), ctx=[b"", b""])
    assert trace.stop == "fault"
    assert trace.reason.startswith("CPU 1: instruction 0")


def test_an_endless_run_ends_with_its_fuel():
    endless = wb.assemble("r0 = 0\nx: may_goto out\ngoto x\nout: exit\n")
    trace = record_cpus([endless], wb.Arena(4), fuel=500)
    assert (trace.stop, len(trace)) == ("fuel", 500)


@pytest.mark.parametrize(
    ("programs", "schedule", "message"),
    [(0, None, "0 programs"), (40, None, "40 programs"), (2, [0, 2], "names CPU 2; there are 2")],
)
def test_what_cannot_be_scheduled_is_refused(programs, schedule, message):
    with pytest.raises(WorkbenchError, match=message):
        record_cpus([wb.assemble("r0 = 0\nexit")] * programs, wb.Arena(4), schedule)
