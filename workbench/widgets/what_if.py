"""What a reader of a stepper changes in a run, as text: "120: r3 = 7"."""

import re
from typing import Any

from workbench.debugger.what_if import fork
from workbench.errors import TraceError
from workbench.recording.trace import Trace

_NUMBER = r"(0x[0-9a-fA-F]+|\d+)"
_CHANGE = re.compile(rf"(\d+): (?:r(\d)|{_NUMBER}:([1-8])) = (-?{_NUMBER})")


def forked(trace: Trace, text: str) -> Trace:
    """The run with the change: "step: rN = value" or "step: user address:bytes = value".

    Raises TraceError for another text, and whatever `fork` raises.
    """
    found = _CHANGE.fullmatch(text.strip())
    if found is None:
        raise TraceError(f"'{text}' is no change; write '120: r3 = 7' or '120: 0x1040:8 = 5'")
    step, register, address, size, value = (found[n] for n in range(1, 6))
    number = int(value, 0)
    changed: dict[str, Any] = {"registers": {int(register): number}} if register else {}
    if address:
        content = (number & (1 << 8 * int(size)) - 1).to_bytes(int(size), "little")
        changed = {"memory": {int(address, 0): content}}
    return fork(trace, int(step), **changed)


def answer(trace: Trace, other: Trace, text: str) -> str:
    """What the change came to, in a sentence."""
    result = int(other.state(len(other)).registers[0])
    before = int(trace.state(len(trace)).registers[0])
    what = text.partition(":")[2].strip()
    ends = f"{other.stop} after {len(other):,} steps, r0 = {result:#x}"
    return f"With {what}: {ends} (before: {trace.stop} after {len(trace):,}, r0 = {before:#x})."
