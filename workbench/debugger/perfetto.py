"""A recorded run as a file for ui.perfetto.dev, chrome://tracing and speedscope.

One step is shown as one microsecond: the time axis counts instructions, not time.
Format: the Trace Event Format (JSON), as Perfetto reads it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from workbench.arena.events import Kind
from workbench.bpf.addresses import MAX_FRAMES
from workbench.files import write_whole
from workbench.recording.trace import Trace

_USER = 100  # the thread that stands for user space, above every CPU


def to_perfetto(trace: Trace, path: str | Path) -> Path:
    """Write a recorded run: functions as slices, page events and faults as marks, live pages.

    Every CPU is a thread. Raises Unsupported without recorded steps, SaveError if the file cannot
    be written.
    """
    rows = [*_names(trace), *_slices(trace), *_page_events(trace)]
    about = {"program": trace.program.name, "one microsecond": "one instruction"}
    text = json.dumps({"traceEvents": rows, "otherData": about}, separators=(",", ":"))
    write_whole(path, text)
    return Path(path)


def _names(trace: Trace) -> Iterator[dict[str, Any]]:
    threads = {int(cpu): f"CPU {cpu}" for cpu in np.unique(trace.cpus)}
    for thread, name in {**threads, _USER: "user space"}.items():
        yield {"ph": "M", "pid": 1, "tid": thread, "name": "thread_name", "args": {"name": name}}
    program = {"name": trace.program.name}
    yield {"ph": "M", "pid": 1, "tid": 0, "name": "process_name", "args": program}


def _slices(trace: Trace) -> Iterator[dict[str, Any]]:
    """A slice for each function call, from its first step to its last."""
    steps = trace.recorded_steps()
    opened: dict[int, list[tuple[int, int]]] = {}
    order = np.argsort(trace.cpus, kind="stable")
    for cpu in np.unique(trace.cpus).tolist():
        mine = order[trace.cpus[order] == cpu]
        depth = steps["depth"][mine] % MAX_FRAMES
        edges = np.flatnonzero(np.diff(depth.astype(np.int16))) + 1
        stack = opened.setdefault(cpu, [])
        stack.append((int(mine[0]), int(steps["pc"][mine[0]])))
        for at in edges.tolist():
            step = int(mine[at])
            if depth[at] > depth[at - 1]:
                stack.append((step, int(steps["pc"][step])))
            else:
                yield _slice(trace, cpu, *stack.pop(), step)
        while stack:
            yield _slice(trace, cpu, *stack.pop(), int(mine[-1]) + 1)


def _slice(trace: Trace, cpu: int, first: int, pc: int, end: int) -> dict[str, Any]:
    line = trace.program.line_of(pc)
    known = {sub.pc: sub.name for sub in trace.program.subprograms}
    name = known.get(pc) or (trace.program.name if pc == 0 else f"function at {pc}")
    args = {"pc": pc, "source": line.text.strip() if line else ""}
    return {
        "ph": "X", "pid": 1, "tid": cpu, "ts": first, "dur": end - first, "name": name, "args": args
    }  # fmt: skip


def _page_events(trace: Trace) -> Iterator[dict[str, Any]]:
    """Marks for page events and faults, and the number of live pages as a counter."""
    log = trace.page_events
    live = set(trace.initial.pages.tolist()) if trace.initial else set()
    for at, step in enumerate(trace.event_steps.tolist()):
        kind, page, count = (int(log[name][at]) for name in ("kind", "page", "count"))
        thread = _USER if log["actor"][at] else int(trace.cpus[min(step, len(trace) - 1)])
        mark = {"ph": "i", "s": "t", "pid": 1, "tid": thread, "ts": step}
        args = {"page": page, "count": count, "pc": int(log["pc"][at])}
        yield {**mark, "name": Kind(kind).name.lower().replace("_", " "), "args": args}
        if kind in (Kind.ALLOC, Kind.USER_FAULT):
            live.update(range(page, page + count))
        elif kind == Kind.FREE:
            live.difference_update(range(page, page + count))
        pages = {"pages": len(live)}
        yield {"ph": "C", "pid": 1, "ts": step, "name": "live pages", "args": pages}
