"""Judge: every observed fact of tests/rows, on the emulation and on the running kernel."""

import collections

import pytest
from bpf_probe import refusal
from row_kernel import linux
from row_machines import EmulatedMachine
from rows import Row, answers, read_rows

ROWS = read_rows()
EMULATED = [row for row in ROWS if not row.reason("emulated")]
REAL = [row for row in ROWS if not row.reason("kernel")]


@pytest.mark.parametrize("row", EMULATED, ids=str)
def test_the_emulation_answers_as_linux_did(row: Row) -> None:
    assert "\n".join(answers(row, EmulatedMachine(row))) == row.expected("emulated")


@pytest.mark.kernel
@pytest.mark.skipif(bool(refusal()), reason=refusal() or "-")
@pytest.mark.parametrize("row", REAL, ids=str)
def test_this_kernel_answers_as_the_row_says(row: Row) -> None:
    assert linux(row) == row.expected("kernel")


def test_there_are_enough_rows_and_each_has_its_own_name() -> None:
    names = collections.Counter(map(str, ROWS))
    assert [name for name, count in names.items() if count > 1] == []
    assert len(ROWS) >= 250
    assert len(EMULATED) >= 0.9 * len(ROWS)


def test_a_side_that_is_left_out_says_why() -> None:
    """Reported by name, so that nothing is skipped in silence."""
    left_out = [(str(row), side, row.reason(side)) for row in ROWS
                for side in ("emulated", "kernel") if row.reason(side)]
    for name, side, reason in left_out:
        print(f"{name}: not {side}: {reason}")
        assert len(reason) > 15, name
