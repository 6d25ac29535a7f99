"""The C examples, as they come and from each compiler: one result on every engine."""

import struct
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec

import nbformat
import numpy as np
import pytest
from support.bpf_probe import refusal
from support.compilers import ZIG
from support.kernel_support import KERNEL
from support.paths import C_SOURCES, ROOT

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.examples import c_programs, programs
from workbench.maps import drained
from workbench.objects import Object
from workbench.objects.compiler import compile_c

BASE = 0x7E0_0000_0000  # its low half is 0, so that the largest arena fits

# After each step: the low half of r0, and the context.
RESULTS = {
    "list": [(30, (30,)), (30, (3865,)), (0, (1,)), (29, (3621,))],
    "hash": [(200, (200,)), (1, (30, 900)), (0, (31, 0)), (0, (30, 5)), (1, (31, 6)), (1, (30, 5))],
    "atomics": [(5, (2, 0, 77)), (1, (500,)), (1, (0,)), (1, (0,))],
    "sparse": [(60, (60,)), (0, (70270,))],
    "search": [(2, ())],
    "lock": [(1, (150,)), (1, ()), (0, (1,))],
    "tree": [(500, (500, 1)), (1, (1,)), (0, (0,)), (0, (20, 1))],
}  # fmt: skip


def outcome(obj: Object, name: str, engine: type, make: Callable[..., object]) -> tuple:  # type: ignore[type-arg]
    """Results of all steps and the arena after them, once the user side has looked at it."""
    example = c_programs.example(name)
    with obj.arena(make, user_base=BASE) as arena:  # type: ignore[type-var]
        results = example.run(obj, arena, engine)
        snapshot = arena.snapshot()
        assert example.walk(obj, arena) == example.model()
    assert all(result.stop == "exit" for result in results)
    return [(r.r0 & 0xFFFFFFFF, r.ctx) for r in results], snapshot


def compare(obj: Object, name: str) -> None:
    """Interpreter, jit and, where it can be used, the kernel: equal results, equal bytes."""
    expected = [(r0, struct.pack(f"<{len(ctx)}Q", *ctx)) for r0, ctx in RESULTS[name]]
    engines = [(wb.Interpreter, wb.Arena), (wb.Jit, wb.Arena)]
    if not refusal():
        engines.append((wb.Kernel, wb.KernelArena))
    first = None
    for engine, make in engines:
        results, snapshot = outcome(obj, name, engine, make)
        assert results == expected, engine
        first = first or snapshot
        assert snapshot.pages.tolist() == first.pages.tolist(), engine
        assert np.array_equal(snapshot.bytes, first.bytes), engine


@pytest.mark.parametrize("name", c_programs.names())
def test_the_prebuilt_objects_agree_everywhere(name: str) -> None:
    compare(c_programs.example(name).load(), name)


@pytest.mark.parametrize("name", c_programs.names())
def test_both_compilers_agree_everywhere(each_compiler: str, name: str) -> None:
    compare(compile_c(c_programs.example(name).source), name)


@pytest.mark.parametrize("name", [pytest.param("helpers", marks=KERNEL)])
def test_the_helpers_of_arena_h(each_compiler: str, name: str) -> None:
    obj = compile_c(C_SOURCES / f"{name}.c")
    found = []
    for engine, make in (
        (wb.Interpreter, wb.Arena),
        (wb.Jit, wb.Arena),
        (wb.Kernel, wb.KernelArena),
    ):
        with obj.arena(make, user_base=BASE) as arena:  # type: ignore[type-var]
            for program, ctx in (("visits", (300, 40)), ("forget", (0, 0)), ("forget", (0, 0))):
                with engine(obj.programs[program], arena) as started:
                    result = started.run(struct.pack("<2Q", *ctx))
            head = obj.globals_in(arena)["recent"]["first"]  # type: ignore[index,call-overload]
            users = obj.walk(arena, head, "user", "recent.next")
            found.append((result.r0, result.ctx, users["visits"].tolist()))
    assert (found[0][0], struct.unpack("<2Q", found[0][1]), sum(found[0][2])) == (38, (292, 0), 283)
    assert found[0] == found[1] == found[2]


CALLS = C_SOURCES / "calls.c"
ON_KERNEL = {"said": 1}  # the program whose `found` is not compared from there on: Linux may lack
# memory for streams (kmalloc_nolock)


