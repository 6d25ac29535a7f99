"""The figure that all views return: in one style, with a description in words."""

import hashlib
import os
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
from matplotlib.axis import Axis
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray
from PIL import Image

from workbench.errors import WorkbenchError
from workbench.evidence.provenance import KEY, content_hash, note, provenance
from workbench.files import write_whole
from workbench.plots.pgf import write_pgf
from workbench.plots.venues import Place, place

STYLES = Path(__file__).parent / "styles"
TALLEST = 6.9  # inches: a slide's height, and less than a column's
SCREEN_DPI = 144  # PNG for the notebook: sharp on dense displays, shown at 100 dpi

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#7F7F7F",
)  # fmt: skip

P = ParamSpec("P")


class Figure(MatplotlibFigure):
    """A matplotlib figure that knows how to say what it shows.

    `workbench_alt` is the text alternative: what a reader who cannot see the figure should know.
    `workbench_caption` states the finding, for the text below the figure.
    """

    workbench_alt: str = ""
    workbench_caption: str = ""
    _place: Place = Place()
    _frames: tuple[pd.DataFrame, ...] = ()

    def savefig(self, fname: Any, *, transparent: bool | None = None, **kwargs: Any) -> None:
        """Save as PDF, SVG, PNG or PGF, in the style that the figure was made in.

        The same data give the same bytes. A file is written whole or not at all; in it stand
        title, description, the commit that made the data and the data's hash. PGF needs no LaTeX.
        """
        form = _format(fname, kwargs)
        self._forget_layout()
        with base_style(self._place):
            if form == "pgf" and isinstance(fname, str | os.PathLike):
                write_pgf(self, Path(fname), self.workbench_alt, self._keywords())
                return
            stream = BytesIO()
            kwargs.update(format=form, metadata=self._metadata(form) | kwargs.get("metadata", {}))
            super().savefig(stream, transparent=transparent, **kwargs)
        if isinstance(fname, str | os.PathLike):
            write_whole(Path(fname), stream.getvalue())
        else:
            fname.write(stream.getvalue())

    def _forget_layout(self) -> None:
        """Put all panels back where they were made: a layout depends on the one before it."""
        for axes in self.axes:
            if (cell := axes.get_subplotspec()) is not None:
                axes.set_subplotspec(cell)

    def _metadata(self, form: str) -> dict[str, Any]:
        """What a file of this format says about itself; no time of day."""
        title = self.workbench_caption or self.workbench_alt
        title = title.partition(". ")[0].strip().rstrip(".")
        if form == "pdf":
            words = {"Title": title, "Subject": self.workbench_alt, "Keywords": self._keywords()}
            return {**words, "CreationDate": None}
        if form == "svg":
            words = {"Title": title, "Description": self.workbench_alt}
            return {**words, "Keywords": [self._keywords()], "Date": None}
        if form == "png":
            about = self._keywords()
            return {"Title": title, "Description": self.workbench_alt, "Comment": about}
        return {}

    def _keywords(self) -> str:
        """Commit and content of the data."""
        if not self._frames:
            return "workbench"
        about = next((f.attrs[KEY] for f in self._frames if KEY in f.attrs), None) or provenance()
        dirty = ", changed" if about.get("dirty") else ""
        digest = hashlib.sha256("".join(map(content_hash, self._frames)).encode()).hexdigest()
        return f"workbench, commit {about.get('commit')}{dirty}, data sha256 {digest}"

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, dict[str, object]]]:
        """Return a PNG, and an HTML image of it because JupyterLab gives only that one its text."""
        png = BytesIO()
        with base_style(self._place):
            super().savefig(png, format="png", dpi=SCREEN_DPI)
        image, alt = b64encode(_smaller(png)).decode(), self.workbench_alt
        width, height = (round(100 * inches) for inches in self.get_size_inches())
        tag = (
            f'<img alt="{escape(alt)}" width="{width}" height="{height}" '
            f'src="data:image/png;base64,{image}">'
        )
        if self._frames and (said := note(self._frames[0])):
            tag += f"<details><summary>Where from</summary>{escape(said)}</details>"
        bundle = {"text/html": tag, "image/png": image, "text/plain": alt}
        return bundle, {"image/png": {"alt": alt, "width": width, "height": height}}


