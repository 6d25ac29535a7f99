"""The log of a kernel arena: what Python asked of it and touched, with nanosecond times."""

import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from workbench.arena import events
from workbench.arena.rules import PAGE_SIZE, WINDOW

if TYPE_CHECKING:
    import pandas as pd

LENGTH = 1 << 20  # events kept, as in the emulated arena
_WORD = 1 << 64


FIELDS = ("kind", "actor", "page", "address", "count", "ns")


class Log:
    """The newest events of an arena of `page_count` pages that begins at `start`."""

    def __init__(self, start: int, page_count: int) -> None:
        self._start, self._page_count = start, page_count
        self._events: deque[tuple[int, ...]] = deque(maxlen=LENGTH)
        self._written = 0

    def note(self, kind: int, actor: int, address: int, count: int) -> None:
        """Append an event that happens now."""
        page = (address % WINDOW - self._start % WINDOW) // PAGE_SIZE
        page = page % _WORD if 0 <= page < self._page_count else _WORD - 1
        self._events.append(
            (int(kind), int(actor), page, address % _WORD, count & 0xFFFFFFFF, time.monotonic_ns())
        )
        self._written += 1

    def clear(self) -> None:
        """Forget everything."""
        self._events.clear()
        self._written = 0

    def frame(self) -> "pd.DataFrame":
        """The events, oldest first: see workbench.arena.events. Time counts them."""
        return to_frame(list(self._events), self._written - len(self._events))


def to_frame(rows: list[tuple[int, ...]], first: int = 0) -> "pd.DataFrame":
    """Rows of FIELDS as an event frame; `first` is the number of the first one."""
    fields = np.array(rows, np.uint64).reshape(-1, len(FIELDS)).T
    columns: dict[str, np.ndarray] = dict(zip(FIELDS, fields, strict=True))
    columns["time"] = np.arange(first, first + len(rows))
    columns["pc"] = np.full(len(rows), -1)
    values = {name: columns[name].astype(type) for name, type in events.COLUMNS.items()}
    return events.frame(values, "kernel", columns["ns"])
