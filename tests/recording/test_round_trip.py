"""A recording that was saved and loaded is the same value, field by field."""

import gzip
import struct
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generate.mixed import mixed
from support.agreement import emulated_arena
from support.mutated_recordings import MAPS
from support.paths import ROOT

import workbench as wb
from workbench.bpf.program import Program, Reference
from workbench.debugger.cpus import RoundRobin
from workbench.errors import TraceError, Unsupported
from workbench.examples import programs
from workbench.recording import file
from workbench.recording.format import VERSION, pack, unpack
from workbench.recording.trace import Trace
from workbench.widgets import enriched
from workbench.widgets.stepper import Stepper

VERSION_1, VERSION_2 = (Path(__file__).with_name(f"format_{n}.trace") for n in (1, 2))

PACKET = """
    r2 = *(u32 *)(r1 + 4)
    r1 = *(u32 *)(r1 + 0)
    r3 = r1
    r3 += 14
    r0 = 1
    if r3 > r2 goto out
    r0 = *(u8 *)(r1 + 12)
out: exit
"""


def an_example(name: str) -> Trace:
    program = next(iter(programs.load(name).values()))
    example = programs.example(name)
    ctx = struct.pack("<QQ", 9, 0) if example.sizes else b""
    with wb.Arena(pages=example.pages) as arena:
        return wb.record(program, arena, ctx, capacity=3000)


def maps() -> Trace:
    program = wb.assemble(MAPS)
    nested = wb.MapDefinition("inner", "array", 4, 8, 1, initial=bytes(range(8)))
    outer = wb.MapDefinition("outer", "array_of_maps", 4, 4, 1, inner=nested, values=("inner",))
    bloom = wb.MapDefinition("bloom", "bloom_filter", 0, 8, 4, map_extra=3)
    return wb.record(replace(program, maps=(*program.maps, nested, outer, bloom)), wb.Arena(8))


def functions() -> Trace:
    example = wb.load_object(ROOT / "data" / "programs" / "c" / "tree.o")
    return wb.record(example.program("grow"), example.arena(), ctx=struct.pack("<4Q", 9, 1, 0, 0))


def cpus() -> Trace:
    loaded = [*programs.load("list").values()][:2]
    return wb.record_cpus(loaded, wb.Arena(64), RoundRobin(5))


def after_user_space() -> Trace:
    arena = wb.Arena(8)
    arena.user.store(arena.user_start + 3 * 4096, "u64", 0x1234)
    return wb.record(wb.assemble("r1 = arena ll\nr0 = 0\nexit"), arena)


CASES: dict[str, Callable[[], Trace]] = {
    "maps": maps,
    "functions": functions,
    "cpus": cpus,
    "packet": lambda: wb.record(wb.assemble(PACKET, type="xdp"), ctx=bytes(range(64))),
    "raw": lambda: wb.record(wb.assemble("r0 = 7\nexit", type="raw"), ctx=bytes(8)),
    "after user space": after_user_space,
    "unverified": lambda: wb.record(wb.assemble("r0 = r5\nexit"), verify=False),
    "a window": lambda: functions().window(256, 300),
    "a fork": lambda: maps().fork(11, registers={1: 9}),
}