def _smaller(png: BytesIO) -> bytes:
    """The picture in 256 colours, enough for figures: two fifths of the bytes in a notebook."""
    small = BytesIO()
    Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "png")
    return small.getvalue()


def base_style(where: Place | None = None) -> AbstractContextManager[None]:
    """Apply the workbench's style, and a venue's, for the length of a `with` block."""
    venue = (place() if where is None else where).venue
    names = ["base"] if venue is None else ["base", venue.name]
    return matplotlib.style.context([STYLES / f"{name}.mplstyle" for name in names])


def page_width() -> float:
    """Width of a figure made now, in inches: the venue's columns, or the notebook's 7."""
    return place().width


def page(height: float) -> tuple[float, float]:
    """Size of a figure made now; `height` in inches is meant for type of 9 points."""
    taller = height * max(1.0, matplotlib.rcParams["font.size"] / 9)
    return page_width(), min(taller, TALLEST)


def narrow() -> bool:
    """Whether the page is too narrow for panels side by side: in ems, as type is what must fit."""
    return page_width() * 72 / matplotlib.rcParams["font.size"] < 45


def legend_below(figure: "Figure", axes: Axes) -> None:
    """Put the legend of `axes` below all panels, in as many columns as the page has room for."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    size = FontProperties(size=matplotlib.rcParams["legend.fontsize"]).get_size_in_points()
    room = 72 * page_width() / (size * (0.5 * max(map(len, labels)) + 5))
    columns = max(1, min(len(labels), int(room)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def legend_beside(figure: "Figure", axes: Axes) -> None:
    """Put the legend of `axes` to its right, or below all panels where the page is narrow."""
    if narrow():
        legend_below(figure, axes)
    elif axes.get_legend_handles_labels()[1]:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _format(target: Any, arguments: dict[str, Any]) -> str:
    """The file format asked for, by name or by suffix; PNG without either."""
    suffix = Path(target).suffix[1:] if isinstance(target, str | os.PathLike) else ""
    return str(arguments.get("format") or suffix or "png").lower()


def _fit(figure: "Figure") -> None:
    """Give a figure its venue's width; one that is made narrower loses less height than width."""
    width, height = figure.get_size_inches()
    if abs(width - page_width()) > 0.01:
        figure.set_size_inches(page_width(), height * (page_width() / width) ** 0.5)


def styled(view: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a view in the workbench's style, whatever the session's own settings are.

    The view then raises WorkbenchError, with its name, for a frame that lacks a column.
    """

    @wraps(view)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
        given = (part for part in (*args, *kwargs.values()) if isinstance(part, pd.DataFrame))
        frames = tuple(given)
        try:
            with base_style():
                figure = view(*args, **kwargs)
        except KeyError as error:
            raise _malformed(view, frames, error) from error
        figure._place, figure._frames = place(), frames
        if place().venue is not None:
            _fit(figure)
        return figure

    return draw


def _malformed(
    view: Callable[..., Any], frames: tuple[pd.DataFrame, ...], error: KeyError
) -> WorkbenchError:
    """What is wrong with a frame that lacks what a view looks for."""
    there = ", ".join(map(str, frames[0].columns)) if frames else "no frame"
    lacking = error.args[0] if error.args else "something"
    name = f"{view.__module__.rpartition('.')[2]}.{view.__name__}"
    return WorkbenchError(f"{name} finds no {lacking!r} in this frame; its columns: {there}")


def time_axis(frame: pd.DataFrame, axis: str) -> tuple[NDArray[np.float64], str]:
    """Place the rows of a frame on a horizontal axis; return the places and the axis's label.

    "steps" is the program's clock (column `time`), "order" the number of the row. User touches do
    not advance the clock, so "auto" takes the order when most rows share their step with others.
    Raises ValueError for another `axis`.
    """
    if axis not in ("auto", "steps", "order"):
        raise ValueError(f"unknown axis '{axis}'; choose from auto, steps, order")
    time = frame["time"].to_numpy(np.float64)
    if axis == "order" or (axis == "auto" and 2 * len(np.unique(time)) < len(time)):
        return np.arange(len(frame), dtype=np.float64), "events in their order"
    return time, "time (steps of the program)"


def plain_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2, 5, 10, written as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def say_empty(axes: Axes, text: str) -> None:
    """Write into an axes without data why there is none, and take its meaningless scale away."""
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: '1 page', '2 pages'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
