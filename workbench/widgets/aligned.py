"""Two runs of one program for one view: the steps of one that stand for those of the other."""

from typing import Any

from workbench.debugger.difference import align, diff
from workbench.recording.format import compress
from workbench.recording.trace import Trace
from workbench.widgets.enriched import payload


def pair(trace: Trace, other: Trace) -> dict[str, Any]:
    """The traits of a Stepper on `trace` that show another run below it.

    aligned: stretches, as lists of a `difference.Stretch`, and differs, the steps of each run at
    which an effect differs, ascending. other: the other run's payload, compressed. Raises
    WorkbenchError for runs of different programs.
    """
    differences = diff(trace, other)
    differs = [
        sorted({step for step in differences[name].tolist() if step >= 0})
        for name in ("step", "other_step")
    ]
    stretches = [list(stretch) for stretch in align(trace, other)]
    return {
        "aligned": {"stretches": stretches, "differs": differs},
        "other": compress(payload(other)),
    }
