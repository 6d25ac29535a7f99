"""The placement policies by name, and how a policy of one's own becomes one."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workbench.compiled.njit import COMPILE_ERRORS, guarded
from workbench.errors import WorkbenchError
from workbench.models.allocators import book
from workbench.models.allocators.loop import RAISED

SIGNATURE = "int64(int64[:, ::1], int64)"


@dataclass(frozen=True)
class Policy:
    """A rule for where the next pages come from.

    `code` selects the compiled search. `choose` is the user's compiled function, if it is one,
    which gives loop.RAISED where `function` raises.
    """

    name: str
    code: int
    rule: str
    choose: Any = None
    function: Any = None


POLICIES = {
    rule.name: rule
    for rule in (
        Policy("range_tree", book.RANGE_TREE,
               "Linux 6.13 and later: the smallest extent that fits, the newest among equals"),
        Policy("maple", book.FIRST, "Linux 6.9 to 6.12: the lowest address that fits"),
        Policy("first_fit", book.FIRST, "the lowest address that fits: the same places as maple"),
        Policy("next_fit", book.NEXT, "the next address that fits after the last allocation"),
        Policy("best_fit", book.BEST,
               "the smallest extent that fits, the lowest address among equals"),
        Policy("worst_fit", book.WORST, "the largest extent, the lowest address among equals"),
        Policy("buddy", book.BUDDY, "blocks of powers of two at multiples of their size"),
    )
}  # fmt: skip


def policy(choose: "str | Policy | Callable[..., Any]") -> Policy:
    """Return a policy by its name, or make one of a function `choose(extents, count)`.

    `extents` is int64[n, 2] of (first page, pages) in address order, `count` the pages asked for.
    The function returns the first page of the place, or -1 to refuse; pages that are not free are
    a refusal too. It is compiled by numba, with indexes checked, and called once for each
    allocation, so that a replay costs time proportional to the number of extents. Raises
    WorkbenchError for an unknown name, and for a function of other parameters or that numba does
    not compile.
    """
    if isinstance(choose, Policy):
        return choose
    if isinstance(choose, str):
        if choose not in POLICIES:
            raise WorkbenchError(f"no policy '{choose}'; there are {', '.join(POLICIES)}")
        return POLICIES[choose]
    function = getattr(choose, "py_func", choose)  # numba's own dispatchers hold the Python code
    name = getattr(function, "__name__", "choose")
    if not callable(function) or len(inspect.signature(function).parameters) != 2:
        raise WorkbenchError(f"policy '{name}': expected a function choose(extents, count)")
    try:
        checked, compiled = guarded(SIGNATURE, function, RAISED)
    except COMPILE_ERRORS as error:
        reason = str(error).strip().splitlines()
        detail = next((line.strip() for line in reversed(reason) if line.strip()), "")
        raise WorkbenchError(f"policy '{name}' is not for numba to compile: {detail}") from None
    summary = (function.__doc__ or "a policy of the user's own").strip().splitlines()[0]
    return Policy(name, book.CHOSEN, summary.rstrip("."), compiled, checked)
