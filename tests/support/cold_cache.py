"""Processes that compile with one cold cache, killed or at once; prints what went wrong as JSON.

`python -m support.cold_cache killed|together DIRECTORY COUNT`
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from workbench.compiled import kept
from workbench.compiled.njit import njit


def functions() -> list[Any]:
    """New dispatchers of the same two functions."""

    @njit
    def double(number):  # type: ignore[no-untyped-def]
        return number + number

    @njit
    def both(number):  # type: ignore[no-untyped-def]
        return double(number) + 1

    return [double, both]


def right(number: float) -> bool:
    """Whether compiled code, kept or new, computes what it should."""
    double, both = functions()
    return bool(double(number) == 2 * number and both(number) == 2 * number + 1)


def started(number: float) -> int:
    """A process that exits with 0 if all is right."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            status = 0 if right(number) else 2
        finally:
            os._exit(status)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def emptied(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


def killed(directory: Path, count: int) -> list[str]:
    """Kill a process that fills a cold cache; the next one must do as if nothing had been."""
    draw, found = random.Random(1), []
    began = time.monotonic()
    ended(started(3))
    longest = time.monotonic() - began
    for number in range(count):
        emptied(directory)
        child = started(3)
        time.sleep(draw.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        ended(child)
        found += [f"{number}: {status}" for status in [ended(started(3))] if status]
    return found


def together(directory: Path, count: int) -> list[str]:
    """Two processes want different code of the same functions; a third uses what they kept."""
    found = []
    for number in range(count):
        emptied(directory)
        children = [started(3), started(0.5)]
        statuses = [ended(child) for child in children] + [ended(started(3)), ended(started(0.5))]
        found += [f"{number}: {statuses}"] if any(statuses) else []
    return found


if __name__ == "__main__":
    place = Path(sys.argv[2])
    vars(kept.FOLDER)["path"] = place
    work = killed if sys.argv[1] == "killed" else together
    print(json.dumps(work(place, int(sys.argv[3]))))
