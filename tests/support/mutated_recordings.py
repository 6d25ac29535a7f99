"""Recordings with something changed in them and a checksum that is right again, and their use."""

import contextlib
import functools
import gzip
import json
import random
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import workbench as wb
from support.paths import ROOT
from workbench.debugger.cpus import RoundRobin
from workbench.errors import WorkbenchError
from workbench.examples import programs
from workbench.models import faults
from workbench.recording.file import columns, meta
from workbench.recording.format import pack
from workbench.recording.trace import Trace

_ASKED = 7  # questions of one recording: 300 recordings then take half a minute
VERSION_1 = ROOT / "tests/recording/format_1.trace"
WILD = (
    None, -1, 0, 1, 255, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1, 1 << 70, 1.5, True, "",
    "text", "18446744073709551616", "\ud800", "$\\frac$ $", [], {}, [[]], [None], {"pc": 0},
)  # fmt: skip
_EDGES = (0, 1, 2, 3, 7, 8, 11, 255, 256, 4095, 0x7FFFFFFF, 0x3FFFFFFF, 1 << 31, (1 << 64) - 1)
MAPS = """
.map counts hash key=4 value=8 entries=16
    r6 = arena ll
    *(u32 *)(r10 - 4) = 7
    *(u64 *)(r10 - 16) = 1
    r1 = counts ll
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    r4 = 0
    call bpf_map_update_elem
    r1 = 5
    call double
    exit
double: r0 = r1
    r0 += r0
    exit
"""
PACKET = "r0 = *(u32 *)(r1 + 0)\nr0 = 2\nexit"


@functools.cache
def originals() -> tuple[bytes, ...]:
    """Recordings of both versions: pages, maps, functions, a packet, two CPUs, a part."""
    context = struct.pack("<QQ", 9, 0)
    traces = [
        wb.record(next(iter(programs.load("list").values())), wb.Arena(64), context),
        wb.record(next(iter(programs.load("allocator").values())), wb.Arena(64), context),
        wb.record(wb.assemble(MAPS, name="maps"), wb.Arena(8)),
        wb.record(wb.assemble(PACKET, type="xdp"), None, bytes(64)),
        wb.record(wb.assemble("r0 = *(u64 *)(r0 + 0)\nexit"), verify=False),
    ]
    two = [wb.assemble(f"r0 = {n}\nr1 = arena ll\nexit", name=f"p{n}") for n in range(2)]
    traces.append(wb.record_cpus(two, wb.Arena(8), RoundRobin(1)))
    traces.append(traces[0].window(256) if len(traces[0]) > 300 else traces[0].window(0, 9))
    packed = [pack(meta(trace), columns(trace)) for trace in traces]
    return (*packed, gzip.decompress(VERSION_1.read_bytes()))


@functools.cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mutated")


def _directory() -> Path:
    return Path(_kept().name)


