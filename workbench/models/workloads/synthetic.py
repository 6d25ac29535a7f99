"""Workloads made of random numbers: who asks for how many pages, and how long each block lives.

Each takes a generator, a number of rows and the pages of the arena that it is meant for, and fills
about four fifths of that arena. Nearly all are blocks with a birth and a death: the log is the
births and deaths in order.
"""

import numpy as np
import pandas as pd
from numpy.random import Generator

from workbench.arena.events import Kind
from workbench.models import requests

LOAD = 0.8  # share of the arena that is live: full enough for holes to matter; not measured
SIZES, SHARES = np.array([1, 2, 3, 4, 6, 8, 12, 16]), np.array([30, 18, 12, 12, 10, 8, 6, 4]) / 100
"""Pages of a block: mostly few, as programs ask; the mean is 4.08."""
MEAN = float(SIZES @ SHARES)
NEVER = np.inf


def from_lifetimes(
    pages: np.ndarray,
    birth: np.ndarray,
    death: np.ndarray,
    rows: int,
    where: np.ndarray | None = None,
) -> pd.DataFrame:
    """The log of blocks of `pages` that are born and die at these moments: its first `rows` rows.

    `pages` is int[n], `birth` and `death` float[n] on any one clock, `where` int[n].
    At one moment births come first. Deaths may be NEVER; `where` has fixed pages (-1: anywhere).
    """
    blocks = np.arange(len(pages))
    mortal = np.flatnonzero(np.isfinite(death))
    moment = np.concatenate([birth, death[mortal]])
    order = np.argsort(moment, kind="stable")[:rows]
    block = np.concatenate([blocks, mortal])[order]
    born = order < len(pages)
    kind = np.where(born, int(Kind.ALLOC), int(Kind.FREE))
    page = None if where is None else np.where(born, where[block], -1)
    return requests.frame(kind, pages[block], block, page)


def sizes(rng: Generator, count: int) -> np.ndarray:
    """Pages of `count` blocks."""
    return rng.choice(SIZES, count, p=SHARES)


def _many(pages: int, mean: float = MEAN) -> int:
    """How many blocks of a mean size fill the arena as far as it is to be filled."""
    return max(1, int(LOAD * pages / mean))


