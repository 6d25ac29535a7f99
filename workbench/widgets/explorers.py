"""Explorers: controls above linked figures, a table behind each, and its file to take away.

`FaultExplorer` zooms every view of page faults to one stretch of time. `FragmentationExplorer`
replays a workload under a policy as soon as a control changes.
"""

from base64 import b64encode
from html import escape

import ipywidgets
import pandas as pd

from workbench import allocators, workloads
from workbench.faults import tables
from workbench.plots import fault_views, policies
from workbench.plots.figure import Figure

TABLE_ROWS = 200


def _picture(figure: Figure) -> str:
    """A figure as an HTML image with its description."""
    bundle, _ = figure._repr_mimebundle_()
    return bundle["text/html"]


def _link(table: pd.DataFrame, name: str) -> str:
    """A table as HTML, its first rows, with a link that saves all of it as CSV."""
    csv = b64encode(table.to_csv(index=False).encode()).decode()
    more = f"<p>{len(table):,} rows, the first {min(len(table), TABLE_ROWS)} shown</p>"
    link = f'<a download="{escape(name)}.csv" href="data:text/csv;base64,{csv}">save as CSV</a>'
    return f"{link}{more}{table.head(TABLE_ROWS).to_html(index=False)}"


class FaultExplorer(ipywidgets.VBox):
    """Views of a fault frame, all of the same stretch of time.

    `window` is the slider that chooses it, `view` the list of views, `shown` the faults in view.
    Up to 5,000 rows of the table can be saved from the page; `shown` is a DataFrame with all.
    """

    def __init__(self, faults: pd.DataFrame, clock: str = "order") -> None:
        self.faults, self.clock = faults, clock
        moment = tables.moments(faults, clock)
        low, high = (moment.min(), moment.max()) if len(moment) else (0.0, 1.0)
        self.window = ipywidgets.FloatRangeSlider(
            value=(low, high), min=low, max=max(high, low + 1), step=max(high - low, 1) / 1000,
            description="zoom to", continuous_update=False, readout_format=".0f",
            layout=ipywidgets.Layout(width="680px"),
        )  # fmt: skip
        names = [name for name in fault_views.VIEWS if name != "address_time"]
        self.view = ipywidgets.Dropdown(options=names, value="cumulative", description="below")
        self.as_table = ipywidgets.ToggleButton(description="table", tooltip="The table behind it")
        self.whole = ipywidgets.Button(description="whole run")
        self.top, self.below = ipywidgets.HTML(), ipywidgets.HTML()
        controls = ipywidgets.HBox([self.view, self.as_table, self.whole])
        super().__init__([self.window, self.top, controls, self.below])
        self.whole.on_click(lambda _: setattr(self.window, "value", (low, high)))
        for control in (self.window, self.view, self.as_table):
            control.observe(self._draw, "value")
        self._draw()

    @property
    def shown(self) -> pd.DataFrame:
        """The faults in the window."""
        return tables.window(self.faults, self.clock, *self.window.value)

    def _draw(self, change: object = None) -> None:
        shown = self.shown
        self.top.value = _picture(fault_views.address_time(shown, self.clock))
        draw, table = fault_views.VIEWS[self.view.value]
        if self.as_table.value:
            self.below.value = _link(table(shown, self.clock).head(5000), self.view.value)
        else:
            self.below.value = _picture(draw(shown, self.clock))


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
