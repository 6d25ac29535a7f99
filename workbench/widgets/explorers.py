"""Explorers: controls above linked figures, a table behind each, and its file to take away.

`FaultExplorer` zooms every view of page faults to one stretch of time and of pages.
`FragmentationExplorer` replays a workload under a policy as soon as a control changes.
"""

import math
from base64 import b64encode
from html import escape
from pathlib import Path

import ipywidgets
import pandas as pd

from workbench.errors import WorkbenchError
from workbench.evidence import provenance
from workbench.models import allocators, requests, workloads
from workbench.models.faults import tables
from workbench.plots import fault_views, policies
from workbench.plots.figure import Figure
from workbench.widgets.brush import Brush, Limits

TABLE_ROWS = 200  # more than anybody reads; the link has the rest
LINK_ROWS = 20_000  # what a page can hold as a link
WIDE = ipywidgets.Layout(width="680px")


def _picture(figure: Figure) -> str:
    """A figure as an HTML image with its description."""
    bundle, _ = figure._repr_mimebundle_()
    return bundle["text/html"]


def _link(table: pd.DataFrame, name: str) -> str:
    """A table as HTML, its first rows, with a link that saves LINK_ROWS of it as CSV."""
    csv = b64encode(table.head(LINK_ROWS).to_csv(index=False).encode()).decode()
    more = f"<p>{len(table):,} rows, the first {min(len(table), TABLE_ROWS)} shown</p>"
    rows = "" if len(table) <= LINK_ROWS else f" (the first {LINK_ROWS:,} rows)"
    href = f"data:text/csv;base64,{csv}"
    link = f'<a download="{escape(name)}.csv" href="{href}">save as CSV{rows}</a>'
    return f"{link}{more}{table.head(TABLE_ROWS).to_html(index=False)}"


class FaultExplorer(ipywidgets.VBox):
    """Views of a fault frame, all of the same faults: those of a stretch of time and of pages.

    A rectangle dragged over the map (`brush`) chooses both, and so do the sliders `window` and
    `pages`; `clock` is the time axis, `view` the view below, `shown` the faults in view. `save`
    writes every view of them, and the table behind it.
    """

    def __init__(self, faults: pd.DataFrame, clock: str = "order") -> None:
        self.faults = faults
        clocks = [(said, name) for name, said in tables.CLOCKS.items() if _has_clock(faults, name)]
        self.clock = ipywidgets.Dropdown(options=clocks, value=clock, description="clock")
        self.window = ipywidgets.FloatRangeSlider(
            description="zoom to", continuous_update=False, readout_format=".0f", layout=WIDE
        )
        page = faults["page"].to_numpy()
        self._pages = (int(page.min()), int(page.max())) if len(page) else (0, 1)
        self.pages = ipywidgets.IntRangeSlider(
            value=self._pages, min=self._pages[0], max=max(self._pages[1], self._pages[0] + 1),
            description="pages", continuous_update=False, layout=WIDE,
        )  # fmt: skip
        self.brush, self.below = Brush(self._zoom), ipywidgets.HTML()
        self.view = ipywidgets.Dropdown(
            options=list(fault_views.VIEWS), value="cumulative", description="below"
        )
        self.as_table = ipywidgets.ToggleButton(description="table", tooltip="The table behind it")
        self.whole = ipywidgets.Button(description="whole run")
        self.keep = ipywidgets.Button(description="save all", tooltip="Figures and tables as files")
        self.said = ipywidgets.HTML()
        first = ipywidgets.HBox([self.clock, self.whole, self.keep, self.said])
        below = ipywidgets.HBox([self.view, self.as_table])
        super().__init__([first, self.window, self.pages, self.brush, below, self.below])
        self._quiet = False
        self._span()
        self.whole.on_click(lambda _: self._zoom(None))
        self.keep.on_click(lambda _: self._saved())
        self.clock.observe(self._new_clock, "value")
        for control in (self.window, self.pages, self.view, self.as_table):
            control.observe(self._draw, "value")
        self._draw()

    @property
    def shown(self) -> pd.DataFrame:
        """The faults in the window, on the pages chosen."""
        found = tables.window(self.faults, self.clock.value, *self.window.value)
        first, last = self.pages.value
        if (first, last) == self._pages:
            return found
        return found[found["page"].between(first, last)]

    def save(self, directory: str | Path) -> list[Path]:
        """Write each view of what is shown as NAME.pdf and its table as NAME.parquet."""
        place, shown = Path(directory), self.shown
        written = []
        for name, (draw, table) in fault_views.VIEWS.items():
            draw(shown, self.clock.value).savefig(place / f"{name}.pdf")
            kept = provenance.save(table(shown, self.clock.value), place / f"{name}.parquet")
            written += [place / f"{name}.pdf", kept]
        return written

    def _saved(self) -> None:
        self.said.value = f"{len(self.save('faults'))} files in faults/"

    def _span(self) -> None:
        """Let the window be the whole run, on the clock chosen."""
        moment = tables.moments(self.faults, self.clock.value)
        low, high = (moment.min(), moment.max()) if len(moment) else (0.0, 1.0)
        with self.hold_trait_notifications():
            self.window.max = max(float(high), float(low) + 1, self.window.min)
            self.window.min = float(low)
            self.window.max = max(float(high), float(low) + 1)
            self.window.step = (self.window.max - self.window.min) / 1000
        self._time = (float(low), float(high))
        self._move(self._time, self._pages)

    def _new_clock(self, change: object = None) -> None:
        self._span()
        self._draw()

    def _zoom(self, limits: Limits | None) -> None:
        """Show what was dragged over; all of it for None."""
        if limits is None:
            self._move(self._time, self._pages)
        else:
            left, low, right, high = limits
            self._move((left, right), (math.floor(low), math.ceil(high)))
        self._draw()

    def _move(self, time: tuple[float, float], pages: tuple[int, int]) -> None:
        """Set both sliders, as far as they go, and draw nothing."""
        self._quiet = True
        for slider, (low, high) in ((self.window, time), (self.pages, pages)):
            slider.value = (max(low, slider.min), min(high, slider.max))
        self._quiet = False

    def _draw(self, change: object = None) -> None:
        if self._quiet:
            return
        shown, clock = self.shown, self.clock.value
        self.brush.show(fault_views.address_time(shown, clock))
        draw, table = fault_views.VIEWS[self.view.value]
        if self.as_table.value:
            self.below.value = _link(table(shown, clock), self.view.value)
        else:
            self.below.value = _picture(draw(shown, clock))


