"""What a public function wants of its arguments, said beside it and checked before it begins.

A check is a function of a value that returns "" or what is wanted instead of it.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from os import PathLike
from typing import Any, ParamSpec, TypeVar

import numpy as np

from workbench.errors import WorkbenchError

Check = Callable[[Any], str]
P = ParamSpec("P")
R = TypeVar("R")

MOST = (1 << 63) - 1  # of a number that compiled code gets
LAST = (1 << 64) - 1  # of all addresses


def takes(**checks: Check) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check arguments by name before a function runs; it raises WorkbenchError for a wrong one.

    Not for what runs often: finding the arguments' names takes 2 to 4 µs.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs).arguments
            for name, check in checks.items():
                if name in given:
                    want(given[name], name, check)
            return function(*args, **kwargs)

        return checked

    return decorate


def want(value: Any, name: str, check: Check) -> None:
    """Raise WorkbenchError, naming the argument, for a value that a check does not accept."""
    if wanted := check(value):
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise WorkbenchError(f"{name} must be {wanted}, not {shown}")


def whole(low: int = 0, high: int = MOST) -> Check:
    """A whole number in [low, high], Python's or NumPy's; a truth value is none."""
    wanted = (
        f"a whole number from {low:,} to {high:,}"
        if high < MOST
        else (f"a whole number of at least {low:,}")
    )

    def check(value: Any) -> str:
        number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        return "" if number and low <= value <= high else wanted

    return check


def instance(*types: type, instead: str = "") -> Check:
    """A value of one of these types; `instead` is how it is called in the error."""
    wanted = instead or " or ".join(f"a {type.__name__}" for type in types)
    return lambda value: "" if isinstance(value, types) else wanted


def optional(check: Check) -> Check:
    """What another check accepts, or None."""
    return lambda value: "" if value is None else check(value) + (" or None" * bool(check(value)))


def slots(value: Any) -> str:
    """Numbers of instructions."""
    good = isinstance(value, Sequence | set | frozenset | np.ndarray | range)
    good = good and not isinstance(value, str | bytes)
    return "" if good and not any(map(whole(), value)) else "numbers of instructions, as (3, 7)"


string = instance(str, instead="text")
path = instance(str, PathLike, instead="the path of a file")
octets = instance(bytes, bytearray, memoryview, np.ndarray, instead="bytes, as bytes(16)")
function = instance(Callable, instead="a function")  # type: ignore[arg-type]
mapping = instance(Mapping, instead="a dict")
flags = instance(int, np.integer, instead="flags, a number")
