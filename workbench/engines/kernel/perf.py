"""The software page-fault event of perf_event_open(2): every fault of this thread, with its time.

Source: include/uapi/linux/perf_event.h.
"""

import ctypes
import errno
import fcntl
import os
import platform
import time
from ctypes import c_int32, c_uint32, c_uint64, sizeof

import numpy as np

from workbench.engines.kernel.memory import Mapping
from workbench.engines.kernel.syscall import errno_name
from workbench.errors import KernelError, Unsupported

NUMBER = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "s390x": 331, "ppc64le": 319}
TYPE_SOFTWARE, COUNT_PAGE_FAULTS = 1, 2
SAMPLE_TIME, SAMPLE_ADDR = 1 << 2, 1 << 3
DISABLED, USE_CLOCKID = 1 << 0, 1 << 25
IOC_ENABLE, IOC_DISABLE = 0x2400, 0x2401
RECORD_SAMPLE = 9
RECORD_BYTES = 24  # header, time, address
PAGE = 4096
HEAD, TAIL = 1024 // 8, 1032 // 8  # data_head and data_tail in struct perf_event_mmap_page

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class Attributes(ctypes.Structure):
    """struct perf_event_attr up to PERF_ATTR_SIZE_VER5."""

    _fields_ = [
        ("type", c_uint32),
        ("size", c_uint32),
        ("config", c_uint64),
        ("sample_period", c_uint64),
        ("sample_type", c_uint64),
        ("read_format", c_uint64),
        ("flags", c_uint64),
        ("wakeup_events", c_uint32),
        ("bp_type", c_uint32),
        ("config1", c_uint64),
        ("config2", c_uint64),
        ("branch_sample_type", c_uint64),
        ("sample_regs_user", c_uint64),
        ("sample_stack_user", c_uint32),
        ("clockid", c_int32),
        ("sample_regs_intr", c_uint64),
        ("aux_watermark", c_uint32),
        ("sample_max_stack", c_uint32),
    ]


class PageFaults:
    """The page faults of the thread that makes this object, from `start` to `stop`.

    At least `capacity` samples are kept between two calls of `take`; those that do not fit are
    counted in `lost`. Raises KernelError with the cure where perf is not allowed.
    """

    def __init__(self, capacity: int = 1 << 16) -> None:
        pages = 1 << max(0, (capacity * RECORD_BYTES - 1) // PAGE).bit_length()
        self._fd = _open_event()
        try:
            self._ring = Mapping(self._fd, (1 + pages) * PAGE).bytes
        except KernelError as error:
            self.close()
            raise KernelError(
                error.errno_name,
                f"no room for {capacity} page-fault samples; take "
                "fewer, or raise kernel.perf_event_mlock_kb",
            ) from None
        self._size = pages * PAGE
        self._taken = 0

    def start(self) -> None:
        """Record from now on."""
        fcntl.ioctl(self._fd, IOC_ENABLE, 0)

    def stop(self) -> None:
        """Record no longer."""
        fcntl.ioctl(self._fd, IOC_DISABLE, 0)

    def take(self) -> np.ndarray:
        """Remove the samples from the ring: uint64[n, 2] of (CLOCK_MONOTONIC ns, address)."""
        words = self._ring[:PAGE].view("<u8")
        head, tail = int(words[HEAD]), int(words[TAIL])
        data = self._ring[PAGE:]
        content = data[np.arange(tail, head) % self._size].tobytes()
        words[TAIL] = head
        samples = _samples(content)
        self._taken += len(samples)
        return samples

    @property
    def lost(self) -> int:
        """Faults that happened and were not sampled, for want of room."""
        return max(0, int.from_bytes(os.read(self._fd, 8), "little") - self._taken)

    def close(self) -> None:
        """Give the event and its ring back; further calls do nothing."""
        self._ring = np.empty(0, np.uint8)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self.close()


def _samples(content: bytes) -> np.ndarray:
    """Pick the samples out of a piece of ring, which holds other records too."""
    found, at = [], 0
    while at < len(content):
        kind, size = int.from_bytes(content[at : at + 4], "little"), content[at + 6 : at + 8]
        if kind == RECORD_SAMPLE:
            found.append(content[at + 8 : at + RECORD_BYTES])
        at += max(8, int.from_bytes(size, "little"))
    return np.frombuffer(b"".join(found), "<u8").reshape(-1, 2)


def _open_event() -> int:
    """Open the event, stopped, for the calling thread on any processor."""
    number = NUMBER.get(platform.machine())
    if number is None or platform.system() != "Linux":
        raise Unsupported(
            f"no perf_event_open(2) is known for {platform.system()} on {platform.machine()}"
        )
    wanted = Attributes(
        type=TYPE_SOFTWARE,
        size=sizeof(Attributes),
        config=COUNT_PAGE_FAULTS,
        sample_period=1,
        sample_type=SAMPLE_TIME | SAMPLE_ADDR,
        flags=DISABLED | USE_CLOCKID,
        clockid=time.CLOCK_MONOTONIC,
    )
    close_on_exec = 1 << 3
    fd = _syscall(number, ctypes.byref(wanted), 0, -1, -1, close_on_exec)
    if fd < 0:
        failure = ctypes.get_errno()
        cure = (
            "; run as root, with CAP_PERFMON, or set kernel.perf_event_paranoid=1"
            if failure in (errno.EACCES, errno.EPERM)
            else ""
        )
        raise KernelError(
            errno_name(failure),
            f"recording page faults with perf_event_open: {os.strerror(failure)}{cure}",
        )
    return int(fd)
