"""Explains a refusal to a person: what is wrong, the path that led there, where the value is from.

Works from the text of a log alone, ours or Linux's: the words come from `messages`, the path and
the values from the log's steps.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from workbench.verifier.log.messages import Match, classify
from workbench.verifier.log.reader import read
from workbench.verifier.log.steps import LogSource, LogStep, Reading

if TYPE_CHECKING:
    from workbench.bpf.program import Program

__all__ = ["Explanation", "classify", "explain"]

BRANCHES, ORIGINS = 12, 8  # lines of each: an explanation fits on one screen


class Judged(Protocol):
    """A verdict with its log: a Report of ours, or the kernel engine's Verdict."""

    @property
    def ok(self) -> bool: ...
    @property
    def pc(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def log(self) -> str: ...


class Explanation(NamedTuple):
    """A refusal in plain words; every part may be empty.

    `name` is the class of the message, `reason` the verifier's words, `place` the instruction and
    its source line, `wrong` and `advice` prose. `value` says what the register held; `origin` and
    `path` are lines, oldest first. `report` is what Linux 7.3 itself explains.
    """

    name: str
    reason: str
    place: str
    wrong: str
    value: str
    origin: tuple[str, ...]
    path: tuple[str, ...]
    advice: str
    report: str = ""

    @property
    def parts(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The story as titles with their lines; parts without lines are left out."""
        title, _, source = self.place.partition("\n")
        parts = (
            ("What is wrong", _wrapped(self.wrong)),
            ("The value", (*_wrapped(self.value), *self.origin)),
            ("The path that led there", self.path),
            ("What to change", _wrapped(self.advice)),
            ("Linux explains", tuple(self.report.splitlines())),
            ("The verifier's words", (self.reason,)),
        )
        head = title or "The program as a whole is refused", (source,) if source else ()
        return (head, *(part for part in parts if part[1]))

    def __str__(self) -> str:
        if not self.reason:
            return self.wrong
        return "\n".join(
            "\n".join([title, *(f"  {line}" for line in lines)]) for title, lines in self.parts
        )

    def html(self) -> str:
        """The explanation as one element of HTML, with bold titles."""
        from html import escape

        if not self.reason:
            return f"<p>{escape(self.wrong)}</p>"
        parts = (
            f"<b>{escape(title)}</b>\n{escape(''.join(f'  {line}{chr(10)}' for line in lines))}"
            for title, lines in self.parts
        )
        style = "font-family:monospace;white-space:pre-wrap;line-height:1.35"
        return f"<pre style='{style}'>{''.join(parts)}</pre>"

    def _repr_html_(self) -> str:
        return self.html()


def explain(subject: Judged | Reading | str, program: "Program | None" = None) -> Explanation:
    """Explain a verdict, a log that was read, or the text of one.

    With `program`, source lines come from it where the log has none.
    """
    log = read(subject, Reading) if isinstance(subject, str) else _log_of(subject)
    if log.ok is not False:
        wrong = {True: "The program was accepted: there is nothing to explain."}
        cut = "The log ends before a verdict: ask for all of it (a larger buffer, or log level 1)."
        return Explanation("", "", "", wrong.get(bool(log.ok), cut), "", (), (), "")
    match = classify(log.reason)
    path = log.path
    name = _subject(log, match, path)
    return Explanation(
        match.message.name if match else "",
        log.reason,
        _place(log, path, program),
        match.wrong if match else "The workbench has no words of its own for this message.",
        _value(path, name),
        (*_taken(log, match, path), *_origin(path, name, program)),
        tuple(_branches(path)),
        match.advice if match else "",
        _own_words(log),
    )


def _log_of(subject: Judged | Reading) -> Reading:
    if isinstance(subject, Reading):
        return subject
    from dataclasses import replace

    log = read(subject.log, Reading)
    if subject.ok:
        return replace(log, ok=True)
    return replace(log, ok=False, pc=subject.pc, reason=subject.reason)


def _own_words(log: Reading) -> str:
    if log.report is None:
        return ""
    return "\n".join(filter(None, (log.report.section("Reason"), log.report.section("Suggestion"))))


def _wrapped(text: str) -> tuple[str, ...]:
    from textwrap import wrap

    return tuple(wrap(text, 88))


def _place(log: Reading, path: Sequence[LogStep], program: "Program | None") -> str:
    """`Refused at instruction 4: r3 = *(u64 *)(r2 +8)`, and the source line below."""
    if log.pc < 0:
        return ""
    text = log.listing.get(log.pc, "")
    head = f"Refused at instruction {log.pc}" + (f": {text}" if text else "")
    source = _source(path, len(path) - 1, program) if path and path[-1].pc == log.pc else ""
    if not source and program is not None:
        source = _from_program(program, log.pc)
    repeated = not source or source.replace(" ", "") == text.replace(" ", "")
    return head if repeated else f"{head}\n{source}"


def _source(path: Sequence[LogStep], at: int, program: "Program | None") -> str:
    """The source line of a step: the last that the log quoted, or the program's own."""
    for step in reversed(path[: at + 1]):
        if step.frame != path[at].frame:
            continue
        if step.source:
            return _quoted(step.source)
    return _from_program(program, path[at].pc) if program is not None else ""


def _said_already(step: LogStep, source: str) -> bool:
    """Whether a source line is the instruction itself: the source is assembly."""
    return source.replace(" ", "") == step.text.replace(" ", "")


def _quoted(source: LogSource) -> str:
    place = f"{source.file}:{source.line}  " if source.file else ""
    return f"{place}{source.text}"


def _from_program(program: "Program", pc: int) -> str:
    line = program.line_of(pc)
    return _quoted(LogSource(line.text.strip(), line.file, line.line)) if line else ""


# the value


def _subject(log: Reading, match: Match | None, path: Sequence[LogStep]) -> str:
    """The register or stack slot that the refusal is about: "R2", "fp-8", or ""."""
    if found := re.search(r"\bR(\d+)\b", log.reason):
        return f"R{found[1]}"
    if not path:
        return ""
    if match and match.message.name in ("map value bounds", "memory bounds", "packet bounds"):
        base = re.search(r"\*\(\w+ \*\)\(r(\d+) ", path[-1].text)
        return f"R{base[1]}" if base else ""
    if match and match.message.name in ("pointer moved too far", "write forbidden"):
        moved = re.match(r"r(\d+) ", path[-1].text)
        return f"R{moved[1]}" if moved else ""
    return ""


def _value(path: Sequence[LogStep], name: str) -> str:
    """What the register held just before the refused instruction."""
    if not path or not name:
        return ""
    value = path[-1].before.value(name)
    if value is None:
        return f"{name} holds nothing that may be read."
    return f"{name} is {value.words} ({name}={value.text})."


def _origin(path: Sequence[LogStep], name: str, program: "Program | None") -> Iterator[str]:
    """Where the value came from, oldest first: the instructions that made and moved it."""
    if name.startswith("R") and path and path[-1].before.value(name) is None:
        yield from _loss(path, name)
        return
    found = list(_writers(path, name)) if name.startswith("R") else []
    shown = found[:ORIGINS][::-1]
    seen = ""
    for at in shown:
        step = path[at]
        source = _source(path, at, program)
        new = source and source != seen and not _said_already(step, source)
        if new:
            yield source
        seen = source
        yield f"instruction {step.pc}: {step.text}{_made(step)}"


def _loss(path: Sequence[LogStep], name: str) -> Iterator[str]:
    """The call that made a register unreadable, if it ever held something."""
    for step in reversed(path[:-1]):
        if step.frame == path[-1].frame and step.before.value(name) and not step.after.value(name):
            yield f"instruction {step.pc}: {step.text}   → {name} is lost in the call"
            return


def _taken(log: Reading, match: Match | None, path: Sequence[LogStep]) -> Iterator[str]:
    """Where a lock or a reference was taken that is not given back."""
    alloc = re.search(r"alloc_insn=(\d+)", log.reason)
    region = re.search(r"inside (bpf_\w+)-ed region", log.reason)
    leak = match is not None and match.message.name == "reference leak"
    taker = f"call {region[1]}#" if region else _TAKERS if leak else ""
    for step in reversed(path):
        if (alloc and step.pc == int(alloc[1])) or (taker and re.match(taker, step.text)):
            yield f"instruction {step.pc}: {step.text}   takes it"
            return


_TAKERS = r"call bpf_(?:ringbuf_reserve|iter_\w+_new)#"


def _made(step: LogStep) -> str:
    """What the instruction made: the value that the log printed for what it wrote."""
    target = _target(step.text)
    value = dict(step.printed).get(target) if target else None
    return f"   → {target} is {value.words}" if value else ""


_MOVE = re.compile(r"^[rw](\d+) = (?:\(s\d+\))?[rw](\d+)$")
_FILL = re.compile(r"^r(\d+) = \*\(u64 \*\)\(r10 (-\d+)\)")
_SPILL = re.compile(r"^\*\(u64 \*\)\(r10 (-\d+)\) = r(\d+)")
_WRITE = re.compile(r"^[rw](\d+) (\S*)=\s")
_CAST = re.compile(r"^r(\d+) = addr_space_cast\(r(\d+),")


def _target(text: str) -> str:
    """The register that an instruction writes; "R0" for calls, "" for none."""
    if found := _WRITE.match(text):
        return f"R{found[1]}"
    return "R0" if text.startswith("call ") else ""


def _writers(path: Sequence[LogStep], name: str) -> Iterator[int]:
    """Positions in the path, newest first, of what wrote `name` and what that was copied from."""
    frame = path[-1].frame if path else 0
    for at in range(len(path) - 2, -1, -1):
        step = path[at]
        if step.frame == frame + 1 and name == "R0":
            frame += 1  # the result of a function that has returned
        if step.frame == frame - 1 and step.text.startswith("call "):
            if name not in ("R1", "R2", "R3", "R4", "R5"):
                return
            frame -= 1  # an argument
            continue
        if step.frame != frame:
            continue
        if name.startswith("fp"):
            spill = _SPILL.match(step.text)
            if spill and f"fp{spill[1]}" == name:
                yield at
                name = f"R{spill[2]}"
            continue
        if step.text == "exit" or _target(step.text) != name:
            continue
        yield at
        name = _before(step.text, name)
        if not name:
            return


def _before(text: str, name: str) -> str:
    """What the written value was made from: another register, a stack slot, itself, or nothing."""
    if found := _MOVE.match(text) or _CAST.match(text):
        return f"R{found[2]}"
    if found := _FILL.match(text):
        return f"fp{found[2]}"
    written = _WRITE.match(text)
    return name if written and written[2] else ""


# the path


def _branches(path: Sequence[LogStep]) -> Iterator[str]:
    """The decisions on the way: branches taken or not, calls and returns."""
    lines = [line for at in range(len(path) - 1) if (line := _decision(path[at], path[at + 1]))]
    if len(lines) > BRANCHES:
        yield f"... {len(lines) - BRANCHES} earlier branches and calls"
    yield from lines[-BRANCHES:]


def _decision(step: LogStep, next_step: LogStep) -> str:
    if step.text.startswith("if "):
        way = "falls through" if next_step.pc == step.pc + 1 else f"jumps to {next_step.pc}"
        return f"instruction {step.pc}: {step.text}   {way}"
    if step.text.startswith("may_goto") and next_step.pc != step.pc + 1:
        return f"instruction {step.pc}: {step.text}   leaves the loop"
    if step.text.startswith("call ") and next_step.frame > step.frame:
        return f"instruction {step.pc}: calls the function at {next_step.pc}"
    if step.text == "exit" and next_step.frame < step.frame:
        return f"instruction {step.pc}: returns to {next_step.pc}"
    return ""
