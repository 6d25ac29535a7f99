"""What a value read from JSON must be, said once: checks that are put together like types.

A check is a function of a value and of where it stands. It returns nothing, and raises TraceError,
with the place, for a value that is something else.
"""

from collections.abc import Callable
from typing import Any

from workbench.errors import TraceError

Check = Callable[[Any, str], None]


def refuse(where: str, what: str) -> None:
    """Raise TraceError for a part of a recording that is not what it must be."""
    raise TraceError(f"{where} {what}")


def whole(low: int, high: int) -> Check:
    """An integer in [low, high]; a truth value is none."""

    def check(value: Any, where: str) -> None:
        if type(value) is not int or not low <= value <= high:
            refuse(where, f"must be a whole number in [{low}, {high}], not {_short(value)}")

    return check


def text(value: Any, where: str) -> None:
    """A text that can be written as UTF-8."""
    if not isinstance(value, str):
        refuse(where, f"must be text, not {_short(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse(where, "has half of a surrogate pair, which no text has")


def flag(value: Any, where: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        refuse(where, f"must be true or false, not {_short(value)}")


def hexadecimal(unit: int = 1) -> Check:
    """Bytes as hexadecimal digits, a multiple of `unit` bytes."""

    def check(value: Any, where: str) -> None:
        text(value, where)
        try:
            length = len(bytes.fromhex(value))
        except ValueError:
            refuse(where, "must be hexadecimal digits")
        else:
            if length % unit:
                refuse(where, f"has {length} bytes, which are not a multiple of {unit}")

    return check


def one_of(*names: str) -> Check:
    """One of some texts."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str) or value not in names:
            refuse(where, f"must be one of {', '.join(names)}, not {_short(value)}")

    return check


def maybe(of: Check) -> Check:
    """What another check accepts, or null."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            of(value, where)

    return check


def rows(of: Check) -> Check:
    """A list whose every element another check accepts."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list):
            refuse(where, f"must be a list, not {_short(value)}")
        for at, item in enumerate(value):
            of(item, f"{where}[{at}]")

    return check


def tuple_of(**fields: Check) -> Check:
    """A list with one element for each field, in order."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list) or len(value) != len(fields):
            refuse(where, f"must be a list of {', '.join(fields)}, not {_short(value)}")
        for item, (name, of) in zip(value, fields.items(), strict=True):
            of(item, f"{where}.{name}")

    return check


def record(exact: bool = True, **fields: Check) -> Check:
    """An object with these fields, and with no others if `exact`."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            refuse(where, f"must be an object, not {_short(value)}")
        if missing := fields.keys() - value.keys():
            refuse(where, f"lacks {', '.join(sorted(missing))}")
        if exact and (more := value.keys() - fields.keys()):
            refuse(where, f"has {_short(min(more))}, which nothing knows")
        for name, of in fields.items():
            of(value[name], f"{where}.{name}")

    return check


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
