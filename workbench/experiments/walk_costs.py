"""Who pays without conversion: user space's walks; how many of them make conversion worth it.

Walks are compiled code of this host; what engine built the structure makes no difference to them.
Builds are those of `conversion_overhead`, on the kernel.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from workbench.conversion import break_even, user_side, workloads
from workbench.experiments import results
from workbench.experiments.repetition import FULL, Effort, kernel_refusal, label, repeated
from workbench.isa import Op
from workbench.measurement import effects
from workbench.plots.figure import Figure, legend_below, narrow, page, say_empty, styled
from workbench.plots.ratios import draw_ratios

NAME = "walk_costs"
LOOKS = {"native pointers": ("C0", "o-"), "base and offset": ("C1", "s--")}
CURVES = ("list", "tree")
"""Walks whose steps are the operations of their build."""


def measure(
    engine: str, process: int, instances: int, iterations: int, host: str, seed: int
) -> pd.DataFrame:
    """One process: every walk, over both kinds of pointers in turns."""
    parts = [
        user_side.time_walk(name, engine, instances, 2 * iterations, seed % 2**32).assign(walk=name)
        for name in user_side.WALKS
    ]
    return pd.concat(parts, ignore_index=True)


def run(effort: Effort = FULL, seed: int = 0, directory: Path | None = None) -> pd.DataFrame:
    """Measure walks in the mapping of a real arena, or, without one, in a copy of an emulated one.

    Columns: engine (that built), process, walk, those of `measurement.collect` (values in ns per
    node or lookup; subjects are flags of the arena), kind, host, date.
    """
    engine = "jit" if kernel_refusal() else "kernel"
    return repeated(measure, {"engine": [engine]}, effort, seed, directory)


def ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """What walking by base and offset takes, over what native pointers take."""
    return effects(frame, ["engine", "walk"], "no_user_conv", "conversion")


def break_evens(walks: pd.DataFrame, builds: pd.DataFrame | None = None) -> pd.DataFrame:
    """From how many walks per build on conversion pays: a row per structure.

    `builds` is a frame of `conversion_overhead` (None: the recorded one). A build without any
    cast_user has the same machine code under both flags: its cost is 0, whatever was measured.
    Columns: structure, walks, low, high, build and walk cost in ns per operation with intervals,
    verdict.
    """
    rows = []
    for name in CURVES:
        found = break_even.break_even(_build(name, builds), walks[walks["walk"] == name])
        program = workloads.workload(user_side.WALKS[name].builder).program
        if not (program.instructions["op"] == Op.CAST_USER).any():
            found = found._replace(walks=0.0, low=0.0, high=0.0, build=(0.0, 0.0, 0.0))
        rows.append((name, found.walks, found.low, found.high, _spread(found.build),
                     _spread(found.walk), found.verdict))  # fmt: skip
    columns = ["structure", "walks", "low", "high", "a build costs more, ns",
               "a walk costs less, ns", "verdict"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _spread(side: tuple[float, float, float]) -> str:
    return f"{side[0]:.2f} [{side[1]:.2f}, {side[2]:.2f}]"


def _build(name: str, builds: pd.DataFrame | None) -> pd.DataFrame:
    """The kernel's builds of a walk's structure."""
    frame = results.load("conversion_overhead") if builds is None else builds
    chosen = frame["workload"] == user_side.WALKS[name].builder
    return frame[chosen & (frame["engine"] == "kernel")]


@styled
def plot(frame: pd.DataFrame, builds: pd.DataFrame | None = None) -> Figure:
    """The walks' ratios, and the total of a build and its walks by how many there are."""
    figure = Figure(figsize=page(4.6 if narrow() else 2.8))
    figure.workbench_alt = describe(frame, builds)
    if frame.empty:
        say_empty(figure.subplots(), "nothing was measured")
        return figure
    cells = figure.subplot_mosaic("aa;bc" if narrow() else "abc")
    top, *panels = cells.values()
    found = ratios(frame).assign(series="base and offset / native")
    draw_ratios(top, found, "walk", "series")
    top.set(xlabel="base and offset / native pointers", title="One step of a walk")
    for axes, name in zip(panels, CURVES, strict=True):
        _curves(axes, frame, builds, name)
    legend_below(figure, panels[0])
    figure.workbench_caption = caption(frame, builds)
    return figure


