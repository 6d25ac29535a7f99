"""Does freed memory stay with this process? glibc's answer, made the same for every sample."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
USUAL = 128 << 10  # glibc's own for both: mallopt(3)
LARGEST = 32 << 20  # the most that M_MMAP_THRESHOLD takes, on 64 bits
NEVER = (1 << 31) - 1  # the largest that mallopt takes: an int


@contextmanager
def kept() -> Iterator[None]:
    """Keep freed blocks of up to 32 MiB for the next use; elsewhere than glibc do nothing."""
    _call("mallopt", M_MMAP_THRESHOLD, LARGEST)
    _call("mallopt", M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        _call("mallopt", M_MMAP_THRESHOLD, USUAL)
        _call("mallopt", M_TRIM_THRESHOLD, USUAL)
        give_back()


def give_back() -> None:
    """Return all freed memory to the system."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*arguments)