@pytest.fixture(scope="module", params=[*CASES, *(example.name for example in programs.EXAMPLES)])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A recording, and what comes back of it."""
    make = CASES.get(request.param)
    trace = make() if make else an_example(request.param)
    return trace, again(trace, tmp_path_factory.mktemp("saved"))


def again(trace: Trace, folder: Path) -> Trace:
    trace.save(folder / "run.trace")
    return wb.load_trace(folder / "run.trace")


def content(trace: Trace, folder: Path) -> bytes:
    """The bytes of its file, decompressed."""
    trace.save(folder / "run.trace")
    return gzip.decompress((folder / "run.trace").read_bytes())


def differences(mine: Any, theirs: Any, path: str = "trace") -> list[str]:
    """Where two values differ, by the names of their fields; numbers of other types differ."""
    if is_dataclass(mine) and type(mine) is type(theirs):
        names = [field.name for field in fields(mine) if field.name != "record"]
        mine, theirs = ({n: getattr(value, n) for n in names} for value in (mine, theirs))
    if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray):
        return [] if mine.dtype == theirs.dtype and np.array_equal(mine, theirs) else [path]
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping) and mine.keys() == theirs.keys():
        return [d for name in mine for d in differences(mine[name], theirs[name], f"{path}.{name}")]
    if isinstance(mine, tuple) and type(mine) is type(theirs) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [d for at, two in pairs for d in differences(*two, f"{path}[{at}]")]
    return [] if type(mine) is type(theirs) and mine == theirs else [f"{path}: {mine} {theirs}"]


def dense(trace: Trace) -> Trace:
    """With a row in every column for each step, as files have them."""
    return replace(trace, recorded=trace.steps)


def test_every_field_comes_back(pair: tuple[Trace, Trace]) -> None:
    trace, loaded = pair
    assert differences(dense(trace), dense(loaded)) == []


def test_the_view_is_the_same_byte_for_byte(pair: tuple[Trace, Trace]) -> None:
    trace, loaded = pair
    assert loaded.payload() == trace.payload()
    shown, _ = unpack(loaded.payload())
    followed = trace.report is not None and trace.report.processed <= enriched.MOST_FOLLOWED
    assert bool(shown["states"]) == followed


def test_the_events_and_states_are_the_same(pair: tuple[Trace, Trace]) -> None:
    trace, loaded = pair
    assert loaded.events.equals(trace.events)
    for t in {0, len(trace) // 2, len(trace)}:
        assert differences(loaded.state(t), trace.state(t)) == []


def test_the_verifier_says_the_same_again(tmp_path: Path) -> None:
    trace = functions()
    mine, theirs = trace.report, again(trace, tmp_path).report
    assert mine is not None
    assert theirs is not None
    assert (theirs.log, theirs.path) == (mine.log, mine.path)
    assert {pc: [*map(str, seen)] for pc, seen in theirs.states.items()} == {
        pc: [*map(str, seen)] for pc, seen in mine.states.items()
    }


def test_what_comes_back_of_maps_and_functions(tmp_path: Path) -> None:
    first, second = maps(), functions()
    assert first.program.maps[2].inner == first.program.maps[1]
    assert again(first, tmp_path).program == first.program
    assert len(second.program.subprograms) > 1
    assert second.program.btf
    assert again(second, tmp_path).program == second.program


def test_a_loaded_recording_with_maps_forks(tmp_path: Path) -> None:
    trace = wb.record(wb.assemble(MAPS), wb.Arena(8))
    loaded = again(trace, tmp_path)
    at = int(np.flatnonzero(loaded.recorded_steps()["value"] == 5)[0]) + 1
    forked = loaded.fork(at, registers={1: 6})
    assert (trace.state(len(trace)).registers[0], forked.state(len(forked)).registers[0]) == (
        10,
        12,
    )
    assert forked.frame.equals(trace.fork(at, registers={1: 6}).frame)


def test_saving_neither_verifies_nor_sanitizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = functions()

    def refuse(*_: object) -> None:
        raise AssertionError("asked while saving or loading")

    monkeypatch.setattr(enriched, "sanitize", refuse)
    monkeypatch.setattr(file, "verify", refuse)
    asked = replace(trace.report, record=refuse)  # type: ignore[type-var]
    again(replace(trace, report=asked), tmp_path)


def test_a_recording_without_steps_says_so(tmp_path: Path) -> None:
    with wb.Interpreter(wb.assemble("r0 = 0\nexit")) as engine:
        trace = engine.run(trace="counts").trace
    with pytest.raises(Unsupported, match="no steps were recorded"):
        trace.save(tmp_path / "run.trace")


def test_a_file_of_version_1_still_loads(tmp_path: Path) -> None:
    """Written before maps, functions and the verifier's report were kept."""
    loaded = wb.load_trace(VERSION_1)
    now = wb.record(wb.assemble(MAPS, name="maps"), wb.Arena(8))
    assert differences(loaded.steps, now.steps) == []
    assert differences(loaded.keyframes, now.keyframes) == []
    assert loaded.events.equals(now.events)
    assert (loaded.program.maps, loaded.report) == ((), None)
    assert loaded.program.bytecode == now.program.bytecode
    assert differences(dense(loaded), dense(again(loaded, tmp_path))) == []


