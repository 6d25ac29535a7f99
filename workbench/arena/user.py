"""The user's side of an arena: touches that fault pages in, or raise what SIGSEGV would report."""

import numpy as np

from workbench.arena.rules import GUARD, WINDOW
from workbench.arena.state import VMA_END, VMA_START, WRITABLE, ArenaState, user_touch
from workbench.arena.structures import Structured
from workbench.errors import SegmentationFault, WorkbenchError

DTYPES = {
    name: np.dtype(code)
    for name, code in {
        "u8": "u1", "u16": "<u2", "u32": "<u4", "u64": "<u8",
        "s8": "i1", "s16": "<i2", "s32": "<i4", "s64": "<i8",
    }.items()
}  # fmt: skip


def dtype_of(kind: str) -> np.dtype:
    """The NumPy dtype of a kind of number such as "u64"; raises WorkbenchError for no such kind."""
    if kind not in DTYPES:
        raise WorkbenchError(f"unknown kind of number '{kind}'; choose from {', '.join(DTYPES)}")
    return DTYPES[kind]


class UserView(Structured):
    """User space looking at an arena through its mapping; addresses are 64-bit user addresses.

    A touch of an absent page makes it present, as a page fault does, or raises SegmentationFault
    where Linux delivers SIGSEGV. A kind of number is "u8", "s8" and so on up to "u64", "s64".
    Raises WorkbenchError for any other.
    """

    def __init__(self, state: ArenaState) -> None:
        self._state = state

    def load(self, address: int, kind: str = "u64") -> int:
        """Read one number; raises SegmentationFault."""
        return int(self._touch(address, 1, dtype_of(kind), False)[0])

    def store(self, address: int, kind: str, value: int) -> None:
        """Write one number, reduced to its width; raises SegmentationFault."""
        dtype = dtype_of(kind)
        data = (value & (1 << 8 * dtype.itemsize) - 1).to_bytes(dtype.itemsize, "little")
        self.write(address, data)

    def read(self, address: int, size: int) -> bytes:
        """Read bytes; raises SegmentationFault."""
        return self._touch(address, size, DTYPES["u8"], False).tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Write bytes; raises SegmentationFault, with the pages before touched, nothing written."""
        view = self._touch(address, len(data), DTYPES["u8"], True)
        view[:] = np.frombuffer(data, np.uint8)

    def array(self, address: int, kind: str, count: int, write: bool = True) -> np.ndarray:
        """A NumPy view of `count` numbers at a user address, without copying; one-dimensional.

        Its pages are touched now, later uses of the array are not recorded. It keeps the memory of
        a closed arena alive. Raises SegmentationFault.
        """
        return self._touch(address, count, dtype_of(kind), write)

    def _touch(self, address: int, count: int, dtype: np.dtype, store: bool) -> np.ndarray:
        size = count * dtype.itemsize
        access = "store" if store else "load"
        if count < 0 or not 0 <= address < 1 << 64:
            raise SegmentationFault(
                address, access, "not an address" if count >= 0 else "negative size"
            )
        if address + size > 1 << 64 or size > WINDOW:
            raise SegmentationFault(address, access, "larger than any arena")
        refused, at = user_touch(self._state, np.uint64(address), np.uint64(size), store)
        if refused:
            raise SegmentationFault(int(at), access, self._reason(int(at), access))
        low = GUARD + address % WINDOW
        return self._state.window[low : low + size].view(dtype)

    def _reason(self, address: int, access: str) -> str:
        start, end = (int(self._state.meta[at]) for at in (VMA_START, VMA_END))
        if not start <= address < end:
            return f"the arena is mapped at [{start:#x}, {end:#x})"
        if access == "store" and not self._state.meta[WRITABLE]:
            return "the arena is mapped without write permission"
        return "SEGV_ON_FAULT: the program has not allocated this page"
