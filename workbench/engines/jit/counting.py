"""From what machine code counts, a number for each block, to a number for each instruction."""

from collections.abc import Sequence

import numpy as np

from workbench.engines.jit.graph import graph


def spread(
    executed: np.ndarray, code: np.ndarray, starts: Sequence[int], left: tuple[int, int] | None
) -> None:
    """Give every instruction of a block the count of its first, in place.

    `executed` is uint64, a count for each slot; `code` are INSTRUCTION records, `starts` the first
    slots of what tail calls may lead to. A run that was `left` inside the block around one slot did
    not come to those from another on.
    """
    found = graph(code, starts)
    for function in found.functions.values():
        for first, block in function.blocks.items():
            executed[[ins.pc for ins in block]] = executed[first]
    if left is not None:
        rest = _from(found.functions.values(), *left)
        executed[rest] -= np.uint64(1)


def _from(functions, pc: int, first: int) -> list[int]:  # type: ignore[no-untyped-def]
    """The slots of the block with `pc` from `first` on; all functions have the same blocks.

    A block may lie around `pc` without it: a stray jump goes into the middle of a wide instruction.
    """
    for function in functions:
        for block in function.blocks.values():
            slots = [ins.pc for ins in block]
            if pc in slots:
                return [slot for slot in slots if slot >= first]
    return []
