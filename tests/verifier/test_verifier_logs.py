"""The reader of verifier logs: values, states, both forms of report, damage; Linux's own logs."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernel_support import KERNEL
from support.paths import VERIFIER_LOGS

import workbench as wb
from workbench.bpf.assembler import assemble
from workbench.examples import programs
from workbench.verifier.log.known import ANY, LogValue, parse_value
from workbench.verifier.log.view import VerifierLog, read_verifier_log

OLD, NEW = ((VERIFIER_LOGS / f"linux_{v}.log").read_text() for v in ("5_4", "7_3"))
LOOP = """
r6 = *(u32 *)(r1 + 0)
r7 = 0
r7 += 1
if r7 < r6 goto +1
r6 = r8
if r7 < 3 goto -4
r0 = 0
exit
"""
ALL = 2**64 - 1

VALUES = [
    ("7", ("scalar", 7, 0)),
    ("P-1", ("scalar", -1, 0)),
    ("inv5", ("scalar", 5, 0)),
    ("invP0", ("scalar", 0, 0)),
    ("0xffffffffffff0000", ("scalar", -65536, 0)),
    ("scalar()", ("scalar", None, 0)),
    ("inv(id=0)", ("scalar", None, 0)),
    ("ctx()", ("ctx", None, 0)),
    ("ctx(id=0,off=8,imm=0)", ("ctx", None, 8)),
    ("arena", ("arena", None, 0)),
    ("fp-8", ("fp", None, -8)),
    ("fp[1]-16", ("fp", None, -16)),
    ("map_value(map=m,ks=4,vs=8,off=4)", ("map_value", None, 4)),
    ("map_value(map=m,ks=4,vs=8,imm=4)", ("map_value", None, 4)),
    ("map_value_or_null(id=2,map=m,ks=4,vs=8)", ("map_value_or_null", None, 0)),
    ("pkt(id=1,off=14,r=14)", ("pkt", None, 14)),
    ("ringbuf_mem(ref_obj_id=2,sz=8)", ("ringbuf_mem", None, 0)),
    ("mmmm????", ("bytes", None, 0)),
    ("00000000", ("bytes", None, 0)),
    ("????14", ("scalar", 14, 0)),
    ("????0", ("scalar", 0, 0)),
    ("0000scalar(umax=3)", ("scalar", None, 0)),
    ("iter_num(ref_id=1,state=active,depth=0)", ("iter_num", None, 0)),
]


@pytest.mark.parametrize(("text", "expected"), VALUES, ids=[text for text, _ in VALUES])
def test_values(text: str, expected: tuple[str, int | None, int]) -> None:
    value = parse_value(text)
    assert (value.kind, value.constant, value.offset) == expected
    assert value.text == text
    assert value.words


def test_bounds_that_are_left_out_are_as_wide_as_their_type() -> None:
    value = parse_value("scalar(id=1-5,smin=smin32=-5,smax=smax32=0x1ffffffa)")
    assert (value.bounds.smin, value.bounds.smin32) == (-5, -5)
    assert (value.bounds.smax, value.bounds.smax32) == (0x1FFFFFFA, 0x1FFFFFFA)
    assert (value.bounds.umin, value.bounds.umax, value.id) == (0, ALL, 1)
    assert parse_value("scalar()").bounds == ANY


def test_old_and_new_spellings_mean_the_same() -> None:
    old = "inv(id=0,umax_value=255,var_off=(0x0; 0xff))"
    assert parse_value(old).meaning == parse_value("scalar(umax=255,var_off=(0x0; 0xff))").meaning
    high = parse_value("scalar(smin32=0xfffffff0)")
    assert high.bounds.smin32 == -16


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scalar()", "a number that can be anything"),
        ("scalar(umin=1)", "a number other than 0"),
        ("scalar(umax=255,var_off=(0x0; 0xff))", "a number from 0 to 255"),
        ("fp-8", "a pointer to the stack, 8 bytes below its top"),
        ("arena", "a pointer into the arena"),
        (
            "map_value_or_null(id=2,map=m,ks=4,vs=8)",
            "a pointer to a value of a map, 8 bytes long, or NULL",
        ),
    ],
)
def test_values_in_words(text: str, words: str) -> None:
    assert parse_value(text).words == words


# Logs


def test_the_form_of_linux_5() -> None:
    log = read_verifier_log(OLD)
    assert (log.ok, log.pc, log.reason) == (False, 7, "R3 offset is outside of the packet")
    assert [step.pc for step in log.steps] == list(range(8))
    assert log.processed == 8
    assert not log.unread
    value = log.steps[-1].before.registers[3]
    assert value is not None
    assert (value.kind, value.bounds.umax, value.attribute("r")) == ("pkt", 255, "0")


def test_the_form_of_linux_7_3() -> None:
    log = read_verifier_log(NEW)
    assert (log.ok, log.pc, log.reason) == (False, 2, "R6 invalid mem access 'scalar'")
    assert log.report is not None
    assert (log.report.category, log.report.problem) == (
        "Register Type Safety",
        "Invalid dereference",
    )
    assert log.report.section("Reason").startswith("R6 is an integer scalar here")
    assert ">>> 14 |     return *node;" in log.report.section("At")
    assert log.report.section("Suggestion").endswith("can invalidate it.")
    assert log.statistics["stack_depth"] == 16
    assert log.steps[0].source is not None
    assert (log.steps[0].source.file, log.steps[0].source.line) == ("list.c", 11)
    assert not log.unread


def test_one_report_in_both_forms_reads_alike() -> None:
    """Without its report, a log of 7.3 is a log of the older form."""
    cut = NEW[: NEW.index("\nVerification failed")] + NEW[NEW.index("processed") :]
    old, new = read_verifier_log(cut), read_verifier_log(NEW)
    assert (old.steps, old.pc, old.reason) == (new.steps, new.pc, new.reason)
    assert old.report is None


def test_tables() -> None:
    log = read_verifier_log(NEW)
    assert log.frame["instruction"].tolist()[1] == "if r6 == 0x0 goto pc+2"
    assert log.frame["source_line"].tolist() == [11, 12, 14]
    assert log.values["umax"].dtype == "uint64"
    assert log.values["name"].tolist() == ["R1", "R6", "R6"]


def test_html_shows_the_refusal_and_escapes_the_text() -> None:
    page = read_verifier_log(NEW.replace("node", "<node>"))._repr_html_()
    assert "R6 invalid mem access" in page
    assert "&lt;node&gt;" in page
    assert "<node>" not in page


def test_a_path_leaves_out_what_other_branches_did() -> None:
    text = """
