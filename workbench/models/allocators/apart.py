"""A replay under somebody's own function, in a process of its own.

Compiled code that never ends cannot be interrupted, and what it writes past an array cannot be
undone: so it runs in a copy of this process, which Ctrl-C ends, and leaves its results in memory
that both have. The copy takes some 10 ms.
"""

import ctypes
import mmap
import os
import signal
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.arena.ranges import extents
from workbench.errors import WorkbenchError
from workbench.models.allocators import loop
from workbench.models.allocators.book import Book
from workbench.models.allocators.policies import Policy
from workbench.models.requests import Columns

_PR_SET_PDEATHSIG = 1  # of prctl(2): the copy goes when its parent does


def run(
    policy: Policy,
    book: Book,
    pages: loop.Pages,
    requests: Columns,
    samples: loop.Samples,
    every: int,
    placed: np.ndarray,
    statuses: np.ndarray,
) -> None:
    """Replay requests under a policy of the user's own; results as by `loop.run`.

    Raises WorkbenchError, with the policy and the request, for a function that raises, crashes or
    gives what is no page; KeyboardInterrupt ends one that does not come back.
    """
    none = Columns(*(column[:0] for column in requests))
    loop.run_chosen(book, pages, none, samples, every, placed, statuses, policy.choose, _ended())
    counts, entropy, usable, _, peaks = samples
    outputs = [book.ranges, counts, entropy, usable, peaks, placed, statuses]
    shared = [_shared(output) for output in (*outputs, np.zeros(2, np.int64), bytearray(1000))]
    *results, ended, text = shared

    def work() -> None:
        loop.run_chosen(
            book, pages, requests, samples, every, placed, statuses, policy.choose, ended
        )
        for output, result in zip(outputs, results, strict=True):
            result[...] = output
        said = _why(policy, book, requests, int(ended[0]), int(ended[1])).encode()[: len(text)]
        text[: len(said)] = np.frombuffer(said, np.uint8)

    status = _in_a_copy(work)
    said = text.tobytes().rstrip(b"\0").decode(errors="replace")
    if status:
        name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "an error"
        said = f"it ended its process with {name}; does it write past an array?"
    if said:
        row = int(ended[0])
        count = int(requests.count[row])
        raise WorkbenchError(f"policy '{policy.name}', request {row} ({count} pages): {said}")
    for output, result in zip(outputs, results, strict=True):
        output[...] = result


def _ended() -> np.ndarray:
    return np.zeros(2, np.int64)


def _why(policy: Policy, book: Book, requests: Columns, row: int, page: int) -> str:
    """What the function did wrong at the row where it ended; "" if it did not."""
    if row == len(requests.kind):
        return ""
    if page != loop.RAISED:
        last = int(book.pages[0]) - 1
        return f"it returned {page}; a page is a number from 0 to {last}, -1 refuses"
    try:
        policy.function(extents(book.ranges), int(requests.count[row]))
    except Exception as error:
        return f"it raised {type(error).__name__}: {error}"
    return "it raised an error, and not when it was asked again"


def _shared(like: Any) -> np.ndarray:
    """An array of zeros that a copy of this process can fill."""
    array = np.asarray(like) if isinstance(like, np.ndarray) else np.frombuffer(like, np.uint8)
    memory = mmap.mmap(-1, max(array.nbytes, 1))
    return np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)


def _in_a_copy(work: Callable[[], None]) -> int:
    """Do something in a copy of this process; how that ended, as waitpid(2) says it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the copy runs nothing that locks
        child = os.fork()
    if not child:
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    pause = 0.001
    try:
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            time.sleep(pause)  # a signal that another thread gets does not end waitpid
            pause = min(2 * pause, 0.05)
        return ended[1]
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
