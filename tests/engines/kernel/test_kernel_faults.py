"""Real page faults as events, in-kernel timing, features and the doctor's report."""

import gc
import json
import mmap
import os
import time

import pytest
from support.kernel_support import KERNEL, held

from workbench.arena import Arena, ArenaFlags
from workbench.bpf.assembler import assemble
from workbench.cli import doctor
from workbench.engines.kernel import (
    FaultRecorder,
    Kernel,
    KernelArena,
    kernel_facts,
    loop,
    probe_features,
    rounds_ctx,
    time_engines,
)
from workbench.engines.kernel.perf import PageFaults
from workbench.errors import KernelError, SegmentationFault
from workbench.models import faults

pytestmark = KERNEL

PAGE = 4096


@pytest.fixture
def arena():
    with KernelArena(pages=64) as made:
        yield made


def story(recorder: FaultRecorder) -> list[tuple[str, int]]:
    events = recorder.events
    return list(zip(events["kind"].astype(str), events["page"], strict=True))


def test_raw_touches_are_recorded_with_address_and_time(arena: KernelArena) -> None:
    start = time.monotonic_ns()
    with FaultRecorder(arena) as recorder:
        for page in (5, 3, 60):
            arena.bytes[page * PAGE + 100] = 1
    events = recorder.events
    assert events["page"].tolist() == [5, 3, 60]
    assert events["address"].tolist() == [arena.user_start + p * PAGE + 100 for p in (5, 3, 60)]
    assert (events["kind"] == "user_fault").all()
    assert events["ns"].is_monotonic_increasing
    assert start < events["ns"].iloc[0] < time.monotonic_ns()
    assert recorder.lost == events.attrs["lost"] == 0


def test_a_second_touch_is_no_fault(arena: KernelArena) -> None:
    arena.bytes[0] = 1
    with FaultRecorder(arena) as recorder:
        arena.bytes[1] = 2
        arena.bytes[PAGE] = 2
        arena.bytes[PAGE + 1] = 2
    assert story(recorder) == [("user_fault", 1)]


def test_each_fault_says_what_it_did(arena: KernelArena) -> None:
    with FaultRecorder(arena) as recorder:
        arena.alloc(3)
        arena.bytes[PAGE] = 1
        arena.user.load(arena.user_start + 8 * PAGE)
        arena.free(arena.user_start + PAGE, 1)
        arena.bytes[PAGE] = 1
        arena.snapshot()
        arena.reset()
    assert story(recorder) == [
        ("alloc", 0),
        ("user_minor", 1),
        ("user_fault", 8),
        ("free", 1),
        ("user_fault", 1),
        ("free", 0),
        ("free", 8),
    ]
    assert recorder.events["count"].tolist() == [3, 1, 1, 1, 1, 3, 1]


def test_what_a_program_allocates_is_seen(arena: KernelArena) -> None:
    text = (
        "r1 = arena ll\nr2 = 0\nr3 = 4\nr4 = -1\nr5 = 0\ncall bpf_arena_alloc_pages\nr0 = 0\nexit"
    )
    with Kernel(assemble(text), arena) as engine, FaultRecorder(arena) as recorder:
        engine.run()
        assert arena.bytes[2 * PAGE] == 0
        assert arena.bytes[9 * PAGE] == 0
    assert story(recorder) == [("alloc", 0), ("user_minor", 2), ("user_fault", 9)]


def test_what_linux_says_of_absent_pages_is_taken_once(arena: KernelArena) -> None:
    text = "r1 = arena + 0x3008 ll\nr1 = cast_kern(r1)\nr0 = *(u64 *)(r1 + 0)\nr0 = 0\nexit"
    with Kernel(assemble(text), arena) as engine:
        engine.run()
        try:
            text = engine.read_stderr()
        except KernelError:
            pytest.skip("no streams before Linux 6.17")
        found = faults.from_reports(text, arena.user_start, 64)
        assert faults.sequence(found) in ([], [("absent_read", 3)])  # Linux may drop a report
        assert engine.read_stderr() == ""


def test_refused_touches_are_segv() -> None:
    with KernelArena(8, ArenaFlags.SEGV_ON_FAULT) as arena:
        with FaultRecorder(arena) as recorder:
            with pytest.raises(SegmentationFault):
                arena.user.load(arena.user_start + 12)
            arena.alloc(1)
            arena.user.load(arena.user_start + 12)
        assert story(recorder) == [("segv", 0), ("alloc", 0), ("user_minor", 0)]
        assert recorder.events["address"].iloc[0] == arena.user_start + 12


def test_frames_have_the_schema_of_the_emulated_arena(arena: KernelArena) -> None:
    with FaultRecorder(arena) as recorder:
        arena.bytes[0] = 1
    emulated = Arena(4)
    emulated.user.load(emulated.user_start)
    ours, theirs = recorder.events, emulated.events
    assert set(ours.columns) == {*theirs.columns, "ns"}
    assert (ours.dtypes[list(theirs.columns)] == theirs.dtypes).all()
    assert len(FaultRecorder(arena).events) == 0


