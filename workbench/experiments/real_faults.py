"""One list of accesses on a real and an emulated arena: the same page events in the same order?

The real ones come from perf's page-fault event and from the page set before and after each run of
a program, the emulated ones from the arena's own log.
"""

import random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from workbench.arena import Arena
from workbench.arena.either import AnyArena
from workbench.arena.rules import PAGE_SIZE
from workbench.engines.kernel import FaultRecorder, KernelArena
from workbench.plots.faults import MARKS, SPANS
from workbench.plots.figure import Figure, legend_below, page_width, say_empty, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGES = 64  # few, so that random accesses meet present, absent and freed pages alike
SAME = ["kind", "actor", "page", "count"]
"""Columns of an event that must be equal on both sides; address and time are each arena's own."""


class Access(NamedTuple):
    """One thing to do: "load" or "store" (user space), "alloc" or "free" (a program)."""

    verb: str
    page: int
    pages: int = 1


def accesses(seed: int = 11, length: int = 80, pages: int = PAGES) -> list[Access]:
    """Make a list of accesses: mostly user touches, between which programs allocate and free."""
    rng = random.Random(seed)
    arena, blocks, made = Arena(pages), [], []
    for _ in range(length):
        verb = rng.choices(("load", "store", "alloc", "free"), (4, 4, 2, 1))[0]
        if verb == "alloc":
            access = Access(verb, 0, rng.choice((1, 2, 4)))
            if address := arena.alloc(access.pages):
                blocks.append(((address - arena.user_start) // PAGE_SIZE, access.pages))
        elif verb == "free" and blocks:
            access = Access(verb, *blocks.pop(rng.randrange(len(blocks))))
            arena.free(arena.user_start + access.page * PAGE_SIZE, access.pages)
        else:
            access = Access("store" if verb == "free" else verb, rng.randrange(pages))
            arena.user.store(arena.user_start + access.page * PAGE_SIZE, "u8", 1)
        made.append(access)
    return made


def perform(arena: AnyArena, todo: list[Access]) -> None:
    """Do it all, in order."""
    for verb, page, count in todo:
        address = arena.user_start + page * PAGE_SIZE
        if verb == "load":
            arena.user.load(address, "u8")
        elif verb == "store":
            arena.user.store(address, "u8", 1)
        elif verb == "alloc":
            arena.alloc(count)
        else:
            arena.free(address, count)


def emulated(todo: list[Access], pages: int = PAGES) -> pd.DataFrame:
    """The page events of the emulated arena: see workbench.arena.events."""
    with Arena(pages) as arena:
        perform(arena, todo)
        return arena.events.assign(ns=np.uint64(0))


def run(todo: list[Access] | None = None, pages: int = PAGES) -> pd.DataFrame:
    """The page events of a real arena, ns from the first; see workbench.arena.events.

    Raises KernelError where arenas or page-fault events are not to be had.
    """
    with KernelArena(pages) as arena:
        arena.alloc(1)
        arena.reset()  # as new, but what Python's calls need is loaded: no pauses in the record
        with FaultRecorder(arena) as recorder:
            perform(arena, accesses(pages=pages) if todo is None else todo)
        events = recorder.events
    events["ns"] = events["ns"].astype(np.int64) - int(events["ns"].min())
    return events


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two event frames hold the same events in the same order.

    Refused allocations are left out: they change no page, and so the real recording lacks them.
    """
    return _told(one) == _told(other)


def _told(frame: pd.DataFrame) -> list[list[object]]:
    found = frame[frame["kind"] != "alloc_failed"]
    return [found[name].tolist() for name in SAME]


@styled
def plot(frame: pd.DataFrame, label: str = "") -> Figure:
    """Draw the real events over time and the emulated ones in their order, page for page.

    `frame` holds events of one or both sources (column `source`).
    """
    figure = Figure(figsize=(page_width(), 4.2))
    real, model = figure.subplots(1, 2, sharey=True)
    _panel(real, frame[frame["source"] == "kernel"], "ns", 1e-6)
    real.set(title="real arena", xlabel="ms since the first event", ylabel="page of the arena")
    _panel(model, frame[frame["source"] == "emulated"].reset_index(drop=True), "", 1)
    model.set(title="emulated arena", xlabel="events in their order")
    figure.suptitle(
        f"The same accesses; real: {label}" if label else "The same accesses", fontsize="medium"
    )
    legend_below(figure, model)
    figure.workbench_alt = describe(frame)
    return figure


def describe(frame: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    parts = []
    for source, events in frame.groupby("source", observed=True):
        counts = events["kind"].astype(str).value_counts()
        named = [f"{mark.meaning} {counts[mark.kind]}×" for mark in MARKS if mark.kind in counts]
        parts.append(f"{source}: {', '.join(named)}")
    return "Page events on Linux and emulated. " + "; ".join(parts or ["nothing happened"]) + "."


def _panel(axes: "Axes", events: pd.DataFrame, clock: str, scale: float) -> None:
    """Draw one source's events; a span of pages is a line from its first to its last."""
    if events.empty:
        say_empty(axes, "no page event")
        return
    for mark in MARKS:
        own = events[events["kind"] == mark.kind]
        if own.empty:
            continue
        x = (own[clock] if clock else own.index.to_series()) * scale
        last = own["page"] + (own["count"] - 1 if mark.kind in SPANS else 0)
        axes.vlines(x, own["page"], last, color=mark.colour, linewidth=1.6, alpha=0.8)
        axes.plot(
            x,
            own["page"],
            mark.marker,
            color=mark.colour,
            label=mark.meaning,
            markersize=5,
            markerfacecolor=mark.colour if mark.filled else "none",
        )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