@pytest.mark.parametrize("each", [pytest.param("", marks=KERNEL)])
def test_every_map_and_helper(each_compiler: str, each: str) -> None:
    """What each program finds out, and the packet or context that it leaves behind."""
    obj, packet = compile_c(CALLS), bytes(range(64))
    for name in obj.programs:
        outcomes = []
        for engine, make, new in (
            (wb.Interpreter, wb.Arena, None),
            (wb.Jit, wb.Arena, None),
            (wb.Kernel, wb.KernelArena, wb.kernel_map),
        ):
            maps = obj.make_maps(new)
            with obj.arena(make, user_base=BASE) as arena:  # type: ignore[type-var]
                with engine(obj.programs[name], arena, maps=maps) as started:
                    result = started.run(packet)
                found = obj.globals_in(arena)["found"][: ON_KERNEL.get(name)]  # type: ignore[index,call-overload]
            left = {n: drained(map) for n, map in maps.items() if n != "perf"}
            outcomes.append((result.stop, result.r0 & 0xFFFFFFFF, result.ctx, found, left))
            for map in maps.values():
                map.close()
        assert outcomes[0] == outcomes[1] == outcomes[2], name


def test_what_programs_print(each_compiler: str) -> None:
    obj = compile_c(CALLS)
    for engine in (wb.Interpreter, wb.Jit):
        with obj.arena() as arena, engine(obj.programs["said"], arena) as started:
            result = started.run((5).to_bytes(8, "little"))
            assert result.printed == ("-5 of ff", "5, 7, x and text")
            assert started.printed["stream"].tolist() == ["trace", "stdout"]
        with obj.arena() as arena, engine(obj.programs["thrown"], arena) as started:
            assert (started.run().r0, started.run().printed) == (42, ())


@pytest.mark.parametrize("each", [pytest.param("", marks=KERNEL)])
def test_linux_prints_the_same(each_compiler: str, each: str) -> None:
    """It may lack memory for a stream (kmalloc_nolock); then it says so, and there is no text."""
    obj = compile_c(CALLS)
    with obj.arena(wb.KernelArena) as arena, wb.Kernel(obj.programs["said"], arena) as started:
        assert started.run((5).to_bytes(8, "little")).printed == ("-5 of ff",)
        status = int(obj.globals_in(arena)["found"][1])  # type: ignore[index,call-overload]
        assert (started.read_stdout(), status) in (("5, 7, x and text", 0), ("", -12))


@pytest.mark.parametrize("name", ["search", "hash"])
def test_programs_of_an_object_are_compared_with_its_variables(name: str) -> None:
    example = c_programs.example(name)
    obj, step = example.load(), example.steps[0]
    context = struct.pack(f"<{len(step.context)}Q", *step.context)
    engines = ["interpreter", "jit", *([] if refusal() else ["kernel"])]
    found = wb.compare(obj.programs[step.program], engines, context, obj=obj)
    assert found.equal, str(found)
    assert {result.r0 for result in found.results.values()} == {RESULTS[name][0][0]}


def test_the_notebook_comes_with_its_object(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("ziglang") is None or metadata.version("ziglang") != "0.17.1":
        pytest.skip("the object is that of ziglang 0.17.1 (the extra cc)")
    path = ROOT / "notebooks" / "10_bring_your_own_c.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    [source] = [cell.source for cell in cells if cell.source.startswith("%%bpf visitors ")]
    monkeypatch.setenv("WORKBENCH_CC", ZIG)
    built = compile_c("\n" + source.partition("\n")[2], name="visitors.c")
    prebuilt = wb.load_object(path.with_suffix(".o"))
    assert prebuilt.programs == built.programs
    assert prebuilt.contents == built.contents
    for program in prebuilt.programs.values():
        assert [(s.pc, s.line) for s in program.lines] == [
            (s.pc, s.line) for s in built.programs[program.name].lines
        ]


def test_every_source_is_an_example() -> None:
    folder = programs.directory() / "c"
    sources = sorted(path.stem for path in folder.glob("*.c"))
    assert sources == sorted(c_programs.names()) == sorted(RESULTS)
    assert sources == sorted(path.stem for path in folder.glob("*.o"))
    readme = (folder / "README.md").read_text()
    for example in c_programs.EXAMPLES:
        assert f"| {example.name} | {example.summary} |" in readme


def test_unknown_names() -> None:
    with pytest.raises(WorkbenchError, match="no C example 'heap'; there are list, hash, tree, "):
        c_programs.example("heap")


def test_a_broken_tree_is_noticed() -> None:
    example = c_programs.example("tree")
    obj = example.load()
    with obj.arena() as arena:
        example.run(obj, arena, wb.Interpreter)
        root = obj.globals_in(arena)["root"]
        arena.user.store(int(root) + 16, "u64", root)  # type: ignore[arg-type,call-overload]
        with pytest.raises(WorkbenchError, match="the tree is broken at 0x"):
            example.walk(obj, arena)
