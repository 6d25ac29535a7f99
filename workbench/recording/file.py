"""A recording as a file: its parts, which `recording.format` packs, and the way back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from workbench.arena import ArenaFlags, Snapshot
from workbench.arena.events import COLUMNS, Kind
from workbench.arena.rules import PAGE_SIZE
from workbench.arguments import optional, path, takes, whole
from workbench.bpf import addresses, isa
from workbench.bpf.disassembler import listing
from workbench.bpf.effects import effects
from workbench.bpf.functions import KFUNCS
from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.errors import TraceError, WorkbenchError
from workbench.files import write_whole
from workbench.recording.columns import CHANGES, CPU_REGISTERS, STEP_COLUMNS
from workbench.recording.format import compress, pack, unpack
from workbench.recording.program import program_json, program_of
from workbench.recording.trace import ArenaFacts, Part, Trace
from workbench.recording.validate import check
from workbench.verifier import verify
from workbench.verifier.report import Asked, Record, Report

_SHOWN = ("name", "lines", "subprograms", "structures", "variables")  # of a program, in views
_COUNTS = ("ok", "pc", "reason", "processed", "instructions", "arena_accesses", "casts")


@takes(path=path)
def save(trace: Trace, path: str | Path) -> None:
    """Write the recording to one compressed file, which `wb.load_trace` reads.

    Raises Unsupported when no steps were recorded, SaveError when the file cannot be written.
    """
    write_whole(path, compress(pack(meta(trace), columns(trace))))


@takes(path=path, limit=optional(whole()))
def load_trace(path: str | Path, limit: int | None = None) -> Trace:
    r"""Read a recording that `Trace.save` wrote, checked in every part.

    `limit` is how many bytes it may decompress to: 1 GiB, or 100 times the file if that is more,
    unless given. Raises TraceError, saying what is wrong and where, for anything else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     wb.record(wb.assemble("r0 = 42\nexit")).save(f"{folder}/run.trace")
    ...     wb.load_trace(f"{folder}/run.trace")
    <Trace main: 2 steps, exit>
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise TraceError(f"cannot read {path}: {error.strerror}") from None
    try:
        return rebuilt(*unpack(content, limit))
    except WorkbenchError as error:
        raise TraceError(
            f"{path} is not a whole recording: {error}; get the file again, or record the run again"
        ) from None


def meta(trace: Trace) -> dict[str, Any]:
    """The JSON part of a recording: what the stepper shows, and what makes the value again.

    docs/recording-format.md says what each field is.
    """
    program = program_json(trace.program)
    shown = {name: program.pop(name) for name in _SHOWN}
    return shown | _view(trace) | _value(trace) | {"program": program}


def _view(trace: Trace) -> dict[str, Any]:
    """What the stepper shows besides the program's own fields."""
    facts, last = trace.arena, trace.state(len(trace)) if len(trace) else None
    flags = [] if facts is None else [f.name for f in ArenaFlags if f & facts.flags]
    return {
        "engine": "interpreter",
        "instructions": list(_described(trace.program)),
        "arena": None if facts is None else {**facts._asdict(), "flags": flags},
        "regions": [region for cpu in range(trace.cpu_count) for region in _regions(trace, cpu)],
        "stop": {"kind": trace.stop, "pc": last.pc if last else 0, "reason": trace.reason,
                 "r0": int(last.registers[0]) if last else 0},
        "event_kinds": [kind.name.lower() for kind in Kind],
        "total_steps": trace.total_steps,
        "part": trace.part and trace.part._asdict(),
    }  # fmt: skip


def _value(trace: Trace) -> dict[str, Any]:
    """What makes the value again and no view needs."""
    return {
        "operations": [op.name for op in Op],
        "code": trace.code.tobytes().hex(),
        "clock": trace.clock,
        "lost": trace.lost,
        "absent": _absent(trace),
        "report": trace.report and _report_json(trace.report, trace.program),
    }


def _absent(trace: Trace) -> list[str]:
    """What the trace does not have, where columns would only say that it is empty."""
    initial = trace.initial
    empty = {
        "initial": initial is None,
        "free": initial is None or initial.free is None,
        "changes": trace.changes is None,
        "stack": not trace.stack,
    }
    return [name for name, lacks in empty.items() if lacks]


def _report_json(report: Report, program: Program) -> dict[str, Any]:
    """The verifier's verdict and what it was asked; not what verifying again would give."""
    asked = report.asked._asdict()
    same = asked.pop("program") == program
    return {
        **{name: getattr(report, name) for name in _COUNTS},
        "xlated": report.xlated.tobytes().hex(),
        "asked": asked,
        "program": None if same else program_json(report.asked.program),
    }


def _report_of(parts: dict[str, Any], program: Program, operations: list[str]) -> Report:
    """The report again; it verifies once more when its log or states are asked for."""
    verified = program_of(parts["program"]) if parts["program"] else program
    asked = Asked(program=verified, **parts["asked"])

    def record() -> Record:
        return verify(*asked).record()

    xlated = _records(parts["xlated"], operations)
    xlated.flags.writeable = False
    known = {name: parts[name] for name in _COUNTS}
    return Report(**known, xlated=xlated, record=record, asked=asked)


def _records(digits: str, operations: list[str]) -> np.ndarray:
    """Instructions from hexadecimal digits; `operations` names the operation of each code."""
    records = np.frombuffer(bytes.fromhex(digits), isa.INSTRUCTION).copy()
    records["op"] = np.array([Op[name] for name in operations], np.uint8)[records["op"]]
    return records


