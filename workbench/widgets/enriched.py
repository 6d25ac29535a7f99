"""A recording as a view shows it: with what the sanitizer found and what the verifier knew.

Both take longer than all the rest, so neither is part of saving a recording.
"""

from typing import Any

import numpy as np

from workbench.debugger.sanitizer import sanitize
from workbench.recording.file import columns, meta
from workbench.recording.format import pack
from workbench.recording.trace import Trace
from workbench.recording.window import IN_BROWSER, window

MOST_FINDINGS = 1000  # places in a list that a person goes through
MOST_STATES = 8  # of one slot: more paths than a person compares; bounds the page's size
MOST_FOLLOWED = 50_000  # instructions: about two seconds


def payload(trace: Trace) -> bytes:
    """The recording as the bytes that the stepper opens; see workbench.recording.format.

    Raises Unsupported when no steps were recorded.
    """
    known = {"findings": _findings(trace), "states": _states(trace)}
    return pack(meta(trace) | known, columns(trace))


def shown(trace: Trace, first: int = 0) -> bytes:
    """The payload of the steps from `first` on, as many as a browser holds."""
    return payload(trace if fits(trace) else window(trace, first, IN_BROWSER))


def fits(trace: Trace) -> bool:
    """Whether a browser holds all steps."""
    return len(trace) <= IN_BROWSER


def _findings(trace: Trace) -> list[dict[str, Any]]:
    """What the sanitizer says, the first thousand places."""
    found = sanitize(trace).head(MOST_FINDINGS).drop(columns="line").to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in found]


def _states(trace: Trace) -> dict[str, list[str]]:
    """What the verifier knew before each slot that ran, in the kernel's words; {} without it.

    The verifier looks a second time for this, which long verifications are not worth.
    """
    if trace.report is None or trace.report.processed > MOST_FOLLOWED:
        return {}
    known = trace.report.states
    slots = [pc for pc in np.unique(trace.recorded_steps()["pc"]).tolist() if pc in known]
    return {str(pc): [str(state) for state in known[pc][:MOST_STATES]] for pc in slots}
