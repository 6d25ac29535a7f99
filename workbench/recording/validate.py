"""Whether what a file holds is a recording: every part, before anything works with it.

Compiled code indexes with these columns, and a browser follows them, without looking again: what
passes here is safe, not true. Whoever wrote the file may still have invented the run.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from workbench.arena.events import COLUMNS as EVENT_COLUMNS
from workbench.arena.events import Actor, Kind
from workbench.arena.rules import (
    MAX_PAGES,
    PAGE_SIZE,
    WINDOW,
    ArenaFlags,
    check_creation,
    check_user_range,
)
from workbench.bpf import addresses, isa
from workbench.bpf.functions import KFUNCS
from workbench.bpf.isa import REGISTERS, Op
from workbench.bpf.map_types import MAP_TYPES
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.bpf.releases import RELEASES
from workbench.errors import ArenaError
from workbench.recording.columns import (
    ABSENT,
    ATOMIC,
    CHANGES,
    CPU_REGISTERS,
    IN_ARENA,
    KEYFRAME,
    NO_REGISTER,
    READ,
    STEP_COLUMNS,
    WRITE,
)
from workbench.recording.format import COLUMNS
from workbench.recording.schema import (
    Check,
    flag,
    hexadecimal,
    maybe,
    one_of,
    record,
    refuse,
    rows,
    text,
    tuple_of,
    whole,
)

STOPS = ("exit", "fuel", "breakpoint", "fault", "interrupt")
_MOST_CPUS = 255 // addresses.MAX_FRAMES  # column depth has a byte
_CLOCK = 1 << 62  # so that a time of an event is one of NumPy's and of Python's integers
_MOST_PAGES = 1 << 30  # of all page events together: 4 TiB, which no run of 2**20 events allocates
_SIZES = (0, 1, 2, 4, 8)
_ACCESS = READ | WRITE | ABSENT | ATOMIC | IN_ARENA
_OWN = (Kind.ALLOC, Kind.FREE, Kind.RESERVE, Kind.USER_FAULT)  # of pages that are in the arena

_u32, _size, _count = whole(0, (1 << 32) - 1), whole(0, WINDOW), whole(0, _CLOCK)
_slot = whole(0, (1 << 31) - 1)
_plain_field = tuple_of(
    name=text,
    offset=_size,
    size=_size,
    kind=one_of("int", "uint", "float", "pointer", "bytes"),
    to=text,
)


def _field(value: Any, where: str) -> None:
    """A Field, of a size that its kind can have."""
    _plain_field(value, where)
    _, _, size, kind, _ = value
    if (kind != "bytes" and not 1 <= size <= 8) or (kind == "float" and size not in (4, 8)):
        refuse(where, f"is a {kind} of {size} bytes, which there is not")


def _definition(value: Any, where: str) -> None:
    """A map, and the pattern of those in it."""
    _map(value, where)


_map: Check = record(
    name=text,
    type=one_of(*MAP_TYPES),
    key_size=_u32,
    value_size=_u32,
    max_entries=_u32,
    map_flags=_u32,
    map_extra=whole(0, (1 << 64) - 1),
    inner=maybe(_definition),
    values=rows(text),
    initial=hexadecimal(),
    frozen=flag,
    lock=whole(-1, (1 << 31) - 1),
    key_type=text,
    value_type=text,
)
_SHOWN = {
    "name": text,
    "lines": rows(record(pc=_slot, line=_u32, text=text, file=text)),
    "subprograms": rows(
        record(pc=_slot, name=text, is_global=flag, arguments=rows(text), returns=text, type=_slot)
    ),
    "structures": rows(record(name=text, size=_size, fields=rows(_field))),
    "variables": rows(_field),
}
_PROGRAM = {
    "type": one_of(*PROGRAM_TYPES),
    "bytecode": hexadecimal(8),
    "references": rows(tuple_of(pc=_slot, kind=text, name=text)),
    "license": text,
    "maps": rows(_map),
    "btf": hexadecimal(),
}
_asked = record(
    flags=_u32,
    arena_pages=maybe(whole(1, MAX_PAGES)),
    log_level=whole(1, 2),
    release=one_of(*RELEASES),
)
_report = record(
    ok=flag,
    pc=whole(-1, (1 << 31) - 1),
    reason=text,
    processed=_count,
    instructions=_count,
    arena_accesses=_count,
    casts=_count,
    xlated=hexadecimal(isa.INSTRUCTION.itemsize),
    asked=_asked,
    program=maybe(record(exact=False, **_SHOWN, **_PROGRAM)),
)
_arena = record(
    user_start=_count,
    user_end=_count,
    pages=whole(1, MAX_PAGES),
    flags=rows(one_of(*(flag.name or "" for flag in ArenaFlags))),
)
_META = record(
    exact=False,
    **_SHOWN,
    program=record(exact=False, **_PROGRAM),
    arena=maybe(_arena),
    event_kinds=rows(one_of(*(kind.name.lower() for kind in Kind))),
    operations=rows(one_of(*(op.name for op in Op))),
    stop=record(exact=False, kind=one_of(*STOPS), reason=text),
    total_steps=_count,
    part=maybe(record(first=_count, of=_count)),
    code=hexadecimal(isa.INSTRUCTION.itemsize),
    clock=_count,
    absent=rows(one_of("initial", "free", "changes", "stack")),
    report=maybe(_report),
)

Columns = Mapping[str, np.ndarray]


def check(meta: dict[str, Any], columns: Columns) -> None:
    """Raise TraceError, saying what is wrong and where, unless these are the parts of a recording.

    `meta` and `columns` are those of `recording.format.unpack`: columns that are there, of their
    types. Their lengths agree, numbers of instructions, frames, registers and pages exist, steps
    and times go forward, and the arena is one that Linux makes.
    """
    _META(meta, "meta")
    if missing := COLUMNS.keys() - columns.keys():
        refuse("the file", f"lacks the columns {', '.join(sorted(missing))}")
    _count(meta.get("lost", 0), "meta.lost")  # of version 2 the older files lack it
    code = _check_code(meta["code"], meta["operations"], "meta.code")
    slots = len(meta["program"]["bytecode"]) // 16
    if len(code) != slots:
        refuse("meta.code", f"has {len(code)} instructions, the program {slots}")
    _check_places(meta, slots)
    steps, frames = _check_keyframes(columns)
    if meta["total_steps"] < steps:
        refuse("meta.total_steps", f"must be at least {steps}, the steps that are here")
    if meta["part"] and meta["part"]["first"] + steps > meta["part"]["of"]:
        refuse("meta.part", "must lie in the recording that it is a part of")
    _check_steps(columns, slots, frames)
    _check_changes(columns, steps, frames)
    pages = _check_arena(meta)
    _check_events(columns, meta["clock"], meta["event_kinds"], pages)
    _check_pages(columns, pages)
    if meta["report"]:
        _check_code(meta["report"]["xlated"], meta["operations"], "meta.report.xlated")


def _check_code(digits: str, operations: list[str], where: str) -> np.ndarray:
    """The instructions in hexadecimal form; `operations` names the operation of each code."""
    code = np.frombuffer(bytes.fromhex(digits), isa.INSTRUCTION)
    _within(code["op"], 0, len(operations) - 1, f"{where}: op")
    _within(code["dst"], 0, REGISTERS - 1, f"{where}: dst")
    _within(code["src"], 0, isa.ZERO, f"{where}: src")
    return code


def _check_places(meta: dict[str, Any], slots: int) -> None:
    """Slots that the program's descriptions name."""
    for name in ("lines", "subprograms"):
        places = np.array([row["pc"] for row in meta[name]], np.int64)
        _within(places, 0, slots - 1, f"meta.{name}: pc")
    _forward(np.array([row["pc"] for row in meta["lines"]], np.int64), "meta.lines: pc")
    for _, kind, name in meta["program"]["references"]:
        if kind == "kfunc" and name not in KFUNCS:
            refuse("meta.program.references", f"name a kfunc '{name}', which is not known here")


