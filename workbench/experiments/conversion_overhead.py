"""What conversion costs whole programs: every workload, both flags, three engines, intervals.

The ratio is time with conversion over time under NO_USER_CONV; above 1, conversion costs. The
kernel's times are its own (run_time_ns), those of interpreter and jit are spent executing.
"""

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from workbench.errors import WorkbenchError
from workbench.evidence.measurement import effects
from workbench.experiments.exhibit import Exhibit
from workbench.experiments.frames import reads
from workbench.experiments.kernel_costs import CLOCK, REFERENCE, REFERENCE_RATIO
from workbench.experiments.repetition import FULL, KEPT, Effort, label, on_engines
from workbench.models.conversion import timing, workloads
from workbench.plots.figure import Figure, legend_below, narrow, page, say_empty, styled
from workbench.plots.ratios import draw_ratios, ratio_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "conversion_overhead"
FAMILIES = ("structures", "stores", "NULL share", "casts")
ENGINES = ("kernel", "jit", "interpreter")
A, B = "conversion", "no_user_conv"
MORE = 10
"""How many times the iterations the kernel builds structures: pages make them noisy, and short.

Bounds the time of a measurement; how much less would do was not measured."""
COLUMNS = ("engine", "family", "workload", "subject", "iteration", "value", "kind", "host")


def measure(
    engines: tuple[str, ...], process: int, instances: int, iterations: int, host: str, seed: int
) -> pd.DataFrame:
    """One process: every workload on every engine, both flags in turns."""
    parts = []
    for engine, family in product(engines, FAMILIES):
        times = iterations * (MORE if (engine, family) == ("kernel", "structures") else 1)
        for name in workloads.names(family):
            frame = timing.time_workload(name, engine, instances, times, seed=seed % 2**32)
            share = workloads.workload(name).share
            about = {"engine": engine, "workload": name, "family": family, "share": share}
            parts.append(frame.assign(**about))
    return pd.concat(parts, ignore_index=True)


def run(effort: Effort = FULL, seed: int = 0, directory: Path | None = None) -> pd.DataFrame:
    """Measure all of it; without a usable kernel, its rows are the recorded ones.

    Columns: engine, process, workload, family, share, those of `measurement.collect` (values in
    ns per operation), kind ("measured" or "recorded"), host, date.
    """
    return on_engines(measure, NAME, ENGINES, effort, seed, directory)


@reads(*COLUMNS)
def ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """The effect of conversion on each workload and engine: columns of Effect, kind, host."""
    by = ["engine", "family", "workload", "kind", "host"]
    found = effects(frame, by, A, B)
    found["share"] = [workloads.workload(name).share for name in found["workload"]]
    return found


@reads(*COLUMNS, rows=True)
def table(frame: pd.DataFrame, engine: str = "kernel") -> pd.DataFrame:
    """One engine's times and ratios as text, the reference numbers beside them.

    A row per workload. Raises WorkbenchError for an engine that was not measured.
    """
    if engine not in set(frame["engine"]):
        there = ", ".join(dict.fromkeys(frame["engine"]))
        raise WorkbenchError(f"nothing was measured on '{engine}'; there is {there}")
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


RENAMED = (
    "The two moves under `NO_USER_CONV` are done at register renaming, so that nothing is left to "
    "wait for. The reference's 1.79 and 0.53 ns are what a core gives that copies: seven cycles "
    "and two."
)
COPIED = "Each of its moves takes time, as in the reference: about seven cycles and two there."


@reads(*COLUMNS, rows=True)
def differences(frame: pd.DataFrame) -> str:
    """Where the kernel's numbers differ from the reference's, and why (Markdown)."""
    found = ratios(frame[frame["engine"] == "kernel"]).set_index("workload")
    cycle = found.loc[CLOCK, ["a", "b"]].mean()

    def cycles(name: str) -> str:
        with_conversion, without = found.loc[name, ["a", "b"]] / cycle
        return f"{with_conversion:.1f} cycles against {without:.1f}"

    def ratio(name: str) -> str:
        return f"{found.loc[name, 'ratio']:.2f}"

    lines = [
        *(
            f"**{name}**: {found.loc[name, 'a']:.3g} / {found.loc[name, 'b']:.3g} ns, "
            f"reference {ours:.3g} / {theirs:.3g}."
            for name, (ours, theirs) in REFERENCE.items()
        ),
        f"**Why the chain differs.** One cycle is {cycle:.3f} ns here. The chain takes "
        f"{cycles('chain')}. {RENAMED if found.loc['chain', 'b'] < 0.75 * cycle else COPIED} One "
        f"addition in the chain, as real code has, hides nothing: `chain, add` takes "
        f"{cycles('chain, add')}, the conversion's shift, or, rotate, test and conditional move.",
        f"**16 casts and stores**: {ratio('16 casts and stores')} ×, reference "
        f"{REFERENCE_RATIO['16 casts and stores']} ×. The ratio of a whole loop says what else "
        f"the loop does: it is {ratio('cast_user, store')} with nothing else (unrolled), and "
        f"{ratio('16 casts, may_goto')} when `may_goto` ends it, whose counter in memory takes "
        "time that the conversion can hide behind. How the reference counted is not known to us.",
    ]
    return "\n".join(f"- {line}" for line in lines)


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
    legend_below(figure, axes["whole"])
    figure.workbench_caption = caption(found)
    return figure


