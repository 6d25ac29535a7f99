"""The contents of an arena at one moment, comparable byte for byte across engines."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The present pages of an arena.

    pages: uint32[n], relative to the arena's start, ascending. bytes: uint8[n, 4096]. free: the
    free ranges as int64[n, 2] rows (first page, pages), None where nobody knows them.
    """

    pages: np.ndarray
    bytes: np.ndarray
    free: np.ndarray | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and not self.difference(other)

    def difference(self, other: "Snapshot") -> str:
        """Say in one line where two snapshots first differ; "" when pages and bytes are equal."""
        mine, theirs = set(self.pages.tolist()), set(other.pages.tolist())
        if mine != theirs:
            page = min(mine ^ theirs)
            return f"page {page} is present in only the {'first' if page in mine else 'second'}"
        rows, columns = np.nonzero(self.bytes != other.bytes)
        if not len(rows):
            return ""
        page, offset = int(self.pages[rows[0]]), int(columns[0])
        first, second = self.bytes[rows[0], offset], other.bytes[rows[0], offset]
        return f"page {page}, byte {offset:#x}: {first:#04x} and {second:#04x}"
