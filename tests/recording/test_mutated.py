"""Whatever a received file holds, loading and showing it ends well, or with a TraceError."""

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.attack import attack
from support.mutated_recordings import mutated, originals

import workbench as wb
from workbench.errors import TraceError


def test_mutated_recordings_neither_crash_nor_hang(scale: Callable[[int, int], int]) -> None:
    outcome = attack("support.mutated_recordings:use", range(scale(300, 100_000)))
    assert str(outcome) == "crashes 0, hangs 0, raw 0"


def test_mutations_are_loaded_and_refused_both(tmp_path: Path) -> None:
    """Else the other test would look at one half of what there is."""
    path, refusals = tmp_path / "mutated.trace", []
    for seed in range(200):
        path.write_bytes(mutated(seed))
        try:
            wb.load_trace(path)
        except TraceError as error:
            refusals.append(str(error))
    assert 20 < len(refusals) < 180
    assert all(text.startswith(str(path)) and "\n" not in text for text in refusals)


def changed(raw: bytes, name: str, row: int, value: int) -> bytes:
    """A recording with one number of a column changed, and its checksum right."""
    length = struct.unpack("<I", raw[12:16])[0]
    header, body = json.loads(raw[16 : 16 + length]), bytearray(raw[16 + length :])
    type_, offset, _ = header["columns"][name]
    width = int(type_[-1])
    body[offset + row * width : offset + (row + 1) * width] = value.to_bytes(width, "little")
    header["crc32"] = zlib.crc32(body)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return raw[:12] + struct.pack("<I", len(text)) + text + bytes(body)


@pytest.mark.parametrize(
    ("name", "row", "value", "says"),
    [
        ("event_count", 1, 0x3FFFFFFF, r"event_page \+ event_count, row 1, must be in \[0, 64\]"),
        ("pc", 6, 1 << 31, r"pc, row 6, must be in \[0, \d+\], not 2147483648"),
        ("depth", 3, 9, r"depth, row 3, must be in \[0, 7\], not 9"),
        ("reg", 3, 11, "reg, row 3, must be one of"),
        ("size", 3, 3, r"size, row 3, must be one of \(0, 1, 2, 4, 8\), not 3"),
        ("access", 3, 32, "access, row 3,"),
        ("event_kind", 0, 14, "event_kind, row 0,"),
        ("event_time", 0, 1 << 63, "event_time, row 0,"),
        ("free_ranges", 1, 1 << 20, "free_ranges: pages, row 0,"),
    ],
)
def test_a_number_that_would_be_followed_blindly(
    name: str, row: int, value: int, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "changed.trace"
    path.write_bytes(changed(originals()[1], name, row, value))
    with pytest.raises(TraceError, match=says):
        wb.load_trace(path)


def test_an_old_file_is_looked_at_as_well(tmp_path: Path) -> None:
    path = tmp_path / "old.trace"
    path.write_bytes(changed(originals()[-1], "pc", 6, 1 << 31))
    with pytest.raises(TraceError, match="pc, row 6, must be in"):
        wb.load_trace(path)


def test_a_small_file_does_not_become_a_large_one(tmp_path: Path) -> None:
    path = tmp_path / "bomb.trace"
    path.write_bytes(gzip.compress(originals()[0] + bytes(10_000_000)))
    with pytest.raises(TraceError, match=r"more than 1,000,000; if you trust it.*limit="):
        wb.load_trace(path, limit=1_000_000)
    with pytest.raises(TraceError, match="checksum"):
        wb.load_trace(path, limit=20_000_000)
