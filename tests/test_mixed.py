"""Random programs with maps, callbacks, iterators, tail calls and packets: `wb.compare` judges."""

from collections.abc import Callable, Mapping
from typing import Any

from generate.mixed import Mixed, mixed
from kernel_support import REASON

import workbench as wb
from workbench.engines.compare import Comparison
from workbench.maps import Map
from workbench.program import Program, Reference

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
    case = made.case
    main, tails = programs(made)

    def prepare(arena: Any, maps: Mapping[str, Map]) -> None:
        for page, content in case.touched:
            arena.user.write(case.user_base + page * 4096, content)
        maps["state"][0] = made.state
        for name, key, value in made.entries:
            maps[name][key] = [value] * maps[name].store.cpus if "cpu" in name else value
        for index, program in tails.items():
            maps["jumps"][index] = program

    return wb.compare(
        main, ENGINES, case.ctx, case.pages, case.flags, case.user_base, prepare=prepare
    )


def test_all_engines_agree(scale: Callable[[int, int], int]) -> None:
    """r0, steps, context or packet, arena, free pages, maps, faults; few does Linux refuse."""
    count, ran = scale(60, 10_000), 0
    for seed in range(count):
        made = mixed(seed)
        found = judge(made)
        assert found.equal, f"{made!r}\n{found}"
        ran += bool(found.results)
    assert ran >= 0.97 * count
