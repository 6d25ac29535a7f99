"""The views that a person asks a recording for: `trace.stepper()`, `.page_map()`, `.to_html()`."""

from functools import partial
from pathlib import Path

from workbench.files import write_whole
from workbench.recording.trace import Trace
from workbench.widgets import export
from workbench.widgets.enriched import fits, shown
from workbench.widgets.picture import png
from workbench.widgets.stepper import PageMap, Stepper


def stepper(trace: Trace, first: int = 0) -> Stepper:
    """A widget that moves through the run, forward and back, without asking Python.

    The browser holds 1,000,000 steps, those from `first` on; it asks for others when wanted.
    Raises Unsupported when no steps were recorded.
    """
    whole = trace if fits(trace) else None
    window, picture = partial(shown, trace), partial(png, trace)
    return Stepper(shown(trace, first), trace=whole, window=window, picture=picture)


def page_map(trace: Trace, first: int = 0) -> PageMap:
    """A widget that shows the arena's pages at a step; link it: jslink((a, "t"), (b, "t")).

    It holds the steps from `first` on. Raises Unsupported when no steps were recorded.
    """
    return PageMap(shown(trace, first), window=partial(shown, trace))


def to_html(
    trace: Trace, path: str | Path | None = None, title: str | None = None, first: int = 0
) -> str:
    """The run as one self-contained page with the stepper in it; `path` is written too.

    A page holds 1,000,000 steps, those from `first` on. Raises Unsupported when no steps were
    recorded, SaveError when the file cannot be written.
    """
    text = export.to_html(shown(trace, first), title or f"{trace.program.name}, step by step")
    if path is not None:
        write_whole(path, text)
    return text
