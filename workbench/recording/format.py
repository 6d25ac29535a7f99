"""The bytes in which a recorded run travels to the browser and to a file.

    offset  0   8 bytes   magic "ARENATRC"
            8   u32       version of the format
           12   u32       length of the header; the body starts at 16 + length, a multiple of 8
           16   header    JSON, padded with spaces: {meta, columns, body, crc32}
            .   body      the columns, little endian, each starting at a multiple of 8

`header["columns"]` maps a name to [numpy type, offset in the body, number of elements].
64-bit numbers in the header are decimal strings, because JavaScript would round them.
The whole may be gzip-compressed: `unpack` and the browser recognise both. What it says of its own
sizes is held against what is there; `recording.validate` looks at the content.
docs/recording-format.md says what each name means, and when the version is raised.
"""

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.arena.rules import PAGE_SIZE
from workbench.bpf.addresses import MAX_FRAMES
from workbench.bpf.isa import REGISTERS, Op
from workbench.errors import TraceError
from workbench.recording.columns import KEYFRAME, STEP_COLUMNS
from workbench.recording.schema import maybe, one_of, record, refuse, text, tuple_of, whole
from workbench.recording.version_1 import upgraded

MAGIC = b"ARENATRC"
VERSION = 2
READABLE = (1, VERSION)
LARGEST = 1 << 30  # bytes that any file may decompress to: some 25 million steps
EXPANDS = 100  # times a larger file may grow: recordings do 5 to 40 times, gzip 1,032 at most

COLUMNS: dict[str, str] = STEP_COLUMNS | {
    "key_regs": "<u8",
    "key_depth": "<u1",
    "page_number": "<i4",
    "page_bytes": "<u1",
    "free_ranges": "<i4",
    "event_step": "<u4",
    "event_kind": "<u1",
    "event_page": "<i4",
    "event_count": "<u4",
    "event_time": "<u8",
    "event_actor": "<u1",
    "event_pc": "<i4",
    "event_address": "<u8",
    "region_bytes": "<u1",
    "change_step": "<u4",
    "change_address": "<u8",
    "change_size": "<u1",
    "change_old": "<u8",
    "change_new": "<u8",
}
_MAY_LACK = ("event_time", "event_actor", "event_pc", "event_address")
WIDE_FIELDS = frozenset({"imm", "address", "user_start", "user_end", "r0", "map_extra"})
_natural = whole(0, 1 << 62)


def _table(value: Any, where: str) -> None:
    """Where each column is: one that is known, of its type, at a multiple of 8."""
    if not isinstance(value, dict) or not STEP_COLUMNS.keys() <= value.keys() <= COLUMNS.keys():
        refuse(where, "must name the columns of a recording")
    for name, row in value.items():
        tuple_of(type=one_of(COLUMNS[name]), offset=_natural, length=_natural)(row, name)
        if row[1] % 8:
            refuse(name, "does not start at a multiple of 8")


_HEADER = record(
    exact=False, meta=record(exact=False), columns=_table, body=_natural, crc32=_natural
)
_shown = record(exact=False, name=text)
_part = maybe(record(first=_natural, of=_natural))

Meta = dict[str, Any]
Columns = dict[str, npt.NDArray[Any]]


def pack(meta: Mapping[str, Any], columns: Mapping[str, npt.ArrayLike]) -> bytes:
    """Join one recorded run into the bytes that the stepper opens and files hold.

    `meta` and `columns` are those of docs/recording-format.md; a view needs name, engine,
    instructions, lines, arena, regions, stop, event_kinds and total_steps, and the columns of
    STEP_COLUMNS and of the keyframes. An instruction's `op` may be an `isa.Op` or its name.
    Raises TraceError when columns are missing, unknown or of unequal length.
    """
    arrays = _checked(columns)
    rows = [{**row, "op": _op_name(row["op"])} for row in meta["instructions"]]
    layout: dict[str, list[object]] = {}
    body = bytearray()
    for name, array in arrays.items():
        layout[name] = [COLUMNS[name], len(body), int(array.size)]
        body += array.tobytes()
        body += bytes(-len(body) % 8)
    header = {
        "meta": _narrow({**meta, "instructions": rows, "key_interval": KEYFRAME}),
        "columns": layout,
        "body": len(body),
        "crc32": zlib.crc32(body),
    }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    sizes = np.array([VERSION, len(text)], "<u4").tobytes()
    return b"".join((MAGIC, sizes, text, bytes(body)))


def unpack(payload: bytes, limit: int | None = None) -> tuple[Meta, Columns]:
    """Split packed bytes, compressed or not, into meta and read-only columns.

    Bytes of version 1 give what those of version 2 would. `limit` is how many bytes they may
    decompress to: 1 GiB, or 100 times their number if that is more. Raises TraceError, naming the
    cause, for bytes that are cut short, edited, larger than that or of an unknown version.
    """
    raw = _inflated(bytes(payload), limit)
    version, header, start = _header(raw)
    body = raw[start:]
    if len(body) < header["body"]:
        missing = header["body"] - len(body)
        raise TraceError(f"the trace is cut short: {missing} bytes are missing")
    if len(body) > header["body"] or zlib.crc32(body) != header["crc32"]:
        raise TraceError("the trace was changed after it was written: its checksum does not match")
    columns = {
        name: np.frombuffer(body, dtype, count, offset)
        for name, (dtype, offset, count) in header["columns"].items()
    }
    if version != 1:
        return header["meta"], columns
    try:
        return upgraded(header["meta"], columns)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise TraceError("the trace was changed after it was written: bad header") from None