def _has_clock(faults: pd.DataFrame, clock: str) -> bool:
    try:
        tables.moments(faults, clock)
    except WorkbenchError:
        return False
    return True


class FragmentationExplorer(ipywidgets.VBox):
    """A workload under a policy: memory, unusable share, free extents; controls replay it at once.

    `replay` is the newest allocators.Replay. A change takes under half a second for 100,000 rows.
    """

    def __init__(self, rows: int = 100_000, pages: int = 4096, k: int = 8, seed: int = 1) -> None:
        self.rows, self.pages = rows, pages
        self.workload = ipywidgets.Dropdown(
            options=list(workloads.WORKLOADS), value="exponential", description="workload"
        )
        self.policy = ipywidgets.Dropdown(
            options=list(allocators.POLICIES), value="range_tree", description="policy"
        )
        self.k = ipywidgets.SelectionSlider(
            options=[1 << order for order in range(10)], value=k, description="k (pages)"
        )
        self.seed = ipywidgets.BoundedIntText(value=seed, min=0, max=10**6, description="seed")
        self.sentence, self.picture = ipywidgets.HTML(), ipywidgets.HTML()
        self.as_table = ipywidgets.ToggleButton(description="table", tooltip="The samples")
        first = ipywidgets.HBox([self.workload, self.policy])
        second = ipywidgets.HBox([self.k, self.seed, self.as_table])
        super().__init__([first, second, self.sentence, self.picture])
        for control in (self.workload, self.policy, self.k, self.seed, self.as_table):
            control.observe(self._draw, "value")
        self._draw()

    def save(self, directory: str | Path) -> list[Path]:
        """Write the figure, its samples, and the log of requests behind both."""
        place = Path(directory)
        policies.overview(self.replay.samples).savefig(place / "fragmentation.pdf")
        return [
            place / "fragmentation.pdf",
            provenance.save(self.replay.samples, place / "fragmentation.parquet"),
            requests.save(self.replay.log, place / "log.parquet"),
        ]

    def _draw(self, change: object = None) -> None:
        log = workloads.make(self.workload.value, self.rows, self.pages, self.seed.value)
        self.replay = allocators.replay(log, self.policy.value, self.pages, self.k.value)
        self.sentence.value = _words(self.replay, self.workload.value)
        if self.as_table.value:
            self.picture.value = _link(self.replay.samples, "fragmentation")
        else:
            self.picture.value = _picture(policies.overview(self.replay.samples))


def _words(found: allocators.Replay, workload: str) -> str:
    """What the replay came to, in a few sentences."""
    last = found.samples.iloc[-1]
    four = ", ".join(f"{value:.2f}" for value in found.johnstone_wilson)
    return (
        f"<p>{escape(workloads.summary(workload))} Policy: {escape(found.policy.rule)}.<br>"
        f"{found.refused:,} requests refused; at the end {int(last['free_pages']):,} pages free in "
        f"{int(last['extents']):,} extents; unusable for {found.k} pages "
        f"{last['unusable']:.0%}; Johnstone and Wilson {four}; blow-up {found.blow_up:.2f}.</p>"
    )
