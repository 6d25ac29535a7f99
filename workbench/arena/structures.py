"""Structures as user space finds them in an arena, once an object has described their types."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    import pandas as pd


class Structured:
    """The part of a user's view that knows types: those of the object that filled the arena."""

    _struct: Callable[..., dict[str, Any]] | None = None
    _walk: "Callable[..., pd.DataFrame] | None" = None

    def describe(
        self, struct: Callable[..., dict[str, Any]], walk: "Callable[..., pd.DataFrame]"
    ) -> None:
        """Take over how an object reads its structures; objects call this."""
        self._struct, self._walk = struct, walk

    def struct(self, address: int, name: str) -> dict[str, Any]:
        """Read the structure called `name` at a pointer: a dict by member.

        Raises WorkbenchError without an object that describes types, or for a structure that it
        does not know, SegmentationFault for an address that user space may not touch.
        """
        if self._struct is None:
            raise _untyped()
        return self._struct(address, name)

    def walk(self, address: int, name: str, next: str = "next") -> "pd.DataFrame":
        """Follow member `next` until it is NULL: a row per structure, with its address.

        Raises WorkbenchError without an object that describes types, for a structure or member that
        it does not know and for a list that goes in a circle, SegmentationFault for an address that
        user space may not touch.
        """
        if self._walk is None:
            raise _untyped()
        return self._walk(address, name, next)


def _untyped() -> WorkbenchError:
    return WorkbenchError(
        "nobody told this arena its types; make it with Object.arena(), or call Object.fill(arena)"
    )
