"""A trace as the parts of a file: what `widgets.payload` packs, and the way back."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.arena import ArenaFlags, Snapshot
from workbench.arena.events import Kind
from workbench.arena.rules import PAGE_SIZE
from workbench.bpf import addresses, isa
from workbench.bpf.declarations import Field, Layout
from workbench.bpf.disassembler import listing
from workbench.bpf.isa import Op
from workbench.bpf.program import Program, Reference, SourceLine
from workbench.recording.columns import CHANGES, STEP_COLUMNS
from workbench.recording.trace import ArenaFacts, Part, Trace

MOST_FINDINGS = 1000
MOST_STATES = 8  # of one slot
MOST_FOLLOWED = 50_000  # instructions: about two seconds
FRAME_WORDS = 11 * addresses.MAX_FRAMES  # registers of one CPU in a keyframe


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
        "functions": [{"pc": f.pc, "name": f.name} for f in program.subprograms],
        "arena": None if facts is None else {**facts._asdict(), "flags": flags},
        "regions": [region for cpu in range(_cpus(trace)) for region in _regions(trace, cpu)],
        "stop": {"kind": trace.stop, "pc": last.pc if last else 0, "reason": trace.reason,
                 "r0": int(last.registers[0]) if last else 0},
        "event_kinds": [kind.name.lower() for kind in Kind],
        "total_steps": trace.total_steps,
        "part": trace.part and trace.part._asdict(),
        "findings": _findings(trace),
        "states": _states(trace),
        "structures": [
            {"name": layout.name, "size": layout.size, "fields": [*map(list, layout.fields)]}
            for layout in program.structures
        ],
        "variables": [list(field) for field in program.variables],
        "program": {"type": program.type, "bytecode": program.bytecode.hex(),
                    "references": [list(r) for r in program.references],
                    "license": program.license},
        "code": trace.code.tobytes().hex(),
        "clock": trace.clock,
        "arena_flags": facts.flags if facts else 0,
    }  # fmt: skip


def _findings(trace: Trace) -> list[dict[str, Any]]:
    """What the sanitizer says, the first thousand places."""
    found = trace.sanitize().head(MOST_FINDINGS).drop(columns="line").to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in found]


def _states(trace: Trace) -> dict[str, list[str]]:
    """What the verifier knew before each slot that ran, in the kernel's words; {} without it.

    The verifier looks a second time for this, which long verifications are not worth.
    """
    if getattr(trace.report, "processed", 0) > MOST_FOLLOWED:
        return {}
    known = getattr(trace.report, "states", None) or {}
    slots = [pc for pc in np.unique(trace.recorded_steps()["pc"]).tolist() if pc in known]
    return {str(pc): [str(state) for state in known[pc][:MOST_STATES]] for pc in slots}


def _cpus(trace: Trace) -> int:
    """How many CPUs a trace has registers of."""
    return trace.keyframes[0].shape[1] // FRAME_WORDS


def _regions(trace: Trace, cpu: int) -> list[dict[str, Any]]:
    """The memory of one CPU besides the arena; the CPUs' contexts have equal shares of `ctx`."""
    name, suffix = "ctx", f" of CPU {cpu}" if _cpus(trace) > 1 else ""
    start = addresses.CTX_START
    if trace.program.type == "raw":
        name, start = "memory", addresses.MEMORY_START
    shift = cpu * addresses.CPU_BYTES
    stack = addresses.STACK_START + shift
    return [
        {"name": "stack" + suffix, "address": stack, "size": addresses.STACK_BYTES},
        {"name": name + suffix, "address": start + shift, "size": len(trace.ctx) // _cpus(trace)},
    ]


def columns(trace: Trace) -> dict[str, np.ndarray]:
    """The columns of the payload: steps, keyframes, first memory, page events."""
    steps, (key_regs, key_depth) = trace.recorded_steps(), trace.keyframes
    log = trace.page_events
    step = np.maximum(log["time"].astype(np.int64) - trace.clock - 1, 0)
    initial = trace.initial or Snapshot(np.zeros(0, np.uint32), np.zeros((0, PAGE_SIZE), np.uint8))
    contexts = np.frombuffer(trace.ctx, np.uint8).reshape(_cpus(trace), -1)
    stack = np.zeros((len(contexts), addresses.STACK_BYTES), np.uint8)
    if trace.stack:
        stack[:] = np.frombuffer(trace.stack, np.uint8).reshape(stack.shape)
    return (
        steps
        | {
            "key_regs": key_regs,
            "key_depth": key_depth,
            "page_number": initial.pages.astype(np.int32),
            "page_bytes": initial.bytes,
            "free_ranges": np.zeros(0, np.int32) if initial.free is None else initial.free,
            "event_step": step.astype(np.uint32),
            "event_kind": log["kind"],
            "event_page": log["page"],
            "event_count": log["count"],
            "region_bytes": np.concatenate([stack, contexts], axis=1).ravel(),
        }
        | {f"change_{name}": column for name, column in (trace.changes or {}).items()}
    )


def rebuilt(meta: dict[str, Any], columns: dict[str, np.ndarray]) -> Trace:
    """Make the value from what `unpack` gives."""
    about, facts = meta["program"], meta["arena"]
    program = Program(
        meta["name"], about["type"], bytes.fromhex(about["bytecode"]),
        tuple(Reference(*reference) for reference in about["references"]),
        tuple(SourceLine(**line) for line in meta["lines"]), about["license"],
        structures=tuple(
            Layout(row["name"], row["size"], tuple(Field(*field) for field in row["fields"]))
            for row in meta.get("structures", ())
        ),
        variables=tuple(Field(*field) for field in meta.get("variables", ())),
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
    free = columns["free_ranges"].astype(np.int64).reshape(-1, 2) if arena else None
    key_regs = columns["key_regs"]
    cpus = max(1, key_regs.size // max(len(columns["key_depth"]), 1) // FRAME_WORDS)
    return Trace(
        program=program,
        code=np.frombuffer(bytes.fromhex(meta["code"]), isa.INSTRUCTION),
        arena=arena,
        ctx=columns["region_bytes"].reshape(cpus, -1)[:, addresses.STACK_BYTES :].tobytes(),
        clock=meta["clock"],
        stop=meta["stop"]["kind"],
        reason=meta["stop"]["reason"],
        initial=Snapshot(pages, columns["page_bytes"].reshape(-1, PAGE_SIZE), free),
        recorded={name: columns[name] for name in STEP_COLUMNS},
        changes={name: columns[f"change_{name}"] for name in CHANGES},
        keyframes=(key_regs.reshape(-1, cpus * FRAME_WORDS), columns["key_depth"]),
        page_events=log, total_steps=meta["total_steps"],
        stack=_stacks(columns["region_bytes"].reshape(cpus, -1)),
        part=Part(**meta["part"]) if meta.get("part") else None,
    )  # fmt: skip


def _stacks(regions: np.ndarray) -> bytes:
    """The stacks at the start of each CPU's regions; b"" where they are zero, as usual."""
    stacks = regions[:, : addresses.STACK_BYTES]
    return stacks.tobytes() if stacks.any() else b""


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