def read_meta(payload: bytes) -> tuple[Meta, int]:
    """Return meta and the number of recorded steps without touching the columns' content.

    For bytes that a browser is to open: raises TraceError for those of an older version too.
    """
    version, header, _ = _header(_inflated(bytes(payload)))
    if version != VERSION:
        raise TraceError(f"a recording of format version {version}; open it with wb.load_trace")
    _shown(header["meta"], "meta")
    _part(header["meta"].get("part"), "meta.part")
    return header["meta"], int(header["columns"]["pc"][2])


def compress(payload: bytes, level: int = 1) -> bytes:
    """Compress packed bytes; traces repeat themselves, so even the fastest level gives 5 to 20x."""
    return payload if payload[:2] == b"\x1f\x8b" else gzip.compress(payload, level, mtime=0)


def _checked(columns: Mapping[str, npt.ArrayLike]) -> Columns:
    """Return every known column as a flat little-endian array, the absent optional ones empty."""
    unknown = set(columns) - set(COLUMNS)
    missing = set(STEP_COLUMNS) - set(columns)
    if unknown or missing:
        raise TraceError(f"trace columns: unknown {sorted(unknown)}, missing {sorted(missing)}")
    arrays = {
        name: np.ascontiguousarray(columns.get(name, ()), dtype).reshape(-1)
        for name, dtype in COLUMNS.items()
    }
    n = arrays["pc"].size
    expected = dict.fromkeys(STEP_COLUMNS, n) | {
        "page_bytes": arrays["page_number"].size * PAGE_SIZE,
        **dict.fromkeys(("event_kind", "event_page", "event_count"), arrays["event_step"].size),
        **{name: arrays["event_step"].size for name in _MAY_LACK if arrays[name].size},
        **{name: arrays["change_step"].size for name in COLUMNS if name.startswith("change_")},
    }
    for name, size in expected.items():
        if arrays[name].size != size:
            raise TraceError(f"trace column {name} has {arrays[name].size} elements, not {size}")
    keys, registers = arrays["key_depth"].size, arrays["key_regs"].size
    if n and (keys != -(-n // KEYFRAME) or not registers):
        raise TraceError(f"{n} steps need a keyframe (key_depth) every {KEYFRAME} steps")
    if registers % max(keys * MAX_FRAMES * REGISTERS, 1):
        raise TraceError(f"{keys} keyframes of {registers} registers: not {MAX_FRAMES} frames each")
    return arrays


def _op_name(op: int | str) -> str:
    """Operations travel by name: their numbers are no part of the format."""
    return op if isinstance(op, str) else Op(op).name


def _header(raw: bytes) -> tuple[int, dict[str, Any], int]:
    """Parse the header; return the version, the header and the offset at which the body starts."""
    if raw[:8] != MAGIC:
        raise TraceError("this is not a recorded run: it does not start with ARENATRC")
    if len(raw) < 16:
        raise TraceError("the trace is cut short: its header is incomplete")
    version, length = (int(word) for word in np.frombuffer(raw, "<u4", 2, 8))
    if version not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise TraceError(f"the trace has format version {version}; this workbench reads {known}")
    if len(raw) < 16 + length:
        raise TraceError("the trace is cut short: its header is incomplete")
    try:
        header = json.loads(raw[16 : 16 + length])
        _HEADER(header, "the header")
        meta = _widen(header["meta"])
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise TraceError("the trace was changed after it was written: bad header") from None
    for name, (_, offset, count) in header["columns"].items():
        if offset + count * np.dtype(COLUMNS[name]).itemsize > header["body"]:
            raise TraceError(f"the trace was changed after it was written: {name} ends beyond it")
    return version, header | {"meta": meta}, 16 + length


def _inflated(payload: bytes, limit: int | None = None) -> bytes:
    """Undo gzip if the bytes are compressed, as far as the limit."""
    if payload[:2] != b"\x1f\x8b":
        return payload
    most = max(LARGEST, EXPANDS * len(payload)) if limit is None else limit
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        raw = stream.decompress(payload, most + 1)
    except zlib.error:
        raise TraceError("the trace is cut short or damaged: it does not decompress") from None
    if len(raw) > most:
        raise TraceError(
            f"the trace has {len(payload):,} bytes and decompresses to more than {most:,}; "
            "if you trust it, load it with wb.load_trace(path, limit=...)"
        )
    if not stream.eof:
        raise TraceError("the trace is cut short or damaged: it does not decompress")
    return raw


def _narrow(value: Any, field: str = "") -> Any:
    """Copy a JSON value: 64-bit fields become decimal strings, NumPy scalars Python's own."""
    if isinstance(value, Mapping):
        return {key: _narrow(item, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_narrow(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return str(int(value)) if field in WIDE_FIELDS else value


def _widen(value: Any, field: str = "") -> Any:
    """Undo `_narrow`: 64-bit fields become integers again."""
    if isinstance(value, dict):
        return {key: _widen(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_widen(item) for item in value]
    return int(value) if field in WIDE_FIELDS else value
