"""The NO_USER_CONV comparison as a picture."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from workbench.plots.figure import BLUE, ORANGE, Figure, say_empty, styled

PANELS = (
    ("instructions_executed", "BPF program", "instructions executed"),
    ("conversions_executed", "Pointers converted", "casts executed"),
    ("native", "Cost of all casts", "x86-64 instructions"),
)
FLAGS = (
    ("conversion", "with conversion", BLUE, ""),
    ("no_user_conv", "NO_USER_CONV", ORANGE, "////"),
)
_HEIGHT = 0.38  # of a bar, two of which share a row of height 1


@styled
def comparison(frame: pd.DataFrame) -> Figure:
    """Draw what NO_USER_CONV changes and what it does not, one row per program.

    `frame` comes from `conversion.compare`; several may be concatenated. Panels: instructions
    executed, pointers converted, and x86-64 instructions that Linux's JIT emits for the casts
    executed. All are exact counts, none is a time; shorter is better.
    """
    programs = list(dict.fromkeys(frame["program"]))
    figure = Figure(figsize=(7.0, 1.7 + 0.55 * max(len(programs), 1)))
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (metric, title, unit) in zip(panels, PANELS, strict=True):
        _panel(axes, frame[frame["metric"] == metric], programs)
        axes.set(title=title, xlabel=unit)
        if not programs:
            say_empty(axes, "no runs")
    panels[0].set_yticks(range(len(programs)), programs)
    panels[0].invert_yaxis()
    if programs:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle("One program, run both ways (model: exact counts, no times)", fontsize=9)
    figure.workbench_alt = describe(frame)
    return figure


def describe(frame: pd.DataFrame) -> str:
    """Say in words what the comparison shows, one clause per program."""
    if frame.empty:
        return "Comparison with NO_USER_CONV: empty, no runs."
    table = frame.pivot(index=["program", "metric"], columns="flag", values="value")
    clauses = []
    for program in dict.fromkeys(frame["program"]):
        numbers = table.loc[program]
        steps, casts, native = (numbers.loc[metric] for metric, _, _ in PANELS)
        clauses.append(
            f"{program}: {_both(steps)} BPF instructions executed, {_both(casts)} pointers "
            f"converted, {_both(native)} x86-64 instructions for casts"
        )
    return f"With conversion against NO_USER_CONV, exact counts. {'; '.join(clauses)}."


def _both(numbers: pd.Series) -> str:
    return f"{numbers['conversion']:,} against {numbers['no_user_conv']:,}"


def _panel(axes: Axes, frame: pd.DataFrame, programs: list[str]) -> None:
    """Draw one metric: two bars for each program, told apart by colour and hatch."""
    for place, (flag, label, colour, hatch) in enumerate(FLAGS):
        values = frame[frame["flag"] == flag].set_index("program")["value"].reindex(programs)
        heights = [row + (place - 0.5) * _HEIGHT for row in range(len(programs))]
        bars = axes.barh(
            heights, values, _HEIGHT, label=label, color=colour, hatch=hatch,
            edgecolor="black", linewidth=0.5,
        )  # fmt: skip
        axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=2, fontsize=8)
    axes.margins(x=0.3)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.grid(False, axis="y")