def _by_share(axes: "Axes", found: pd.DataFrame, family: str, axis: str) -> None:
    """Ratio against share, a line with its band for each engine."""
    part = found[found["family"] == family]
    axes.set(xlabel=axis, ylabel="ratio")
    if part.empty:
        say_empty(axes, "not measured")
        return
    for number, (engine, rows) in enumerate(part.groupby("engine", sort=False)):
        rows = rows.sort_values("share")
        colour, marker = f"C{number}", "osD^"[number]
        axes.plot(rows["share"], rows["ratio"], f"-{marker}", color=colour, label=engine)
        axes.fill_between(rows["share"], rows["low"], rows["high"], color=colour, alpha=0.2, lw=0)
    ratio_axis(axes.yaxis, part)
    axes.set_xticks(workloads.SHARES)


def caption(found: pd.DataFrame) -> str:
    """State the finding, from the ratios: the kernel's, or those of the first engine there is."""
    engine = "kernel" if "kernel" in set(found["engine"]) else found["engine"].iloc[0]
    rows = found[found["engine"] == engine]
    family = {name: rows[rows["family"] == name]["ratio"] for name in FAMILIES}
    whole, shares, nulls = (family[name] for name in FAMILIES[:3])
    parts = [f"On the {engine},"]
    if len(shares):
        parts = [_headline(shares, whole), *parts, f"a loop of stores takes {shares.iloc[0]:.2f} "
                 f"times as long with no pointers among them and {shares.iloc[-1]:.2f} times with "
                 "nothing else;"]  # fmt: skip
    if len(whole):
        parts += [f"programs that build or walk structures take {_span(whole)} times as long;"]
    if len(nulls):
        parts += [f"pointers from a table {_span(nulls)} times, whatever share of them is NULL;"]
    return " ".join(parts).rstrip(";,") + "."


def _headline(shares: pd.Series, whole: pd.Series) -> str:
    """What the numbers amount to."""
    if shares.iloc[0] < 1.05 < 1.2 < shares.iloc[-1] and (whole < 1.15).all():
        return "Conversion costs where pointers are stored, and hardly anything in whole programs."
    return "What conversion costs, by what a program does."


def _span(values: pd.Series) -> str:
    return f"{values.min():.2f} to {values.max():.2f}"


@reads(*COLUMNS)
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


@reads(*COLUMNS, rows=True)
def claims(frame: pd.DataFrame) -> list[tuple[str, str, bool]]:
    """What the figure is to prove: claim, number, whether it holds."""
    found = ratios(frame[frame["engine"] == "kernel"]).set_index("workload")
    shares = found[found["family"] == "stores"].sort_values("share")
    nulls = found[found["family"] == "NULL share"]
    whole = found[found["family"] == "structures"]
    walk, chain = found.loc["pointer-chasing walk"], found.loc["chain, add"]

    def shown(row: pd.Series) -> str:
        return f"{row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"

    return [
        ("a walk that stores no pointer pays nothing", shown(walk),
         bool(walk["low"] < 1.05 and walk["high"] > 0.95)),
        ("a loop of pointer stores takes more than 1.5 times as long", shown(shares.iloc[-1]),
         bool(shares.iloc[-1]["low"] > 1.5)),
        ("the cost grows with the share of pointer stores", _span(shares["ratio"]),
         bool(shares["ratio"].iloc[0] < shares["ratio"].iloc[2] < shares["ratio"].iloc[-1])),
        ("whole structures pay less than 15 %", _span(whole["ratio"]),
         bool((whole["ratio"] < 1.15).all())),
        ("the share of NULL pointers does not matter", _span(nulls["ratio"]),
         bool(nulls["ratio"].max() < 1.2 * nulls["ratio"].min())),
        ("a dependent cast_user takes more than twice as long", shown(chain),
         bool(chain["low"] > 2)),
    ]  # fmt: skip


EXHIBIT = Exhibit(
    NAME, "what conversion costs programs",
    lambda effort, kept, _: run(effort, directory=kept),
    lambda frame, _: plot(frame),
    lambda frame, _: claims(frame),
    cells=("engine", "workload"), judged="kernel",
    tables=lambda frame, _: {"conversion": table(frame), "differences": differences(frame)},
    record=lambda: run(KEPT),
)  # fmt: skip
