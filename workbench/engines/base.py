"""What every engine gives back."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import pandas as pd

    from workbench.recording.trace import Trace


@dataclass(frozen=True)
class Result:
    """One run of a program.

    r0: the returned register, unsigned 64 bits (the kernel engine knows its low 32). stop: "exit",
    "fuel", "breakpoint", "fault" or "interrupt". steps: instructions executed (0 from engines that
    cannot count). seconds: time spent executing. ctx: context or memory after the run. pc: the slot
    where it stopped. reason: why, if stop is "fault". trace: what was recorded, if asked for.
    packet: the packet after the run of a socket_filter, tc or xdp program, which is its ctx too.
    printed: the texts that it printed; the kernel engine knows those of bpf_trace_printk where perf
    is allowed, and `read_stdout` streams.
    """

    engine: str
    program: str
    stop: str
    r0: int
    steps: int
    seconds: float
    ctx: bytes = b""
    pc: int = -1
    reason: str = ""
    trace: "Trace | None" = field(default=None, repr=False)
    packet: bytes = b""
    printed: tuple[str, ...] = ()

    @property
    def fault(self) -> bool:
        """Whether the program was stopped for something it must not do."""
        return self.stop == "fault"

    @property
    def events(self) -> "pd.DataFrame | None":
        """The recorded events, oldest first; None when nothing was recorded."""
        return None if self.trace is None else self.trace.events

    def __str__(self) -> str:
        lost = 0 if self.trace is None else self.trace.lost
        detail = f" ({self.reason})" if self.reason else ""
        return (
            f"{self.program} on {self.engine}: {self.stop}{detail}, r0 = {self.r0:#x}, "
            f"{self.steps:,} steps, {self.seconds * 1e3:.3g} ms"
            + (f", the {lost:,} oldest events lost" if lost else "")
        )


class Engine(Protocol):
    """A program loaded somewhere, ready to run; a context manager."""

    def run(self, ctx: bytes = b"", fuel: int | None = None, trace: str | None = None) -> Result:
        """Run from the start, at most `fuel` steps, recording what `trace` names."""

    def close(self) -> None:
        """Give back what the engine holds."""

    def __enter__(self) -> Self:
        """Enter a with block."""

    def __exit__(self, *error: object) -> None:
        """Close."""
