"""User space looking at a real arena: every touch really happens, a refused one is an exception."""

import numpy as np

from workbench.arena.events import Actor, Kind
from workbench.arena.rules import PAGE_SIZE, WINDOW, ArenaFlags
from workbench.arena.structures import Structured
from workbench.arena.user import dtype_of
from workbench.engines.kernel import memory
from workbench.engines.kernel.log import Log
from workbench.engines.kernel.memory import Mapping, PageMap
from workbench.engines.kernel.service import Service
from workbench.errors import KernelError, SegmentationFault


class UserView(Structured):
    """The mapping of a KernelArena with the members of the emulated view.

    Before an unmapped page is touched, it is asked whether the page exists, so that the arena's
    log distinguishes a fault that made a page (user_fault) from one that mapped it (user_minor).
    """

    def __init__(self, mapping: Mapping, service: Service, flags: ArenaFlags, log: Log) -> None:
        self._mapping: Mapping | None = mapping
        self._service = service
        self._start, self._end = mapping.address, mapping.address + mapping.length
        self._fatal = bool(flags & ArenaFlags.SEGV_ON_FAULT)
        self._log = log
        self._page_map: PageMap | None = None

    def close(self) -> None:
        """Let go of the mapping."""
        self._mapping = None
        if self._page_map is not None:
            self._page_map.close()

    def load(self, address: int, kind: str = "u64") -> int:
        """Read one number of a kind such as "u64"; raises SegmentationFault where it is refused."""
        dtype = dtype_of(kind)
        return int(np.frombuffer(self.read(address, dtype.itemsize), dtype)[0])

    def store(self, address: int, kind: str, value: int) -> None:
        """Write one number, reduced to its width; raises SegmentationFault where it is refused."""
        size = dtype_of(kind).itemsize
        self.write(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def read(self, address: int, size: int) -> bytes:
        """Read bytes; raises SegmentationFault at the first page that user space must not touch."""
        self._touch(address, size, "load")
        return memory.read_user(address, size) if size else b""

    def write(self, address: int, data: bytes) -> None:
        """Write bytes; raises SegmentationFault at the first page that user space must not touch.

        Pages before that one are touched, but nothing is written.
        """
        self._touch(address, len(data), "store")
        if data:
            memory.write_user(address, data)

    def array(self, address: int, kind: str, count: int, write: bool = True) -> np.ndarray:
        """A NumPy view of `count` numbers at a user address, without copying.

        Its pages are touched now; later uses of the array are not recorded. It keeps the memory
        of a closed arena alive. With SEGV_ON_FAULT, using it after a program freed its pages
        ends the process. Raises SegmentationFault at the first page that must not be touched.
        """
        dtype = dtype_of(kind)
        size = count * dtype.itemsize
        self._touch(address, size, "store" if write else "load")
        begin = address - self._start
        return self._opened().bytes[begin : begin + size].view(dtype)

    def mapped(self, address: int, count: int) -> np.ndarray:
        """Whether user space maps each of `count` pages from `address` on: bool[count].

        Raises KernelError EBADF after `close`.
        """
        self._opened()
        if self._page_map is None:
            self._page_map = PageMap()
        return self._page_map.mapped(address, count)

    def _opened(self) -> Mapping:
        if self._mapping is None:
            raise KernelError("EBADF", "this arena was closed")
        return self._mapping

    def _touch(self, address: int, size: int, access: str) -> None:
        """Touch every page of [address, address + size), in order, until one is refused."""
        if size < 0 or not 0 <= address < 1 << 64:
            reason = "not an address" if size >= 0 else "negative size"
            raise SegmentationFault(address, access, reason)
        if address + size > 1 << 64 or size > WINDOW:
            raise SegmentationFault(address, access, "larger than any arena")
        if size == 0:
            return
        inside = min(address + size, self._end) if address >= self._start else address
        first = address & -PAGE_SIZE
        unmapped = self._unmapped(first, -(-(inside - first) // PAGE_SIZE))
        if len(unmapped):
            self._fault_in(unmapped, address, access)
        if inside < address + size:
            raise self._refused(
                max(inside, address),
                access,
                f"the arena is mapped at [{self._start:#x}, {self._end:#x})",
            )

    def _unmapped(self, first: int, count: int) -> np.ndarray:
        """Addresses of the pages that the next touch would fault on."""
        if count <= 0 or not self._start <= first < self._end:
            self._opened()
            return np.empty(0, np.int64)
        return first + np.flatnonzero(~self.mapped(first, count)) * PAGE_SIZE

    def _fault_in(self, pages: np.ndarray, address: int, access: str) -> None:
        """Touch unmapped pages one by one and note what each fault did."""
        for page, present in zip(
            pages.tolist(), self._service.presence(pages).tolist(), strict=True
        ):
            if not memory.can_read(max(page, address)):
                reason = (
                    "SEGV_ON_FAULT: the program has not allocated this page"
                    if self._fatal
                    else "the kernel refused it; is memory exhausted?"
                )
                raise self._refused(max(page, address), access, reason)
            kind = Kind.USER_MINOR if present else Kind.USER_FAULT
            self._log.note(kind, Actor.USER, page, 1)

    def _refused(self, address: int, access: str, reason: str) -> SegmentationFault:
        self._log.note(Kind.SEGV, Actor.USER, address, 0)
        return SegmentationFault(address, access, reason)
