"""Two runs of one program in one view: the steps of one that stand for those of the other."""

from typing import TYPE_CHECKING, Any

from workbench.debugger.difference import align, diff
from workbench.recording.format import compress
from workbench.widgets.stepper import Stepper

if TYPE_CHECKING:
    from workbench.recording.trace import Trace


def beside(trace: "Trace", other: "Trace") -> Stepper:
    """Show two recorded runs, one above the other; a step in one leads the other to its like.

    `d` moves to the next difference. Raises WorkbenchError for runs of different programs.
    """
    return Stepper(trace.payload(), **pair(trace, other))


def pair(trace: "Trace", other: "Trace") -> dict[str, Any]:
    """The traits of a Stepper that show another run below the first one."""
    differences = diff(trace, other)
    differs = [
        sorted({step for step in differences[name].tolist() if step >= 0})
        for name in ("step", "other_step")
    ]
    stretches = [list(stretch) for stretch in align(trace, other)]
    return {
        "aligned": {"stretches": stretches, "differs": differs},
        "other": compress(other.payload()),
    }
