"""wb.compare: one program on several engines, and where they first disagree."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from support.bpf_probe import refusal

import workbench as wb
from workbench.arena import Snapshot
from workbench.engines import compare as module
from workbench.engines.base import Result
from workbench.engines.compare import Comparison, Fault, Outcome, compare
from workbench.errors import KernelError, WorkbenchError
from workbench.examples import programs

REFUSAL = refusal()
KERNEL = [pytest.mark.kernel, pytest.mark.skipif(bool(REFUSAL), reason=REFUSAL or "bpf(2) works")]
FLAGS = [wb.ArenaFlags(0), wb.ArenaFlags.NO_USER_CONV]
EXAMPLES = [name for name in programs.names() if programs.example(name).sizes is None]
MICRO = [name for name in programs.names() if programs.example(name).sizes is not None]

ONE = Result("interpreter", "p", "exit", 0x1_0000_002A, 3, 0.0, b"\1\2")
PAGES = Snapshot(np.array([1], np.uint32), np.zeros((1, 4096), np.uint8))
OTHER_BYTE = Snapshot(PAGES.pages, np.where(np.arange(4096) == 9, 7, PAGES.bytes).astype(np.uint8))
NO_PAGE = Snapshot(np.zeros(0, np.uint32), np.zeros((0, 4096), np.uint8))

FAULTS = (Fault("absent_read", 8, 1), Fault("dropped_write", 16, 4))

DIFFERENCES = [
    (Outcome(ONE, PAGES), ""),
    (Outcome(replace(ONE, r0=0x2A), PAGES), ""),  # the kernel returns the low half
    (Outcome(replace(ONE, steps=0, seconds=9.0, pc=7), PAGES), ""),
    (Outcome(replace(ONE, r0=0x2B), PAGES), "r0 is 0x2a on interpreter, 0x2b on kernel"),
    (Outcome(replace(ONE, stop="fault", reason="why"), PAGES), "stop is exit on .* (why)"),
    (Outcome(replace(ONE, ctx=b"\1\3"), PAGES), "context: byte 1 is 0x02 on interpreter, 0x03"),
    (Outcome(replace(ONE, ctx=b"\1"), PAGES), "context: 2 bytes on interpreter, 1 on kernel"),
    (Outcome(ONE, OTHER_BYTE), "arena: page 1, byte 0x9: 0x00 and 0x07 (interpreter, kernel)"),
    (Outcome(ONE, NO_PAGE), "arena: page 1 is present in only the first"),
    (Outcome(ONE, PAGES, free=((2, 6),), faults=FAULTS), ""),  # nobody knows, the kernel is silent
    (Outcome(ONE, PAGES, faults=FAULTS[1:]), ""),
    (Outcome(ONE, PAGES, faults=FAULTS[::-1]), "only the kernel reports: absent_read at 0x8"),
    (Outcome(ONE, PAGES, maps={"m": {b"\1": b"\2"}}), "map 'm' at 01: 03 on interpreter, 02 on"),
    (Outcome(None, None, "instruction 3: bad"), "kernel refuses the program (instruction 3: bad)"),
]


@pytest.mark.parametrize(("other", "words"), DIFFERENCES)
def test_first_difference(other: Outcome, words: str) -> None:
    mine = Outcome(ONE, PAGES, faults=FAULTS, maps={"m": {b"\1": b"\3"}} if other.maps else {})
    found = module._first_difference({"interpreter": mine, "kernel": other})
    first, _, last = words.partition(".*")
    assert found.startswith(first)
    assert last in found
    assert bool(found) == bool(words)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Outcome(ONE, PAGES, free=((2, 6),), faults=FAULTS), ""),
        (Outcome(replace(ONE, steps=4), PAGES), "steps are 3 on interpreter, 4 on jit"),
        (Outcome(ONE, PAGES, free=((2, 5),)), "free pages: ((2, 6),) on interpreter, ((2, 5),) on"),
        (Outcome(ONE, PAGES, free=((2, 6),), faults=FAULTS[:1]),
         "fault 2: dropped_write at 0x10 by instruction 4 on interpreter, nothing on jit"),
    ],
)  # fmt: skip
def test_engines_of_this_process_agree_in_more(other: Outcome, words: str) -> None:
    mine = Outcome(ONE, PAGES, free=((2, 6),), faults=FAULTS)
    found = module._first_difference({"interpreter": mine, "jit": other})
    assert found.startswith(words)
    assert bool(found) == bool(words)


COUNTING = """
.map m array key=4 value=8 entries=1
    r0 = m + 0 ll
    r1 = *(u64 *)(r0 + 0)
    r2 = arena + 8 ll
    r2 = cast_kern(r2)
    r3 = *(u64 *)(r2 + 0)
    r1 += r3
    *(u64 *)(r0 + 0) = r1
    r3 = *(u64 *)(r2 + 4096)
    r0 = r1
    exit