0: R1=ctx() R10=fp0
0: (b7) r6 = 1                        ; R6=1
1: (15) if r1 == 0x0 goto pc+2        ; R1=ctx()
2: (b7) r6 = 2                        ; R6=2
3: (05) goto pc+0
4: (95) exit

from 1 to 4: R1=ctx() R6=1 R10=fp0
4: R1=ctx() R6=1 R10=fp0
4: (95) exit
R0 !read_ok
processed 6 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
    log = read_verifier_log(text)
    assert [step.pc for step in log.steps] == [0, 1, 2, 3, 4, 4]
    assert [step.pc for step in log.path] == [0, 1, 4]
    value = log.path[-1].before.value("R6")
    assert value is not None
    assert value.constant == 1


# Damage

lines = st.sampled_from((OLD + NEW).splitlines())
texts = st.one_of(
    st.text(),
    st.lists(st.one_of(lines, st.text(max_size=60)), max_size=40).map("\n".join),
    st.builds(lambda text, at, end: text[at:end], st.sampled_from([OLD, NEW]),
              st.integers(0, 3000), st.integers(0, 3000)),
)  # fmt: skip


@given(texts)
def test_any_text_is_read(text: str) -> None:
    log = read_verifier_log(text)
    assert isinstance(log, VerifierLog)
    assert str(log)
    assert isinstance(str(log.explain()), str)
    assert log._repr_html_().startswith("<div")
    assert len(log.path) <= len(log.steps) == len(log.frame)


@given(st.text(max_size=80))
def test_any_value_is_read(text: str) -> None:
    assert isinstance(parse_value(text), LogValue)


@given(st.integers(0, len(NEW)), st.sampled_from([OLD, NEW]))
def test_a_log_that_is_cut_short_is_read_as_far_as_it_goes(end: int, text: str) -> None:
    whole, cut = read_verifier_log(text), read_verifier_log(text[:end])
    assert len(cut.steps) <= len(whole.steps)
    for got, wanted in zip(cut.steps[:-1], whole.steps, strict=False):
        assert (got.pc, got.text) == (wanted.pc, wanted.text)
    if "processed" not in text[:end]:
        assert cut.ok is not True


