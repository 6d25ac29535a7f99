"""Memory that costs nothing until it is touched."""

import mmap

import numpy as np
import numpy.typing as npt

_MAP_NORESERVE = 0x4000


def lazy_bytes(size: int) -> np.ndarray:
    """`size` zero bytes, committed by the operating system page by page as they are touched.

    The mapping lives as long as any view of the array. Raises MemoryError, with what to try,
    when the address space is limited.
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
    """A zeroed one-dimensional array of lazily committed memory."""
    return lazy_bytes(count * np.dtype(dtype).itemsize).view(dtype)
