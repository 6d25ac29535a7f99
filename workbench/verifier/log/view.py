"""A verifier log for the notebook: as tables, as HTML, and explained."""

from functools import cached_property
from html import escape
from typing import TYPE_CHECKING

from workbench.arguments import string, takes
from workbench.verifier.log.explain import Explanation, explain
from workbench.verifier.log.known import Bounds
from workbench.verifier.log.reader import read
from workbench.verifier.log.steps import LogStep, Reading

if TYPE_CHECKING:
    import pandas as pd

STEPS = ["line", "pc", "frame", "instruction", "state", "came_from"]
STEPS += ["source", "file", "source_line"]
VALUES = ["step", "pc", "frame", "name", "kind", "text", "constant", "offset", "known", "unknown"]
SHOWN = 400  # last steps of the path: bounds the notebook's table; not measured


def steps_frame(log: Reading) -> "pd.DataFrame":
    """One row a step: line, pc, frame, instruction, state, came_from, source, file, source_line."""
    import pandas as pd

    rows = [
        (
            step.line,
            step.pc,
            step.frame,
            step.text,
            " ".join(f"{name}={value.text}" for name, value in step.printed),
            step.came_from,
            step.source.text if step.source else "",
            step.source.file if step.source else "",
            step.source.line if step.source else 0,
        )
        for step in log.steps
    ]
    return pd.DataFrame(rows, columns=STEPS).rename_axis("step")


def values_frame(log: Reading) -> "pd.DataFrame":
    """One row for each printed value; unsigned bounds are uint64, the rest int64."""
    import numpy as np
    import pandas as pd

    rows = [
        (at, step.pc, step.frame, name, v.kind, v.text, v.constant, v.offset, *v.tnum, *v.bounds)
        for at, step in enumerate(log.steps)
        for name, v in step.printed
    ]
    frame = pd.DataFrame(rows, columns=[*VALUES, *Bounds._fields])
    frame["constant"] = frame["constant"].astype("Int64")
    for name in ("known", "unknown", "umin", "umax", "umin32", "umax32"):
        frame[name] = frame[name].astype(np.uint64)
    return frame


_STYLE = (
    "<style>.wb-log table{border-collapse:collapse;font:12px/1.5 monospace}"
    ".wb-log td,.wb-log th{text-align:left!important;padding:0 .8em 0 0;vertical-align:top}"
    ".wb-log td{white-space:pre-wrap}"
    ".wb-log .source td{color:#555;padding-top:.5em;font-style:italic}"
    ".wb-log .branch td{color:#555}"
    ".wb-log .wrong td{background:#fbe3e0;color:#000;font-weight:bold}"
    ".wb-log .box{max-height:28em;overflow:auto;border:1px solid #ccc;padding:.3em}"
    ".wb-log pre{margin:0 0 .6em}</style>"
)


def html(log: Reading) -> str:
    """The verdict, the explanation of a refusal, and the path that the verifier took."""
    parts = [_STYLE, f"<p><b>{escape(str(log))}</b></p>"]
    if log.ok is False:
        parts.append(explain(log).html())
    steps = log.path if log.ok is False else log.steps
    if steps:
        parts.append(_table(log, steps))
    return f"<div class='wb-log'>{''.join(parts)}</div>"


def _table(log: Reading, steps: tuple[LogStep, ...]) -> str:
    rows = []
    if len(steps) > SHOWN:
        rows.append(
            f"<tr class='branch'><td colspan=3>{len(steps) - SHOWN} earlier steps left out; "
            "all are in .steps and .frame</td></tr>"
        )
    for step in steps[-SHOWN:]:
        rows += _rows(step)
    if log.ok is False and rows:
        last = f"<tr class='wrong'><td>✗</td><td colspan=2>{escape(log.reason)}</td></tr>"
        rows.append(last)
    head = "<tr><th>slot</th><th>instruction</th><th>known after it</th></tr>"
    return f"<div class='box'><table>{head}{''.join(rows)}</table></div>"


def _rows(step: LogStep) -> list[str]:
    rows = []
    if step.came_from >= 0:
        rows.append(
            f"<tr class='branch'><td></td><td colspan=2>the other way of {step.came_from}</td></tr>"
        )
    if step.source:
        place = f"  {step.source.file}:{step.source.line}" if step.source.file else ""
        quoted = escape(step.source.text + place)
        rows.append(f"<tr class='source'><td></td><td colspan=2>{quoted}</td></tr>")
    known = "  ".join(f"{name}={value.text}" for name, value in step.printed)
    indent = "&nbsp;" * 4 * step.frame
    rows.append(
        f"<tr><td>{step.pc}</td><td>{indent}{escape(step.text)}</td><td>{escape(known)}</td></tr>"
    )
    return rows


class VerifierLog(Reading):
    """A verifier log, read, with what a person at the notebook asks of it."""

    @cached_property
    def frame(self) -> "pd.DataFrame":
        """One row a step: line, pc, frame, instruction, state, source, file, source_line."""
        return steps_frame(self)

    @cached_property
    def values(self) -> "pd.DataFrame":
        """One row for each printed value: step, pc, frame, name, kind, constant, bounds, tnum."""
        return values_frame(self)

    def explain(self) -> Explanation:
        """What was refused and why, in plain words."""
        return explain(self)

    def _repr_html_(self) -> str:
        return html(self)


@takes(text=string)
def read_verifier_log(text: str) -> VerifierLog:
    """Read a verifier log from any machine; never raises for text, however damaged.

    >>> log = wb.read_verifier_log("0: (95) exit\\nR0 !read_ok\\nprocessed 1 insns")
    >>> log.ok, log.pc, log.reason
    (False, 0, 'R0 !read_ok')
    """
    return read(text, VerifierLog)
