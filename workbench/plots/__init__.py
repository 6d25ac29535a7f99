"""Figures of a run: each view takes a DataFrame or an array and returns a matplotlib figure.

A figure shows itself in a notebook, carries its description in words (`workbench_alt`), and is
saved in the workbench's style, or a venue's (`style`). Nothing here touches pyplot or its state.
"""

from workbench.plots.figure import Figure
from workbench.plots.venues import VENUES, style

__all__ = ["VENUES", "Figure", "style"]
