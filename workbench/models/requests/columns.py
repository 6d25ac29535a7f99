"""What any log must have before it is judged: whole numbers, known names, no strange column."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError

ANY = (-(1 << 62), 1 << 62)  # sums of two still fit 64 bits
TIME = (0, 1 << 62)
Limits = Mapping[str, tuple[int, int]]


def check_names(
    log: pd.DataFrame, needed: Iterable[str], known: Iterable[str] | None, what: str
) -> None:
    """Raise WorkbenchError unless a frame has these columns, once, and with `known` no others."""
    if not isinstance(log, pd.DataFrame):
        raise WorkbenchError(f"{what} is a DataFrame, not a {type(log).__name__}")
    names = [str(name) for name in log.columns]
    if lacking := sorted(set(needed) - set(names)):
        raise WorkbenchError(f"{what} lacks the column(s) {', '.join(lacking)}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise WorkbenchError(f"{what} has the column(s) {', '.join(twice)} more than once")
    strange = sorted(set(names) - set(names if known is None else known))
    if strange:
        raise WorkbenchError(f"{what} has the unknown column(s) {', '.join(strange)}")


def whole(log: pd.DataFrame, limits: Limits) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns as int64, and for each row whether all are whole numbers within their limits.

    What is none is 0 in the arrays.
    """
    found, good = {}, np.ones(len(log), bool)
    for name, (low, high) in limits.items():
        values = log[name].to_numpy()
        if values.dtype.kind not in "iu":
            values = pd.to_numeric(log[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
            own = values == np.floor(values)
        elif not len(values) or (values.min() >= low and values.max() <= high):
            found[name] = values.astype(np.int64, copy=False)
            continue
        else:
            own = np.ones(len(values), bool)
        own &= (values >= low) & (values <= high)
        found[name] = np.where(own, values, 0).astype(np.int64)
        good &= own
    return found, good


def why_not_whole(log: pd.DataFrame, row: int, limits: Limits) -> str:
    """Say which number of a row that `whole` found wanting is none."""
    one = log.iloc[[row]]
    for name, (low, high) in limits.items():
        if not whole(one, {name: (low, high)})[1][0]:
            bounds = {ANY: "below 2**62", TIME: "from 0 to 2**62"}.get(
                (low, high), f"from {low:,} to {high:,}"
            )
            return f"{name} is {one[name].iloc[0]}, not a whole number {bounds}"
    return ""


def codes(column: "pd.Series", names: Sequence[str]) -> np.ndarray:
    """The place of each value in `names`, 255 for what is not there: uint8[n]."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype("category")
    place = {name: at for at, name in enumerate(names)}
    found = [place.get(str(name), 255) for name in column.cat.categories]
    return np.array([*found, 255], np.uint8)[column.cat.codes.to_numpy()]
