"""Where a figure will stand: widths and fonts of venues, chosen for the length of a `with` block.

    with workbench.plots.style("usenix", span=2):
        conversion.comparison(frame).savefig("comparison.pdf")

A figure made in the block keeps its venue: shown or saved later, it looks the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from workbench.errors import WorkbenchError


class Venue(NamedTuple):
    """A style file, and figure widths in inches for one column and for two."""

    name: str
    widths: tuple[float, float]


VENUES = {
    venue.name: venue
    for venue in (
        Venue("usenix", (3.33, 7.0)),
        Venue("acm", (3.33, 7.0)),
        Venue("ieee", (3.5, 7.16)),
        Venue("slides", (6.2, 12.6)),
        Venue("dark", (7.0, 12.0)),
    )
}
NOTEBOOK = 7.0  # inches, where no venue is chosen


class Place(NamedTuple):
    """A venue and how many of its columns; no venue is the notebook."""

    venue: Venue | None = None
    span: int = 1

    @property
    def width(self) -> float:
        """Width of a figure, in inches."""
        return NOTEBOOK if self.venue is None else self.venue.widths[self.span - 1]


_IN_NOTEBOOK = Place()
_place: ContextVar[Place] = ContextVar("place", default=_IN_NOTEBOOK)


def place() -> Place:
    """Where figures made now will stand."""
    return _place.get()


@contextmanager
def style(venue: str, span: int = 1) -> Iterator[None]:
    """Make figures for "usenix", "acm", "ieee", "slides" or "dark", `span` columns wide (1 or 2).

    Raises WorkbenchError for another venue or span.
    """
    if venue not in VENUES:
        raise WorkbenchError(f"no venue '{venue}'; choose from {', '.join(VENUES)}")
    if span not in (1, 2):
        raise WorkbenchError(f"a figure spans 1 or 2 columns, not {span!r}")
    before = _place.set(Place(VENUES[venue], span))
    try:
        yield
    finally:
        _place.reset(before)
