"""The compiled replay: requests in, placements and samples of the free pages out."""

from typing import NamedTuple

import numpy as np

from workbench.arena.events import Kind
from workbench.arena.ranges import (
    CAPACITY,
    FREE_PAGES,
    LENGTH,
    POPULATION,
    RANGE_COUNT,
    ROW,
    SIZES,
    STARTS,
    extents,
    is_free,
    last_set,
    next_set,
)
from workbench.compiled.njit import njit
from workbench.models.allocators.book import BUDDY, Book, granted, occupy, place, release

FREE, LIVE, RESERVED, PADDING = range(4)  # what a page is
RAISED = -(1 << 63)  # what a function that chooses gives when it raised an error
DONE, REFUSED, NOTHING = range(3)  # what became of a request; NOTHING: it changed no page

AFTER, LIVE_PAGES, RESERVED_PAGES, FREE_NOW, LARGEST, EXTENTS, SPAN, REFUSALS = range(8)
PEAK_LIVE, SPAN_AT_PEAK_LIVE, PEAK_SPAN, LIVE_AT_PEAK_SPAN, RATIO_SUM, RATIO_COUNT = range(6)
ALLOC, USER_FAULT = int(Kind.ALLOC), int(Kind.USER_FAULT)
RESERVE, RELEASE = int(Kind.RESERVE), int(Kind.FREE)


class Requests(NamedTuple):
    """A log of requests as columns of one length; see workbench.models.requests."""

    kind: np.ndarray
    page: np.ndarray
    count: np.ndarray  # type: ignore[assignment]
    block: np.ndarray
    offset: np.ndarray


class Pages(NamedTuple):
    """What became of pages and blocks.

    state: FREE .. PADDING, uint8[pages]. start: first page of each block, int32, -1 while it has
    none. totals: live pages, reserved pages, refusals.
    """

    state: np.ndarray
    start: np.ndarray
    totals: np.ndarray


class Samples(NamedTuple):
    """What is measured: counts (AFTER .. REFUSALS), entropy, and usable pages for each k."""

    counts: np.ndarray
    entropy: np.ndarray
    usable: np.ndarray
    ks: np.ndarray
    peaks: np.ndarray


@njit(inline=True)
def _mark(pages, first, count, state):
    """Set the state of pages; returns how many were not free."""
    changed = np.int64(0)
    for page in range(first, first + count):
        before = pages.state[page]
        changed += before != FREE
        pages.totals[0] += (state == LIVE) - np.int64(before == LIVE)
        pages.totals[1] += (state == RESERVED) - np.int64(before == RESERVED)
        pages.state[page] = state
    return changed


@njit(inline=True)
def _hold(book, pages, block, first, count, state):
    """Give free pages to a block, with what the policy adds to them."""
    whole = count
    if state == LIVE:
        whole = granted(book, count)
    occupy(book, first, whole)
    _mark(pages, first, count, state)
    for page in range(first + count, first + whole):
        pages.state[page] = PADDING
    if block >= 0:
        pages.start[block] = first


@njit
def _free(book, pages, first, count):
    """Free pages, with the padding behind them; NOTHING if all were free already."""
    last = min(first + count, book.pages[0])
    if first < 0 or first >= last:
        return NOTHING
    while last < book.pages[0] and pages.state[last] == PADDING:
        last += 1
    if book.policy[0] != BUDDY:
        if _mark(pages, first, last - first, FREE) == 0:
            return NOTHING
        release(book, first, last - first)
        return DONE
    changed = np.int64(0)
    for page in range(first, last):
        if _mark(pages, page, 1, FREE):
            release(book, page, 1)
            changed += 1
    return DONE if changed else NOTHING


@njit(inline=True)
def _fits(book, page, count):
    return 0 <= page <= book.pages[0] - count and is_free(book.ranges, page, count)


@njit
def _touch(book, pages, block, page):
    """A user touch: an absent page becomes live, wherever it is."""
    if page < 0 or page >= book.pages[0]:
        return NOTHING
    state = pages.state[page]
    if state == RESERVED:
        _mark(pages, page, 1, LIVE)
    elif state == FREE:
        occupy(book, page, 1)
        _mark(pages, page, 1, LIVE)
    else:
        return NOTHING
    if block >= 0:
        pages.start[block] = page
    return DONE


@njit(inline=True)
def _span(book):
    """One past the last page in use."""
    ranges, end = book.ranges, book.pages[0]
    last = last_set(ranges, STARTS, end - 1)
    return last if last >= 0 and last + ranges[LENGTH + ROW * last] == end else end


@njit
def _watch(book, pages, peaks, span):
    """Follow live pages against the span in use, for the measures of Johnstone and Wilson."""
    live = pages.totals[0]
    if live > peaks[PEAK_LIVE]:
        peaks[PEAK_LIVE], peaks[SPAN_AT_PEAK_LIVE] = live, span
    if span > peaks[PEAK_SPAN]:
        peaks[PEAK_SPAN], peaks[LIVE_AT_PEAK_SPAN] = span, live
    if live:
        peaks[RATIO_SUM] += span / live
        peaks[RATIO_COUNT] += 1


