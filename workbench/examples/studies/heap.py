"""The arena as a heap: heap.c's allocator under random blocks, and what it wastes."""

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.arena.rules import PAGE_SIZE
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.objects import Object

CHURN = struct.Struct("<4Q")  # rounds, seed, largest, damaged


class Usage(NamedTuple):
    """The heap after some rounds: blocks, bytes asked for, pages held, requests refused."""

    rounds: int
    live_blocks: int
    live_bytes: int
    held_pages: int
    refused: int
    seconds: float

    @property
    def internal_fragmentation(self) -> float:
        """Share of the held pages that nobody asked for; NaN when none is held.

        Formula `1 - live_bytes / (4096 * held_pages)`: page heads, rounding to size classes and
        free blocks. Misleads when few blocks are live: one block holds a page.
        """
        held = PAGE_SIZE * self.held_pages
        return 1 - self.live_bytes / held if held else float("nan")


def churn(
    code: "Object",
    arena: Any,
    engine: Callable[..., Any],
    rounds: int,
    steps: int = 20,
    largest: int = 300,
    seed: int = 1,
) -> "pd.DataFrame":
    """Let random blocks of up to `largest` bytes come and go: a row after each of `steps` parts.

    `engine` is wb.Interpreter, wb.Jit or wb.Kernel, `arena` one of heap.o for it. Columns: those
    of Usage and internal_fragmentation; `seconds` is measured on that engine. Raises
    WorkbenchError if a block's content changed while it was live.
    """
    import pandas as pd

    rows = list(_parts(code, arena, engine, rounds, steps, largest, seed))
    frame = pd.DataFrame(rows, columns=list(Usage._fields))
    return frame.assign(internal_fragmentation=[row.internal_fragmentation for row in rows])


def _parts(
    code: "Object",
    arena: Any,
    engine: Callable[..., Any],
    rounds: int,
    steps: int,
    largest: int,
    seed: int,
) -> Iterator[Usage]:
    names = ("live_blocks", "live_bytes", "held_pages", "refused")
    with engine(code.program("churn"), arena) as machine:
        for part in range(1, steps + 1):
            count = rounds * part // steps - rounds * (part - 1) // steps
            result = machine.run(CHURN.pack(count, seed + part, largest, 0))
            damaged = CHURN.unpack(result.ctx)[3]
            if damaged:
                raise WorkbenchError(f"{damaged} blocks were changed while they were live")
            kept = code.globals_in(arena)
            blocks, size, pages, refused = (int(str(kept[name])) for name in names)
            yield Usage(rounds * part // steps, blocks, size, pages, refused, result.seconds)
