"""A figure of the gallery as the module that measures it declares it, and what it claims."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.experiments.repetition import Effort

if TYPE_CHECKING:
    import pandas as pd

    from workbench.plots.figure import Figure


class Claim(NamedTuple):
    """Something that a figure is to prove, the number behind it, and whether it holds."""

    figure: str
    text: str
    number: str
    holds: bool
    kind: str


class Exhibit(NamedTuple):
    """A figure of the gallery.

    `run(effort, directory, earlier)` gives the frame, `plot(frame, earlier)` the figure, `claims`
    rows of (text, number, holds), `tables` frames and texts to go with it, by name; `earlier` holds
    the frames of exhibits before it, by name. `cells` are the columns that tell one measurement
    from another (none: no repeated times), `judged` the engine that claims are about ("": all),
    `record` gives the frame that is kept in data/results for those whose kernel lets nobody in
    (None: nothing is, or under another name).
    """

    name: str
    title: str
    run: "Callable[[Effort, Path, dict[str, pd.DataFrame]], pd.DataFrame]"
    plot: "Callable[[pd.DataFrame, dict[str, pd.DataFrame]], Figure]"
    claims: "Callable[[pd.DataFrame, dict[str, pd.DataFrame]], list[tuple[str, str, bool]]]"
    cells: tuple[str, ...] = ()
    judged: str = ""
    tables: "Callable[[pd.DataFrame, dict[str, pd.DataFrame]], dict[str, Any]]" = (
        lambda frame, earlier: {}
    )
    record: "Callable[[], pd.DataFrame] | None" = None
