"""A bar that shows how far a long task is, on a terminal or in a notebook and nowhere else."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

    Bar = tqdm[Any]

Item = TypeVar("Item")
DELAY = 1.0  # seconds: what takes less needs no bar


def bar(
    what: str,
    items: Iterable[Item] = (),
    total: int | None = None,
    unit: str = "it",
    delay: float = DELAY,
) -> "tqdm[Item]":
    """Go through `items`, or be called by `update()`, while a bar on standard error grows.

    `what` stands before the bar, `total` is how many updates there will be where `items` do not
    say. The bar comes after `delay` seconds and is gone at the end. Nothing is written where
    nobody watches: standard error is neither a terminal nor a notebook's, or TQDM_DISABLE is set.
    """
    from tqdm import tqdm

    hidden = {} if _watched() else {"disable": True}  # left out, TQDM_DISABLE decides
    source = items if total is None else None
    return tqdm(source, what, total, leave=False, delay=delay, unit=unit, **hidden)


@contextmanager
def reports(what: str, total: int, unit: str = "it") -> Iterator[Callable[[int], object]]:
    """For the length of a `with` block, a function that takes how much of a task is done."""
    with bar(what, total=total, unit=unit) as drawn:
        yield lambda done: drawn.update(done - drawn.n)


def _watched() -> bool:
    """Whether standard error is a terminal, or goes to a notebook's page."""
    stream = sys.stderr
    return stream is not None and (
        stream.isatty() or type(stream).__module__.startswith("ipykernel")
    )