def _code_of(meta: dict[str, Any], program: Program) -> np.ndarray:
    """The instructions that ran; kfuncs are numbered as this version of the machine does."""
    code = _records(meta["code"], meta["operations"])
    for reference in program.references:
        if reference.kind == "kfunc":
            code["imm"][reference.pc] = KFUNCS[reference.name].number
    return code


def _regions(trace: Trace, cpu: int) -> list[dict[str, Any]]:
    """The memory of one CPU besides the arena, in the order of `region_bytes`."""
    name = "memory" if trace.program.type_row.raw else "ctx"
    suffix = f" of CPU {cpu}" if trace.cpu_count > 1 else ""
    shift, size = cpu * addresses.CPU_BYTES, len(trace.ctx) // trace.cpu_count
    stack, start = addresses.STACK_START + shift, trace.ctx_start + shift
    return [
        {"name": "stack" + suffix, "address": stack, "size": addresses.STACK_BYTES},
        {"name": name + suffix, "address": start, "size": size},
    ]


def _described(program: Program) -> Iterator[dict[str, Any]]:
    """Each instruction as the stepper shows it, with what it does."""
    names = {reference.pc: reference.name for reference in program.references}
    rows = zip(program.instructions.tolist(), listing(program), effects(program), strict=True)
    for pc, ((op, dst, src, _, off, imm), text, effect) in enumerate(rows):
        if op == Op.INVALID:
            continue
        row = {"pc": pc, "op": op, "dst": dst, "src": src, "off": off, "imm": imm, "text": text}
        name = {"name": names[pc]} if pc in names else {}
        yield row | name | effect._asdict()


def columns(trace: Trace) -> dict[str, np.ndarray]:
    """The columns of a recording: steps, keyframes, first memory, page events, changes."""
    key_regs, key_depth = trace.keyframes
    initial = trace.initial or Snapshot(np.zeros(0, np.uint32), np.zeros((0, PAGE_SIZE), np.uint8))
    return (
        trace.recorded_steps()
        | {
            "key_regs": key_regs,
            "key_depth": key_depth,
            "page_number": initial.pages.astype(np.int32),
            "page_bytes": initial.bytes,
            "free_ranges": np.zeros(0, np.int32) if initial.free is None else initial.free,
            "event_step": trace.event_steps.astype(np.uint32),
            "region_bytes": np.concatenate(trace.own_memory(), axis=1).ravel(),
        }
        | {f"event_{name}": trace.page_events[name] for name in COLUMNS}
        | {f"change_{name}": column for name, column in (trace.changes or {}).items()}
    )


def rebuilt(meta: dict[str, Any], columns: dict[str, np.ndarray]) -> Trace:
    """Make the value from what `unpack` gives; raises WorkbenchError unless all of it is sound."""
    check(meta, columns)
    program = program_of(meta["program"] | {name: meta[name] for name in _SHOWN})
    absent, report = meta["absent"], meta["report"]
    key_regs, key_depth = columns["key_regs"], columns["key_depth"]
    cpus = max(1, key_regs.size // max(len(key_depth), 1) // CPU_REGISTERS)
    regions = columns["region_bytes"].reshape(cpus, -1)
    stack, ctx = np.split(regions, [addresses.STACK_BYTES], axis=1)
    changes = {name: columns[f"change_{name}"] for name in CHANGES}
    return Trace(
        program=program,
        code=_code_of(meta, program),
        arena=meta["arena"] and _facts(meta["arena"]),
        ctx=ctx.tobytes(),
        clock=meta["clock"],
        stop=meta["stop"]["kind"],
        reason=meta["stop"]["reason"],
        initial=None if "initial" in absent else _initial(columns, "free" not in absent),
        recorded={name: columns[name] for name in STEP_COLUMNS},
        changes=None if "changes" in absent else changes,
        keyframes=(key_regs.reshape(-1, cpus * CPU_REGISTERS), key_depth),
        page_events=_page_events(columns, meta["event_kinds"]),
        total_steps=meta["total_steps"],
        lost=meta.get("lost", 0),
        stack=b"" if "stack" in absent else stack.tobytes(),
        part=meta["part"] and Part(**meta["part"]),
        report=report and _report_of(report, program, meta["operations"]),
    )


def _facts(arena: dict[str, Any]) -> ArenaFacts:
    """The arena's facts, its flags from their names."""
    return ArenaFacts(**arena | {"flags": sum(ArenaFlags[name].value for name in arena["flags"])})


def _page_events(columns: dict[str, np.ndarray], kinds: list[str]) -> dict[str, np.ndarray]:
    """The page events, their kinds from the names of the file's codes."""
    codes = np.array([Kind[name.upper()] for name in kinds], np.uint8)
    events = {name: columns[f"event_{name}"] for name in COLUMNS}
    return events | {"kind": codes[events["kind"]]}


def _initial(columns: dict[str, np.ndarray], free: bool) -> Snapshot:
    """The arena's pages before the run, and, where they are known, its free ranges."""
    ranges = columns["free_ranges"].astype(np.int64).reshape(-1, 2)
    pages = columns["page_number"].astype(np.uint32)
    return Snapshot(pages, columns["page_bytes"].reshape(-1, PAGE_SIZE), ranges if free else None)