def test_a_file_of_version_1_is_shown_with_the_facts_of_today() -> None:
    shown, _ = unpack(wb.load_trace(VERSION_1).payload())
    calls = {row["text"]: row["reads"] for row in shown["instructions"] if row["kind"] == "call"}
    assert calls["call bpf_map_update_elem"] == [1, 2, 3, 4]


def test_a_file_of_version_2_still_loads() -> None:
    loaded, now = wb.load_trace(VERSION_2), maps()
    for name in ("steps", "keyframes", "changes", "initial", "program", "code", "stack", "ctx"):
        assert differences(getattr(loaded, name), getattr(now, name), name) == []
    assert loaded.events.equals(now.events)
    assert (loaded.arena, loaded.stop, loaded.clock) == (now.arena, now.stop, now.clock)
    assert loaded.report is not None
    assert now.report is not None
    assert loaded.report.asked == now.report.asked


def test_numbers_of_operations_events_and_kfuncs_are_those_of_the_reader(tmp_path: Path) -> None:
    """Another workbench may number them otherwise: their names count."""
    trace = functions()
    shown, columns = file.meta(trace), file.columns(trace)
    shown["operations"] = shown["operations"][::-1]
    turned = trace.code.copy()
    turned["op"] = len(shown["operations"]) - 1 - turned["op"]
    turned["imm"][turned["op"] == shown["operations"].index("CALL_KFUNC")] = 99
    shown["code"], shown["report"] = turned.tobytes().hex(), None
    shown["event_kinds"] = shown["event_kinds"][::-1]
    columns["event_kind"] = len(shown["event_kinds"]) - 1 - columns["event_kind"]
    loaded = file.rebuilt(*unpack(pack(shown, columns)))
    assert differences(dense(loaded), replace(dense(trace), report=None)) == []


@pytest.mark.parametrize("version", [0, VERSION + 1, 2**31])
def test_other_versions_are_refused(version: int, tmp_path: Path) -> None:
    plain, path = content(maps(), tmp_path), tmp_path / "other.trace"
    assert int.from_bytes(plain[8:12], "little") == VERSION
    path.write_bytes(plain[:8] + version.to_bytes(4, "little") + plain[12:])
    with pytest.raises(TraceError, match=f"format version {version}; this workbench reads"):
        wb.load_trace(path)


def test_a_view_of_an_older_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(TraceError, match=r"format version 1; open it with wb\.load_trace"):
        Stepper(VERSION_1.read_bytes())


def forked(trace: Trace, step: int) -> Trace | str:
    """What r6 = 9 leads to, or why the run cannot be repeated: user space took part."""
    try:
        return dense(trace.fork(step, registers={6: 9}))
    except TraceError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(6))
def test_a_random_program_with_maps_or_a_packet_comes_back(seed: int, tmp_path: Path) -> None:
    """The run, a window of it and, if it can fork, what another value leads to."""
    made = mixed(seed)
    references = tuple(Reference(*reference) for reference in made.case.references)
    program = Program("mixed", made.kind, made.case.bytecode, references, maps=made.maps)
    with emulated_arena(made.case) as arena:
        trace = wb.record(program, arena, made.case.ctx, capacity=2000)
    loaded = again(trace, tmp_path)
    assert differences(dense(trace), dense(loaded)) == []
    middle = len(trace) // 2
    mine, theirs = (forked(one, middle) for one in (trace, loaded))
    assert differences(mine, theirs) == []
    if isinstance(mine, Trace):
        assert differences(mine, dense(again(mine, tmp_path))) == []
    part = loaded.window(middle, 40)
    assert differences(dense(trace.window(middle, 40)), dense(part)) == []
    assert differences(dense(part), dense(again(part, tmp_path))) == []
