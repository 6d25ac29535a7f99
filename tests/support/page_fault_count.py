"""How many page faults the kernel itself meets, such as those of programs at absent pages.

Counted by perf, at the tracepoint exceptions:page_fault_kernel.
"""

import fcntl
from typing import Self

from workbench.arena.rules import PAGE_SIZE
from workbench.engines.kernel.perf import DISABLED, TYPE_TRACEPOINT, Attributes, Event

IOC_SET_FILTER = 0x40082406
TRACEPOINT = "exceptions/page_fault_kernel"


class PageFaultCount(Event):
    """Counts this thread's faults at addresses of the kernel, inside a `with` block."""

    def __init__(self, number: int) -> None:
        wanted = Attributes(type=TYPE_TRACEPOINT, config=number, flags=DISABLED)
        super().__init__(wanted, PAGE_SIZE, "page faults of the kernel")
        fcntl.ioctl(self._fd, IOC_SET_FILTER, b"address > 0xff00000000000000\0")
        self.last = 0

    def __enter__(self) -> Self:
        self._before = self.count
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self.last = self.count - self._before