def mutated(seed: int) -> bytes:
    """One of the originals, changed in one to three places."""
    draw = random.Random(seed)
    raw = draw.choice(originals())
    version, length = struct.unpack("<II", raw[8:16])
    header, body = json.loads(raw[16 : 16 + length]), bytearray(raw[16 + length :])
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        body = draw.choice(_CHANGES)(draw, header, body)
    header |= {"body": len(body), "crc32": zlib.crc32(body)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"ARENATRC" + struct.pack("<II", version, len(text)) + text + bytes(body)


def use(seed: int) -> None:
    """Load a mutated recording and ask it for much; only a WorkbenchError may come of it."""
    path = _directory() / "mutated.trace"
    path.write_bytes(mutated(seed))
    try:
        trace = wb.load_trace(path)
    except WorkbenchError:
        return
    draw = random.Random(seed)
    for question in draw.sample(questions(draw, trace), _ASKED):
        with contextlib.suppress(WorkbenchError):
            question()


def questions(draw: random.Random, trace: Trace) -> list[Callable[[], object]]:
    """What a person asks a recording."""
    steps = len(trace)
    other = wb.load_trace(VERSION_1)
    t, page = draw.randint(0, max(steps, 1)), draw.randint(0, 8)
    asked: list[Callable[[], object]] = [
        lambda: repr(trace),
        lambda: trace.state(t),
        lambda: trace.state(steps),
        lambda: trace.memory(t, page),
        lambda: faults.fault_frame(trace.events),
        lambda: trace.frame.to_string(max_rows=20),
        lambda: trace.counts,
        lambda: trace.sanitize(),
        lambda: trace.to_html(),
        lambda: trace.stepper(),
        lambda: trace.page_map(),
        lambda: trace.diff(trace),
        lambda: trace.diff(other),
        lambda: trace.fork(min(t, steps - 1), {0: 5}, fuel=5000),
        lambda: trace.fork(0, {1: 5}, fuel=5000),
        lambda: trace.window(draw.randint(0, steps), 300),
        lambda: trace.to_perfetto(_directory() / "run.json"),
        lambda: (
            trace.save(_directory() / "again.trace"),
            wb.load_trace(_directory() / "again.trace"),
        ),
        lambda: trace.report and (trace.report.log, str(trace.report.explain())),
    ]
    return asked


def _again(trace: Trace) -> Trace:
    """The recording saved and loaded, which works with every one that was loaded."""
    path = _directory() / "again.trace"
    trace.save(path)
    try:
        return wb.load_trace(path)
    except WorkbenchError as error:
        raise AssertionError("what was loaded and saved does not load") from error


def _column(draw: random.Random, header: dict[str, Any]) -> tuple[str, int, int, int]:
    """The name of a column that has rows, its element size, offset and length."""
    table = header["columns"]
    known = [n for n, row in table.items() if isinstance(row, list) and len(row) == 3]
    filled = [n for n in known if type(table[n][2]) is int and table[n][2] > 0] or ["pc"]
    name = draw.choice(filled)
    type_, offset, length = table[name]
    width = {"1": 1, "4": 4, "8": 8}.get(str(type_)[-1:], 1)
    return name, width, offset, length


def _element(draw: random.Random, header: dict[str, Any], body: bytearray) -> bytearray:
    """Set one number of a column to one that is near an edge, or to any."""
    _, width, offset, length = _column(draw, header)
    value = draw.choice((*_EDGES, draw.getrandbits(8 * width)))
    at = offset + draw.randrange(length) * width
    body[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
    return body


def _bits(draw: random.Random, header: dict[str, Any], body: bytearray) -> bytearray:
    """Turn over one to eight bits of a column."""
    _, width, offset, length = _column(draw, header)
    for _ in range(draw.randint(1, 8)):
        at = offset + draw.randrange(length * width)
        if at < len(body):
            body[at] ^= 1 << draw.randrange(8)
    return body


def _rows(draw: random.Random, header: dict[str, Any], body: bytearray) -> bytearray:
    """Give a column fewer or more rows than it had."""
    name, width, _, length = _column(draw, header)
    body += bytes(-len(body) % 8)
    rows = draw.choice((0, 1, length - 1, length + 1, 2 * length))
    header["columns"][name] = [header["columns"][name][0], len(body), rows]
    body += draw.randbytes(rows * width) + bytes(-(rows * width) % 8)
    return body


def _table(draw: random.Random, header: dict[str, Any], body: bytearray) -> bytearray:
    """Change where a column is said to be, or give it the place of another."""
    names = list(header["columns"])
    name, other = draw.choice(names), draw.choice(names)
    row = list(header["columns"][name])
    row[draw.randrange(len(row))] = draw.choice((*WILD, "<u8", "<u1", 8, 16, 1 << 40))
    header["columns"][name] = draw.choice((row, header["columns"][other], draw.choice(WILD)))
    if draw.random() < 0.1:
        del header["columns"][other]
    return body


def _json(draw: random.Random, header: dict[str, Any], body: bytearray) -> bytearray:
    """Change one value somewhere in the header's meta."""
    at: Any = header
    key: Any = "meta"
    header.setdefault(key, {})
    while isinstance(at[key], (dict, list)) and at[key] and draw.random() < 0.85:
        at = at[key]
        key = draw.choice(list(at)) if isinstance(at, dict) else draw.randrange(len(at))
    value = at[key]
    if isinstance(value, str) and len(value) > 16 and draw.random() < 0.7:
        place = draw.randrange(len(value))
        at[key] = value[:place] + draw.choice("0123456789abcdefg") + value[place + 1 :]
    elif isinstance(value, int) and draw.random() < 0.5:
        at[key] = draw.choice((value + 1, value - 1, 2 * value, -value))
    elif isinstance(value, list) and value and draw.random() < 0.5:
        at[key] = draw.choice((value * 2, value[::-1], value[:-1]))
    elif isinstance(at, dict) and draw.random() < 0.2:
        del at[key]
    else:
        at[key] = draw.choice(WILD)
    return body


_CHANGES = (_element, _element, _element, _bits, _bits, _rows, _table, _json, _json, _json, _json)