"""


def test_arena_and_maps_are_prepared_on_each_engine() -> None:
    def prepare(arena: wb.Arena, maps: Mapping[str, wb.Map]) -> None:
        arena.user.write(arena.user_start + 8, (40).to_bytes(8, "little"))
        maps["m"][0] = 2

    found = compare(wb.assemble(COUNTING), ("interpreter", "jit"), pages=8, prepare=prepare)
    assert found.equal, str(found)
    for outcome in found.outcomes.values():
        assert outcome.result is not None
        assert outcome.result.r0 == 42
        assert outcome.maps["m"] == {bytes(4): (42).to_bytes(8, "little")}
        assert [fault.cause for fault in outcome.faults] == ["absent_read"]
        assert outcome.free == ((1, 7),)


def test_all_of_r0_counts_without_the_kernel() -> None:
    other = Outcome(replace(ONE, r0=0x2A), PAGES)
    found = module._first_difference({"interpreter": Outcome(ONE, PAGES), "jit": other})
    assert found == "r0 is 0x10000002a on interpreter, 0x2a on jit"


def test_two_refusals_agree() -> None:
    outcomes = {"interpreter": Outcome(None, None, "a"), "kernel": Outcome(None, None, "b")}
    found = Comparison("p", outcomes, {}, module._first_difference(outcomes))
    assert found.equal
    assert not found.results


def test_an_engine_that_cannot_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise KernelError("EPERM", "no capability")

    broken = module._Engine(refuse, module._interpret)  # type: ignore[arg-type]
    monkeypatch.setitem(module._ENGINES, "kernel", broken)
    found = compare(wb.assemble("r0 = 1\nexit"))
    assert not found.equal
    assert found.difference == ""
    assert found.missing == {"kernel": "EPERM: no capability"}
    assert "not compared" in str(found)
    assert "not run: EPERM: no capability" in str(found)
    assert "EPERM" in found._repr_html_()


def test_bad_arguments() -> None:
    program = wb.assemble("r0 = 1\nexit")
    with pytest.raises(WorkbenchError, match="unknown engine 'warp'; there are interpreter, "):
        compare(program, engines=("interpreter", "warp"))
    with pytest.raises(WorkbenchError, match="at least 1 page"):
        compare(program, engines=("interpreter",), pages=0)


def test_markup_is_escaped() -> None:
    found = Comparison("<p>", {}, {"kernel": "<b>"}, "")
    assert "<p>" not in found._repr_html_()
    assert "<b>" not in found._repr_html_()


def on_both(program: wb.Program, **arguments: object) -> Comparison:
    found = compare(program, ("interpreter", "jit", "kernel"), **arguments)  # type: ignore[arg-type]
    assert found.equal, str(found)
    return found


@pytest.mark.parametrize("name", [pytest.param(name, marks=KERNEL) for name in EXAMPLES])
@pytest.mark.parametrize("flags", FLAGS, ids=["conversion", "no_user_conv"])
def test_the_examples_are_equal(name: str, flags: wb.ArenaFlags) -> None:
    found = on_both(programs.load(name)["main"], flags=flags)
    assert "equal on interpreter and jit and kernel" in str(found)
    assert {result.stop for result in found.results.values()} == {"exit"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=KERNEL) for name in MICRO])
def test_the_micro_programs_are_equal(name: str) -> None:
    example = programs.example(name)
    assert example.sizes is not None
    loaded = programs.load(name)
    before = [loaded["setup"]] if "setup" in loaded else []
    ctx = example.contexts[name].pack(example.sizes.quick)
    found = on_both(loaded[name], ctx=ctx, pages=example.pages, before=before)
    assert found.results["interpreter"].r0 == example.sizes.quick_r0


@pytest.mark.parametrize("base", [pytest.param(0x7000_1000_0000, marks=KERNEL)])
def test_the_base_is_the_one_asked_for(base: int) -> None:
    program = wb.assemble("r0 = arena + 0 ll\nr0 = cast_user(r0)\nr0 >>= 32\nexit")
    found = on_both(program, user_base=base)
    assert found.results["kernel"].r0 == base >> 32


@pytest.mark.parametrize("program", [pytest.param(programs.load("list")["main"], marks=KERNEL)])
def test_another_open_arena_is_no_obstacle(program: wb.Program) -> None:
    with wb.KernelArena(64):
        on_both(program)


@pytest.mark.parametrize("text", [pytest.param("r0 = r3\nexit", marks=KERNEL)])
def test_both_refuse(text: str) -> None:
    found = on_both(wb.assemble(text))
    assert str(found).count("refused: instruction 0: R3 !read_ok") == 3


@pytest.mark.parametrize("type", [pytest.param("raw", marks=KERNEL)])
def test_what_the_kernel_cannot_run(type: str) -> None:
    found = compare(wb.assemble("r0 = 1\nexit", type=type))
    assert "raw" in found.missing["kernel"]
    assert found.results["interpreter"].r0 == 1
