"""What happens to an arena, as events: one schema for the emulated arena and the real kernel.

Columns: time (steps of the program clock), kind, actor, pc (instruction slot, -1 none), page
(relative to the arena's start, -1 outside), address (64-bit user form), count (pages for
alloc/free/reserve, bytes for accesses). Frames add ns (nanoseconds, measured sources only) and
source ("emulated" or "kernel").
"""

from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np

from workbench.compiled.lazy import lazy_zeros
from workbench.compiled.njit import njit
from workbench.compiled.tables import Bytes, Integers, Words, array_types

if TYPE_CHECKING:
    import pandas as pd


class Kind(IntEnum):
    """The kinds of event; frames show the lower-case names."""

    LOAD, STORE, ATOMIC, CAST_KERN, CAST_USER = range(5)
    ALLOC, ALLOC_FAILED, FREE, RESERVE = range(5, 9)
    USER_FAULT, USER_MINOR, SEGV = range(9, 12)
    ABSENT_READ, DROPPED_WRITE = range(12, 14)


class Actor(IntEnum):
    """Who caused an event."""

    PROGRAM, USER = range(2)


class Ring(NamedTuple):
    """A ring of events: columns of one power-of-two length; written[0] counts all ever written."""

    time: Words
    kind: Bytes
    actor: Bytes
    pc: Annotated[np.ndarray, np.int32]
    page: Annotated[np.ndarray, np.int32]
    address: Words
    count: Annotated[np.ndarray, np.uint32]  # type: ignore[assignment]
    written: Integers


COLUMNS = array_types(Ring)
del COLUMNS["written"]


def ring(capacity: int) -> Ring:
    """An empty ring that keeps the newest `capacity` events.

    Raises ValueError for a capacity that is no power of two.
    """
    if capacity & (capacity - 1) or capacity < 1:
        raise ValueError(f"capacity must be a power of two, not {capacity}")
    columns = {name: lazy_zeros(capacity, dtype) for name, dtype in COLUMNS.items()}
    return Ring(**columns, written=np.zeros(1, np.int64))


@njit(inline=True)
def push(events, time, kind, actor, pc, page, address, count):
    """Append one event, overwriting the oldest when the ring is full."""
    at = np.uint64(events.written[0]) & np.uint64(events.time.shape[0] - 1)
    events.time[at] = time
    events.kind[at] = kind
    events.actor[at] = actor
    events.pc[at] = pc
    events.page[at] = page
    events.address[at] = address
    events.count[at] = count
    events.written[0] += 1


def columns(events: Ring, since: int = 0) -> dict[str, np.ndarray]:
    """The events from number `since` on that the ring still holds, oldest first, by column name.

    Each column is one-dimensional, with the dtype of COLUMNS: a view without copying while the ring
    has not wrapped.
    """
    written, capacity = int(events.written[0]), len(events.time)
    first = max(since, written - capacity, 0)
    if written <= capacity:
        return {name: getattr(events, name)[first:written] for name in COLUMNS}
    order = np.arange(first, written) & (capacity - 1)
    return {name: getattr(events, name)[order] for name in COLUMNS}


def lost(events: Ring, since: int = 0) -> int:
    """How many events from number `since` on were overwritten by newer ones."""
    return max(int(events.written[0]) - len(events.time) - since, 0)


def frame(
    values: dict[str, np.ndarray],
    source: str = "emulated",
    ns: np.ndarray | None = None,
    lost: int = 0,
) -> "pd.DataFrame":
    """Event columns as a DataFrame: numeric columns are not copied, names become categories.

    `values` are columns as `columns` gives them, `ns` int64[n] nanoseconds for a measured source.
    Its `attrs["lost"]` says how many older events were not kept.
    """
    import pandas as pd

    table = dict(values)
    for name, members in (("kind", Kind), ("actor", Actor)):
        names = [member.name.lower() for member in members]
        table[name] = pd.Categorical.from_codes(values[name].astype(np.int8), names)
    if ns is not None:
        table["ns"] = ns
    result = pd.DataFrame(table, copy=False)
    result.attrs["lost"] = lost
    result["source"] = pd.Categorical([source] * len(result), ["emulated", "kernel"])
    return result
