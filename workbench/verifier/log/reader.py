"""Reads verifier logs, ours and Linux's of any version, back into states: text to values.

Line by line: what each form of line does to the state so far. Understood are levels 1 and 2 of
Linux 4.15 to 7.3, the report that 7.3 puts below the old message ("Verification failed: ..."), and
what loaders wrap around a log. Whatever is not understood is kept, never an error: logs come cut
short, indented, and with other programs' output between.
"""

import re
from typing import TypeVar

from workbench.bpf.isa import REGISTERS
from workbench.verifier.log.known import parse_value
from workbench.verifier.log.messages import classify
from workbench.verifier.log.steps import (
    LogReport,
    LogSource,
    LogState,
    LogStep,
    Reading,
)

Read = TypeVar("Read", bound=Reading)

_STAMP = re.compile(r"^\[\s*\d+\.\d+\]\s|^libbpf: (?=\d+: \()")
_STEP = re.compile(
    r"^(\d+): \(([0-9a-f]{2})\) (.*?)(?:\s+;\s*((?:frame\d+:|R\d|fp-?\d|refs=).*))?$"
)
GLUED = re.compile(
    r"^(\d+: \([0-9a-f]{2}\) (?:(?:if .*|may_)?goto pc[+-]\d+|call \S+|exit)) ([^ ;].*)$"
)
"""At level 1 Linux takes back what a path that ended has printed, and a line break too many."""
_STATE = re.compile(r"^(?:(\d+):\s*)?((?:frame(\d+):\s*)?(?:R\d+|fp-\d+)\w*=.*|frame\d+:)$")
_FROM = re.compile(r"^from (\d+) to (\d+)(?: \([^)]*\))?: ?(.*)$")
_CALLER = re.compile(r"^(caller|callee|returning from callee|to caller at (\d+)):$")
_SOURCE = re.compile(r"^; (.*?)(?: @ ([^@]+?):(\d+))?$")
_LISTED = re.compile(r"^(?:\d+\s+)?(\d+): [0-9.]{10} \([0-9a-f]{2}\) (.*)$")
_PROCESSED = re.compile(r"^processed (\d+) insns(.*)$")
_FAILED = re.compile(r"^Verification failed: ([^:]+)(?:: (.*))?$")
_TITLE = re.compile(r"^(Reason|At|Causal path|Suggestion|Active lock):$")
_ITEM = re.compile(r"(R\d+|fp-?\d+)(?:_[rwD]+)?=((?:[^ (]|\((?:[^()]|\([^()]*\))*\))*)")
_FRAME = re.compile(r"^frame(\d+): ?")
_NAMED = re.compile(r"\binsn (\d+)")
_PROGRESS = re.compile(
    r"^(?:func#\d+ @|Live regs before insn|SCC |mark_precise|(?:frame \d+: )?propagating |safe$|"
    r"\d+: safe$|"
    r"verification time|stack depth|max_states|total_states|peak_states|insns_|"
    r"\(\d+\) (?:frame \d+ insn|live stack|static|liveness)|"
    r"(?:cur|old) state:?|last_idx \d|regs=\w+ stack=|parent (?:didn't|already)|"
    r"Func#\d+ .*is safe|"
    r"libbpf:|-- (?:BEGIN|END) |Error: failed|level=|\(truncated|\[\.\.\.\])"
)
_VALIDATING = re.compile(r"^Validating .* func#\d+")
_ASSUMED = re.compile(r"^Func#\d+ .*(?:assumed valid|is global and)")
_TOTALS = re.compile(r"^(?:processed \d|verification time|stack depth|insns_processed)")
_TIME = re.compile(r"^(verification time|stack depth) (\d+)(?: usec)?(?:.* max (\d+))?")
_UNTOLD_CALL = re.compile(r"^call (?!pc[+-])")
CALLER_SAVED = range(1, 6)


