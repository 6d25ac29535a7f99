"""Random programs with maps, callbacks, iterators, tail calls and packets: `wb.compare` judges."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from generate import Case, generate
from generate.mixed import Mixed, mixed
from support.agreement import fill, program_of
from support.kernel_support import REASON
from support.page_fault_count import TRACEPOINT, PageFaultCount

import workbench as wb
from workbench.bpf.program import Program, Reference
from workbench.engines.base import Result
from workbench.engines.compare import Comparison
from workbench.engines.kernel.perf import tracepoint
from workbench.maps import Map

ENGINES = ("interpreter", "jit") if REASON else ("interpreter", "jit", "kernel")


def programs(made: Mixed) -> tuple[Program, dict[int, Program]]:
    """The program itself, and those that it may go to by index."""
    case = made.case
    code = {-1: (case.bytecode, case.references)} | {at: tuple(rest) for at, *rest in made.tails}
    whole = {
        at: Program(
            f"mixed_{case.seed}_{at + 1}",
            made.kind,
            bytecode,
            tuple(Reference(*reference) for reference in references),
            maps=made.maps,
        )
        for at, (bytecode, references) in code.items()
    }
    return whole.pop(-1), whole


def judge(made: Mixed) -> Comparison:
    """Run everywhere, on equal arenas and maps."""
    main, tails = programs(made)

    def prepare(arena: Any, maps: Mapping[str, Map]) -> None:
        fill(arena, made.case)
        maps["state"][0] = made.state
        for name, key, value in made.entries:
            maps[name][key] = value
        for index, program in tails.items():
            maps["jumps"][index] = program

    return compared(main, made.case, prepare)


def judge_plain(case: Case) -> Comparison:
    return compared(program_of(case), case, lambda arena, maps: fill(arena, case))


def compared(program: Program, case: Case, prepare: Callable[..., None]) -> Comparison:
    base, ctx = case.user_base, case.ctx
    return wb.compare(program, ENGINES, ctx, case.pages, case.flags, base, prepare=prepare)


def test_all_engines_agree(scale: Callable[[int, int], int]) -> None:
    """r0, steps, context or packet, arena, free pages, maps, faults; few does Linux refuse."""
    count, ran = scale(60, 10_000), 0
    for seed in range(count):
        made = mixed(seed)
        found = judge(made)
        assert found.equal, f"{made!r}\n{found}"
        ran += bool(found.results)
    assert ran >= 0.97 * count


def test_linux_meets_absent_pages_as_often(
    scale: Callable[[int, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's own page faults during a run, counted by perf: as many as ours."""
    number = None if REASON else tracepoint(TRACEPOINT)
    if number is None:
        pytest.skip("the page faults of a kernel need perf, and root or tracefs")
    count, plain, faults = PageFaultCount(number), wb.Kernel.run, 0

    def counted(engine: wb.Kernel, *arguments: Any) -> Result:
        with count:
            return plain(engine, *arguments)

    monkeypatch.setattr(wb.Kernel, "run", counted)
    for seed in range(3_000_000, 3_000_000 + scale(20, 3000)):
        for case, judged in ((generate(seed), judge_plain), (mixed(seed), judge)):
            found = judged(case)  # type: ignore[operator]
            assert found.equal, f"{case!r}\n{found}"
            if found.results:
                ours = found.outcomes["interpreter"].faults
                assert count.last == len(ours), f"{case!r}: {ours[:20]}"
                faults += count.last
    count.close()
    assert faults > 20
