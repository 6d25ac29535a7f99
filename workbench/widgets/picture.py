"""A recorded run in forms that a saved notebook still shows: a picture, and a page in a frame."""

import base64
import html
import io

import numpy as np

from workbench.arena.events import Kind
from workbench.bpf.isa import Op
from workbench.recording.columns import ABSENT
from workbench.recording.format import compress
from workbench.recording.trace import Trace
from workbench.widgets.enriched import payload
from workbench.widgets.export import to_html

LARGEST_FRAME = 1_500_000  # bytes of compressed recording that a notebook should hold
MOST_POINTS = 4000  # of the path: several for each pixel of the picture's width
_LANES = (
    ("faults", "^", "#c02626"),
    ("allocations", "s", "#187a45"),
    ("frees", "x", "#187a45"),
    ("casts", "|", "#7a3fb0"),
)


def mimebundle(trace: Trace, **_: object) -> dict[str, str]:
    """The forms of a trace that outlive its kernel: HTML with the stepper in it, PNG, text.

    Text alone where no steps were recorded.
    """
    if not len(trace):
        return {"text/plain": repr(trace)}
    return {
        "text/html": _summary(trace) + _frame(trace),
        "image/png": base64.b64encode(png(trace)).decode("ascii"),
        "text/plain": repr(trace),
    }


def png(trace: Trace) -> bytes:
    """A picture of the run: where the program was, and what happened to the arena, by step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6), layout="constrained")
    lanes, path = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    pc = trace.recorded_steps()["pc"]
    shown = np.linspace(0, len(pc) - 1, min(len(pc), MOST_POINTS)).astype(np.int64)
    path.plot(shown, pc[shown], ",", color="#1f62b5")
    path.set(xlabel="step", ylabel="instruction")
    path.invert_yaxis()
    for row, ((name, marker, colour), at) in enumerate(zip(_LANES, _marks(trace), strict=True)):
        lanes.plot(at, np.full(len(at), row), marker, color=colour, markersize=4)
        lanes.text(
            1.01,
            row,
            f"{len(at):,} {name}",
            transform=lanes.get_yaxis_transform(),
            va="center",
            fontsize=8,
        )
    lanes.set(ylim=(len(_LANES) - 0.5, -0.5), yticks=[])
    lanes.set_title(repr(trace).strip("<>"), parse_math=False)  # a name may have dollars
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=100)
    return written.getvalue()


def _marks(trace: Trace) -> list[np.ndarray]:
    """The steps of each lane."""
    steps, log = trace.recorded_steps(), trace.page_events
    step = np.maximum(log["time"].astype(np.int64) - trace.clock - 1, 0)
    op = trace.code["op"][steps["pc"]]
    return [
        np.flatnonzero(steps["access"] & ABSENT),
        step[log["kind"] == Kind.ALLOC],
        step[log["kind"] == Kind.FREE],
        np.flatnonzero((op == Op.CAST_KERN) | (op == Op.CAST_USER)),
    ]


def _summary(trace: Trace) -> str:
    """A table that survives a sanitizer, which removes the frame."""
    counts = zip(_LANES, _marks(trace), strict=True)
    cells = [(name, f"{len(at):,}") for (name, _, _), at in counts]
    rows = [("steps", f"{len(trace):,}"), ("ended by", trace.stop), *cells]
    names = "".join(f"<th>{html.escape(name)}</th>" for name, _ in rows)
    values = "".join(f"<td>{html.escape(value)}</td>" for _, value in rows)
    title = html.escape(trace.program.name)
    return f"<div><table><caption>{title}</caption><tr>{names}</tr><tr>{values}</tr></table></div>"


def _frame(trace: Trace) -> str:
    shown = payload(trace)
    if len(compress(shown)) > LARGEST_FRAME:
        return "<p>Too long a recording to keep in a notebook: trace.stepper() shows it.</p>"
    page = html.escape(to_html(shown), quote=True)
    return (
        f'<iframe title="{html.escape(trace.program.name)}, step by step" srcdoc="{page}" '
        'style="width: 100%; height: 860px; border: 0"></iframe>'
    )
