"""Every seeded mistake is found where it was made, and nothing is found in sound programs."""

import struct
import tomllib
from pathlib import Path

import pytest

import workbench as wb
from workbench.errors import Unsupported
from workbench.examples import c_programs, programs
from workbench.examples.studies import heap
from workbench.examples.studies.kv import Store

TABLE = tomllib.loads((Path(__file__).parent / "sanitizer.toml").read_text())
GRAVE = ["error", "warning"]


def findings(row):
    program = wb.assemble(TABLE["head"] + row["asm"] + TABLE["keep"])
    trace = wb.record(program, wb.Arena(16, row.get("flags", 0)))
    assert trace.stop == "exit"
    return trace.sanitize()


@pytest.mark.parametrize("row", TABLE["row"], ids=lambda row: row["name"])
def test_the_mistake_is_found(row):
    found = findings(row)
    if "finding" not in row:
        assert not found["level"].isin(GRAVE).any(), found.to_string()
        return
    level = row.get("level", "error")
    same = found[found["finding"] == row["finding"]]
    assert len(same) == row.get("places", 1), found.to_string()
    assert set(same["level"]) == {level}
    assert set(same["line"]) == {row["at"]}
    others = found[(found["finding"] != row["finding"]) & found["level"].isin(GRAVE)]
    assert others.empty, others.to_string()
    assert all(same["why"].str.len() > 20)


@pytest.mark.parametrize("flags", [0, wb.ArenaFlags.NO_USER_CONV], ids=["conversion", "none"])
@pytest.mark.parametrize("name", programs.names())
def test_the_examples_have_no_mistakes(name, flags):
    example = programs.example(name)
    for program_name, program in programs.load(name).items():
        context = example.contexts[program_name]
        arena = wb.Arena(example.pages, flags)
        if example.sizes and program_name != "setup":
            programs.prepare(name, arena, wb.Interpreter)
        ctx = context.pack(8) if context.fields else b""
        trace = wb.record(program, arena, ctx, capacity=200_000, fuel=200_000)
        found = trace.sanitize()
        assert not found["level"].isin(GRAVE).any(), found.to_string()


class Watched(wb.Interpreter):
    """An interpreter whose every run is recorded and must have no mistakes."""

    def run(self, ctx=b"", fuel=None):
        result = super().run(ctx, fuel, trace="steps", capacity=300_000)
        found = result.trace.sanitize()
        assert not found["level"].isin(GRAVE).any(), found.to_string()
        return result


@pytest.mark.parametrize("name", c_programs.names())
def test_the_c_examples_have_no_mistakes(name):
    example = c_programs.example(name)
    code = example.load()
    with code.arena() as arena:
        assert {result.stop for result in example.run(code, arena, Watched)} == {"exit"}


STUDIES = {
    "skiplist": ("operate", struct.pack("<7Q", 300, 5, 60, 0, 0, 0, 0)),
    "ring": ("produce", struct.pack("<2Q", 40, 7)),
}


@pytest.mark.parametrize("name", STUDIES)
def test_the_studies_have_no_mistakes(name):
    code, (program, ctx) = (
        wb.load_object(programs.directory() / "studies" / f"{name}.o"),
        STUDIES[name],
    )
    with code.arena() as arena, Watched(code.program(program), arena) as engine:
        assert engine.run(ctx).stop == engine.run(ctx).stop == "exit"


def test_the_heap_and_the_store_have_no_mistakes():
    code = wb.load_object(programs.directory() / "studies" / "heap.o")
    with code.arena() as arena:
        assert len(heap.churn(code, arena, Watched, rounds=120, steps=3)) == 3
        with Watched(code.program("drain"), arena) as engine:
            engine.run()
    code = wb.load_object(programs.directory() / "studies" / "kv.o")
    with code.arena() as arena:
        kept = Store(arena, arena.user_start + code.variables["table"].offset, 8, 64, 1024)
        kept[b"here"] = b"value"
        with Watched(code.program("get"), arena) as engine:
            found = [engine.run(key.ljust(104, b"\0")).r0 for key in (b"here", b"nowhere")]
        assert found == [1, 0]