def read(text: str, kind: type[Read]) -> Read:
    """Read a verifier log from any machine as a Reading of some kind; never raises for text."""
    reader = Reader()
    for number, line in enumerate(text.splitlines(), start=1):
        reader.read(number, line)
    return reader.finish(text, kind)


class Reader:
    """Collects steps line by line; `state` is what is known at this point of the log."""

    def __init__(self) -> None:
        self.steps: list[LogStep] = []
        self.frames: dict[int, LogState] = {}
        self.state = LogState()
        self.source: LogSource | None = None
        self.came_from = -1
        self.open = False  # does what comes next still belong to the last step?
        self.whole = False  # is the state that comes next a whole one?
        self.listing: dict[int, str] = {}
        self.statistics: dict[str, int] = {}
        self.remarks: list[tuple[int, str, int]] = []  # line, text, steps before it
        self.ended = False  # the totals have come: what follows is not the verifier's
        self.report: tuple[str, str] | None = None
        self.sections: dict[str, list[str]] = {}
        self.section = ""

    def read(self, number: int, raw: str) -> None:
        """Take one line in."""
        line = _STAMP.sub("", raw.strip()).lstrip()
        if not line:
            return
        if glued := GLUED.match(line):
            self.read(number, glued[1])
            return self.read(number, glued[2])
        if self.report and not self.ended and not _TOTALS.match(line):
            return self._report_line(line, raw)
        for pattern, take in _LINES:
            if found := pattern.match(line):
                take(self, number, found)
                return
        if not _PROGRESS.match(line) and not self.ended:
            self.remarks.append((number, line, len(self.steps)))

    def _step(self, number: int, found: re.Match[str]) -> None:
        self._close()
        self.ended = False
        pc, text = int(found[1]), found[3].rstrip()
        self.listing[pc] = text
        self.steps.append(
            LogStep(
                number,
                pc,
                int(found[2], 16),
                text,
                self.state,
                self.state,
                (),
                self.source,
                self.came_from,
            )
        )
        self.came_from, self.open, self.source = -1, True, None
        if _UNTOLD_CALL.match(text):
            self._forget(CALLER_SAVED)
        if found[4]:
            self._change(found[4], printed=True)

    def _update(self, number: int, found: re.Match[str]) -> None:
        """A state on a line of its own: of the last step if it names its slot, else before."""
        last = self.steps[-1].pc if self.steps and self.open else -1
        if found[1] is not None and int(found[1]) != last:
            self._close()
        self._change(found[2], printed=self.open, whole=self.whole)
        self.whole = False

    def _branch(self, number: int, found: re.Match[str]) -> None:
        self._close()
        self.came_from = int(found[1])
        self.frames.clear()
        self.whole = not found[3]
        if found[3]:
            self._change(found[3], whole=True)

    def _call(self, number: int, found: re.Match[str]) -> None:
        """The states of caller and callee follow, each whole."""
        self._close()
        self.whole = True

    def _function(self, number: int, found: re.Match[str]) -> None:
        """A global function begins, verified on its own: its state is whole."""
        self._close()
        self.frames.clear()
        self.state, self.whole = LogState(), True

    def _assumed(self, number: int, found: re.Match[str]) -> None:
        """A call of a global function does not go into it; r1 to r5 are lost."""
        self._forget(CALLER_SAVED)

    def _quote(self, number: int, found: re.Match[str]) -> None:
        self._close()
        self.source = LogSource(found[1], found[2] or "", int(found[3] or 0))

    def _listed(self, number: int, found: re.Match[str]) -> None:
        self.listing[int(found[1])] = found[2]

    def _processed(self, number: int, found: re.Match[str]) -> None:
        self._close()
        self.section, self.ended = "", True
        self.statistics["processed"] = int(found[1])
        names = re.findall(r"(\w+) (\d+)", found[2].replace("(limit ", "limit "))
        self.statistics.update({name: int(value) for name, value in names})

    def _timed(self, number: int, found: re.Match[str]) -> None:
        name = "microseconds" if found[1].startswith("v") else "stack_depth"
        self.statistics[name] = int(found[3] or found[2])

    def _failed(self, number: int, found: re.Match[str]) -> None:
        self._close()
        self.report = (found[1], found[2] or "")

    def finish(self, text: str, kind: type[Read]) -> Read:
        """The log as a value."""
        self._close()
        reason, pc, unread = self._decision()
        ended = "processed" in self.statistics
        ok = False if reason or self.report else (True if ended else None)
        sections = tuple((title, "\n".join(lines)) for title, lines in self.sections.items())
        report = LogReport(*self.report, sections) if self.report else None
        if report and not reason:
            reason = report.problem
        return kind(
            ok,
            pc if ok is False else -1,
            reason if ok is False else "",
            tuple(self.steps),
            report,
            self.statistics,
            self.listing,
            unread,
            text,
        )

    def _decision(self) -> tuple[str, int, tuple[tuple[int, str], ...]]:
        """The decisive line: the last remark, if the log ends with it; the others are unread."""
        remarks = [(line, text) for line, text, _ in self.remarks]
        if not remarks or self.remarks[-1][2] < len(self.steps):
            return "", self._last_pc(), tuple(remarks)
        if "processed" not in self.statistics and not self.report and not _ends(remarks[-1][1]):
            return "", self._last_pc(), tuple(remarks)
        reason = remarks[-1][1]
        named = _NAMED.search(reason)
        unread = tuple(remark for remark in remarks[:-1] if classify(remark[1]) is None)
        return reason, int(named[1]) if named else self._last_pc(), unread

    def _last_pc(self) -> int:
        return self.steps[-1].pc if self.steps else -1

    def _report_line(self, line: str, raw: str) -> None:
        """A line of the report of Linux 7.3."""
        if found := _TITLE.match(line):
            self.section = found[1]
            self.sections.setdefault(self.section, [])
        elif self.section:
            self.sections[self.section].append(raw.rstrip().removeprefix("  "))

    def _close(self) -> None:
        """The last step is over: what is known now is what it left."""
        if self.open:
            self.steps[-1] = self.steps[-1]._replace(after=self.state)
        self.open = False

    def _forget(self, registers: range) -> None:
        kept = tuple(
            None if number in registers else value
            for number, value in enumerate(self.state.registers)
        )
        self.state = self.state._replace(registers=kept)

    def _change(self, text: str, printed: bool = False, whole: bool = False) -> None:
        """Take a state's text in: `frame1: R1=... fp-8=...`."""
        frame = 0
        if found := _FRAME.match(text):
            frame, text = int(found[1]), text[found.end() :]
        if frame != self.state.frame:
            self.frames[self.state.frame] = self.state
            self.state = self.frames.get(frame, LogState(frame))
        values = [(name, parse_value(value)) for name, value in _ITEM.findall(text)]
        base = LogState(frame) if whole else self.state
        registers, stack = list(base.registers), dict(base.stack)
        for name, value in values:
            number = int(name[1:]) if name[0] == "R" else -1
            if 0 <= number < REGISTERS:
                registers[number] = value
            elif name[0] == "f":
                stack[int(name[2:])] = value
        self.state = LogState(frame, tuple(registers), tuple(stack.items()))
        if printed and self.steps:
            step = self.steps[-1]
            self.steps[-1] = step._replace(printed=(*step.printed, *values))


_LINES = (
    (_STEP, Reader._step),
    (_STATE, Reader._update),
    (_FROM, Reader._branch),
    (_CALLER, Reader._call),
    (_SOURCE, Reader._quote),
    (_LISTED, Reader._listed),
    (_PROCESSED, Reader._processed),
    (_TIME, Reader._timed),
    (_VALIDATING, Reader._function),
    (_ASSUMED, Reader._assumed),
    (_FAILED, Reader._failed),
)


def _ends(line: str) -> bool:
    """Whether a last line without totals after it reads like a refusal, not like a cut."""
    return classify(line) is not None