def _check_keyframes(columns: Columns) -> tuple[int, int]:
    """How many steps there are, and how many frames they have."""
    steps, keys = len(columns["pc"]), len(columns["key_depth"])
    if keys != -(-steps // KEYFRAME):
        refuse("key_depth", f"has {keys} rows for {steps} steps; there is one every {KEYFRAME}")
    words = len(columns["key_regs"])
    cpus = words // (keys * CPU_REGISTERS) if keys else 1
    if words != keys * cpus * CPU_REGISTERS or not 1 <= cpus <= _MOST_CPUS:
        refuse(
            "key_regs", f"has {words} registers; {keys} keyframes need {CPU_REGISTERS} for a CPU"
        )
    length = len(columns["region_bytes"])
    if length % cpus or length < cpus * addresses.STACK_BYTES:
        refuse("region_bytes", f"has {length} bytes, not a stack and a context for {cpus} CPUs")
    frames = cpus * addresses.MAX_FRAMES
    _within(columns["key_depth"], 0, frames - 1, "key_depth")
    return steps, frames


def _check_steps(columns: Columns, slots: int, frames: int) -> None:
    _same_length(columns, STEP_COLUMNS)
    _within(columns["pc"], 0, slots - 1, "pc")
    _within(columns["depth"], 0, frames - 1, "depth")
    _among(columns["reg"], (*range(REGISTERS), NO_REGISTER), "reg")
    _among(columns["size"], _SIZES, "size")
    _within(columns["access"], 0, _ACCESS, "access")


def _check_changes(columns: Columns, steps: int, frames: int) -> None:
    _same_length(columns, [f"change_{name}" for name in CHANGES])
    step, size = columns["change_step"], columns["change_size"]
    _within(step, 0, steps - 1, "change_step")
    _forward(step, "change_step")
    _within(size, 0, 8, "change_size")
    registers = columns["change_address"][size == 0]
    _within(registers, 0, frames * REGISTERS - 1, "change_address of a register")


def _check_arena(meta: dict[str, Any]) -> int:
    """How many pages the arena has, 0 without one; it must be one that Linux makes."""
    facts = meta["arena"]
    if facts is None:
        return 0
    start, pages = facts["user_start"], facts["pages"]
    if facts["user_end"] != start + pages * PAGE_SIZE:
        refuse("meta.arena", f"does not have {pages} pages between user_start and user_end")
    try:
        check_creation(pages, sum(ArenaFlags[name] for name in facts["flags"]), start)
        check_user_range(start, pages * PAGE_SIZE)
    except ArenaError as error:
        refuse("meta.arena", f"is none that Linux makes: {error}")
    return int(pages)


def _check_events(columns: Columns, clock: int, kinds: list[str], pages: int) -> None:
    _same_length(columns, [f"event_{name}" for name in EVENT_COLUMNS])
    time, kind = columns["event_time"], columns["event_kind"]
    page, count = columns["event_page"], columns["event_count"].astype(np.int64)
    _within(time, clock, _CLOCK + clock, "event_time")
    _forward(time, "event_time")
    _within(kind, 0, len(kinds) - 1, "event_kind")
    _within(columns["event_actor"], 0, max(Actor), "event_actor")
    _within(columns["event_pc"], -1, (1 << 31) - 1, "event_pc")
    _within(page, -1, pages - 1, "event_page")
    own = np.isin(np.array([Kind[name.upper()] for name in kinds], np.uint8)[kind], _OWN)
    count[~own] = 0
    _within(np.where(own, page, 0), 0, max(pages - 1, 0), "event_page of pages that changed")
    _within(np.where(own, page + count, 0), 0, pages, "event_page + event_count")
    if (total := int(count.sum())) > _MOST_PAGES:
        refuse("event_count", f"comes to {total:,} pages; no run changes more than {_MOST_PAGES:,}")


def _check_pages(columns: Columns, pages: int) -> None:
    """The arena before the run: its pages, and ranges that are free, each page in one at most."""
    numbers = columns["page_number"].astype(np.int64)
    if len(columns["page_bytes"]) != len(numbers) * PAGE_SIZE:
        refuse("page_bytes", f"has {len(columns['page_bytes'])} bytes for {len(numbers)} pages")
    _within(numbers, 0, pages - 1, "page_number")
    _forward(numbers, "page_number", strictly=True)
    if len(columns["free_ranges"]) % 2:
        refuse("free_ranges", "must be pairs of a page and a number of pages")
    first, count = columns["free_ranges"].astype(np.int64).reshape(-1, 2).T
    _within(first, 0, pages - 1, "free_ranges: page")
    _within(count, 1, pages, "free_ranges: pages")
    edges = np.column_stack([first, first + count]).ravel()
    _within(edges, 0, pages, "free_ranges: end")
    _forward(edges, "free_ranges")
    if (np.searchsorted(edges, numbers, "right") % 2).any():
        refuse("page_number", "names a page that free_ranges says is free")


def _same_length(columns: Columns, names: Iterable[str]) -> None:
    first, *others = names
    for name in others:
        if len(columns[name]) != len(columns[first]):
            refuse(name, f"has {len(columns[name])} rows, {first} has {len(columns[first])}")


def _within(values: np.ndarray, low: int, high: int, where: str) -> None:
    """Refuse numbers outside [low, high], naming the first."""
    if not len(values) or (int(values.min()) >= low and int(values.max()) <= high):
        return
    at = next(at for at, value in enumerate(values.tolist()) if not low <= value <= high)
    refuse(f"{where}, row {at},", f"must be in [{low}, {high}], not {int(values[at])}")


def _among(values: np.ndarray, known: tuple[int, ...], where: str) -> None:
    table = np.zeros(256, bool)
    table[list(known)] = True
    wrong = np.flatnonzero(~table[values])
    if len(wrong):
        refuse(f"{where}, row {wrong[0]},", f"must be one of {known}, not {values[wrong[0]]}")


def _forward(values: np.ndarray, where: str, strictly: bool = False) -> None:
    """Refuse numbers that become smaller, or, if `strictly`, stay equal."""
    back = values[1:] <= values[:-1] if strictly else values[1:] < values[:-1]
    if back.any():
        refuse(f"{where}, row {int(np.argmax(back)) + 1},", "goes back: the rows are not in order")
