"""The gallery: every figure, the experiment behind it, and the claims that it is to prove.

Experiments measure here; what needs a kernel that does not let us in comes from the recorded
results, and says so.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.errors import WorkbenchError
from workbench.evidence import measurement, provenance
from workbench.experiments import (
    arena_creation,
    batch_costs,
    conversion_overhead,
    engine_speed,
    fragmentation_versions,
    repetition,
    results,
    touch_costs,
    walk_costs,
)
from workbench.experiments.repetition import Effort

if TYPE_CHECKING:
    import pandas as pd

    from workbench.plots.figure import Figure


class Claim(NamedTuple):
    """Something that a figure is to prove, the number behind it, and whether it holds."""

    figure: str
    text: str
    number: str
    holds: bool
    kind: str


class Exhibit(NamedTuple):
    """A figure of the gallery.

    `run(effort, directory, earlier)` gives the frame, `plot(frame, earlier)` the figure, `claims`
    rows of (text, number, holds), `tables` frames and texts to go with it, by name; `earlier` holds
    the frames of exhibits before it, by name. `cells` are the columns that tell one measurement
    from another (none: no repeated times), `judged` the engine that claims are about ("": all).
    """

    name: str
    title: str
    run: "Callable[[Effort, Path, dict[str, pd.DataFrame]], pd.DataFrame]"
    plot: "Callable[[pd.DataFrame, dict[str, pd.DataFrame]], Figure]"
    claims: "Callable[[pd.DataFrame, dict[str, pd.DataFrame]], list[tuple[str, str, bool]]]"
    cells: tuple[str, ...] = ()
    judged: str = ""
    tables: "Callable[[pd.DataFrame, dict[str, pd.DataFrame]], dict[str, Any]]" = (
        lambda frame, earlier: {}
    )


def _fault_costs(effort: Effort) -> "pd.DataFrame":
    found = results.here_or_recorded(
        "touch_costs", lambda: touch_costs.run(4 * effort.processes, 512)
    )
    kind = "recorded" if found.recorded else "measured"
    return found.frame.assign(kind=kind)


def _touch_plot(frame: "pd.DataFrame") -> "Figure":
    figure = touch_costs.plot(frame, str(frame["kind"].iloc[0]))
    figure.workbench_caption = touch_costs.caption(frame)
    return figure


EXHIBITS = (
    Exhibit(
        conversion_overhead.NAME, "what conversion costs programs",
        lambda effort, kept, _: conversion_overhead.run(effort, directory=kept),
        lambda frame, _: conversion_overhead.plot(frame),
        lambda frame, _: conversion_overhead.claims(frame),
        ("engine", "workload"), "kernel",
        lambda frame, _: {
            "conversion": conversion_overhead.table(frame),
            "differences": conversion_overhead.differences(frame),
        },
    ),
    Exhibit(
        walk_costs.NAME, "what user space pays, and when conversion is worth it",
        lambda effort, kept, _: walk_costs.run(effort, directory=kept),
        lambda frame, earlier: walk_costs.plot(frame, earlier[conversion_overhead.NAME]),
        lambda frame, earlier: walk_costs.claims(frame, earlier[conversion_overhead.NAME]),
        ("engine", "walk"), "",
        lambda frame, earlier: {
            "break_even": walk_costs.break_evens(frame, earlier[conversion_overhead.NAME]),
            "rule": walk_costs.rule(frame, earlier[conversion_overhead.NAME]),
        },
    ),
    Exhibit(
        "fault_costs", "what first touches and absent pages cost",
        lambda effort, _, __: _fault_costs(effort),
        lambda frame, _: _touch_plot(frame),
        lambda frame, _: touch_costs.claims(frame),
    ),
    Exhibit(
        batch_costs.NAME, "what pages cost by the batch",
        lambda effort, kept, _: batch_costs.run(effort, directory=kept),
        lambda frame, _: batch_costs.plot(frame),
        lambda frame, _: batch_costs.claims(frame),
        ("batch",),
    ),
    Exhibit(
        fragmentation_versions.NAME, "how the kernel's allocators fragment",
        lambda effort, kept, _: fragmentation_versions.run(2 * effort.processes, kept),
        lambda frame, _: fragmentation_versions.plot(frame),
        lambda frame, _: fragmentation_versions.claims(frame),
    ),
    Exhibit(
        engine_speed.NAME, "how fast engines are",
        lambda effort, kept, _: engine_speed.run(effort, directory=kept),
        lambda frame, _: engine_speed.plot(frame),
        lambda frame, _: engine_speed.claims(frame),
        ("program",),
    ),
    Exhibit(
        arena_creation.NAME, "what making an arena costs",
        lambda effort, kept, _: arena_creation.run(effort, directory=kept),
        lambda frame, _: arena_creation.plot(frame),
        lambda frame, _: arena_creation.claims(frame),
        ("pages",),
    ),
)  # fmt: skip


def exhibit(name: str) -> Exhibit:
    """The exhibit called so; raises WorkbenchError with the names there are."""
    found = {one.name: one for one in EXHIBITS}
    if name not in found:
        raise WorkbenchError(f"no figure '{name}' in the gallery; there are {', '.join(found)}")
    return found[name]


def effort(quick: bool) -> Effort:
    """How often `quick` and full runs repeat."""
    return repetition.QUICK if quick else repetition.FULL


def claims_of(
    one: Exhibit, frame: "pd.DataFrame", earlier: "dict[str, pd.DataFrame]"
) -> list[Claim]:
    """The exhibit's claims, judged on a frame."""
    read = frame[frame["engine"] == one.judged] if one.judged else frame
    kinds = " and ".join(dict.fromkeys(read["kind"]))
    return [Claim(one.name, *claim, kinds) for claim in one.claims(frame, earlier)]


def noise(one: Exhibit, frame: "pd.DataFrame") -> str:
    """Which of the exhibit's measurements was too noisy, if any; "" if none was."""
    here = frame[frame["kind"] == "measured"]
    return measurement.warning(here, list(one.cells)) if one.cells and len(here) else ""


def sources(one: Exhibit, frame: "pd.DataFrame") -> str:
    """Where the exhibit's numbers come from: model, measured or recorded, and on which machine."""
    if "host" in frame:
        return repetition.label(frame)
    about = frame.attrs.get(provenance.KEY) or provenance.provenance()
    return f"{frame['kind'].iloc[0]} ({provenance.describe(about)})"