def _curves(axes, frame: pd.DataFrame, builds: pd.DataFrame | None, name: str) -> None:  # type: ignore[no-untyped-def]
    """Extra ns of either way against the cheaper one, by walks per build."""
    walk, build = frame[frame["walk"] == name], _build(name, builds)
    counts = np.array([0, 1, 2, 5, 10, 20, 50])
    curve = break_even.curve(build, walk, counts)
    best = curve.groupby("walks")["value"].min()
    for flag, (said, (colour, line)) in zip(
        ("conversion", "no_user_conv"), LOOKS.items(), strict=True
    ):
        rows = curve[curve["flag"] == flag]
        least = best.loc[rows["walks"]].to_numpy()
        ends = [rows[end].to_numpy() / least for end in ("low", "high")]
        axes.plot(np.arange(len(counts)), rows["value"] / least, line, color=colour, label=said)
        axes.fill_between(np.arange(len(counts)), *ends, color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set(xlabel="walks per build", ylabel="time / the better one's")
    axes.set_title(f"Build, walk: {name}")
    rows = break_evens(frame, builds).set_index("structure").loc[name]
    axes.annotate(
        _crossing(rows), (0.03, 0.97), xycoords="axes fraction", va="top", fontsize="small"
    )
    axes.set_ylim(0.95, max(1.2, axes.get_ylim()[1] * 1.02))


def _crossing(row: pd.Series) -> str:
    """The break-even's interval in a few words."""
    if np.isinf(row["low"]):
        return "break-even: never"
    if row["high"] == 0:
        return "break-even: at once"
    high = "∞" if np.isinf(row["high"]) else f"{row['high']:.2g}"
    return f"break-even (95 %):\n{row['low']:.2g} to {high} walks"


def caption(frame: pd.DataFrame, builds: pd.DataFrame | None = None) -> str:
    """State the finding."""
    found = ratios(frame).set_index("walk")
    parts = [f"{name} {row['ratio']:.2f}" for name, row in found.iterrows()]
    rules = [f"{row.structure}: {row.verdict}" for row in break_evens(frame, builds).itertuples()]
    return (
        "User space pays little for pointers without their upper half, as x86-64 adds a base in "
        f"the address itself: base and offset over native pointers, {', '.join(parts)}. "
        f"{'; '.join(rules)}."
    )


def describe(frame: pd.DataFrame, builds: pd.DataFrame | None = None) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "Cost of walks by user space: empty, nothing was measured."
    parts = [
        f"{row.walk} {row.a:.2f} ns against {row.b:.2f}, ratio {row.ratio:.2f} "
        f"[{row.low:.2f}, {row.high:.2f}]"
        for row in ratios(frame).itertuples()
    ]
    rules = [f"{row.structure}: {row.verdict}" for row in break_evens(frame, builds).itertuples()]
    return (
        "User space walking what a program built, by base and offset against native pointers; "
        f"walks of what {label(frame)} built. {'; '.join(parts)}. Break-even: {'; '.join(rules)}."
    )


def rule(frame: pd.DataFrame, builds: pd.DataFrame | None = None) -> str:
    """The decision rule in plain words (Markdown), drawn from the data."""
    builds = results.load("conversion_overhead") if builds is None else builds
    kernel = effects(builds[builds["engine"] == "kernel"], ["family", "workload"],
                     "conversion", "no_user_conv").set_index("workload")  # fmt: skip
    loop = kernel.loc["stores, 100 % pointers"]
    whole = kernel[kernel["family"] == "structures"]["ratio"]
    lines = [
        "**Does user space follow the pointers?** If not, set `NO_USER_CONV`. It costs nothing.",
        f"**Does the program store many?** Where hardly anything else happens, conversion takes "
        f"{loop['ratio']:.1f} times as long [{loop['low']:.1f}, {loop['high']:.1f}]; whole "
        f"programs that build or walk structures take {whole.min():.2f} to {whole.max():.2f} "
        "times as long. Most programs will not notice the flag.",
    ]
    for row in break_evens(frame, builds).itertuples():
        lines.append(f"**A {row.structure} built, and walked by user space:** {row.verdict}.")
    lines.append(
        "**Convenience decides the rest.** Native pointers can be followed by any library; with a "
        "base every reader must know that it has to add it."
    )
    return "\n".join(f"- {line}" for line in lines)


def claims(frame: pd.DataFrame, builds: pd.DataFrame | None = None) -> list[tuple[str, str, bool]]:
    """What the figure is to prove: claim, number, whether it holds."""
    found = ratios(frame)
    rows = break_evens(frame, builds)
    worst = found.loc[found["ratio"].idxmax()]
    return [
        ("a walk by base and offset takes at most 1.3 times as long",
         f"{worst['ratio']:.2f} [{worst['low']:.2f}, {worst['high']:.2f}]",
         bool(worst["low"] < 1.3)),
        ("a break-even is known, or known not to exist, for each structure",
         "; ".join(f"{row.structure} [{row.low:.2g}, {row.high:.2g}]" for row in rows.itertuples()),
         bool((~rows["low"].isna()).all())),
    ]  # fmt: skip
