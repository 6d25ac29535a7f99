"""Ratios with their intervals, on an axis where twice and half are equally far from 1."""

import math
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from workbench.plots.figure import say_empty

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

STEPS = (1, 1.05, 1.1, 1.2, 1.5, 2, 3, 4, 6, 8, 12, 16)
MARKERS = "osD^vP"


def ratio_axis(axis: "Axis", found: pd.DataFrame, most: int = 7) -> None:
    """Make an axis one of ratios: log2, ticks at `most` round factors, a line at 1.

    `found` has columns ratio, low and high, which are to fit.
    """
    ends = found[["ratio", "low", "high"]].to_numpy(float)
    reach = max(math.exp(max((abs(math.log(x)) for x in ends[ends > 0]), default=0)), 1.06) * 1.05
    low = min(1.0, float(ends.min())) if ends.size and ends.min() > 0 else 1.0
    bottom, top = min(low, 0.99) / 1.02, max(reach, 1.1) if ends.max() > 1 else 1.05
    ticks = _ticks(bottom, top, most)
    axes, upright = axis.axes, axis is axis.axes.yaxis
    draw = axes.axhline if upright else axes.axvline
    draw(1, color="0.5", linewidth=0.8, zorder=0.5)
    set_scale = axes.set_yscale if upright else axes.set_xscale
    set_limits = axes.set_ylim if upright else axes.set_xlim
    set_scale("log", base=2)
    set_limits(bottom, top)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _ticks(bottom: float, top: float, most: int) -> list[float]:
    """Round factors in a range, not closer than they can be read."""
    inside = [s for s in sorted({*STEPS, *(1 / s for s in STEPS)}) if bottom <= s <= top]
    apart = math.log(top / bottom) / most
    kept = [1.0]
    for step in sorted(inside, key=lambda s: abs(math.log(s))):
        if all(abs(math.log(step / other)) > apart for other in kept):
            kept.append(step)
    return sorted(round(step, 2) for step in kept)


def draw_ratios(axes: "Axes", found: pd.DataFrame, rows: str, series: str, most: int = 7) -> None:
    """Draw a point with its interval for each row and series of a frame of effects."""
    if found.empty:
        say_empty(axes, "not measured")
        return
    names = list(dict.fromkeys(found[rows]))
    kinds = list(dict.fromkeys(found[series]))
    for number, kind in enumerate(kinds):
        part = found[found[series] == kind]
        shift = 0.5 * ((number + 0.5) / len(kinds) - 0.5)
        places = [names.index(name) + shift for name in part[rows]]
        colour, marker = f"C{number}", MARKERS[number % len(MARKERS)]
        axes.hlines(places, part["low"], part["high"], color=colour, alpha=0.6, linewidth=2)
        axes.plot(part["ratio"], places, marker, color=colour, label=kind)
    ratio_axis(axes.xaxis, found, most)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set_xlabel("conversion / NO_USER_CONV")
