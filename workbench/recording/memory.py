"""What a run wrote to memory, and bytes as these writes left them."""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np

from workbench.recording.columns import ABSENT, IN_ARENA, WRITE

_EIGHT = np.arange(8)


class Writes(NamedTuple):
    """Writes in the order in which they happened, as columns of one length.

    step: int64, when. address: uint64, as the program sees it. size: uint8, 1 to 8 bytes.
    new: uint64, the bytes written, little endian.
    """

    step: np.ndarray
    address: np.ndarray
    size: np.ndarray
    new: np.ndarray

    def only(self, rows: np.ndarray) -> Self:
        """The rows that a mask or an array of row numbers chooses."""
        return type(self)(*(column[rows] for column in self))


def writes(
    steps: Mapping[str, np.ndarray], changes: Mapping[str, np.ndarray] | None, in_arena: bool
) -> Writes:
    """What the steps wrote in the arena, or elsewhere, and all that helpers wrote.

    `steps` are columns of STEP_COLUMNS with a row for each step, `changes` those of CHANGES. A
    helper's writes do not say what memory they are in; their address does.
    """
    wanted = WRITE | IN_ARENA if in_arena else WRITE
    own = np.flatnonzero((steps["access"] & (WRITE | ABSENT | IN_ARENA)) == wanted)
    wrote = Writes(own, *(steps[name][own] for name in Writes._fields[1:]))
    if changes is None:
        return wrote
    theirs = np.flatnonzero(changes["size"])  # size 0 is a register
    columns = [changes[name][theirs] for name in Writes._fields]
    joined = Writes(*map(np.concatenate, zip(wrote, columns, strict=True)))
    return joined.only(np.argsort(joined.step, kind="stable"))


def put(wrote: Writes, content: np.ndarray, start: int) -> None:
    """Write into `content`, uint8[n], the bytes of memory from address `start` on; newest stay."""
    at = (wrote.address - np.uint64(start)).astype(np.int64)[:, None] + _EIGHT
    value = np.ascontiguousarray(wrote.new).view(np.uint8).reshape(-1, 8)
    inside = (wrote.size[:, None] > _EIGHT) & (at >= 0) & (at < len(content))
    newest_first, index = np.unique(at[inside][::-1], return_index=True)
    content[newest_first] = value[inside][::-1][index]
