"""What conversion costs whole programs: every workload, both flags, three engines, intervals.

The ratio is time with conversion over time under NO_USER_CONV; above 1, conversion costs. The
kernel's times are its own (run_time_ns), those of interpreter and jit are spent executing.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from workbench.conversion import timing, workloads
from workbench.experiments import results
from workbench.experiments.kernel_costs import REFERENCE, REFERENCE_RATIO
from workbench.experiments.repetition import (
    FULL,
    Effort,
    kernel_refusal,
    label,
    repeated,
    with_recorded,
)  # fmt: skip
from workbench.measurement import effects
from workbench.plots.figure import Figure, legend_below, narrow, page, say_empty, styled
from workbench.plots.ratios import draw_ratios, ratio_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "conversion_overhead"
FAMILIES = {
    "kernel": ("structures", "stores", "NULL share", "casts"),
    "jit": ("structures", "stores", "NULL share"),
    "interpreter": ("structures", "stores"),
}
ENGINES = ("kernel", "jit", "interpreter")
A, B = "conversion", "no_user_conv"


def measure(
    engine: str, process: int, instances: int, iterations: int, host: str, seed: int
) -> pd.DataFrame:
    """One process: every workload of an engine, both flags in turns."""
    parts = []
    for family in FAMILIES[engine]:
        for name in workloads.names(family):
            frame = timing.time_workload(name, engine, instances, iterations, seed=seed % 2**32)
            share = workloads.workload(name).share
            parts.append(frame.assign(workload=name, family=family, share=share))
    return pd.concat(parts, ignore_index=True)


def run(effort: Effort = FULL, seed: int = 0, directory: Path | None = None) -> pd.DataFrame:
    """Measure all of it; without a usable kernel, its rows are the recorded ones.

    Columns: engine, process, workload, family, share, those of `measurement.collect` (values in
    ns per operation), kind ("measured" or "recorded"), host, date.
    """
    refusal = kernel_refusal()
    engines = [name for name in ENGINES if name != "kernel" or not refusal]
    frame = repeated(measure, {"engine": engines}, effort, seed, directory)
    return with_recorded(frame, results.load(NAME)) if refusal else frame


def ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """The effect of conversion on each workload and engine: columns of Effect, kind, host."""
    by = ["engine", "family", "workload", "kind", "host"]
    found = effects(frame, by, A, B)
    found["share"] = [workloads.workload(name).share for name in found["workload"]]
    return found


def table(frame: pd.DataFrame, engine: str = "kernel") -> pd.DataFrame:
    """One engine's times and ratios as text, the reference numbers beside them."""
    rows = []
    for row in ratios(frame[frame["engine"] == engine]).itertuples():
        reference = REFERENCE.get(row.workload)
        known = REFERENCE_RATIO.get(row.workload, reference and reference[0] / reference[1])
        rows.append({
            "": row.workload, "conversion, ns": f"{row.a:.3g}", "NO_USER_CONV, ns": f"{row.b:.3g}",
            "ratio": f"{row.ratio:.3g} [{row.low:.3g}, {row.high:.3g}]", "units": row.units,
            "reference, ns": "{:.3g} / {:.3g}".format(*reference) if reference else "",
            "reference ratio": f"{known:.3g}" if known else "", "kind": row.kind,
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("")


DIFFERENCES = (
    "Times of `cast_user`, `cast_user, store` and the 16-cast loop agree with the reference within "
    "what two machines differ by. The bare chain does not: its two moves under NO_USER_CONV are "
    "eliminated at register renaming by this core, so that nothing is left to wait for, and the "
    "ratio becomes larger than the reference's. One addition in the chain takes that away: `chain, "
    "add` is six cycles against one, the depth of the conversion (shift, or, rotate, test, "
    "conditional move) against an addition alone."
)


@styled
def plot(frame: pd.DataFrame, label: str = "") -> Figure:
    """Ratios with intervals by workload and engine; below, by share of pointers and of NULLs."""
    figure = Figure(figsize=page(5.4 if narrow() else 3.6))
    figure.workbench_alt = describe(frame)
    if frame.empty:
        say_empty(figure.subplots(), "nothing was measured")
        return figure
    found = ratios(frame)
    stacked, beside = "aa;bc", "ab;ac"
    cells = figure.subplot_mosaic(
        stacked if narrow() else beside, height_ratios=[1.3, 1] if narrow() else [1, 1]
    )
    axes = dict(zip(("whole", "stores", "NULL share"), cells.values(), strict=True))
    draw_ratios(axes["whole"], found[found["family"] == "structures"], "workload", "engine")
    axes["whole"].set_title("Whole programs")
    _by_share(axes["stores"], found, "stores", "stores of pointers (%)")
    _by_share(axes["NULL share"], found, "NULL share", "NULL pointers (%)")
    axes["stores"].set_title("A loop of stores")
    axes["NULL share"].set_title("A loop of casts")
    legend_below(figure, axes["stores"])
    figure.workbench_caption = caption(found)
    return figure


def _by_share(axes: "Axes", found: pd.DataFrame, family: str, axis: str) -> None:
    """Ratio against share, a line with its band for each engine."""
    part = found[found["family"] == family]
    for number, (engine, rows) in enumerate(part.groupby("engine", sort=False)):
        rows = rows.sort_values("share")
        colour, marker = f"C{number}", "osD^"[number]
        axes.plot(rows["share"], rows["ratio"], f"-{marker}", color=colour, label=engine)
        axes.fill_between(rows["share"], rows["low"], rows["high"], color=colour, alpha=0.2, lw=0)
    ratio_axis(axes.yaxis, part)
    axes.set(xlabel=axis, ylabel="ratio", xticks=workloads.SHARES)


def caption(found: pd.DataFrame) -> str:
    """State the finding, from the ratios."""
    kernel = found[found["engine"] == "kernel"].set_index("workload")
    shares = kernel[kernel["family"] == "stores"]["ratio"]
    whole = kernel[kernel["family"] == "structures"]["ratio"]
    nulls = kernel[kernel["family"] == "NULL share"]["ratio"]
    return (
        f"Conversion costs where pointers are stored, and nowhere else. In the kernel a loop of "
        f"stores takes {shares.iloc[0]:.2f} times as long with no pointers among them and "
        f"{shares.iloc[-1]:.2f} times with nothing else; programs that build or walk structures "
        f"take {whole.min():.2f} to {whole.max():.2f} times as long. NULL pointers cost what "
        f"others cost ({nulls.min():.2f} to {nulls.max():.2f}): the conversion has no branch."
    )


def describe(frame: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "Cost of pointer conversion for whole programs: empty, nothing was measured."
    parts = [
        f"{row.workload} on {row.engine} {row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}]"
        for row in ratios(frame[frame["family"] != "casts"]).itertuples()
    ]
    return (
        "Cost of pointer conversion for whole programs: time with conversion over time under "
        f"NO_USER_CONV, with 95 % intervals; {label(frame)}. {'; '.join(parts)}."
    )


def claims(frame: pd.DataFrame) -> list[tuple[str, str, bool]]:
    """What the figure is to prove: claim, number, whether it holds."""
    found = ratios(frame[frame["engine"] == "kernel"]).set_index("workload")
    shares = found[found["family"] == "stores"].sort_values("share")
    nulls = found[found["family"] == "NULL share"]
    whole = found[found["family"] == "structures"]
    walk, chain = found.loc["pointer-chasing walk"], found.loc["chain, add"]

    def shown(row: pd.Series) -> str:
        return f"{row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"

    def spread(part: pd.DataFrame) -> str:
        return f"{part['ratio'].min():.2f} to {part['ratio'].max():.2f}"

    return [
        ("a walk that stores no pointer pays nothing", shown(walk),
         bool(walk["low"] < 1.05 and walk["high"] > 0.95)),
        ("a loop of pointer stores takes more than 1.5 times as long", shown(shares.iloc[-1]),
         bool(shares.iloc[-1]["low"] > 1.5)),
        ("the cost grows with the share of pointer stores", spread(shares),
         bool(shares["ratio"].iloc[0] < shares["ratio"].iloc[2] < shares["ratio"].iloc[-1])),
        ("whole structures pay less than 15 %", spread(whole),
         bool((whole["ratio"] < 1.15).all())),
        ("the share of NULL pointers does not matter", spread(nulls),
         bool(nulls["ratio"].max() < 1.2 * nulls["ratio"].min())),
        ("a dependent cast_user takes more than twice as long", shown(chain),
         bool(chain["low"] > 2)),
    ]  # fmt: skip
