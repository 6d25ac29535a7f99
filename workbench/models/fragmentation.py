"""How badly memory is broken up: metrics of free extents and of memory used.

Metrics of free memory take the lengths, in pages, of the free extents: maximal runs of neighbouring
free pages, as an arena's range allocator keeps them (`arena.free_extents[:, 1]`). Where a metric
says nothing the answer is NaN, never 0, so that a plot shows a gap instead of good news.

Symbols: F free pages in all, F_i pages of extent i, B number of extents, k pages requested.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from workbench.arena.holes import extent_lengths
from workbench.arena.rules import PAGE_SIZE


def external_fragmentation(extents: ArrayLike) -> float:
    """Say which share of the free memory lies outside the largest free extent.

    Formula `1 - max(F_i) / F`. Range [0, 1): 0 is one single hole, towards 1 is dust.
    NaN when nothing is free. Source: the textbook definition.

    Misleads when the requests are small: 100 holes of 64 pages score 0.99, yet every request of
    up to 64 pages succeeds. It also falls when the *small* holes are used up, although no larger
    request has become possible. Read it together with `unusable_index`.
    """
    lengths = extent_lengths(extents)
    free = int(lengths.sum())
    return 1.0 - int(lengths.max()) / free if free else float("nan")


def unusable_index(extents: ArrayLike, k: int) -> float:
    """Say which share of the free memory is no use for a request of k neighbouring pages.

    Formula `(F - sum of the F_i with F_i >= k) / F`. Range [0, 1]: 0 all of it can serve, 1 none.
    NaN when nothing is free. Source: Gorman's index, in the form for ranges; Linux's
    `unusable_index` counts aligned power-of-two blocks instead, and so is never smaller.

    Misleads when k is not the size that is really requested (a number without its k says
    nothing), and near the end: a nearly full arena with one good hole scores 0.
    """
    _check_request(k)
    lengths = extent_lengths(extents)
    free = int(lengths.sum())
    return (free - int(lengths[lengths >= k].sum())) / free if free else float("nan")


def fragmentation_index(extents: ArrayLike, k: int) -> float:
    """Say why a request of k pages fails: towards 0 memory is short, towards 1 it is broken up.

    Formula `1 - (1 + F / k) / B`, the kernel's `extfrag_index` with extents in place of buddy
    blocks. Range (-1/B, 1 - 1/B): values just below 0 (one or two small holes) read like 0.
    NaN when the request would succeed (Linux prints -1) or nothing is free.

    Misleads when few extents are left: with B holes it cannot exceed 1 - 1/B, so 0.5 is the
    worst that two holes can show. It judges one size; another k has another answer.
    Source: `__fragmentation_index` in mm/vmstat.c.
    """
    _check_request(k)
    lengths = extent_lengths(extents)
    if not lengths.size or lengths.max() >= k:
        return float("nan")
    return 1.0 - (1.0 + int(lengths.sum()) / k) / lengths.size


class JohnstoneWilson(NamedTuple):
    """Memory used over memory requested, less 1: four ways to choose the moments (0 is best).

    average: at all moments, averaged. at_peak_live: when most was requested. at_peak_used: when
    most was used. peak_to_peak: most used over most requested, which need not be one moment.

    Each misleads alone: `average` counts the quiet hours too, `at_peak_live` tends to be low
    because full memory has few holes, `at_peak_used` is high when memory was used long before or
    after the peak, and `peak_to_peak` says nothing of the time between.
    Source: Johnstone and Wilson, "The memory fragmentation problem: solved?" (1998).
    """

    average: float
    at_peak_live: float
    at_peak_used: float
    peak_to_peak: float


def johnstone_wilson(requested: ArrayLike, used: ArrayLike) -> JohnstoneWilson:
    """Compute the four measures of two curves, moment by moment in any one unit.

    Moments at which nothing is requested have no ratio and are left out; with nothing ever
    requested, all are NaN. Raises ValueError unless both are one-dimensional and of one length.
    """
    live, held = np.asarray(requested, np.float64), np.asarray(used, np.float64)
    if live.ndim != 1 or live.shape != held.shape:
        raise ValueError(f"two curves of one length are needed, not {live.shape} and {held.shape}")
    if not live.any():
        return JohnstoneWilson(*[float("nan")] * 4)
    some = live > 0
    with np.errstate(divide="ignore"):  # everything used while nothing is requested: inf
        at_used = held[held.argmax()] / live[held.argmax()] - 1
    return JohnstoneWilson(
        float(np.mean(held[some] / live[some]) - 1),
        float(held[live.argmax()] / live.max() - 1),
        float(at_used),
        float(held.max() / live.max() - 1),
    )


def blow_up(requested: ArrayLike, used: ArrayLike) -> float:
    """Say how many times the requested memory was needed: most used over most requested.

    Range: from 1 (ideal) up; NaN when nothing was requested. Misleads in short runs, where the
    peak is all there is; and a high one may last for a moment only.
    Source: the ratio of Berger et al., "Hoard" (2000), for one thread; Robson (1974) bounds it.
    """
    return 1 + johnstone_wilson(requested, used).peak_to_peak


def internal_fragmentation(requested: float, granted: float) -> float:
    """Say which share of the memory handed out was not asked for.

    Formula `1 - requested / granted`, both in one unit. Range [0, 1): 0 no byte is wasted. NaN
    when nothing is handed out. Misleads about where the waste is: one page with a single object
    and a thousand objects rounded up by a little give the same number; see `occupancy_histogram`.
    Raises ValueError where more was requested than handed out.
    """
    if requested > granted:
        raise ValueError(f"{requested:,} was requested, more than the {granted:,} handed out")
    return 1.0 - requested / granted if granted else float("nan")


def occupancy_histogram(live_bytes: ArrayLike, page_size: int = PAGE_SIZE) -> pd.DataFrame:
    """Count pages by the share of their bytes in use: ten bins, and one each for empty and full.

    `live_bytes` is the bytes in use of each committed page. Columns `least` and `most` (shares;
    a bin holds those above `least`, up to `most`, full pages apart) and `pages`. Misleads when it
    is read as waste: half-full pages may fill again. Many nearly empty pages are what moving
    objects would save. Raises ValueError for more bytes than a page has, or fewer than none.
    """
    share = np.asarray(live_bytes, np.float64) / page_size
    if share.size and (share.min() < 0 or share.max() > 1):
        raise ValueError(f"a page holds 0 to {page_size} bytes")
    edges = np.array([0.0, 0.0, *np.arange(1, 11) / 10, 1.0])
    place = np.where(share == 1, 11, np.ceil(share * 10)).astype(int)
    pages = np.bincount(place, minlength=12)
    return pd.DataFrame({"least": edges[:-1], "most": edges[1:], "pages": pages})


def entropy(extents: ArrayLike) -> float:
    """Say over how many equal holes free memory is spread, as a power of two, in bits.

    Formula `-sum(p_i log2 p_i)` with `p_i = F_i / F`. Range [0, log2 B]: 0 one hole, and n equal
    holes give log2 n. NaN when nothing is free. Misleads about use: 64 holes of one page and 64
    holes of a thousand both give 6 bits. Source: Shannon, for "in which hole is a free page?".
    """
    lengths = extent_lengths(extents)
    if not lengths.size:
        return float("nan")
    share = lengths / lengths.sum()
    return max(0.0, float(-(share * np.log2(share)).sum()))


def aligned_unusable_index(extents: ArrayLike, k: int) -> float:
    """Say which share of the free memory is no use for an *aligned* block of k pages.

    `extents` are rows (first page, pages), `arena.free_extents`; k is a power of two. Formula
    `(F - k n) / F`, n being the blocks of k pages at multiples of k that are free. Range [0, 1]:
    0 all of it can serve. NaN when nothing is free. Source: `unusable_free_index` in mm/vmstat.c,
    where free memory is a buddy system's; never below `unusable_index`.

    Misleads for arenas: Linux's arenas need no alignment, so what this calls lost may well serve.
    Raises ValueError for other k, and extents of another shape.
    """
    _check_request(k)
    if k & (k - 1):
        raise ValueError(f"aligned blocks have 1, 2, 4, ... pages, not {k}")
    rows = np.asarray(extents, np.int64)
    if rows.ndim != 2 or rows.shape[1:] != (2,):
        raise ValueError(f"expected rows of (first page, pages), not shape {rows.shape}")
    first, pages = rows.T
    blocks = np.maximum((first + pages) // k - -(-first // k), 0).sum()
    free = int(pages.sum())
    return (free - k * int(blocks)) / free if free else float("nan")


def unusable_curve(extents: ArrayLike, ks: ArrayLike) -> NDArray[np.float64]:
    """Return `unusable_index` for each k in `ks`, float64 of its shape: a curve that only rises.

    Raises ValueError for a k below 1.
    """
    lengths = np.sort(extent_lengths(extents))
    wanted = np.asarray(ks, np.int64)
    if wanted.size:
        _check_request(int(wanted.min()))
    if not lengths.size:
        return np.full(wanted.shape, np.nan)
    below = np.concatenate([[0], np.cumsum(lengths)])[np.searchsorted(lengths, wanted)]
    return np.asarray(below / lengths.sum(), np.float64)


def _check_request(k: int) -> None:
    if not k >= 1 or k != int(k):
        raise ValueError(f"a request is for at least 1 page, and whole ones, not {k}")
