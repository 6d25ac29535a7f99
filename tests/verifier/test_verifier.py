"""The verifier: rows of single rules, random programs, and Linux's own answers to both."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from generate import generate
from hypothesis import given
from hypothesis import strategies as st
from oracles import kernel_rewrite
from support.agreement import TOO_COMPLEX
from support.bpf_probe import refusal
from support.paths import PROGRAMS, ROW_TABLES

from workbench.bpf import isa
from workbench.bpf.assembler import assemble
from workbench.bpf.files import read_programs
from workbench.bpf.isa import Op
from workbench.bpf.map_types import MapFlag, MapType
from workbench.bpf.program import Program, Reference
from workbench.errors import DecodeError, VerificationError
from workbench.verifier import Report, remembering, verify
from workbench.verifier.paths.calls import CALLS
from workbench.verifier.paths.transfer import TRANSFERS
from workbench.verifier.rules.check import CHECKS
from workbench.verifier.rules.facts import _FACTS, Fact

PATH = ROW_TABLES / "verifier.toml"
ROWS = tomllib.loads(PATH.read_text())["row"]
KERNEL_ROWS = [row for row in ROWS if row.get("type") != "raw"]
BASE = 0x100010000000
PAGES = 16


def name_of(row: dict) -> str:
    return row["name"].replace(" ", "-")


def program_of(row: dict) -> Program:
    return assemble(row["asm"], type=row.get("type", "syscall"))


def random_case(seed: int) -> tuple[Program, int, int, int]:
    """A random valid program with its arena's pages, base and flags."""
    case = generate(seed)
    references = tuple(Reference(*reference) for reference in case.references)
    program = Program("random", "syscall", case.bytecode, references)
    return program, case.pages, case.user_base, case.flags


# Rows


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_row(row: dict) -> None:
    report = verify(program_of(row), row.get("flags", 0))
    if "refused" in row:
        assert (report.ok, report.pc) == (False, row["at"]), str(report)
        assert report.reason.startswith(row["refused"])
        return
    assert report.ok, str(report)
    changed = np.flatnonzero(report.xlated["op"] != program_of(row).instructions["op"])
    found = {str(pc): Op(int(report.xlated["op"][pc])).name for pc in changed}
    assert found == row.get("xlated", {})


def test_every_fact_has_a_check_and_every_operation_facts_and_transfer() -> None:
    assert set(CHECKS) == set(Fact.__args__)
    assert set(_FACTS) == set(TRANSFERS) | set(CALLS) == {int(op) for op in Op}


# Reports


def test_report_of_an_accepted_program() -> None:
    report = verify(assemble("r1 = arena + 8 ll\nr1 = cast_kern(r1)\nr0 = *(u8 *)(r1 + 0)\nexit"))
    assert str(report) == "accepted: 4 instructions, 1 arena access, 1 cast"
    assert (report.ok, report.pc, report.reason) == (True, -1, "")
    assert "processed 4 insns" in report.log
    assert not report.xlated.flags.writeable
    report.raise_if_refused()


def test_report_of_a_refused_program() -> None:
    report = verify(assemble("r2 = 7\nif r2 > 3 goto +0\nr1 = *(u64 *)(r2 + 8)\nr0 = 0\nexit"))
    assert str(report) == "refused at instruction 2: R2 invalid mem access 'scalar'"
    lines = report.log.splitlines()
    assert lines[-3:-1] == ["2: (79) r1 = *(u64 *)(r2 +8)", "R2 invalid mem access 'scalar'"]
    assert lines[-1].startswith("processed 3 insns (limit 1000000) max_states_per_insn 0 ")
    assert report.path == (0, 1, 2)
    with pytest.raises(VerificationError, match="instruction 2: R2 invalid mem access") as caught:
        report.raise_if_refused()
    assert (caught.value.pc, caught.value.log) == (2, report.log)


@pytest.mark.parametrize(
    ("asm", "line"),
    [
        ("if r3 == -1 goto +1\nr0 = 0\nexit", "0: (15) if r3 == 0xffffffff goto pc+1"),
        ("r1 = cast_kern(r5)\nexit", "0: (bf) r1 = addr_space_cast(r5, 0, 1)"),
        ("r10 = -5\nr0 = 0\nexit", "0: (b7) r10 = -5"),
        ("*(u8 *)(r10 - 520) = 3\nr0 = 0\nexit", "0: (72) *(u8 *)(r10 -520) = 3"),
    ],
)
def test_log_spells_instructions_as_linux_does(asm: str, line: str) -> None:
    assert line in verify(assemble(asm)).log.splitlines()


def test_addresses_are_checked_against_the_arena() -> None:
    program = assemble("r0 = arena + 8192 ll\nexit")
    assert verify(program).ok
    assert verify(program, arena_pages=2).ok, "one past the end, as in Linux 6.18"
    report = verify(program, arena_pages=1)
    assert report.reason == "invalid access to map value pointer, value_size=4096 off=8192"


def test_reports_are_remembered_by_program_and_arena_inside_a_block_only() -> None:
    program = assemble("r0 = arena ll\nr0 = cast_kern(r0)\nr0 = *(u64 *)(r0 + 0)\nexit")
    with remembering():
        first = verify(program, arena_pages=2)
        with remembering():
            assert verify(program, arena_pages=2) is first
        assert verify(program, arena_pages=2) is first
        for other in (verify(program, 1, arena_pages=2), verify(program, arena_pages=3)):
            assert other is not first
        assert verify(replace(program), arena_pages=2) is not first
    assert verify(program, arena_pages=2) is not first


