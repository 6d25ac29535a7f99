"""From what machine code counts, a number for each block, to a number for each instruction."""

from collections.abc import Sequence

import numpy as np

from workbench.engines.jit.graph import graph


def spread(
    executed: np.ndarray, code: np.ndarray, starts: Sequence[int], left_before: int | None
) -> None:
    """Give every instruction of a block the count of its first.

    A run that was left inside a block did not come to its instructions from `left_before` on.
    """
    found = graph(code, starts)
    for function in found.functions.values():
        for first, block in function.blocks.items():
            executed[[ins.pc for ins in block]] = executed[first]
    if left_before is not None:
        rest = _from(found.functions.values(), left_before)
        executed[rest] -= np.uint64(1)


def _from(functions, pc: int) -> list[int]:  # type: ignore[no-untyped-def]
    """The slots of the block around `pc`, from it on; blocks are the same in every function."""
    for function in functions:
        for block in function.blocks.values():
            if block[0].pc <= pc <= block[-1].pc:
                return [ins.pc for ins in block if ins.pc >= pc]
    return []
