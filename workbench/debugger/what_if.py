"""The same run once more, with a register or a byte changed on the way."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from workbench.arena import Arena
from workbench.arena.rules import PAGE_SIZE
from workbench.arguments import mapping, optional, takes, whole
from workbench.bpf.isa import REGISTERS
from workbench.bpf.releases import DEFAULT
from workbench.engines.interpreter.engine import interpret
from workbench.engines.machine import state as core
from workbench.engines.machine.prepared import Prepared
from workbench.engines.machine.recorded import Recorded
from workbench.errors import TraceError, Unsupported
from workbench.recording.trace import Trace
from workbench.recording.window import IN_BROWSER
from workbench.verifier import verify

MASK = (1 << 64) - 1


@takes(step=whole(), registers=optional(mapping), memory=optional(mapping), fuel=optional(whole()))
def fork(
    trace: Trace,
    step: int,
    registers: Mapping[int, int] | None = None,
    memory: Mapping[int, bytes] | None = None,
    fuel: int | None = None,
    seed: int = 1,
) -> Trace:
    """Run a recorded program again, change its state before `step`, and record what follows.

    registers: new values of r0 to r9 of the current function, by number. memory: new bytes by
    user address, in pages that are present. fuel: steps in all, as many as were recorded or
    1,000,000 unless given. seed: that of the recorded run. The result is a recording from the
    first step on, so that it can be compared with `trace.diff`.

    Raises TraceError for a step outside the recording, for a register or an address that cannot be
    changed, and when the run does not repeat up to `step`, as when user space took part in it;
    Unsupported for a run of several CPUs, and where the arena's first content was not recorded.
    """
    if trace.arena is not None and trace.initial is None:
        raise Unsupported("the trace does not know its arena at the start; run with trace='steps'")
    if len(trace) and trace.cpus.any():
        raise Unsupported("a run of several CPUs is not forked; record it under another schedule")
    if not 0 <= step < len(trace):
        raise TraceError(f"no step {step} to change anything before; there are {len(trace)}")
    total = fuel if fuel is not None else max(len(trace), IN_BROWSER)
    prepared = Prepared(trace.program, _arena(trace), verify=_verified(trace), seed=seed)
    prepared.start(trace.ctx)
    changed: list[_Row] = []
    if step == 0:  # then it belongs to the state that the recording begins with
        _change(prepared, registers or {}, memory or {})
        recorded = Recorded(prepared, "steps", total)
    else:
        recorded = Recorded(prepared, "steps", total)
        interpret(prepared, step, recorded, breaks=False)
        _check_same(trace, prepared, step)
        changed = _change(prepared, registers or {}, memory or {})
    stop = interpret(prepared, max(total - step, 0), recorded, breaks=False)
    reason = prepared.reason() if stop == "fault" else ""
    result = recorded.trace(stop, reason, prepared.steps)
    assert result is not None
    return replace(result, changes=_with(result.changes, step - 1, changed))


def _arena(trace: Trace) -> Arena | None:
    """The arena as it was before the run."""
    if trace.arena is None or trace.initial is None:
        return None
    release = trace.report.asked.release if trace.report else DEFAULT
    arena = Arena(trace.arena.pages, trace.arena.flags, trace.arena.user_start, release)
    arena.restore(trace.initial)
    return arena


def _verified(trace: Trace) -> bool:
    """Whether the recorded run was a verified one: then its code was rewritten."""
    if trace.report is not None:
        return trace.report.ok
    report = verify(trace.program, trace.arena.flags if trace.arena else 0)
    return report.ok


def _check_same(trace: Trace, prepared: Prepared, step: int) -> None:
    """Raise TraceError unless the run stands where the recorded one stood."""
    state = trace.state(step)
    same = prepared.steps == step and prepared.pc == state.pc
    if not same or not np.array_equal(prepared.registers, state.registers):
        raise TraceError(
            f"the run does not repeat up to step {step}: another seed, or user space took part"
        )


class _Row(NamedTuple):
    """A change of memory or, with size 0, of a register: a row of recording.columns.CHANGES."""

    address: int
    size: int
    old: int
    new: int


def _with(
    changes: dict[str, np.ndarray] | None, step: int, rows: list[_Row]
) -> dict[str, np.ndarray] | None:
    """What helpers changed, and rows that came after `step`."""
    if changes is None or not rows:
        return changes
    more = {"step": [step] * len(rows)}
    more |= {name: [getattr(row, name) for row in rows] for name in _Row._fields}
    joined = {
        name: np.concatenate([column, np.array(more[name], column.dtype)])
        for name, column in changes.items()
    }
    order = np.argsort(joined["step"], kind="stable")
    return {name: column[order] for name, column in joined.items()}


def _change(
    prepared: Prepared, registers: Mapping[int, int], memory: Mapping[int, bytes]
) -> list[_Row]:
    """Change the state of a run, and say what changed."""
    rows = []
    for number, value in registers.items():
        if not 0 <= number <= 9:
            raise TraceError(f"r{number} cannot be changed; choose r0 to r9")
        at = prepared.depth * core.FRAME_REGISTERS + number
        row = _Row(
            prepared.depth * REGISTERS + number, 0, int(prepared.machine.regs[at]), value & MASK
        )
        prepared.machine.regs[at] = np.uint64(row.new)
        rows.append(row)
    for address, content in memory.items():
        rows += _write(prepared.arena, address, content)
    return rows


def _write(arena: Arena | None, address: int, content: bytes) -> list[_Row]:
    """Change bytes of present pages, without a fault or an event."""
    first = address - arena.user_start if arena else -1
    end = first + len(content)
    if arena is None or first < 0 or end > len(arena.bytes):
        raise TraceError(f"{address:#x} is not in the arena; memory is changed by user address")
    for page in range(first // PAGE_SIZE, -(-end // PAGE_SIZE)):
        if not arena.present[page]:
            raise TraceError(f"page {page} is absent at that step; nothing there can be changed")
    before = arena.bytes[first:end].tobytes()
    arena.bytes[first:end] = np.frombuffer(content, np.uint8)
    return [
        _Row(address + at, len(content[at : at + 8]), *map(_number, (before[at:], content[at:])))
        for at in range(0, len(content), 8)
    ]


def _number(content: bytes) -> int:
    """The first 8 bytes, little endian."""
    return int.from_bytes(content[:8], "little")
