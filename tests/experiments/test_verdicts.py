"""The harness that compares verdicts: its programs, its changes, its figures, and Linux itself."""

import random
from collections.abc import Iterator

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernel_support import KERNEL

from workbench.bpf.assembler import assemble
from workbench.bpf.program import Program
from workbench.engines.kernel import KernelArena, verdict
from workbench.experiments import log_agreement, seeds, verdicts
from workbench.experiments.mutate import minimised, mutated
from workbench.experiments.verdicts import COLUMNS, Start, confusion, disagreements, summary
from workbench.verifier import verify
from workbench.verifier.log.view import read_verifier_log

SEEDS = seeds.seeds()


@given(st.sampled_from(sorted(SEEDS)), st.integers(0, 2**31), st.integers(1, 4))
def test_changes_are_repeatable_and_still_programs(name: str, seed: int, changes: int) -> None:
    one, other = (mutated(SEEDS[name], random.Random(seed), changes) for _ in range(2))
    assert one == other
    assert isinstance(one, Program)
    assert len(one) == len(SEEDS[name])


@given(st.integers(0, 2**31))
def test_random_arithmetic_is_a_program(seed: int) -> None:
    assert len(seeds.arithmetic(random.Random(seed))) > 20


def test_a_start_names_its_program() -> None:
    assert verdicts.program_of(Start("seeds/ranges", -1)) == SEEDS["ranges"]
    start = Start("arithmetic", 7)
    assert verdicts.program_of(start) == verdicts.program_of(start)


def test_minimised_keeps_what_matters_and_moves_jumps() -> None:
    program = assemble(
        "r0 = 0\nr2 = 5\nif r1 == 0 goto out\nr3 = 7\nr4 = r9\nr5 = 1\nout:\nr0 = 0\nexit"
    )

    def reads_r9(tried: Program) -> bool:
        return "r4 = r9" in str(tried) and "exit" in str(tried)

    assert str(minimised(program, reads_r9)).split("\n")[:2] == ["    r4 = r9", "    exit"]


def frame_of(*rows: tuple[bool, str, bool, str]) -> pd.DataFrame:
    """Rows of (Linux accepts, its class, we accept, our class)."""
    values = []
    for number, (kernel_ok, kernel_class, ok, own) in enumerate(rows):
        linux = kernel_ok, -1, "" if kernel_ok else kernel_class, kernel_class, "safety", 1
        values.append(("seeds/x", number, 1, "tc", 1, *linux, ok, -1, "" if ok else own, own))
    return pd.DataFrame(values, columns=COLUMNS)


def test_figures() -> None:
    frame = frame_of(
        (True, "accepted", True, "accepted"),
        (False, "lock", False, "lock"),
        (False, "lock", False, "iterator"),
        (False, "lock", True, "accepted"),
        (False, "too complex", True, "left out"),
    )
    found = summary(frame)
    assert (found.programs, found.agreement, found.same_reason) == (4, 75.0, 50.0)
    assert (found.unsafe, found.too_strict, found.left_out) == (1, 0, 1)
    assert confusion(frame).to_numpy().tolist() == [[1, 0], [1, 2]]
    assert set(disagreements(frame)["class"]) == {"iterator", "accepted"}
    assert "75.00 %" in str(found)


class TestLinux:
    pytestmark = KERNEL

    @pytest.mark.parametrize("name", SEEDS)
    def test_linux_accepts_every_seed(self, name: str) -> None:
        answer = verdict(SEEDS[name])
        assert answer.ok, answer.message()

    def test_a_small_run(self, scale) -> None:
        """Half of the programs are refused; the figures' own targets are in README and notebook."""
        found = summary(verdicts.run(scale(300, 20_000), seed=2))
        assert found.programs > scale(300, 20_000) * 0.9
        assert 0.3 < found.refused_by_linux / found.programs < 0.7
        assert found.agreement > 60


