"""Where two runs part: step by step, aligned by the instructions that they execute.

Two runs of one program, or of one program in two arenas (with conversion and without), execute the
same slots for long stretches. Where they take different ways, the alignment skips the fewest steps
after which both execute the same slots again.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.arguments import instance, takes
from workbench.bpf.disassembler import listing
from workbench.errors import WorkbenchError
from workbench.recording.columns import ABSENT, NO_REGISTER, WRITE
from workbench.recording.trace import Trace

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("step", "other_step", "pc", "text", "what", "value", "other_value")
LOOK_AHEAD = 2000  # steps that one run may take alone; looking through them takes 1 ms
AGREE = 8  # equal slots after which two runs count as together again; not measured


class Stretch(NamedTuple):
    """Steps [first, end) of one run and [other, other_end) of the other.

    A stretch that both took together is of one length and has the same slots.
    """

    first: int
    end: int
    other: int
    other_end: int
    together: bool


@takes(trace=instance(Trace), other=instance(Trace))
def align(trace: Trace, other: Trace) -> list[Stretch]:
    """Split two recorded runs of one program into stretches taken together and alone.

    Raises WorkbenchError for runs of different programs. What follows a parting of more than
    2,000 steps is one last stretch taken alone.
    """
    if trace.program.bytecode != other.program.bytecode:
        raise WorkbenchError(
            f"'{trace.program.name}' and '{other.program.name}' are different programs; "
            "only runs of one program can be aligned"
        )
    return list(_stretches(trace.recorded_steps()["pc"], other.recorded_steps()["pc"]))


def diff(trace: Trace, other: Trace) -> "pd.DataFrame":
    """Compare two recorded runs of one program: a row for each effect that differs.

    Columns: step and other_step (-1: not taken), pc, text, what ("r3", the user address of a
    byte range, or "path" for steps that only one run took), value and other_value (Python ints,
    None where there is none). Registers and memory are compared where they are written, so a
    difference shows once, not again at every later step. Raises WorkbenchError for runs of
    different programs, Unsupported without recorded steps.
    """
    import pandas as pd

    texts = listing(trace.program)
    rows: list[tuple[object, ...]] = []
    for stretch in align(trace, other):
        rows += _effects(trace, other, stretch) if stretch.together else _paths(trace, stretch)
        if not stretch.together:
            rows += [(-1, row[0], *row[2:]) for row in _paths(other, _mirror(stretch))]
    table = [(a, b, pc, texts[int(str(pc))], *rest) for a, b, pc, *rest in rows]
    frame = pd.DataFrame(table, columns=list(COLUMNS))
    return frame.astype({"value": object, "other_value": object})


def _mirror(stretch: Stretch) -> Stretch:
    return Stretch(stretch.other, stretch.other_end, stretch.first, stretch.end, stretch.together)


def _stretches(a: np.ndarray, b: np.ndarray) -> Iterator[Stretch]:
    i = j = 0
    while i < len(a) and j < len(b):
        length = min(len(a) - i, len(b) - j)
        differs = np.flatnonzero(a[i : i + length] != b[j : j + length])
        same = int(differs[0]) if differs.size else length
        if same:
            yield Stretch(i, i + same, j, j + same, True)
        i, j = i + same, j + same
        if i < len(a) and j < len(b):
            skip, other_skip = _rejoin(a[i : i + LOOK_AHEAD], b[j : j + LOOK_AHEAD])
            if skip < 0:
                break
            yield Stretch(i, i + skip, j, j + other_skip, False)
            i, j = i + skip, j + other_skip
    if i < len(a) or j < len(b):
        yield Stretch(i, len(a), j, len(b), False)


def _rejoin(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """The fewest steps to skip in each until AGREE slots are equal; (-1, -1) if never."""
    if len(a) < AGREE or len(b) < AGREE:
        ends = {bytes(a[-n:]): n for n in range(1, min(len(a), len(b)) + 1)}
        tails = [n for n in ends.values() if bytes(b[-n:]) == bytes(a[-n:])]
        return (len(a) - max(tails), len(b) - max(tails)) if tails else (-1, -1)
    windows = np.lib.stride_tricks.sliding_window_view
    places: dict[bytes, int] = {}
    for at, window in enumerate(windows(b, AGREE)):
        places.setdefault(window.tobytes(), at)
    best = (-1, -1)
    for at, window in enumerate(windows(a, AGREE)):
        found = places.get(window.tobytes())
        if found is not None and (best[0] < 0 or at + found < sum(best)):
            best = at, found
        if best[0] >= 0 and at >= sum(best):
            break
    return best


def _effects(trace: Trace, other: Trace, stretch: Stretch) -> list[tuple[object, ...]]:
    """Values that came out differently at steps that both runs took."""
    mine = {n: c[stretch.first : stretch.end] for n, c in trace.recorded_steps().items()}
    theirs = {n: c[stretch.other : stretch.other_end] for n, c in other.recorded_steps().items()}
    rows: list[tuple[object, ...]] = []
    wrote = (mine["reg"] != NO_REGISTER) | (theirs["reg"] != NO_REGISTER)
    for at in np.flatnonzero(wrote & (mine["value"] != theirs["value"])).tolist():
        name = f"r{min(int(mine['reg'][at]), int(theirs['reg'][at]))}"
        rows.append(_row(stretch, mine, at, name, mine["value"][at], theirs["value"][at]))
    stored, other_stored = _stored(mine), _stored(theirs)
    changed = (mine["new"] != theirs["new"]) | (mine["address"] != theirs["address"])
    changed = ((stored & other_stored) & changed) | (stored != other_stored)
    for at in np.flatnonzero(changed).tolist():
        what = f"[{int(mine['address'][at]):#x}]"
        value = mine["new"][at] if stored[at] else None
        rows.append(
            _row(stretch, mine, at, what, value, theirs["new"][at] if other_stored[at] else None)
        )
    return sorted(rows, key=lambda row: int(str(row[0])))


def _stored(steps: dict[str, np.ndarray]) -> np.ndarray:
    """Which steps changed memory."""
    return (steps["access"] & (WRITE | ABSENT)) == WRITE


def _row(
    stretch: Stretch, mine: dict[str, np.ndarray], at: int, what: str, value: object, other: object
) -> tuple[object, ...]:
    values = [None if v is None else int(str(v)) for v in (value, other)]
    return (stretch.first + at, stretch.other + at, int(mine["pc"][at]), what, *values)


def _paths(trace: Trace, stretch: Stretch) -> list[tuple[object, ...]]:
    """Steps that one run took alone: one row for each."""
    pc = trace.recorded_steps()["pc"]
    return [
        (step, -1, int(pc[step]), "path", None, None) for step in range(stretch.first, stretch.end)
    ]
