"""What programs print with bpf_trace_printk, taken from the tracepoint that it goes through.

A sample is a length (u32) and the event: 8 bytes that all events have, a u32 with the place of the
text in its low half, and the text, ending in a zero byte. Source: kernel/trace/bpf_trace.h.
"""

import threading
from typing import Self

from workbench.bpf.helper_names import Helper
from workbench.engines.kernel.perf import (
    DISABLED,
    SAMPLE_RAW,
    TYPE_TRACEPOINT,
    Attributes,
    Event,
    tracepoint,
)
from workbench.errors import KernelError, Unsupported

PRINTING = (Helper.TRACE_PRINTK, Helper.TRACE_VPRINTK)
_NAME = "bpf_trace/bpf_trace_printk"
_ROOM = 1 << 19  # bytes of samples: what Linux lets everybody lock (perf_event_mlock_kb)
_LENGTH, _PLACE = 4, 12  # where the event begins in a sample, and where it has the text's place


class Printed:
    """The texts of this thread's runs inside a `with` block; none where perf is not allowed."""

    def __init__(self) -> None:
        self.texts: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self._event = _event()
        if self._event is not None:
            self._event.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._event is not None:
            self._event.stop()
            self.texts = tuple(_text(sample) for sample in self._event.samples())


_of_thread = threading.local()


def _event() -> Event | None:
    """The event of this thread; Linux takes tens of milliseconds to close one, so it stays."""
    if not hasattr(_of_thread, "event"):
        _of_thread.event = _opened()
    event: Event | None = _of_thread.event
    return event


def _opened() -> Event | None:
    number = tracepoint(_NAME)
    if number is None:
        return None
    wanted = Attributes(
        type=TYPE_TRACEPOINT,
        config=number,
        sample_period=1,
        sample_type=SAMPLE_RAW,
        flags=DISABLED,
    )
    try:
        return Event(wanted, _ROOM, "what programs print")
    except (KernelError, Unsupported):
        return None


def _text(sample: bytes) -> str:
    place = int.from_bytes(sample[_PLACE : _PLACE + 2], "little")
    text, _, _ = sample[_LENGTH + place :].partition(b"\0")
    return text.decode(errors="replace")