SPLIT = """
call bpf_ktime_get_ns
{shift}
{mask}
if r0 s> 31 goto out
if r0 s< 0 goto out
*(u64 *)(r10 - 32) = 0
r1 = r10
r1 += -32
r1 += r0
*(u8 *)(r1 + 0) = 0
out: r0 = 0
exit
"""
SHIFTS = ("r0 s>>= 63", "w0 s>>= 31", "r0 s>>= 32\nw0 s>>= 31", "r0 s>>= 62")
MASKS = ("r0 &= 3", "w0 &= 7", "r0 |= 7", "w0 |= 1", "r2 = 4\nr0 &= r2")
STARTS = [
    Start("examples/heap.o/drain", -1),  # two functions that are verified apart
    Start("examples/hash_table.o/operate", -1),
    Start("examples/search.o/search", 1598046099),  # drops a checkpoint, ends in an older one
    Start("examples/skiplist.o/operate", 368330147),  # numbers known by one name in two frames
    Start("arithmetic", 610043630),
]


@pytest.fixture(scope="module")
def arena() -> Iterator[KernelArena]:
    with KernelArena(verdicts.PAGES) as made:
        yield made


class TestTotals:
    """How many instructions and checkpoints it took: the last line of both logs."""

    pytestmark = KERNEL

    @staticmethod
    def totals(program: Program, arena: KernelArena) -> tuple[str, str]:
        linux = verdict(program, arena, verdicts.TOTALS)
        ours = verify(program, arena_pages=verdicts.PAGES)
        return linux.log.strip().splitlines()[-1], ours.log.splitlines()[-1]

    def test_of_programs(self, arena: KernelArena, scale) -> None:
        starts = [Start(f"examples/{name}", -1) for name in seeds.examples()]
        for start in scale(STARTS, STARTS + starts):
            linux, ours = self.totals(verdicts.program_of(start), arena)
            assert linux == ours, start

    @pytest.mark.parametrize("shift", SHIFTS)
    def test_of_masks(self, arena: KernelArena, shift: str) -> None:
        """All ones or all zeros under a mask are two paths."""
        for mask in MASKS:
            linux, ours = self.totals(assemble(SPLIT.format(shift=shift, mask=mask)), arena)
            assert linux == ours, mask


LINUX_LOG = """
0: R1=ctx() R10=fp0
0: (79) r2 = *(u64 *)(r1 +0)          ; R1=ctx() R2=scalar()
1: (57) r2 &= 7                       ; R2=scalar(smin=smin32=0,smax=umax=smax32=umax32=7,var_off=(0x0; 0x7))
2: (b7) r0 = 0                        ; R0=0
3: (95) exit
processed 4 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""  # noqa: E501


def test_logs_are_compared_value_by_value() -> None:
    linux = read_verifier_log(LINUX_LOG)
    ours = read_verifier_log(LINUX_LOG.replace("umax32=7,var_off=(0x0; 0x7)", "umax32=15"))
    rows = pd.DataFrame(
        [("x", *row) for row in log_agreement.compared(linux, ours)], columns=log_agreement.COLUMNS
    )
    wrong = rows[~rows["same"]]
    assert list(zip(wrong["pc"], wrong["name"], wrong["printed"], strict=True)) == [
        (1, "R2", True),
        (2, "R2", False),
        (3, "R2", False),
    ]
    assert log_agreement.by_difference(rows)["count"].tolist() == [3]
    same = [row[-1] for row in log_agreement.compared(linux, linux)]
    assert all(same)
    assert len(same) == len(rows)


class TestLogs:
    pytestmark = KERNEL

    def test_logs_of_small_programs_agree(self, scale) -> None:
        chosen = log_agreement.programs()
        few = ("list/walk", "list.o/walk", "seeds/ranges", "seeds/packet_tc", "seeds/iterator")
        frame = log_agreement.run(scale({name: chosen[name] for name in few}, chosen))
        known = frame[~frame["printed"]]
        assert known["program"].nunique() == scale(len(few), len(set(frame["program"])))
        assert known["same"].mean() > 0.95

    def test_the_demonstration_is_accepted_and_refused(self) -> None:
        assert log_agreement.samples()["accepted"].tolist() == [True, False]