def test_a_log_without_a_verdict_says_so() -> None:
    log = wb.read_verifier_log("0: R1=ctx() R10=fp0\n0: (b7) r0 = 0      ; R0=0\n1: (95) ex")
    assert log.ok is None
    assert "cut short" in str(log)
    assert "ends before a verdict" in str(log.explain())


def test_timestamps_and_indentation_do_not_matter() -> None:
    stamped = "\n".join(f"[  12.345678]   {line}" for line in OLD.splitlines())
    assert read_verifier_log(stamped).reason == read_verifier_log(OLD).reason


# Linux


@pytest.fixture(scope="module")
def linux_logs() -> list[tuple[object, VerifierLog]]:
    from workbench.engines.kernel import verdict

    loaded = [programs.load(name) for name in programs.names() if name != "hash"]
    judged = [verdict(program, log_level=2) for found in loaded for program in found.values()]
    judged.append(verdict(assemble(LOOP), log_level=2))
    return [(answer, read_verifier_log(answer.log)) for answer in judged]


class TestLinux:
    pytestmark = KERNEL

    def test_verdicts_are_those_of_the_loader(self, linux_logs: list) -> None:
        assert {answer.ok for answer, _ in linux_logs} == {True, False}
        for answer, log in linux_logs:
            assert (log.ok, log.pc, log.reason) == (answer.ok, answer.pc, answer.reason)
            assert log.processed == answer.processed
            assert not log.unread

    def test_every_instruction_line_is_a_step(self, linux_logs: list) -> None:
        for answer, log in linux_logs:
            lines = re.findall(r"^\d+: \([0-9a-f]{2}\) ", answer.log, re.MULTILINE)
            assert len(lines) == len(log.steps)

    def test_states_print_as_linux_printed_them(self, linux_logs: list) -> None:
        """Where Linux prints a whole state, it is the state that was read up to there."""
        checked = 0
        for answer, log in linux_logs:
            text = answer.log.splitlines()
            for step in log.steps:
                above = re.match(rf"^{step.pc}: ((?:frame\d+: )?R\d+=.*)$", text[step.line - 2])
                if above and step.came_from >= 0:
                    assert _without_flags(above[1]) == str(step.before)
                    checked += 1
        assert checked > 100


def _without_flags(text: str) -> str:
    return re.sub(r" (?:refs=[\d,]+|cb|async_cb)\b", "", text).strip()


def test_lines_that_linux_glued_together() -> None:
    """Where a path ends, level 1 takes back the line break before what comes next."""
    text = (
        "0: R1=ctx() R10=fp0\n0: (b7) r0 = 0                        ; R0=0\n"
        "1: (55) if r1 != 0x0 goto pc-2 0: R0=0 R1=ctx() R10=fp0\n"
        "0: (b7) r0 = 0                        ; R0=0\n"
        "1: (55) if r1 != 0x0 goto pc-2 infinite loop detected at insn 0\n"
        "cur state: R0=0 R1=ctx() R10=fp0\nold state: R0=0 R1=ctx() R10=fp0\n"
        "processed 4 insns (limit 1000000)"
    )
    log = read_verifier_log(text)
    assert [step.pc for step in log.steps] == [0, 1, 0, 1]
    assert [step.text for step in log.steps][1] == "if r1 != 0x0 goto pc-2"
    assert (log.ok, log.pc, log.reason) == (False, 0, "infinite loop detected at insn 0")


@pytest.mark.parametrize("level", [1, 2])
def test_a_program_that_is_followed_a_second_time_begins_its_log_anew(level: int) -> None:
    """That r0 is an arena pointer on one path only comes out at the second of them."""
    program = assemble(
        "r0 = *(u64 *)(r1 + 0)\nr3 = arena + 0 ll\nif r0 == 0 goto +1\n"
        "r0 = cast_kern(r3)\nr0 += 8\nexit\n"
    )
    lines = wb.verify(program, log_level=level).log.splitlines()
    assert lines[0] == "0: R1=ctx() R10=fp0"
    assert sum(line.startswith("5: (07) r0 += 8") for line in lines) == level
