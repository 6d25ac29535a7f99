"""Explanations of refusals: every message has words, and the story told is that of the log."""

import random
import string
import tomllib
from contextlib import suppress
from dataclasses import replace

import pytest
from support.kernel_support import KERNEL
from support.paths import ROW_TABLES, VERIFIER_LOGS

from workbench.bpf.assembler import assemble
from workbench.bpf.program import SourceLine
from workbench.errors import KernelError
from workbench.experiments import seeds
from workbench.experiments.mutate import mutated
from workbench.verifier.log.explain import explain
from workbench.verifier.log.messages import MESSAGES, classify
from workbench.verifier.log.view import read_verifier_log

ROWS = tomllib.loads((ROW_TABLES / "verifier.toml").read_text())["row"]
REASONS = sorted({row[key] for row in ROWS for key in ("refused", "linux") if row.get(key)})


@pytest.mark.parametrize("reason", [reason for reason in REASONS if reason != "accepts"])
def test_every_refusal_in_the_rows_has_words(reason: str) -> None:
    match = classify(reason)
    assert match is not None
    assert match.wrong
    assert match.advice


@pytest.mark.parametrize("message", MESSAGES, ids=[message.name for message in MESSAGES])
def test_texts_use_only_what_their_pattern_finds(message) -> None:
    for text in (message.wrong, message.advice):
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name}
        assert names <= set(message.pattern.groupindex)
        assert text.endswith(".")


def test_names_of_messages_are_unique() -> None:
    assert len({message.name for message in MESSAGES}) == len(MESSAGES)


# reason -> class
CLASSES = {
    "R1 invalid mem access 'map_value_or_null'": "pointer may be NULL",
    "R0 invalid mem access 'map_ptr'": "wrong kind of pointer",
    "R2 invalid mem access 'scalar'": "number used as address",
    "invalid variable-offset read from stack R1 var_off=(0x0; 0xff) off=0 size=1":
        "stack offset unknown",
    "invalid access to map value, value_size=8 off=8 size=8": "map value bounds",
    "R0 max value is outside of the allowed memory range": "range too wide",
    "invalid access to packet, off=0 size=1, R2(id=0,off=0,r=0)": "packet bounds",
    "BPF_EXIT instruction in main prog would lead to reference leak": "reference leak",
    "Unreleased reference id=2 alloc_insn=6": "reference leak",
    "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region": "lock",
    "expected an initialized iter_num as arg #0": "iterator",
    "Only one arena per program": "two arenas",
    "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]":
        "result out of range",
    "R1 type=scalar expected=fp": "argument type",
    "infinite loop detected at insn 3": "endless loop",
    "BPF program is too large. Processed 1000001 insn": "too complex",
}  # fmt: skip


@pytest.mark.parametrize(("reason", "name"), CLASSES.items())
def test_classes(reason: str, name: str) -> None:
    match = classify(reason)
    assert match is not None
    assert match.message.name == name


STORY = """
r6 = r1
r2 = *(u64 *)(r1 + 0)
if r2 == 0 goto out
*(u64 *)(r10 - 8) = r2
r1 = *(u64 *)(r10 - 8)
call f
out:
r0 = 0
exit
f:
r3 = r1
r3 += 8
r0 = *(u64 *)(r3 + 0)
exit
"""


class TestLinux:
    pytestmark = KERNEL

    @pytest.mark.parametrize("level", [1, 2])
    def test_the_value_is_followed_through_moves_spills_and_calls(self, level: int) -> None:
        from workbench.engines.kernel import verdict

        story = explain(verdict(assemble(STORY), log_level=level))
        assert story.name == "number used as address"
        assert story.value.startswith("R3 is a number")
        lines = [line for line in story.origin if line.startswith("instruction")]
        steps = [line.split(":")[0].removeprefix("instruction ") for line in lines]
        assert steps == ["1", "3", "4", "8", "9"]
        assert any("falls through" in line for line in story.path)
        assert any("calls the function at 8" in line for line in story.path)
        assert "cast_kern(r3)" in story.advice

    def test_source_lines_come_from_the_program(self) -> None:
        from workbench.engines.kernel import verdict

        lines = (SourceLine(0, 3, "int first = *x;", "a.c"), SourceLine(8, 9, "return *y;", "a.c"))
        program = replace(assemble(STORY), lines=lines)
        story = explain(verdict(program), program)
        assert "a.c:9  return *y;" in story.place
        assert any("a.c:3  int first = *x;" in line for line in story.origin)

    def test_changed_programs_are_refused_in_words_that_are_known(self, scale) -> None:
        from workbench.engines.kernel import KernelArena, verdict

        rng, programs, refused, unknown = random.Random(5), list(seeds.seeds().values()), 0, []
        with KernelArena() as arena:
            for _ in range(scale(300, 10_000)):
                program = mutated(rng.choice(programs), rng, rng.choice((1, 2, 3)))
                with suppress(KernelError):
                    answer = verdict(program, arena)
                    refused += not answer.ok
                    story = explain(answer, program)
                    assert answer.ok or answer.reason in str(story)
                    unknown += [answer.reason] if not answer.ok and not story.name else []
        assert refused > scale(100, 3_000)
        assert len(unknown) <= refused // 100, unknown

    def test_what_was_taken_and_not_given_back_is_named(self) -> None:
        from workbench.engines.kernel import verdict

        text = "call bpf_rcu_read_lock\ncall bpf_preempt_disable\ncall bpf_rcu_read_unlock\n"
        story = explain(verdict(assemble(text + "r0 = 0\nexit")))
        assert story.name == "region"
        assert story.origin[0].startswith("instruction 1: call bpf_preempt_disable")


def test_an_accepted_log_has_nothing_to_explain() -> None:
    text = "0: (b7) r0 = 0 ; R0=0\n1: (95) exit\nprocessed 2 insns (limit 1000000)"
    assert "accepted" in str(explain(text))


def test_unknown_words_are_still_shown() -> None:
    text = "0: (95) exit\nthe moon is full\nprocessed 1 insns (limit 1000000)"
    story = explain(text)
    assert (story.name, story.reason) == ("", "the moon is full")
    assert "the moon is full" in str(story)


def test_linux_own_explanation_is_kept() -> None:
    text = (VERIFIER_LOGS / "linux_7_3.log").read_text()
    story = str(explain(read_verifier_log(text)))
    assert "Linux explains" in story
    assert "R6 is an integer scalar here" in story
    assert "list.c:14  return *node;" in story
