"""Every seeded mistake is found where it was made, and nothing is found in sound programs."""

import tomllib
from pathlib import Path

import pytest

import workbench as wb
from workbench import corpus
from workbench.errors import Unsupported

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
@pytest.mark.parametrize("name", corpus.programs())
def test_the_examples_have_no_mistakes(name, flags):
    example = corpus.example(name)
    for program_name, program in corpus.load(name).items():
        context = example.contexts[program_name]
        arena = wb.Arena(example.pages, flags)
        if example.sizes and program_name != "setup":
            corpus.prepare(name, arena, wb.Interpreter)
        ctx = context.pack(8) if context.fields else b""
        trace = wb.record(program, arena, ctx, capacity=200_000, fuel=200_000)
        found = trace.sanitize()
        assert not found["level"].isin(GRAVE).any(), found.to_string()


def test_a_structure_used_again_in_a_second_run_has_no_mistakes():
    arena = wb.Arena(64)
    programs = corpus.load("hash")
    context = corpus.example("hash").contexts
    wb.record(programs["fill"], arena, context["fill"].pack(50))
    for name, arguments in (("lookup", (7,)), ("insert", (99, 1)), ("resize", (256,))):
        found = wb.record(programs[name], arena, context[name].pack(*arguments)).sanitize()
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
