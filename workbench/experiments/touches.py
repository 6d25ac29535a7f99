"""Access patterns of user space, on pages prepared in several ways: faults counted and compared.

Every combination runs on an emulated arena and on a real one; the sequences of faults must be the
same, fault for fault. The real one also has times.
"""

from typing import Any

import numpy as np
import pandas as pd

from workbench.arena import Arena
from workbench.arena.either import AnyArena
from workbench.arena.rules import PAGE_SIZE, ArenaFlags
from workbench.engines.kernel import FaultRecorder, KernelArena
from workbench.errors import SegmentationFault
from workbench.models import faults
from workbench.plots.figure import BLUE, SKY, VERMILION, Figure, say_empty, styled

PATTERNS = ("sequential", "random", "strided", "zipf")
SETUPS = {
    "lazy": "absent pages, made by the touch",
    "half": "a program allocated every second page",
    "prepopulated": "a program allocated all pages",
    "refused": "absent pages under SEGV_ON_FAULT",
}
PAGES, TOUCHES = 256, 512
LOOK = {"fill": (BLUE, ""), "map": (SKY, "///"), "refused": (VERMILION, "xxx")}


def accesses(pattern: str, pages: int = PAGES, touches: int = TOUCHES, seed: int = 1) -> np.ndarray:
    """Pages that user space touches one after another."""
    rng = np.random.default_rng(seed)
    if pattern == "sequential":
        return np.arange(touches) % pages
    if pattern == "strided":
        return np.arange(touches) * 17 % pages
    if pattern == "random":
        return rng.integers(0, pages, touches)
    return rng.permutation(pages)[np.minimum(rng.zipf(1.3, touches) - 1, pages - 1)]


def run(pages: int = PAGES, touches: int = TOUCHES) -> pd.DataFrame:
    """Perform everything on both: columns pattern, setup, source, cause, faults, ns, same, kind.

    `ns` is the median time from one fault to the next on the real arena (NaN where not measured);
    `same` says whether both sequences of faults are equal. Raises KernelError where there are no
    arenas.
    """
    rows = []
    for pattern in PATTERNS:
        todo = accesses(pattern, pages, touches)
        for setup in SETUPS:
            model, real = emulated(setup, todo, pages), measured(setup, todo, pages)
            same = faults.sequence(model) == faults.sequence(real)
            for source, found in (("emulated", model), ("kernel", real)):
                timed = source == "kernel" and setup != "refused" and len(found) > 1
                gap = float(np.median(np.diff(found["ns"]))) if timed else float("nan")
                counts = found["cause"].value_counts()
                rows += [
                    (pattern, setup, source, cause, int(count), gap, same, "measured")
                    for cause, count in counts.items()
                    if count
                ]
    names = ["pattern", "setup", "source", "cause", "faults", "ns", "same", "kind"]
    return pd.DataFrame(rows, columns=names)


def _flags(setup: str) -> ArenaFlags:
    return ArenaFlags.SEGV_ON_FAULT if setup == "refused" else ArenaFlags(0)


def _prepare(arena: AnyArena, setup: str) -> None:
    """Let a program allocate what the setup says."""
    if setup == "prepopulated":
        arena.alloc(arena.page_count)
    elif setup in ("half", "refused"):
        for page in range(0, arena.page_count, 2):
            arena.alloc(1, arena.user_start + page * PAGE_SIZE)


def _touch(arena: AnyArena, todo: np.ndarray) -> None:
    """Store a byte in each page, in order; a refusal is noted by the arena, and life goes on."""
    for page in todo.tolist():
        try:
            arena.user.store(arena.user_start + page * PAGE_SIZE, "u8", 1)
        except SegmentationFault:
            continue


def emulated(setup: str, todo: np.ndarray, pages: int = PAGES) -> pd.DataFrame:
    """The fault frame of an emulated arena whose pages `todo` are touched in turn."""
    with Arena(pages, _flags(setup)) as arena:
        _prepare(arena, setup)
        _touch(arena, todo)
        return faults.fault_frame(arena.events)


def measured(setup: str, todo: np.ndarray, pages: int = PAGES) -> pd.DataFrame:
    """The faults of a real arena, as perf reports them; a refused touch would end the process.

    So under SEGV_ON_FAULT the touches go through `arena.user`, and its log has them.
    """
    with KernelArena(pages, _flags(setup)) as arena:
        if setup == "refused":
            _prepare(arena, setup)
            _touch(arena, todo)
            return faults.fault_frame(arena.events)
        _prepare(arena, setup)
        content = arena.bytes
        with FaultRecorder(arena) as recorder:
            for page in todo.tolist():
                content[page * PAGE_SIZE] = 1
        return faults.fault_frame(recorder.events)


@styled
def plot(frame: pd.DataFrame, label: str = "") -> Figure:
    """Draw faults by cause for each pattern, a panel for each setup."""
    figure = Figure(figsize=(7.0, 2.9))
    panels = figure.subplots(1, len(SETUPS), sharey=True)
    real = frame[frame["source"] == "kernel"] if len(frame) else frame
    for axes, setup in zip(panels, SETUPS, strict=True):
        left = np.zeros(len(PATTERNS))
        for cause, (colour, hatch) in LOOK.items():
            own = real[(real["setup"] == setup) & (real["cause"] == cause)] if len(real) else real
            if len(own):
                count = own.set_index("pattern")["faults"].reindex(PATTERNS).fillna(0).to_numpy()
                axes.barh(PATTERNS, count, left=left, color=colour, hatch=hatch, label=cause,
                          edgecolor="white", linewidth=0)  # fmt: skip
                left = left + count
        axes.set(title=setup, xlabel="faults")
        axes.grid(False, axis="y")
        if frame.empty:
            say_empty(axes, "nothing ran")
    panels[0].invert_yaxis()
    handles: dict[str, Any] = {}
    for axes in panels:
        handles |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3)
    if label:
        figure.suptitle(label, fontsize="medium")
    figure.workbench_alt = describe(frame)
    return figure


def describe(frame: pd.DataFrame) -> str:
    """Say in words what came out."""
    if frame.empty:
        return "Faults by access pattern and setup: empty, nothing ran."
    real = frame[frame["source"] == "kernel"]
    parts = []
    for setup, own in real.groupby("setup", sort=False):
        counts = (f"{row.pattern} {row.faults} {row.cause}" for row in own.itertuples())
        parts.append(f"{setup}: {', '.join(counts)}")
    agree = "equal" if frame["same"].all() else "NOT equal"
    said = "; ".join(parts)
    return f"Faults of {TOUCHES} touches on Linux. {said}. Emulated sequences are {agree}."
