"""Events of this thread by perf_event_open(2): page faults with their times, tracepoints.

Source: include/uapi/linux/perf_event.h.
"""

import ctypes
import errno
import fcntl
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from ctypes import c_int32, c_uint32, c_uint64, sizeof
from functools import cache
from pathlib import Path

import numpy as np

from workbench.arena.rules import PAGE_SIZE
from workbench.engines.kernel.memory import Mapping
from workbench.errors import KernelError, Unsupported, errno_name

NUMBER = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "s390x": 331, "ppc64le": 319}
TYPE_SOFTWARE, TYPE_TRACEPOINT, COUNT_PAGE_FAULTS = 1, 2, 2
SAMPLE_TIME, SAMPLE_ADDR, SAMPLE_RAW = 1 << 2, 1 << 3, 1 << 10
DISABLED, USE_CLOCKID = 1 << 0, 1 << 25
IOC_ENABLE, IOC_DISABLE = 0x2400, 0x2401
RECORD_SAMPLE, CLOSE_ON_EXEC = 9, 1 << 3
TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
HEADER_BYTES, FAULT_BYTES = 8, 24  # of a record; of a sample: header, time, address
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


class Event:
    """An event of the thread that makes this object, and room for samples of it; stopped at first.

    `room` is in bytes. Raises KernelError, naming `what` and the cure, where perf is not allowed.
    """

    def __init__(self, wanted: Attributes, room: int, what: str) -> None:
        pages = 1 << max(0, (room - 1) // PAGE_SIZE).bit_length()
        self._fd = _open(wanted, what)
        try:
            self._ring = Mapping(self._fd, (1 + pages) * PAGE_SIZE).bytes
        except KernelError as error:
            self.close()
            raise KernelError(
                error.errno_name,
                f"no room for {room:,} bytes of samples of {what}; take "
                "fewer, or raise kernel.perf_event_mlock_kb",
            ) from None
        self._size = pages * PAGE_SIZE

    def start(self) -> None:
        """Record from now on."""
        fcntl.ioctl(self._fd, IOC_ENABLE, 0)

    def stop(self) -> None:
        """Record no longer."""
        fcntl.ioctl(self._fd, IOC_DISABLE, 0)

    def samples(self) -> Iterator[bytes]:
        """Remove the samples from the ring, oldest first; without their headers."""
        words = self._ring[:PAGE_SIZE].view("<u8")
        head, tail = int(words[HEAD]), int(words[TAIL])
        content = self._ring[PAGE_SIZE:][np.arange(tail, head) % self._size].tobytes()
        words[TAIL] = head
        at = 0
        while at < len(content):
            kind = int.from_bytes(content[at : at + 4], "little")
            end = at + max(HEADER_BYTES, int.from_bytes(content[at + 6 : at + 8], "little"))
            if kind == RECORD_SAMPLE:
                yield content[at + HEADER_BYTES : end]
            at = end

    @property
    def count(self) -> int:
        """How often it happened while recording, sampled or not."""
        return int.from_bytes(os.read(self._fd, 8), "little")

    def close(self) -> None:
        """Give the event and its ring back; further calls do nothing."""
        self._ring = np.empty(0, np.uint8)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self.close()


class PageFaults(Event):
    """The page faults of the thread that makes this object, from `start` to `stop`.

    At least `capacity` samples are kept between two calls of `take`; those that do not fit are
    counted in `lost`. Raises KernelError with the cure where perf is not allowed.
    """

    def __init__(self, capacity: int = 1 << 16) -> None:
        wanted = Attributes(
            type=TYPE_SOFTWARE,
            config=COUNT_PAGE_FAULTS,
            sample_period=1,
            sample_type=SAMPLE_TIME | SAMPLE_ADDR,
            flags=DISABLED | USE_CLOCKID,
            clockid=time.CLOCK_MONOTONIC,
        )
        super().__init__(wanted, capacity * FAULT_BYTES, "page faults")
        self._taken = 0

    def take(self) -> np.ndarray:
        """Remove the samples from the ring: uint64[n, 2] of (CLOCK_MONOTONIC ns, address)."""
        samples = np.frombuffer(b"".join(self.samples()), "<u8").reshape(-1, 2)
        self._taken += len(samples)
        return samples

    @property
    def lost(self) -> int:
        """Faults that happened and were not sampled, for want of room."""
        return max(0, self.count - self._taken)


@cache
def tracepoint(name: str) -> int | None:
    """The number of a tracepoint such as "exceptions/page_fault_kernel"; None if unknown.

    It is in tracefs; where that is not mounted, a child process mounts it for itself alone, reads
    the number, and ends.
    """
    places = [Path(at) / "events" / name / "id" for at in TRACEFS]
    try:
        for place in places:
            if place.exists():
                return int(place.read_text())
        alone = f"mount -t tracefs none {TRACEFS[0]} && cat {places[0]}"
        done = subprocess.run(["unshare", "-m", "sh", "-c", alone], capture_output=True, text=True)
        return int(done.stdout)
    except (OSError, ValueError):
        return None


def _open(wanted: Attributes, what: str) -> int:
    """Open an event, for the calling thread on any processor."""
    number = NUMBER.get(platform.machine())
    if number is None or platform.system() != "Linux":
        raise Unsupported(
            f"no perf_event_open(2) is known for {platform.system()} on {platform.machine()}"
        )
    wanted.size = sizeof(Attributes)
    fd = _syscall(number, ctypes.byref(wanted), 0, -1, -1, CLOSE_ON_EXEC)
    if fd < 0:
        failure = ctypes.get_errno()
        cure = (
            "; run as root, with CAP_PERFMON, or set kernel.perf_event_paranoid=1"
            if failure in (errno.EACCES, errno.EPERM)
            else ""
        )
        raise KernelError(
            errno_name(failure),
            f"recording {what} with perf_event_open: {os.strerror(failure)}{cure}",
        )
    return int(fd)
