"""The figure that all views return: in one style, with a description in words."""

from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

STYLES = Path(__file__).parent.parent / "styles"
SCREEN_DPI = 144  # PNG for the notebook: sharp on dense displays, shown at 100 dpi

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#7F7F7F",
)  # fmt: skip

P = ParamSpec("P")


class Figure(MatplotlibFigure):
    """A matplotlib figure that knows how to say what it shows.

    `workbench_alt` is the text alternative: what a reader who cannot see the figure should know.
    """

    workbench_alt: str = ""

    def savefig(self, fname: Any, *, transparent: bool | None = None, **kwargs: Any) -> None:
        """Save as matplotlib does, but in the workbench's style: fonts are chosen on saving."""
        with base_style():
            super().savefig(fname, transparent=transparent, **kwargs)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, dict[str, object]]]:
        """Return a PNG, and an HTML image of it because JupyterLab gives only that one its text."""
        png = BytesIO()
        self.savefig(png, format="png", dpi=SCREEN_DPI)
        image, alt = b64encode(png.getvalue()).decode(), self.workbench_alt
        width, height = (round(100 * inches) for inches in self.get_size_inches())
        tag = (
            f'<img alt="{escape(alt)}" width="{width}" height="{height}" '
            f'src="data:image/png;base64,{image}">'
        )
        bundle = {"text/html": tag, "image/png": image, "text/plain": alt}
        return bundle, {"image/png": {"alt": alt, "width": width, "height": height}}


def base_style() -> AbstractContextManager[None]:
    """Apply the workbench's style for the length of a `with` block."""
    return matplotlib.style.context(STYLES / "base.mplstyle")


def styled(view: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a view in the workbench's style, whatever the session's own settings are."""

    @wraps(view)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with base_style():
            return view(*args, **kwargs)

    return draw


def time_axis(frame: pd.DataFrame, axis: str) -> tuple[NDArray[np.float64], str]:
    """Place the rows of a frame on a horizontal axis; return the places and the axis's label.

    "steps" is the program's clock (column `time`), "order" the number of the row. User touches do
    not advance the clock, so "auto" takes the order when no step lies between first and last row.
    """
    if axis not in ("auto", "steps", "order"):
        raise ValueError(f"unknown axis '{axis}'; choose from auto, steps, order")
    time = frame["time"].to_numpy(np.float64)
    if axis == "order" or (axis == "auto" and len(time) > 1 and time.min() == time.max()):
        return np.arange(len(frame), dtype=np.float64), "events in their order"
    return time, "time (steps of the program)"


def say_empty(axes: Axes, text: str) -> None:
    """Write into an axes without data why there is none, and take its meaningless scale away."""
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: '1 page', '2 pages'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
