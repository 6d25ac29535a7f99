"""The stepper: forward and back through a recorded run, in the browser, without asking Python."""

from collections.abc import Iterable
from typing import Any

import anywidget
import traitlets

from workbench.widgets import bundle
from workbench.widgets.payload import compress, read_meta


class Stepper(anywidget.AnyWidget):
    """Show a recorded run; `t` is the step in view and `breakpoints` a list of pcs, both synced.

    `payload` is what `workbench.widgets.payload.pack` returns. Raises TraceError if it is not that.
    While the reader moves, one message at a time is on its way to Python, with the newest `t`.
    """

    _esm = bundle.module()
    _css = bundle.style()

    data = traitlets.Bytes().tag(sync=True)
    t = traitlets.Int(0).tag(sync=True)
    breakpoints = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(self, payload: bytes, t: int = 0, breakpoints: Iterable[int] = ()) -> None:
        meta, self._steps = read_meta(payload)
        self._name = str(meta["name"])
        super().__init__(data=compress(payload), t=t, breakpoints=list(breakpoints))

    @traitlets.validate("t")
    def _within_run(self, proposal: dict[str, Any]) -> int:
        """Keep t inside the run, so that Python and browser agree on it."""
        return max(0, min(proposal["value"], self._steps - 1))

    def __repr__(self) -> str:
        return f"Stepper({self._name}, {self._steps:,} steps, t={self.t})"
