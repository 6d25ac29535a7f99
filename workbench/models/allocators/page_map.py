"""Which pages were live when, in as many cells as a picture has."""

import numpy as np
import pandas as pd

from workbench.arena.events import Kind
from workbench.compiled.njit import njit
from workbench.models import requests as logs

_ALLOC, _FREE, _FAULT = int(Kind.ALLOC), int(Kind.FREE), int(Kind.USER_FAULT)


def live_map(
    events: pd.DataFrame, page_count: int, rows: int = 256, columns: int = 512
) -> np.ndarray:
    """Share of live pages by address and time: float32[rows, columns], row 0 at page 0.

    `events` is what an arena of `page_count` pages recorded, or `Replay.events`. A cell is the
    share of its pages that were live at the end of its stretch of events; the stretches have equal
    numbers of events. Fewer pages or events than cells give fewer rows or columns.
    """
    log = logs.recorded(events, page_count, repair=True)
    kind, count, page = logs.placed_columns(log)[0], *_spans(log)
    rows, columns = min(rows, page_count), max(1, min(columns, len(log)))
    out = np.zeros((rows, columns), np.float32)
    if len(log):
        _fill(kind, page, count, page_count, out)
    size = np.diff(np.arange(rows + 1) * page_count // rows)
    return out / size[:, None].astype(np.float32)


def _spans(log: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    columns = logs.placed_columns(log)
    return columns.count, columns.page


@njit(allocates=True)
def _fill(kind, page, count, pages, out):
    """Follow the live pages and keep a column each time that its stretch of events ends."""
    live, rows = np.zeros(pages, np.bool_), out.shape[0]
    share, column = np.zeros(rows, np.int64), 0
    for event in range(kind.shape[0]):
        what = kind[event]
        if what in (_ALLOC, _FREE, _FAULT):
            for at in range(page[event], min(page[event] + count[event], pages)):
                now = what != _FREE
                share[(at * rows + rows - 1) // pages] += np.int64(now) - np.int64(live[at])
                live[at] = now
        while column * kind.shape[0] < (event + 1) * out.shape[1] and (
            (column + 1) * kind.shape[0] <= (event + 1) * out.shape[1]
        ):
            out[:, column] = share
            column += 1