def test_every_cpu_has_its_own_pointers_and_stack():
    """Each CPU reads through NULL, and only the second one loses its page."""
    text = """
        call bpf_arena_alloc_pages
        r6 = cast_kern(r0)
        *(u64 *)(r10 - 8) = r0
        r7 = *(u64 *)(r6 + 0)
        r7 = cast_kern(r7)
        r8 = *(u64 *)(r7 + 8)
        r0 = RESULT
        exit
    """
    head = "r1 = arena ll\nr2 = 0\nr3 = 1\nr4 = -1\nr5 = 0\n"
    loaded = [
        wb.assemble(head + text.replace("RESULT", result))
        for result in ("*(u64 *)(r10 - 8)", "0", "*(u64 *)(r10 - 8)")
    ]
    found = wb.record_cpus(loaded, wb.Arena(64)).sanitize()
    assert found["finding"].tolist() == ["null pointer"] * 3 + ["leak"]
    assert found["pc"].tolist()[-1] == len(loaded[0]) + 6


def test_pages_placed_at_a_distance_are_found_as_long_as_their_neighbour_is():
    """A row for the call, not one for each page, when nothing leads to them."""
    text = """
        call bpf_arena_alloc_pages
        r6 = r0
        r7 = 3
    more:
        r6 += 8192
        r1 = arena ll
        r2 = r6
        r3 = 1
        r4 = -1
        r5 = 0
        call bpf_arena_alloc_pages
        r7 += -1
        if r7 != 0 goto more
        r0 = RESULT
        exit
    """
    head = "r1 = arena ll\nr2 = 0\nr3 = 1\nr4 = -1\nr5 = 0\n"
    for result, times in (("r6", []), ("0", [1, 3])):
        trace = wb.record(wb.assemble(head + text.replace("RESULT", result)), wb.Arena(64))
        found = trace.sanitize()
        assert found[found["finding"] == "leak"]["times"].tolist() == times


def test_a_structure_used_again_in_a_second_run_has_no_mistakes():
    arena = wb.Arena(64)
    loaded = programs.load("hash")
    context = programs.example("hash").contexts
    wb.record(loaded["fill"], arena, context["fill"].pack(50))
    for name, arguments in (("lookup", (7,)), ("insert", (99, 1)), ("resize", (256,))):
        found = wb.record(loaded[name], arena, context[name].pack(*arguments)).sanitize()
        assert not found["level"].isin(GRAVE).any(), found.to_string()


def test_a_loop_is_one_row_with_a_count():
    program = wb.assemble(
        """
        r7 = arena + 0x2000 ll
        r7 = cast_kern(r7)
        r1 = 0
    again:
        *(u64 *)(r7 + 0) = r1
        r1 += 1
        if r1 != 5 goto again
        r0 = 0
        exit
        """
    )
    found = wb.record(program, wb.Arena(16)).sanitize()
    assert found[["finding", "times", "page"]].values.tolist() == [["dropped store", 5, 2]]


def test_a_run_without_an_arena_has_no_findings():
    assert wb.record(wb.assemble("r0 = 0\nexit")).sanitize().empty


def test_a_saved_trace_has_the_same_findings(tmp_path):
    row = TABLE["row"][4]
    program = wb.assemble(TABLE["head"] + row["asm"] + TABLE["keep"])
    trace = wb.record(program, wb.Arena(16))
    trace.save(tmp_path / "run.trace")
    assert wb.load_trace(tmp_path / "run.trace").sanitize().equals(trace.sanitize())


def test_what_was_not_recorded_cannot_be_judged():
    with wb.Interpreter(wb.assemble("r0 = 0\nexit")) as engine:
        trace = engine.run(trace="counts").trace
    with pytest.raises(Unsupported, match="no steps were recorded"):
        trace.sanitize()
