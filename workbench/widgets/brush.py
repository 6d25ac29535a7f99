"""A figure that the reader zooms by dragging a rectangle over one of its panels."""

from collections.abc import Callable

import anywidget
import traitlets

from workbench.plots.figure import Figure
from workbench.widgets import bundle

Limits = tuple[float, float, float, float]


class Brush(anywidget.AnyWidget):
    """Show a figure; `zoom` is called with (x0, y0, x1, y1) of what was dragged over, or None.

    The four are in units of the panel's axes, None means that the reader wants the whole run.
    """

    _esm = bundle.module("brush.js")

    picture = traitlets.Unicode("").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    width = traitlets.Int(0).tag(sync=True)
    panels: traitlets.List[list[float]] = traitlets.List().tag(sync=True)
    selected: traitlets.List[float] = traitlets.List().tag(sync=True)

    def __init__(self, zoom: Callable[[Limits | None], None]) -> None:
        self._zoom = zoom
        self._limits: Limits = (0.0, 0.0, 1.0, 1.0)
        super().__init__()
        self.on_msg(lambda *_: zoom(None))

    def show(self, figure: Figure) -> None:
        """Show another figure; panels share their limits, as those of one fault view do."""
        content, _ = figure._repr_mimebundle_()  # lays the panels out, too
        axes = [a for a in figure.axes if a.get_label() != "<colorbar>"]
        boxes = [a.get_position().extents for a in axes]
        (x0, x1), (y0, y1) = axes[0].get_xlim(), axes[0].get_ylim()
        self._limits = (x0, y0, x1, y1)
        with self.hold_sync():
            self.alt = figure.workbench_alt
            self.width = round(100 * figure.get_size_inches()[0])
            self.panels = [[left, 1 - top, right, 1 - low] for left, low, right, top in boxes]
            self.selected = []
            self.picture = f"data:image/png;base64,{content['image/png']}"

    @traitlets.observe("selected")
    def _chosen(self, change: dict[str, list[float]]) -> None:
        x0, y0, x1, y1 = self._limits
        if not change["new"]:
            return
        left, low, right, top = change["new"]
        wide, high = x1 - x0, y1 - y0
        self._zoom((x0 + left * wide, y0 + low * high, x0 + right * wide, y0 + top * high))