def bump(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """Blocks that are never freed, until all of them are at once: an arena as compilers use it."""
    turn = _many(pages)
    birth = np.arange(rows)
    return from_lifetimes(sizes(rng, rows), birth, (birth // turn + 1.0) * turn - 0.5, rows)


def lifo(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """A stack: runs of allocations, and runs of frees in reverse order."""
    steps = np.ones(rows, np.int64)
    depth, at, limit = 0, 0, _many(pages)
    while at < rows:
        grow = int(rng.integers(1, max(2, limit // 4)))
        down = int(rng.integers(1, max(2, limit // 4)))
        at += min(grow, limit - depth)
        depth = min(depth + grow, limit)
        steps[at : at + min(down, depth)] = -1
        at += min(down, depth)
        depth -= min(down, depth)
    height = np.cumsum(steps)
    level = np.where(steps > 0, height, height + 1)
    order = np.lexsort([np.arange(rows), level])  # on one level pushes and pops take turns
    partner = np.full(rows, -1)
    pop = np.flatnonzero(steps[order] < 0)
    partner[order[pop]] = order[pop - 1]
    block = np.where(steps > 0, np.cumsum(steps > 0) - 1, 0)
    block[steps < 0] = block[partner[steps < 0]]
    count = sizes(rng, int((steps > 0).sum()))
    kind = np.where(steps > 0, int(Kind.ALLOC), int(Kind.FREE))
    return requests.frame(kind, count[block], block)


def ring(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """A queue: what was allocated first is freed first."""
    birth = np.arange(rows)
    return from_lifetimes(sizes(rng, rows), birth, birth + _many(pages) - 0.5, rows)


def exponential(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """Random lifetimes without memory: every block is as likely to die next as any other."""
    birth = np.arange(rows)
    return from_lifetimes(
        sizes(rng, rows), birth, birth + rng.exponential(_many(pages), rows), rows
    )


def bimodal(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """Most blocks die young, one in ten lives two hundred times as long."""
    birth = np.arange(rows)
    old = rng.random(rows) < 0.1
    young = _many(pages) / (0.9 + 0.1 * 200)
    life = rng.exponential(np.where(old, 200 * young, young), rows)
    return from_lifetimes(sizes(rng, rows), birth, birth + life, rows)


def phases(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """Ramp, plateau, peaks: memory fills, is kept, and swells again and again for a moment."""
    half = _many(pages) // 2
    ramp = min(half, rows // 3)
    birth = np.arange(rows)
    peak = max(1, min(half // 2, rows // 8))
    plateau = rng.exponential(max(1, half // 4), rows)
    swell = (birth // peak + 1.0) * peak - 0.5
    death = np.where((birth // peak) % 3 == 2, swell, birth + plateau)
    death[:ramp] = np.where(rng.random(ramp) < 0.7, NEVER, ramp + rng.exponential(rows, ramp))
    return from_lifetimes(sizes(rng, rows), birth, death, rows)


def checkerboard(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """Fill with equal blocks, free every second one, ask for blocks twice as large; then all over.

    A request for two pages must fail when single pages were freed everywhere: the worst case that
    can be drawn on one line.
    """
    made, block, total = [np.zeros((3, 0), np.int64)], 0, 0
    while total < rows:
        turn, used = _squares(rng, pages, block)
        made.append(turn)
        block += used
        total += turn.shape[1]
    kind, count, blocks = np.concatenate(made, axis=1)[:, :rows]
    return requests.frame(kind, count, blocks)


def _squares(rng: Generator, pages: int, block: int) -> tuple[np.ndarray, int]:
    """One turn of the checkerboard, blocks numbered from `block`; and how many blocks it has."""
    size = 1 << int(rng.integers(0, 3))
    count = max(2, int(0.95 * pages) // size)
    squares, first = block + np.arange(count), int(rng.integers(2))
    large = block + count + np.arange(count // 4 + 1)
    steps = (
        (Kind.ALLOC, size, squares),
        (Kind.FREE, size, squares[first::2]),
        (Kind.ALLOC, 2 * size, large),
        (Kind.FREE, size, squares[1 - first :: 2]),
        (Kind.FREE, 2 * size, large),
    )
    rows = [
        np.array([np.full(len(names), int(kind)), np.full(len(names), each), names])
        for kind, each, names in steps
    ]
    return np.concatenate(rows, axis=1), count + len(large)


def _replaced(keys: np.ndarray) -> np.ndarray:
    """When each value is replaced: at the next moment of its key; NEVER for the last."""
    order = np.lexsort([np.arange(len(keys)), keys])
    death = np.full(len(keys), NEVER)
    again = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    death[order[again]] = order[again + 1]
    return death


def larson(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """A server's churn: a table of blocks, of which a random one is replaced, for ever.

    Source: Larson and Krishnan, "Memory allocation for long-running server applications" (1998).
    """
    slots = rng.integers(0, _many(pages), rows)
    birth = np.arange(rows)
    return from_lifetimes(sizes(rng, rows), birth, _replaced(slots) - 0.25, rows)


def producer_consumer(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """Messages made one by one, taken away in batches by a consumer that at times falls back."""
    birth = np.arange(rows)
    queue = _many(pages)
    batch = max(1, queue // 16)
    behind = 0.5 + 0.4 * np.sin(birth / (8 * queue) * 2 * np.pi)
    death = (np.floor((birth + behind * queue) / batch) + 1) * batch - 0.5
    jitter = rng.random(rows) < 0.05  # messages that someone keeps for longer
    return from_lifetimes(sizes(rng, rows), birth, death + jitter * queue, rows)


def key_value(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """A store whose keys follow Zipf's law: each put replaces a value, and the table doubles."""
    keys = np.minimum(rng.zipf(1.2, rows), _many(pages, 1.5 * MEAN))
    birth = np.arange(rows, dtype=np.float64)
    seen = np.cumsum(np.bincount(np.unique(keys, return_index=True)[1], minlength=rows))
    doubled = np.flatnonzero(np.diff(np.floor(np.log2(seen)), prepend=-1) > 0)
    table = np.maximum(1, (1 << np.arange(len(doubled))) // 16)
    grown = np.append(doubled[1:] + 0.75, NEVER)  # the old table goes when the new one is filled
    return from_lifetimes(
        np.concatenate([sizes(rng, rows), table]),
        np.concatenate([birth, doubled + 0.5]),
        np.concatenate([_replaced(keys) + 0.25, grown]),
        rows,
    )


def fixed_addresses(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """Churn, between which segments of 16 pages are asked for at addresses of their own."""
    birth = np.arange(rows)
    segment = rng.random(rows) < 0.1
    count = np.where(segment, 16, sizes(rng, rows))
    places = 16 * rng.integers(0, max(1, pages // 16), rows)
    life = rng.exponential(_many(pages, 0.9 * MEAN + 1.6) * 0.8, rows)
    return from_lifetimes(count, birth, birth + life, rows, np.where(segment, places, -1))


def user_faults(rng: Generator, rows: int, pages: int) -> pd.DataFrame:
    """Churn of a program, while user space touches pages that nobody gave it."""
    birth = np.arange(rows)
    touch = rng.random(rows) < 0.25
    count = np.where(touch, 1, sizes(rng, rows))
    hot = (rng.beta(0.5, 2.0, rows) * pages).astype(np.int64)
    life = rng.exponential(_many(pages, 0.75 * MEAN + 0.25), rows)
    log = from_lifetimes(count, birth, birth + life, rows, np.where(touch, hot, -1))
    touched = (log["kind"] == "alloc") & (log["page"] >= 0)
    return log.assign(kind=log["kind"].mask(touched, "user_fault"))
