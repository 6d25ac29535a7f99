"""CPU time of a piece of work against a smaller one: what others run here meanwhile is left out."""

import time
from collections.abc import Callable

LEAST = 1e-3  # seconds; below, the clock's own grain and the caches decide


def cpu_time(work: Callable[[], object]) -> float:
    """Seconds of this thread's CPU time that a call takes."""
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def growth(work: Callable[[int], object], size: int, times: int) -> float:
    """How many times as long `work(times * size)` takes as `work(size)`: `times` where linear."""
    small = min(cpu_time(lambda: work(size)) for _ in range(3))
    return cpu_time(lambda: work(times * size)) / max(small, LEAST)
