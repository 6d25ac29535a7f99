"""Memory that costs nothing until it is touched, and memory at an address of our choice."""

import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

_MAP_NORESERVE = 0x4000  # of mmap(2), which Python does not name
_MAP_FIXED_NOREPLACE = 0x100000  # this one too
_FAILED = ctypes.c_void_p(-1).value


def lazy_bytes(size: int) -> np.ndarray:
    """`size` zero bytes, committed by the operating system page by page as they are touched.

    Returns uint8[size]; the mapping lives as long as any view of it. Raises MemoryError, with what
    to try, when the address space is limited.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    try:
        mapping = mmap.mmap(-1, size, flags=flags)
    except OSError as error:
        raise MemoryError(
            f"cannot reserve {size >> 20} MiB of address space ({error.strerror}); "
            "raise the limit shown by 'ulimit -v', or set vm.overcommit_memory to 0 or 1"
        ) from None
    mapping.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(mapping, np.uint8)


def lazy_zeros(count: int, dtype: npt.DTypeLike) -> np.ndarray:
    """A zeroed array dtype[count] of lazily committed memory.

    Raises MemoryError, with what to try, when the address space is limited.
    """
    return lazy_bytes(count * np.dtype(dtype).itemsize).view(dtype)


@contextmanager
def bytes_at(address: int, size: int) -> Iterator[np.ndarray]:
    """Zero bytes, uint8[size], at this very address of the process, for a `with` block.

    Raises MemoryError when the range is in use. The array must not be used afterwards.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED_NOREPLACE
    found = libc.mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if found != address:  # before Linux 4.17, and elsewhere, the address is only a hint
        reason = os.strerror(ctypes.get_errno()) if found == _FAILED else "it is taken"
        if found != _FAILED:
            libc.munmap(found, size)
        raise MemoryError(f"cannot map {size} bytes at {address:#x}: {reason}")
    try:
        yield np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
    finally:
        libc.munmap(address, size)
