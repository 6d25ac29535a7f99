"""Two runs of one program in two steppers that move together, aligned by their instructions."""

from typing import TYPE_CHECKING, Any

from workbench.debugger.difference import Stretch, align, diff
from workbench.widgets.stepper import Stepper

if TYPE_CHECKING:
    import ipywidgets

    from workbench.trace import Trace

MOST_MARKS = 200  # bookmarks where the runs differ


def beside(trace: "Trace", other: "Trace") -> "ipywidgets.VBox":
    """Show two recorded runs, one above the other; a step in one leads the other to its like.

    Bookmarks stand where the runs differ: `n` runs to the next difference. Raises WorkbenchError
    for runs of different programs.
    """
    from ipywidgets import VBox

    there = align(trace, other)
    back = [Stretch(s.other, s.other_end, s.first, s.end, s.together) for s in there]
    differences = diff(trace, other)
    views = [
        Stepper(run.payload(), breakpoints=_marks(differences[column]))
        for run, column in ((trace, "step"), (other, "other_step"))
    ]
    _link(views[0], views[1], there, back)
    return VBox(views)


def counterpart(stretches: list[Stretch], step: int) -> int:
    """The step of the other run that stands for a step of this one.

    The same instruction where both ran together; where only this one ran, the step at which the
    other one goes on.
    """
    for stretch in stretches:
        if stretch.first <= step < stretch.end:
            inside = step - stretch.first if stretch.together else 0
            return min(stretch.other + inside, max(stretch.other_end, 0))
    return 0


def _marks(steps: Any) -> list[str]:
    return [f"step {step}" for step in sorted({int(s) for s in steps if s >= 0})[:MOST_MARKS]]


def _link(first: Stepper, second: Stepper, there: list[Stretch], back: list[Stretch]) -> None:
    """Let each view follow the other; a move made by following leads nowhere."""
    following: list[Stepper] = []

    def lead(leader: Stepper, follower: Stepper, stretches: list[Stretch]) -> None:
        def moved(change: dict[str, Any]) -> None:
            if leader in following:
                return
            following.append(follower)
            follower.t = counterpart(stretches, change["new"])
            following.remove(follower)

        leader.observe(moved, "t")

    lead(first, second, there)
    lead(second, first, back)
