"""Views of a recorded run in the browser: they move through it without asking Python."""

import base64
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from workbench.errors import TraceError, WorkbenchError
from workbench.files import write_whole
from workbench.recording.format import compress, read_meta
from workbench.recording.trace import Trace
from workbench.widgets import bundle, what_if
from workbench.widgets.aligned import pair
from workbench.widgets.export import to_html

_Stop = traitlets.Union([traitlets.Int(), traitlets.Unicode()])


class RunView(anywidget.AnyWidget):
    """What the views of a run share; `t`, the step in view, can be linked (ipywidgets.jslink).

    Linked in the browser, views move together even while Python is busy. While the reader moves,
    one message at a time is on its way to Python, with the newest `t`. `first` is the number of
    the first step in view; `window` makes the payload of the steps from another one on. `picture`
    makes a PNG to show where there is no kernel.
    """

    _css = bundle.style()

    data = traitlets.Bytes().tag(sync=True)
    first = traitlets.Int(0).tag(sync=True)
    t = traitlets.Int(0).tag(sync=True)  # the step; so named in saved pages and jslink
    breakpoints = traitlets.List(_Stop).tag(sync=True)
    selection = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        payload: bytes,
        t: int = 0,
        breakpoints: Iterable[int | str] = (),
        selection: str = "",
        window: Callable[[int], bytes] | None = None,
        picture: Callable[[], bytes] | None = None,
        **traits: Any,
    ) -> None:
        meta, self._steps = read_meta(payload)
        self._window, self._picture = window, picture
        self._name = str(meta["name"])
        super().__init__(
            data=compress(payload),
            first=(meta.get("part") or {}).get("first", 0),
            t=t,
            breakpoints=list(breakpoints),
            selection=selection,
            **traits,
        )

    @traitlets.observe("first")
    def _show_window(self, change: dict[str, Any]) -> None:
        """Send the steps from another one on, when the reader or Python asks for them."""
        if self._window is None or change["old"] is traitlets.Undefined:
            return
        payload = self._window(change["new"])
        self._steps = read_meta(payload)[1]
        with self.hold_sync():
            self.t, self.data = 0, compress(payload)

    @traitlets.validate("t")
    def _within_run(self, proposal: dict[str, Any]) -> int:
        """Keep t inside the run, so that Python and browser agree on it."""
        if not 0 <= proposal["value"] < max(self._steps, 1):
            raise TraceError(f"no step {proposal['value']}; the view has 0 to {self._steps - 1}")
        return int(proposal["value"])

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Add a picture, for readers of the notebook who have no kernel."""
        bundle = super()._repr_mimebundle_()
        if bundle is None or self._picture is None:
            return bundle
        image = base64.b64encode(self._picture()).decode("ascii")
        return bundle[0] | {"image/png": image}, bundle[1]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name}, {self._steps:,} steps, t={self.t})"


class Stepper(RunView):
    """Show a recorded run; `t`, the step in view, `breakpoints` and `selection` are synced.

    A breakpoint is an instruction slot or a text: "line 12", "r0 s> 5", "16 if r0 == 5",
    "write page 4", "read arena+0x40:8", "touch stack", "step 12", "fault", "cast", "alloc",
    "free", "call", "exit", "atomic", "finding". `selection` is "r1", "arena+0x40:8" or "".
    `payload` is what `recording.format.pack` returns. Raises TraceError if it is not that.

    `what_if` changes the run: "120: r3 = 7" runs `trace` again with r3 = 7 before step 120;
    the other run, `forked`, appears below, and `answer` says how it ended. "" closes it.
    """

    _esm = bundle.module("stepper.js")

    other = traitlets.Bytes().tag(sync=True)
    aligned = traitlets.Dict().tag(sync=True)
    what_if = traitlets.Unicode("").tag(sync=True)
    answer = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self, payload: bytes, t: int = 0, trace: Trace | None = None, **traits: Any
    ) -> None:
        super().__init__(payload, t, **traits)
        self.trace = trace
        self.forked: Trace | None = None

    def to_html(self, path: str | Path | None = None, title: str = "") -> str:
        """What is in view as one self-contained page: both runs, the step, stops and selection.

        `path` is written too; raises SaveError where that fails.
        """
        shown = {name: getattr(self, name) for name in ("t", "breakpoints", "selection", "aligned")}
        text = to_html(self.data, title or f"{self._name}, step by step", shown, self.other)
        if path is not None:
            write_whole(path, text)
        return text

    @traitlets.observe("what_if")
    def _ask(self, change: dict[str, Any]) -> None:
        """Run the changed program and show both runs, or say why that cannot be."""
        shown: dict[str, Any] = {"aligned": {}, "other": b"", "answer": ""}
        self.forked = None
        try:
            if change["new"]:
                shown |= self._fork(change["new"])
        except WorkbenchError as error:
            shown["answer"] = str(error)
        with self.hold_sync():
            for name, value in shown.items():
                self.set_trait(name, value)

    def _fork(self, text: str) -> dict[str, Any]:
        if self.trace is None:
            raise TraceError("this view does not know its whole trace; use trace.fork")
        self.forked = what_if.forked(self.trace, text)
        answer = what_if.answer(self.trace, self.forked, text)
        return pair(self.trace, self.forked) | {"answer": answer}


class PageMap(RunView):
    """Show the pages of the arena at step `t`: their state, owner, age, faults or accesses."""

    _esm = bundle.module("pagemap.js")
