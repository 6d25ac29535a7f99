"""Mappings of kernel objects as NumPy arrays, and touches of user memory that cannot kill us.

A touch goes through process_vm_readv/writev with the touched address on the *local* side: the
kernel then copies with ordinary user accesses, which fault exactly as the process's own would,
and a refused one is EFAULT instead of SIGSEGV.
"""

import ctypes
import errno
import mmap
import os
import platform
from ctypes import c_char, c_size_t, c_ulong, c_void_p

import numpy as np

from workbench.errors import KernelError, SegmentationFault, errno_name

MAP_FIXED_NOREPLACE = 0x100000
ADDRESS_LIMIT = 1 << 63  # the kernel's half; no user touch can succeed there
READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = c_void_p
_mmap.argtypes = [c_void_p, c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_munmap = _libc.munmap
_munmap.argtypes = [c_void_p, c_size_t]
_FAILED = (1 << 64) - 1


class IoVec(ctypes.Structure):
    """struct iovec: one piece of memory."""

    _fields_ = [("base", c_void_p), ("length", c_size_t)]


def _vector(name: str) -> "ctypes._NamedFuncPointer":
    """Look up a function that only Linux has."""
    function = getattr(_libc, name)
    function.restype = ctypes.c_ssize_t
    function.argtypes = [
        ctypes.c_int,
        ctypes.POINTER(IoVec),
        c_ulong,
        ctypes.POINTER(IoVec),
        c_ulong,
        c_ulong,
    ]
    return function


if platform.system() == "Linux":
    _readv, _writev = _vector("process_vm_readv"), _vector("process_vm_writev")


def map_memory(
    fd: int,
    address: int,
    length: int,
    protection: int = READ_WRITE,
    flags: int = mmap.MAP_SHARED,
    offset: int = 0,
) -> int:
    """Call mmap(2) as it stands; returns the address, raises KernelError with the errno's name."""
    result = _mmap(address, length, protection, flags, fd, offset)
    if result == _FAILED:
        number = ctypes.get_errno()
        raise KernelError(
            errno_name(number), f"mapping {length} bytes at {address:#x}: {os.strerror(number)}"
        )
    return result or 0


def unmap_memory(address: int, length: int) -> None:
    """Call munmap(2); raises KernelError with the errno's name."""
    if _munmap(address, length):
        number = ctypes.get_errno()
        raise KernelError(errno_name(number), f"unmapping {address:#x}: {os.strerror(number)}")


class Mapping:
    """Mapped memory that lives until neither its owner nor any array made from it remains."""

    def __init__(
        self, fd: int, length: int, address: int = 0, flags: int = mmap.MAP_SHARED
    ) -> None:
        self.length = length
        self.address = map_memory(fd, address, length, READ_WRITE, flags)

    @property
    def __array_interface__(self) -> dict[str, object]:
        """NumPy's protocol for memory that another object owns."""
        return {
            "version": 3,
            "shape": (self.length,),
            "typestr": "|u1",
            "data": (self.address, False),
        }

    @property
    def bytes(self) -> np.ndarray:
        """The memory as a zero-copy uint8 array; the array keeps the mapping."""
        return np.asarray(self)

    def __del__(self) -> None:
        if getattr(self, "address", 0) and _munmap is not None:  # None while Python shuts down
            _munmap(self.address, self.length)


def read_user(address: int, length: int) -> bytes:
    """Read this process's memory as a user load would.

    Raises SegmentationFault where the load would kill the process.
    """
    target = ctypes.create_string_buffer(length)
    moved = _touch(_writev, address, target, length)
    if moved < length:
        raise SegmentationFault(address + moved, "load", "the page is absent, or not mapped")
    return target.raw


def write_user(address: int, content: bytes) -> None:
    """Write this process's memory as a user store would.

    Raises SegmentationFault where the store would kill the process; bytes before it stay written.
    """
    source = ctypes.create_string_buffer(content, len(content))
    moved = _touch(_readv, address, source, len(content))
    if moved < len(content):
        raise SegmentationFault(address + moved, "store", "the page is absent, or not mapped")


def can_read(address: int) -> bool:
    """Load one byte as a user would, populating its page; False instead of SIGSEGV."""
    return _touch(_writev, address, ctypes.create_string_buffer(1), 1) == 1


def _touch(
    function: "ctypes._NamedFuncPointer", address: int, buffer: "ctypes.Array[c_char]", length: int
) -> int:
    """Move bytes between `address` (touched) and `buffer`; returns how many were moved."""
    if length == 0 or not 0 <= address < ADDRESS_LIMIT:
        return 0
    local = IoVec(address, length)
    remote = IoVec(ctypes.addressof(buffer), length)
    moved = function(os.getpid(), ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    if moved < 0 and ctypes.get_errno() != errno.EFAULT:
        number = ctypes.get_errno()
        raise KernelError(errno_name(number), f"touching {address:#x}: {os.strerror(number)}")
    return max(moved, 0)


class PageMap:
    """This process's page table, as far as /proc/self/pagemap shows it: which pages it maps."""

    def __init__(self) -> None:
        self._fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)

    def mapped(self, address: int, count: int) -> np.ndarray:
        """Whether each of `count` pages from `address` on is mapped: bool[count]."""
        entries = os.pread(self._fd, 8 * count, address // mmap.PAGESIZE * 8)
        return (np.frombuffer(entries, "<u8") >> np.uint64(63)).astype(bool)

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()
