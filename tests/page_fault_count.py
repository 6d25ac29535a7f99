"""How many page faults the kernel itself meets, such as those of programs at absent pages.

Counted by perf, at the tracepoint exceptions:page_fault_kernel. Its number is in tracefs; where
that is not mounted, a child process mounts it for itself alone, reads the number, and ends.
"""

import ctypes
import fcntl
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from workbench.engines.kernel.perf import (
    DISABLED,
    IOC_DISABLE,
    IOC_ENABLE,
    NUMBER,
    Attributes,
    _syscall,
)

TYPE_TRACEPOINT, IOC_SET_FILTER = 2, 0x40082406
CLOSE_ON_EXEC = 1 << 3
PLACE = "events/exceptions/page_fault_kernel/id"
MOUNTED = Path("/sys/kernel/tracing") / PLACE
ALONE = f"mount -t tracefs none /sys/kernel/tracing && cat {MOUNTED}"


def tracepoint() -> int | None:
    """The tracepoint's number; None where this process may not know it."""
    try:
        if MOUNTED.exists():
            return int(MOUNTED.read_text())
        done = subprocess.run(["unshare", "-m", "sh", "-c", ALONE], capture_output=True, text=True)
        return int(done.stdout)
    except (OSError, ValueError):
        return None


class PageFaultCount:
    """Counts this thread's faults at addresses of the kernel, inside a `with` block."""

    def __init__(self, number: int) -> None:
        wanted = Attributes(
            type=TYPE_TRACEPOINT,
            size=ctypes.sizeof(Attributes),
            config=number,
            flags=DISABLED,
        )
        machine = NUMBER[os.uname().machine]
        self._fd = _syscall(machine, ctypes.byref(wanted), 0, -1, -1, CLOSE_ON_EXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "perf_event_open")
        fcntl.ioctl(self._fd, IOC_SET_FILTER, b"address > 0xff00000000000000\0")
        self.last = 0

    def __enter__(self) -> Self:
        self._before = self._read()
        fcntl.ioctl(self._fd, IOC_ENABLE, 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        fcntl.ioctl(self._fd, IOC_DISABLE, 0)
        self.last = self._read() - self._before

    def close(self) -> None:
        os.close(self._fd)

    def _read(self) -> int:
        return int.from_bytes(os.read(self._fd, 8), "little")