def test_lost_samples_are_counted(arena: KernelArena) -> None:
    with FaultRecorder(arena, capacity=10) as recorder, mmap.mmap(-1, 2000 * PAGE) as fresh:
        fresh.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(2000):
            fresh[page * PAGE] = 1
    assert recorder.lost > 1000
    assert recorder.events.attrs["lost"] == recorder.lost
    assert "lost" in repr(recorder)


def test_the_ring_is_read_around_its_end() -> None:
    faults = PageFaults(capacity=100)
    with KernelArena(1024) as arena:
        view = arena.bytes
        faults.start()
        seen = []
        for page in range(1024):
            view[page * PAGE] = 1
            if page % 50 == 49:
                seen += faults.take()[:, 1].tolist()
        faults.stop()
        seen += faults.take()[:, 1].tolist()
        inside = [address for address in seen if arena.user_start <= address < arena.user_end]
        assert inside == [arena.user_start + page * PAGE for page in range(1024)]
    assert faults.lost == 0
    faults.close()


def test_recorders_leak_nothing(arena: KernelArena) -> None:
    for _ in range(2):  # the arena's own programs are loaded when first needed
        with FaultRecorder(arena):
            arena.bytes[0] = 1
    before = held()
    for _ in range(50):
        with FaultRecorder(arena):
            arena.bytes[0] = 1
        with pytest.raises(ZeroDivisionError), FaultRecorder(arena):
            _ = 1 / 0
    gc.collect()
    assert held() == before


# Timing.


def test_conversion_costs_what_the_flag_saves() -> None:
    with KernelArena(4) as converting, KernelArena(4, ArenaFlags.NO_USER_CONV) as plain:
        body = loop("r3 = cast_user(r2)", "r2 = 16\nr2 = cast_kern(r2)")
        with Kernel(body, converting) as first, Kernel(body, plain) as second:
            rounds = 20_000
            table = time_engines(
                {"conversion": first, "plain": second},
                rounds_ctx(rounds),
                operations=rounds * 16,
                rounds=9,
            )
    assert table["name"].tolist() == ["conversion", "plain"] * 9  # in turns
    assert list(table.columns) == ["round", "name", "ns", "operations", "ns_per_operation", "cpu"]
    best = table.groupby("name")["ns_per_operation"].min()
    assert best["conversion"] > 2 * best["plain"] > 0
    assert table["cpu"].nunique() == 1


def test_timing_gives_the_processors_back() -> None:
    before = os.sched_getaffinity(0)
    with Kernel(assemble("r0 = 0\nexit")) as engine:
        table = time_engines({"empty": engine}, rounds=2, warmup=0, cpu=min(before))
    assert os.sched_getaffinity(0) == before
    assert (table["cpu"] == min(before)).all()
    assert (table["ns"] < 1e5).all()


def test_a_loop_runs_its_rounds() -> None:
    with KernelArena(1) as arena:
        start = arena.user_start
        arena.user.store(start, "u64", 0)
        setup = f"r2 = {start % (1 << 32):#x} ll\nr2 = cast_kern(r2)\nr3 = 1"
        with Kernel(loop("lock *(u64 *)(r2 + 0) += r3", setup), arena) as engine:
            engine.run(rounds_ctx(100_000))
        assert arena.user.load(start) == 1_600_000


# Features and the doctor.


def test_facts_are_plain_values() -> None:
    facts = kernel_facts()
    assert facts["release"].value == os.uname().release
    assert facts["page_size"].value == PAGE
    json.dumps(facts)


def test_features_are_probed() -> None:
    before, features = held(), probe_features()
    gc.collect()
    assert held() == before
    for name in ("arena", "alloc_pages", "free_pages", "may_goto", "presence"):
        assert features[name].value is True, features[name].detail
    assert all(fact.detail for fact in features.values())


def test_a_missing_feature_has_the_kernels_reason() -> None:
    missing = [fact for fact in probe_features().values() if not fact.value]
    for fact in missing:
        assert "instruction" in fact.detail or "kernel" in fact.detail


def test_the_doctor_finds_this_machine_well() -> None:
    checks = {check.name: check for check in doctor.doctor()}
    for name in (
        "python",
        "package",
        "numba",
        "linux",
        "capabilities",
        "jit",
        "kernel BTF",
        "bpf(2) and arena map",
        "page-fault events",
        "compilation cache",
    ):
        assert checks[name].ok, checks[name]
    json.dumps(doctor.to_json(list(checks.values())))
    text = doctor.report(list(checks.values()))
    assert len(text.splitlines()) >= len(checks)


def test_what_fails_has_a_cure() -> None:
    for check in doctor.doctor():
        assert check.ok != bool(check.cure), check
        assert check.detail


def test_the_doctor_without_privileges_names_the_capability() -> None:
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.setresuid(65534, 65534, 65534)
        rows = [c for c in doctor._kernel() if not c.ok]
        os.write(send, json.dumps(doctor.to_json(rows)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(send)
    rows = {row["name"]: row for row in json.loads(os.read(receive, 1 << 16))}
    os.close(receive)
    assert "EPERM" in rows["bpf(2) and arena map"]["detail"]
    assert "CAP_BPF" in rows["bpf(2) and arena map"]["cure"]
    assert "CAP_PERFMON" in rows["page-fault events"]["cure"]
    assert not rows["capabilities"]["ok"]
