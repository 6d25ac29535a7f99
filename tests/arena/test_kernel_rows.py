"""Judge: every observed fact of tests/rows, on the emulation and on the running kernel."""

import collections
import platform

import pytest
from support.bpf_probe import refusal
from support.row_kernel import linux
from support.row_machines import EmulatedMachine
from support.rows import Row, answers, read_rows

ROWS = read_rows()
EMULATED = [row for row in ROWS if not row.reason("emulated")]
REAL = [row for row in ROWS if not row.reason("kernel")]
OBSERVED = platform.release().startswith("6.18.") and platform.machine() == "x86_64"
LEFT_OUT = [(row, side) for side in ("emulated", "kernel") for row in ROWS if row.reason(side)]


@pytest.mark.parametrize("row", EMULATED, ids=str)
def test_the_emulation_answers_as_linux_did(row: Row) -> None:
    assert "\n".join(answers(row, EmulatedMachine(row))) == row.expected("emulated")


@pytest.mark.kernel
@pytest.mark.skipif(bool(refusal()), reason=refusal() or "-")
@pytest.mark.xfail(not OBSERVED, reason="observed on Linux 6.18, x86-64", strict=False)
@pytest.mark.parametrize("row", REAL, ids=str)
def test_this_kernel_answers_as_the_row_says(row: Row) -> None:
    assert linux(row) == row.expected("kernel")


@pytest.mark.parametrize(("row", "side"), LEFT_OUT, ids=str)
def test_a_row_that_one_side_cannot_express(row: Row, side: str) -> None:
    """Skipped with the reason that the row gives, so that the summary shows it."""
    reason = row.reason(side)
    assert len(reason) > 15, "say why"
    pytest.skip(f"{side} side: {reason}")


def test_there_are_enough_rows_and_each_has_its_own_name() -> None:
    names = collections.Counter(map(str, ROWS))
    assert [name for name, count in names.items() if count > 1] == []
    assert len(REAL) >= 700
    assert len(EMULATED) >= 0.94 * len(ROWS)