@njit
def _measure(book, pages, samples, at, row, span):
    """Write sample `at`. Extents of one size are counted together: at most 1,447 sizes."""
    ranges = book.ranges
    free = ranges[FREE_PAGES]
    logs = 0.0
    size, largest = next_set(ranges, SIZES, 0), np.int64(0)
    while size >= 0:
        largest = size + 1
        held = ranges[POPULATION + size] * largest
        logs += held * np.log2(np.float64(largest))
        for index in range(samples.ks.shape[0]):
            if samples.ks[index] <= largest:
                samples.usable[at, index] += held
        size = next_set(ranges, SIZES, largest) if largest < CAPACITY else np.int64(-1)
    counts = samples.counts[at]
    counts[AFTER], counts[REFUSALS], counts[SPAN] = row, pages.totals[2], span
    counts[LIVE_PAGES], counts[RESERVED_PAGES] = pages.totals[0], pages.totals[1]
    counts[FREE_NOW], counts[LARGEST], counts[EXTENTS] = free, largest, ranges[RANGE_COUNT]
    samples.entropy[at] = np.log2(np.float64(free)) - logs / free if free else np.nan


@njit(inline=True)
def _request(book, pages, requests, row, chosen):
    """Carry out one request; returns (DONE, REFUSED or NOTHING; its first page or -1)."""
    kind, block = requests.kind[row], requests.block[row]
    count, page = requests.count[row], np.int64(requests.page[row])
    status = NOTHING
    if kind == ALLOC:
        if page < 0:
            page = chosen
        elif not _fits(book, page, count):
            page = np.int64(-1)
        status = REFUSED if page < 0 else DONE
        if status == DONE:
            _hold(book, pages, block, page, count, LIVE)
    elif kind == RELEASE:
        if block >= 0:
            start = np.int64(pages.start[block])
            page = start + requests.offset[row] if start >= 0 else np.int64(-1)
        status = _free(book, pages, page, count)
    elif kind == USER_FAULT:
        if page < 0 and block >= 0 and pages.start[block] >= 0:
            page = np.int64(pages.start[block]) + requests.offset[row]
            block = -1
        status = _touch(book, pages, block, page)
    elif kind == RESERVE:
        status = DONE if _fits(book, page, count) else REFUSED
        if status == DONE:
            _hold(book, pages, block, page, count, RESERVED)
    return status, page


@njit
def _policy_s(book, requests, row):
    """Where the policy would put the request of a row; -1 for a row that does not ask."""
    if requests.kind[row] == ALLOC and requests.page[row] < 0:
        return place(book, requests.count[row])
    return np.int64(-1)


@njit(allocates=True)
def _user_s(book, requests, row, choose):
    """Where the user's function would put it; whatever it is that the function gives."""
    if requests.kind[row] != ALLOC or requests.page[row] >= 0:
        return np.int64(-1)
    return choose(extents(book.ranges), np.int64(requests.count[row]))


@njit
def _follow(book, pages, samples, taken, row, rows, every):
    """Watch the peaks after a row, and take a sample where one is due; returns how many so far."""
    span = _span(book)
    _watch(book, pages, samples.peaks, span)
    if (row + 1) % every == 0 or row + 1 == rows:
        _measure(book, pages, samples, taken, row, span)
        taken += 1
    return taken


@njit
def run(book, pages, requests, samples, every, placed, statuses):
    """Replay all requests under the book's own policy; a sample before, and after `every` rows."""
    rows = requests.kind.shape[0]
    _measure(book, pages, samples, 0, -1, np.int64(0))
    taken = 1
    for row in range(rows):
        chosen = _policy_s(book, requests, row)
        statuses[row], placed[row] = _request(book, pages, requests, row, chosen)
        pages.totals[2] += statuses[row] == REFUSED
        taken = _follow(book, pages, samples, taken, row, rows, every)


@njit(allocates=True)
def run_chosen(book, pages, requests, samples, every, placed, statuses, choose, ended):
    """Replay all requests, a function choosing each place; ended[0] is the row it has come to.

    It ends there when the function gives what is no page, and ended[1] is that.
    """
    rows = requests.kind.shape[0]
    _measure(book, pages, samples, 0, -1, np.int64(0))
    taken = 1
    for row in range(rows):
        ended[0] = row
        chosen = _user_s(book, requests, row, choose)
        if chosen < -1 or chosen >= book.pages[0]:
            ended[1] = chosen
            return
        if chosen >= 0 and not _fits(book, chosen, requests.count[row]):
            chosen = np.int64(-1)
        statuses[row], placed[row] = _request(book, pages, requests, row, chosen)
        pages.totals[2] += statuses[row] == REFUSED
        taken = _follow(book, pages, samples, taken, row, rows, every)
    ended[0] = rows


__all__ = ["Book", "Pages", "Requests", "Samples", "run", "run_chosen"]
