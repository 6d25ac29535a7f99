"""The holes of an arena: its free extents counted by size, as a table and as text."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pandas as pd


def extent_lengths(extents: ArrayLike) -> NDArray[np.int64]:
    """Return the lengths of free extents, in pages, as int64[n].

    Raises ValueError unless they are one row of whole and positive numbers.
    """
    lengths = np.asarray(extents)
    if lengths.ndim != 1:
        raise ValueError(f"extent lengths form one row, not shape {lengths.shape}; pass [:, 1]?")
    if lengths.size and lengths.dtype.kind not in "iuf":
        raise ValueError(f"extent lengths are numbers of pages, not {lengths[0]!r}")
    odd = ~(lengths == np.floor(lengths)) | (lengths < 1)
    if odd.any():
        raise ValueError(f"extents have at least 1 page, and whole ones, not {lengths[odd][0]}")
    return lengths.astype(np.int64)


def extent_histogram(extents: ArrayLike) -> "pd.DataFrame":
    """Count the free extents by size, in bins of powers of two, as e2freefrag does for disks.

    `extents` are their lengths in pages. One row per bin from 1 page up to the largest extent:
    `smallest`, `largest` (pages, both included), `extents`, `pages`, and `share` of all free
    pages. No extents, no rows. Raises ValueError for what are no lengths.
    """
    import pandas as pd

    return pd.DataFrame(_histogram(extents))


def text_histogram(extents: ArrayLike, width: int = 24) -> str:
    """Draw free extents, given by their lengths in pages, with characters.

    A line for each size of hole, in powers of two; bars of up to `width` characters, by pages.
    Raises ValueError for what are no lengths.
    """
    table = _histogram(extents)
    most = int(table["pages"].max(initial=1))
    lines = []
    for smallest, largest, number, pages, share in zip(*table.values(), strict=True):
        size = f"{smallest:,}" if smallest == largest else f"{smallest:,}-{largest:,}"
        bar = "█" * round(width * pages / most) or ("▏" if pages else "")
        lines.append(f"{size:>17} {bar:<{width}} {pages:>9,} pages {share:>4.0%} in {number:,}")
    return "\n".join(lines) or "no page is free"


def _histogram(extents: ArrayLike) -> dict[str, np.ndarray]:
    """The columns of `extent_histogram`."""
    lengths = extent_lengths(extents)
    order = np.frexp(lengths.astype(np.float64))[1] - 1  # exact floor(log2) below 2^53
    bins = int(order.max()) + 1 if lengths.size else 0
    pages = np.bincount(order, weights=lengths, minlength=bins).astype(np.int64)
    smallest = np.int64(1) << np.arange(bins, dtype=np.int64)
    return {
        "smallest": smallest,
        "largest": 2 * smallest - 1,
        "extents": np.bincount(order, minlength=bins),
        "pages": pages,
        "share": pages / max(int(lengths.sum()), 1),
    }
