"""Two runs of one program in one view."""

from workbench.recording.trace import Trace
from workbench.widgets.aligned import pair
from workbench.widgets.enriched import payload
from workbench.widgets.stepper import Stepper


def beside(trace: Trace, other: Trace) -> Stepper:
    """Show two recorded runs, one above the other; a step in one leads the other to its like.

    For a fork, or a run in another mode; `d` moves to the next difference. Raises WorkbenchError
    for runs of different programs.
    """
    return Stepper(payload(trace), **pair(trace, other))
