"""The table behind each view of page faults: tidy frames, fit for export.

`clock` names the time axis: "time" (steps), "order" (one place for each fault), "ns" (measured) or
"model_ns" (of faults.modelled).
"""

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError
from workbench.models.faults import NAMES
from workbench.models.faults.annotate import cells, count_pages

CLOCKS = {
    "time": "time (steps of the program)",
    "order": "faults in their order",
    "ns": "time (ns, measured)",
    "model_ns": "time (ns, model)",
}


def moments(faults: pd.DataFrame, clock: str = "time") -> np.ndarray:
    """When each fault was, on a clock of CLOCKS: float64[n].

    Raises WorkbenchError for a clock that these faults have not.
    """
    if clock not in CLOCKS:
        raise WorkbenchError(f"no clock '{clock}'; there are {', '.join(CLOCKS)}")
    if clock == "order":
        return np.arange(len(faults), dtype=np.float64)
    if clock not in faults or (len(faults) and np.isnan(faults[clock].iloc[0])):
        cure = "faults.modelled makes it" if clock == "model_ns" else "nothing was measured"
        raise WorkbenchError(f"these faults have no {clock}; {cure}")
    return faults[clock].to_numpy(np.float64)


def window(faults: pd.DataFrame, clock: str, start: float, end: float) -> pd.DataFrame:
    """The faults with start <= moment <= end."""
    moment = moments(faults, clock)
    return faults[(moment >= start) & (moment <= end)]


def rate(faults: pd.DataFrame, clock: str = "time", windows: int = 100) -> pd.DataFrame:
    """Faults in each of `windows` equal stretches of time: columns start, end, one per cause."""
    if faults.empty:
        return pd.DataFrame(columns=["start", "end", *NAMES])
    moment = moments(faults, clock)
    low, high = _limits(moment)
    counts = _cells(faults, moment, low, high, windows, 1)[:, 0, :]
    edges = np.linspace(low, high, windows + 1)
    return pd.DataFrame(
        {"start": edges[:-1], "end": edges[1:], **dict(zip(NAMES, counts, strict=True))}
    )


def cumulative(faults: pd.DataFrame, clock: str = "time", points: int = 1000) -> pd.DataFrame:
    """Faults so far at the end of each of `points` stretches: columns time, one per cause."""
    table = rate(faults, clock, points)
    return pd.DataFrame({"time": table["end"], **{name: table[name].cumsum() for name in NAMES}})


def gaps(faults: pd.DataFrame) -> pd.DataFrame:
    """ns from each fault to the next, where both were measured: columns cause, ns, sorted by ns.

    In a loop that does nothing but touch, that is the fault's own cost and a few ns; else more.
    """
    code, step = steps(faults)
    cause = pd.Categorical.from_codes(code, NAMES)
    table = pd.DataFrame({"cause": cause, "ns": step})
    return table.sort_values("ns", kind="stable", ignore_index=True)


def steps(faults: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Number of the cause of each measured fault but the last, int[n], and ns to the next one."""
    ns, code = faults["ns"].to_numpy(np.float64), faults["cause"].cat.codes.to_numpy()
    lacking = np.isnan(ns)
    if lacking.any():
        ns, code = ns[~lacking], code[~lacking]
    return code[:-1], np.diff(ns)


def first_and_repeat(faults: pd.DataFrame) -> pd.DataFrame:
    """How often a fault was a page's first, a repeat, and one after a free: a row per cause."""
    repeat, freed = faults["repeat"].to_numpy(bool), faults["after_free"].to_numpy(bool)
    code = faults["cause"].cat.codes.to_numpy()
    parts = {"first": ~repeat & ~freed, "repeat": repeat & ~freed, "after_free": freed}
    return pd.DataFrame({
        "cause": NAMES,
        **{name: np.bincount(code[part], minlength=len(NAMES)) for name, part in parts.items()},
    })  # fmt: skip


def by_cause(faults: pd.DataFrame) -> pd.DataFrame:
    """Faults, pages and share of each cause that occurred."""
    each = _page_counts(faults)
    counts, pages = each.sum(axis=0), (each > 0).sum(axis=0)
    table = pd.DataFrame({"cause": NAMES, "faults": counts, "pages": pages})
    return table[table["faults"] > 0].assign(share=lambda t: t["faults"] / max(counts.sum(), 1))


def by_page(faults: pd.DataFrame) -> pd.DataFrame:
    """Faults of each page that had any, by cause: columns page, one per cause, total."""
    table = _page_counts(faults)
    used = np.flatnonzero(table.sum(axis=1))
    columns = dict(zip(NAMES, table[used].T, strict=True))
    return pd.DataFrame({"page": used - 1, **columns, "total": table[used].sum(axis=1)})


def _page_counts(faults: pd.DataFrame) -> np.ndarray:
    """Faults by page + 1 and cause: int64[pages + 1, causes]."""
    page = faults["page"].to_numpy()
    return count_pages(page, faults["cause"].cat.codes.to_numpy(), page.max(initial=-1), len(NAMES))


def density(
    faults: pd.DataFrame, clock: str = "time", rows: int = 160, columns: int = 400
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Faults by cause, band of pages and stretch of time: int64[causes, rows, columns] and limits.

    The limits are first and last moment, first page and one past the last.
    """
    moment = moments(faults, clock)
    low, high = _limits(moment)
    counts = _cells(faults, moment, low, high, columns, rows)
    page = faults["page"].to_numpy()
    return counts, (low, high, float(page.min(initial=0)), float(page.max(initial=0) + 1))


def _limits(moment: np.ndarray) -> tuple[float, float]:
    low, high = (float(moment.min()), float(moment.max())) if len(moment) else (0.0, 1.0)
    return low, high if high > low else low + 1.0


def _cells(
    faults: pd.DataFrame, moment: np.ndarray, low: float, high: float, columns: int, rows: int
) -> np.ndarray:
    page = faults["page"].to_numpy(np.float64)
    first, end = page.min(initial=0.0), page.max(initial=0.0) + 1
    x, y = (moment - low) / (high - low), (page - first) / (end - first)
    return cells(x, y, faults["cause"].cat.codes.to_numpy(), (len(NAMES), rows, columns))
