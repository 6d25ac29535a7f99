"""Plots: on synthetic frames, empty ones too; fonts, alternative text, no global state."""

import sys
from io import BytesIO

import matplotlib
import numpy as np
import pandas as pd
import pytest

from workbench.models import allocators
from workbench.plots import Figure, conversion, faults
from workbench.plots import fragmentation as holes_plots

KINDS = [mark.kind for mark in faults.MARKS]


def event_log(n: int = 40, outside: bool = False) -> pd.DataFrame:
    """Make a frame of page events of every kind, reproducibly."""
    draw = np.random.default_rng(1)
    kinds = np.array(KINDS)[np.arange(n) % len(KINDS)]
    pages = draw.integers(-1 if outside else 0, 16, n)
    spans = np.isin(kinds, faults.SPANS)
    return pd.DataFrame(
        {
            "time": np.sort(draw.integers(0, 1000, n)).astype(np.uint64),
            "kind": pd.Categorical(kinds, KINDS),
            "page": pages.astype(np.int32),
            "count": np.where(spans, draw.integers(1, 4, n), 8).astype(np.uint32),
        }
    )


def churn() -> pd.DataFrame:
    """Make the history of an arena filled, punched with holes, and refused."""
    kinds = ["alloc", *["free"] * 8, "alloc_failed"]
    pages = [0, *range(0, 16, 2), -1]
    counts = [16, *[1] * 8, 2]
    log = pd.DataFrame({"time": range(10), "kind": kinds, "page": pages, "count": counts})
    return allocators.history(log, 16, k=2)


def both_ways() -> pd.DataFrame:
    """Make a comparison of two programs."""
    rows = [
        (program, flag, metric, value, "", "model")
        for program in ("list", "hash")
        for flag in ("conversion", "no_user_conv")
        for metric, value in (("instructions_executed", 900), ("conversions_executed", 12),
                              ("native", 84))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["program", "flag", "metric", "value", "unit", "kind"])


FULL = {
    "faults.timeline": lambda: faults.timeline(event_log()),
    "faults.timeline outside": lambda: faults.timeline(event_log(outside=True)),
    "fragmentation.timeline": lambda: holes_plots.timeline(churn()),
    "fragmentation.holes": lambda: holes_plots.holes([1, 1, 2, 9]),
    "fragmentation.holes placed": lambda: holes_plots.holes(np.array([[0, 4], [8, 2]]), 16),
    "conversion.comparison": lambda: conversion.comparison(both_ways()),
}
EMPTY = {
    "faults.timeline": lambda: faults.timeline(event_log(0)),
    "fragmentation.timeline": lambda: holes_plots.timeline(churn()[:0]),
    "fragmentation.holes": lambda: holes_plots.holes([]),
    "fragmentation.holes placed": lambda: holes_plots.holes(np.zeros((0, 2), np.int64), 16),
    "conversion.comparison": lambda: conversion.comparison(both_ways()[:0]),
}


@pytest.mark.parametrize("view", [*FULL.values(), *EMPTY.values()], ids=[*FULL, *EMPTY])
def test_every_view_is_labelled_and_described(view):
    figure = view()
    assert isinstance(figure, Figure)
    assert figure.workbench_alt.endswith(".")
    assert any(axes.get_title(loc="left") or axes.get_title() for axes in figure.axes)
    assert any(axes.get_xlabel() for axes in figure.axes)


@pytest.mark.parametrize("view", EMPTY.values(), ids=EMPTY)
def test_empty_input_says_so(view):
    figure = view()
    assert "empty" in figure.workbench_alt
    assert any(axes.texts for axes in figure.axes)


@pytest.mark.parametrize("view", FULL.values(), ids=FULL)
def test_fonts_in_pdf_are_not_type_3(view, tmp_path):
    view().savefig(tmp_path / "figure.pdf")
    content = (tmp_path / "figure.pdf").read_bytes()
    assert b"/Type3" not in content
    assert b"/FontFile2" in content or b"/CIDFontType2" in content


def test_a_notebook_gets_png_with_alternative_text():
    bundle, metadata = faults.timeline(event_log())._repr_mimebundle_()
    assert bundle["image/png"].startswith("iVBOR")
    assert bundle["text/plain"] == metadata["image/png"]["alt"]
    assert "40 page events" in bundle["text/plain"]
    assert bundle["text/html"].startswith('<img alt="Timeline of 40 page events')


def test_no_view_touches_pyplot_or_settings(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    names = [
        name for name in matplotlib.rcParams if name != "backend"
    ]  # reading that imports pyplot
    before = [matplotlib.rcParams[name] for name in names]
    for view in FULL.values():
        view().savefig(BytesIO())
    assert [matplotlib.rcParams[name] for name in names] == before
    assert "matplotlib.pyplot" not in sys.modules


def test_touches_outside_the_arena_get_their_own_strip():
    assert len(faults.timeline(event_log()).axes) == 1
    strip = faults.timeline(event_log(outside=True)).axes[1]
    assert [label.get_text() for label in strip.get_yticklabels()] == ["outside"]


def test_marks_differ_in_shape_or_fill_not_only_in_colour():
    assert len({(mark.marker, mark.filled) for mark in faults.MARKS}) == len(faults.MARKS)


def test_refused_allocation_is_told():
    figure = holes_plots.timeline(churn())
    assert "1 refused allocation." in figure.workbench_alt
    assert "external fragmentation 0.88" in figure.workbench_alt  # 8 holes of 1 page: 1 - 1/8


def test_the_axis_is_the_clock_or_the_order():
    log = event_log()
    still = log.assign(time=np.uint64(7))
    labels = {
        "auto": faults.timeline(log), "order": faults.timeline(log, axis="order"),
        "still": faults.timeline(still), "steps": faults.timeline(still, axis="steps"),
    }  # fmt: skip
    steps, order = "time (steps of the program)", "events in their order"
    found = {name: figure.axes[0].get_xlabel() for name, figure in labels.items()}
    assert found == {"auto": steps, "order": order, "still": order, "steps": steps}
    with pytest.raises(ValueError, match="unknown axis 'time'"):
        faults.timeline(log, axis="time")
