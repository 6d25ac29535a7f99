"""A trace as the parts of a file: what `widgets.payload` packs, and the way back."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench import addresses, isa
from workbench.arena import ArenaFlags, Snapshot
from workbench.arena.rules import PAGE_SIZE
from workbench.disassembler import listing
from workbench.events import Kind
from workbench.isa import Op
from workbench.program import Program, Reference, SourceLine
from workbench.trace import STEP_COLUMNS, ArenaFacts, Trace


def meta(trace: Trace) -> dict[str, Any]:
    """The JSON part of the payload; `program` and `code` let `load_trace` rebuild the value."""
    program, facts = trace.program, trace.arena
    flags = [] if facts is None else [f.name for f in ArenaFlags if f & facts.flags]
    last = trace.state(len(trace)) if len(trace) else None
    return {
        "name": program.name,
        "engine": "interpreter",
        "instructions": list(_described(program)),
        "lines": [line._asdict() for line in program.lines],
        "arena": None if facts is None else {**facts._asdict(), "flags": flags},
        "regions": [
            {"name": "stack", "address": addresses.STACK_START, "size": addresses.STACK_BYTES},
            {"name": "memory" if program.type == "raw" else "ctx",
             "address": addresses.MEMORY_START if program.type == "raw" else addresses.CTX_START,
             "size": len(trace.ctx)},
        ],
        "stop": {"kind": trace.stop, "pc": last.pc if last else 0, "reason": trace.reason,
                 "r0": int(last.registers[0]) if last else 0},
        "event_kinds": [kind.name.lower() for kind in Kind],
        "total_steps": trace.total_steps,
        "program": {"type": program.type, "bytecode": program.bytecode.hex(),
                    "references": [list(r) for r in program.references],
                    "license": program.license},
        "code": trace.code.tobytes().hex(),
        "clock": trace.clock,
        "arena_flags": facts.flags if facts else 0,
    }  # fmt: skip


def columns(trace: Trace) -> dict[str, np.ndarray]:
    """The columns of the payload: steps, keyframes, first memory, page events."""
    steps, (key_regs, key_depth) = trace.recorded_steps(), trace.keyframes
    log = trace.page_events
    step = np.maximum(log["time"].astype(np.int64) - trace.clock - 1, 0)
    initial = trace.initial or Snapshot(np.zeros(0, np.uint32), np.zeros((0, PAGE_SIZE), np.uint8))
    stack = np.zeros(addresses.STACK_BYTES, np.uint8)
    return steps | {
        "key_regs": key_regs,
        "key_depth": key_depth,
        "page_number": initial.pages.astype(np.int32),
        "page_bytes": initial.bytes,
        "event_step": step.astype(np.uint32),
        "event_kind": log["kind"],
        "event_page": log["page"],
        "event_count": log["count"],
        "region_bytes": np.concatenate([stack, np.frombuffer(trace.ctx, np.uint8)]),
    }


def rebuilt(meta: dict[str, Any], columns: dict[str, np.ndarray]) -> Trace:
    """Make the value from what `unpack` gives."""
    about, facts = meta["program"], meta["arena"]
    program = Program(
        meta["name"], about["type"], bytes.fromhex(about["bytecode"]),
        tuple(Reference(*reference) for reference in about["references"]),
        tuple(SourceLine(**line) for line in meta["lines"]), about["license"],
    )  # fmt: skip
    arena = facts and ArenaFacts(
        facts["user_start"], facts["user_end"], facts["pages"], meta["arena_flags"]
    )
    kinds = columns["event_kind"]
    page = columns["event_page"]
    start = np.uint64(arena.user_start if arena else 0)
    log = {
        "time": columns["event_step"].astype(np.uint64) + np.uint64(meta["clock"] + 1),
        "kind": kinds,
        "actor": (np.isin(kinds, (Kind.USER_FAULT, Kind.USER_MINOR, Kind.SEGV))).astype(np.uint8),
        "pc": _event_slots(columns),
        "page": page,
        "address": start + page.astype(np.uint64) * np.uint64(PAGE_SIZE),
        "count": columns["event_count"],
    }
    pages = columns["page_number"].astype(np.uint32)
    return Trace(
        program=program,
        code=np.frombuffer(bytes.fromhex(meta["code"]), isa.INSTRUCTION),
        arena=arena,
        ctx=columns["region_bytes"][addresses.STACK_BYTES :].tobytes(),
        clock=meta["clock"],
        stop=meta["stop"]["kind"],
        reason=meta["stop"]["reason"],
        initial=Snapshot(pages, columns["page_bytes"].reshape(-1, PAGE_SIZE)),
        recorded={name: columns[name] for name in STEP_COLUMNS},
        keyframes=(columns["key_regs"].reshape(-1, 88), columns["key_depth"]),
        page_events=log, total_steps=meta["total_steps"],
    )  # fmt: skip


def _event_slots(columns: dict[str, np.ndarray]) -> np.ndarray:
    """The slot of the step during which each page event happened; -1 for an empty recording."""
    if not len(columns["pc"]):
        return np.full(len(columns["event_step"]), -1, np.int32)
    step = np.minimum(columns["event_step"], len(columns["pc"]) - 1)
    return columns["pc"][step].astype(np.int32)


def _described(program: Program) -> Iterator[dict[str, Any]]:
    """Each instruction as the stepper shows it."""
    names = {reference.pc: reference.name for reference in program.references}
    texts = listing(program)
    for pc, record in enumerate(program.instructions):
        if record["op"] == Op.INVALID:
            continue
        op, dst, src, _, off, imm = (int(value) for value in record)
        found = {
            "pc": pc,
            "op": op,
            "dst": dst,
            "src": src,
            "off": off,
            "imm": imm,
            "text": texts[pc],
        }
        yield found | ({"name": names[pc]} if pc in names else {})
