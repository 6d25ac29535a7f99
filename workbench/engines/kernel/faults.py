"""Real page faults on a kernel arena, as the same event frame that the emulated arena gives."""

import time
from typing import TYPE_CHECKING, Self

import numpy as np

from workbench.arena.events import Actor, Kind
from workbench.arena.rules import PAGE_SIZE, ArenaFlags
from workbench.engines.kernel.arena import KernelArena
from workbench.engines.kernel.log import to_frame
from workbench.engines.kernel.perf import PageFaults

if TYPE_CHECKING:
    import pandas as pd


class FaultRecorder:
    """Records, while entered, what happens to the pages of an arena, with nanosecond times.

    User faults of the calling thread come from perf, with the exact address touched, however
    they came about: through `arena.user`, `arena.bytes` or native code. What programs allocated
    and freed is seen as the change of the page set after each run. `capacity` samples fit
    between two runs; `lost` counts those that did not.

        with FaultRecorder(arena) as recorder:
            arena.bytes[::4096] = 1
        recorder.events
    """

    def __init__(self, arena: KernelArena, capacity: int = 1 << 16) -> None:
        self._arena = arena
        self._capacity = capacity
        self._faults: PageFaults | None = None
        self._rows: list[tuple[int, ...]] = []
        self._present = np.empty(0, bool)
        self.lost = 0

    def __enter__(self) -> Self:
        self._rows, self.lost = [], 0
        self._present = self._arena.present
        self._faults = PageFaults(self._capacity)
        self._arena.watch(self._program_ran)
        self._faults.start()
        return self

    def __exit__(self, *error: object) -> None:
        faults, self._faults = self._faults, None
        if faults is None:
            return
        self._arena.unwatch(self._program_ran)
        try:
            faults.stop()
            self._take(faults)
            self.lost = faults.lost
        finally:
            faults.close()

    def __repr__(self) -> str:
        return f"<FaultRecorder: {len(self._rows)} events, {self.lost} faults lost>"

    @property
    def events(self) -> "pd.DataFrame":
        """The events so far, oldest first (see arena.events); `attrs["lost"]` counts the lost."""
        if self._faults is not None:
            self._take(self._faults)
            self.lost = self._faults.lost
        frame = to_frame(self._rows)
        frame.attrs["lost"] = self.lost
        return frame

    def _take(self, faults: PageFaults) -> None:
        """Add the faults on the arena since the last call, each with what it did."""
        samples = faults.take()
        low, high = self._arena.user_start, self._arena.user_start + PAGE_SIZE * len(self._present)
        inside = (samples[:, 1] >= low) & (samples[:, 1] < high)
        for ns, address in samples[inside].tolist():
            page = (address - low) // PAGE_SIZE
            kind = self._kind(page)
            self._present[page] |= kind == Kind.USER_FAULT
            self._rows.append((int(kind), int(Actor.USER), page, address, 1, ns))

    def _kind(self, page: int) -> Kind:
        if self._present[page]:
            return Kind.USER_MINOR
        return Kind.SEGV if self._arena.flags & ArenaFlags.SEGV_ON_FAULT else Kind.USER_FAULT

    def _program_ran(self) -> None:
        """Note what a program run changed, after the faults that came before it."""
        if self._faults is None:
            return
        self._take(self._faults)
        present, ns = self._arena.present, time.monotonic_ns()
        self._note(Kind.FREE, self._present & ~present, ns)
        self._note(Kind.ALLOC, present & ~self._present, ns)
        self._present = present

    def _note(self, kind: Kind, pages: np.ndarray, ns: int) -> None:
        """Add one event per run of neighbouring pages."""
        edges = np.flatnonzero(np.diff(pages.astype(np.int8), prepend=0, append=0))
        for first, end in edges.reshape(-1, 2).tolist():
            address = self._arena.user_start + first * PAGE_SIZE
            self._rows.append((int(kind), int(Actor.PROGRAM), first, address, end - first, ns))