def test_many_paths_stay_cheap() -> None:
    """200 branches in a row, and a call in each of 8 frames twice, are not multiplied."""
    branches = "".join(f"if r1 == {n} goto +1\nr2 += {n}\n" for n in range(200))
    frames = "".join(f"f{n}: call f{n + 1}\ncall f{n + 1}\nexit\n" for n in range(1, 7))
    text = f"r2 = 0\n{branches}call f1\nr0 = 0\nexit\n{frames}f7: r0 = 0\nexit"
    report = verify(assemble(text))
    assert report.ok, str(report)
    assert report.processed < 3000


def test_numbers_from_arithmetic_that_runs_in_32_bits_are_unknown() -> None:
    """The same addition sees an arena pointer in one call: its 64-bit sum in the other is wrong."""
    text = """
        r1 = 1 ll
        r1 <<= 32
        call f
        if r0 != 0 goto +1
        goto bad
        r2 = arena + 0 ll
        r1 = cast_kern(r2)
        call f
        r0 = 0
        exit
    bad: r0 = *(u64 *)(r9 + 0)
        exit
    f:  r0 = r1
        r0 += 0
        exit
    """
    assert verify(assemble(text)).reason == "R9 !read_ok"


# Programs

FILES = sorted(PROGRAMS.rglob("*.bpf"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_programs_of_the_workbench_are_accepted(path: Path) -> None:
    for program in read_programs(path).values():
        report = verify(program)
        assert report.ok, f"{program.name}: {report}"


def test_random_valid_programs_are_accepted(scale) -> None:
    count, refused = scale(300, 20_000), 0
    for seed in range(count):
        program, pages, _, flags = random_case(seed)
        report = verify(program, flags, pages)
        refused += not report.ok
        assert report.ok or report.reason == TOO_COMPLEX, f"generate({seed}): {report}"
    assert refused <= count // 1000


@given(st.binary(min_size=8, max_size=160), st.sampled_from(["syscall", "raw", "tc"]))
def test_any_bytes_get_a_verdict(content: bytes, kind: str) -> None:
    try:
        program = Program("bytes", kind, content[: len(content) // 8 * 8])
    except DecodeError:
        return
    assert isinstance(verify(program), Report)


@given(st.integers(0, 500), st.data())
def test_damaged_programs_get_a_verdict(seed: int, data: st.DataObject) -> None:
    program, pages, _, flags = random_case(seed)
    code = bytearray(program.bytecode)
    for _ in range(data.draw(st.integers(1, 3))):
        code[data.draw(st.integers(0, len(code) - 1))] = data.draw(st.integers(0, 255))
    try:
        damaged = Program("damaged", "syscall", bytes(code), program.references)
    except DecodeError:
        return
    assert isinstance(verify(damaged, flags, pages), Report)


# Linux


@pytest.fixture(scope="module")
def linux():
    """Loads programs into the kernel: gives its reason ("" when accepted), dump and log."""
    if reason := refusal():
        pytest.skip(reason)
    from workbench.engines.kernel import service, syscall

    def load(program: Program, pages: int, base: int, flags: int) -> tuple[str, bytes, str]:
        row = program.type_row
        load_flags = service.SLEEPABLE if row.sleepable else 0
        extra = MapFlag.MMAPABLE | flags
        with syscall.create_map(MapType.ARENA, 0, 0, pages, extra, base) as arena:
            code = service.bind(program, {"arena": arena.fileno()})
            loaded = syscall.load_program(row.number, code, program.license, "row", load_flags, 2)
            if loaded.descriptor is None:
                return loaded.log.strip().splitlines()[-2], b"", loaded.log
            with loaded.descriptor as descriptor:
                return "", syscall.xlated(descriptor.fileno()), loaded.log

    return load


@pytest.mark.kernel
@pytest.mark.parametrize("row", KERNEL_ROWS, ids=name_of)
def test_linux_agrees_with_row(row: dict, linux) -> None:
    program, flags = program_of(row), row.get("flags", 0)
    reason, dump, log = linux(program, PAGES, BASE, flags)
    expected = row.get("linux", row.get("refused", "")).replace("accepts", "")
    assert reason.startswith(expected)
    assert bool(reason) == bool(expected)
    # Linux goes on to turn packet loads into functions, and context fields into its own
    if "refused" not in row and "skb" not in row["asm"] and program.type not in ("tc", "xdp"):
        xlated = verify(program, flags).xlated
        assert kernel_rewrite.same_program(xlated, dump, BASE, log)


@pytest.mark.kernel
def test_linux_rewrites_random_programs_alike(linux, scale) -> None:
    """And gives up on the same few."""
    count, too_complex = scale(200, 5_000), 0
    for seed in range(count):
        program, pages, base, flags = random_case(seed)
        reason, dump, log = linux(program, pages, base, flags)
        report = verify(program, flags, pages)
        assert report.reason == reason, f"generate({seed}): {report}"
        if reason:
            assert reason == TOO_COMPLEX, f"generate({seed}): {report}"
            too_complex += 1
            continue
        assert kernel_rewrite.same_program(report.xlated, dump, base, log), f"generate({seed})"
    assert too_complex <= count // 1000


def test_encoding_of_the_rewritten_program_hides_arena_accesses() -> None:
    program = assemble("r0 = arena + 8 ll\nr0 = cast_kern(r0)\nr0 = *(u64 *)(r0 + 0)\nexit")
    assert isa.encode(verify(program).xlated)[24:32] == program.bytecode[24:32]
