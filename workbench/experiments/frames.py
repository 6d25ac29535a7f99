"""What a frame must have before an experiment reads it, and what is wrong with one that has not."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from workbench.errors import WorkbenchError

P = ParamSpec("P")
R = TypeVar("R")
Reader = Callable[Concatenate[pd.DataFrame, P], R]


def reads(*columns: str, rows: bool = False) -> Callable[[Reader[P, R]], Reader[P, R]]:
    """Refuse frames that lack `columns`, or have text in `value`; with `rows`, empty ones too.

    A row that the function looks for and does not find is named in the same way. All are
    WorkbenchErrors that say which experiment was asked, and what is there.
    """

    def guard(function: Reader[P, R]) -> Reader[P, R]:
        where = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

        @wraps(function)
        def checked(frame: pd.DataFrame, *args: P.args, **kwargs: P.kwargs) -> R:
            check(where, frame, columns, rows)
            try:
                return function(frame, *args, **kwargs)
            except (KeyError, IndexError) as error:
                raise WorkbenchError(
                    f"{where} misses something in this frame ({error.args[0]}); "
                    "was only a part measured?"
                ) from error

        return checked

    return guard


def check(where: str, frame: pd.DataFrame, columns: tuple[str, ...], rows: bool) -> None:
    """Raise WorkbenchError unless a frame has columns, numbers as values and, if asked, rows."""
    if not isinstance(frame, pd.DataFrame):
        raise WorkbenchError(f"{where} takes a DataFrame, not {type(frame).__name__}")
    if missing := [name for name in columns if name not in frame]:
        there = ", ".join(map(str, frame.columns)) or "none"
        raise WorkbenchError(
            f"{where} finds no column '{missing[0]}' in this frame; it has {there}"
        )
    if "value" in columns and len(frame) and not _finite(frame["value"]):
        raise WorkbenchError(f"{where} needs finite numbers in column 'value'")
    if rows and frame.empty:
        raise WorkbenchError(f"{where} got an empty frame: nothing was measured")


def _finite(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and bool(np.isfinite(values).all())
