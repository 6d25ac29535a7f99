"""Traces of real allocators: calls of malloc, calloc, realloc and free, as CSV.

    time,call,address,size,old
    0,malloc,0x5581a2c0,120,
    1,realloc,0x5581b000,70000,0x5581a2c0
    2,free,0x5581b000,,

    time     whole number in any unit, never backwards
    call     malloc, calloc, memalign, realloc, free
    address  what the call returned, or what it freed; hexadecimal (0x...) or decimal; 0 for NULL
    size     bytes asked for (calloc: the product); empty for free
    old      realloc: the address given; empty or 0 for a new block

ltrace, heaptrack and malloc hooks can all be printed so.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from workbench.arena.events import Kind
from workbench.arena.rules import PAGE_SIZE
from workbench.errors import WorkbenchError
from workbench.models import requests

COLUMNS = ("time", "call", "address", "size", "old")
GIVES = ("malloc", "calloc", "memalign", "realloc")


def read_malloc_trace(
    path: str | Path, unit: int = PAGE_SIZE, repair: bool = False
) -> pd.DataFrame:
    """Read a trace as a log of requests, each block in whole units of `unit` bytes.

    `bytes` keeps what was asked for. With `unit=16`, the "pages" of the log are cells of 16 bytes,
    the grain of most mallocs, and fragmentation is that inside a heap. Raises WorkbenchError with
    the line for what is not in the form above, for an address given out twice and for one freed
    that is not in use; `repair` leaves such lines out.
    """
    table = _table(path)
    rows: list[tuple[int, int, int, int, int]] = []
    held: dict[int, tuple[int, int]] = {}  # address -> block, bytes
    blocks, before = 0, 0
    for line, (time, call, address, size, old) in enumerate(table.itertuples(index=False), 2):
        wrong = _wrong(call, address, size, old, held) or (
            f"time runs backwards, to {time}" if time < before else ""
        )
        if wrong and not repair:
            raise WorkbenchError(f"{path}, line {line}: {wrong}; repair=True leaves such lines out")
        if wrong:
            continue
        before = time
        gone = address if call == "free" else old
        if gone:
            block, freed = held.pop(gone)
            rows.append((time, int(Kind.FREE), _units(freed, unit), block, freed))
        if call in GIVES and address:
            held[address] = blocks, size
            rows.append((time, int(Kind.ALLOC), _units(size, unit), blocks, size))
            blocks += 1
    made = np.array(rows, np.int64).reshape(-1, 5)
    log = requests.frame(made[:, 1], made[:, 2], made[:, 3], time=made[:, 0])
    return log.assign(bytes=made[:, 4])


def _units(size: int, unit: int) -> int:
    return max(1, -(-size // unit))


def _wrong(call: str, address: int, size: int, old: int, held: dict[int, tuple[int, int]]) -> str:
    """Why a line cannot be, or ""."""
    if call not in (*GIVES, "free"):
        return f"unknown call '{call}'; known are {', '.join(GIVES)}, free"
    if call == "free":
        return f"free of {address:#x}, which is not in use" if address not in {0, *held} else ""
    if size < 0:
        return f"{call} without a size"
    if old and old not in held:
        return f"realloc of {old:#x}, which is not in use"
    if address in held and address != old:
        return f"{call} returns {address:#x}, which is in use"
    return ""


def _table(path: str | Path) -> pd.DataFrame:
    """The file's columns as integers; a size that is not given is -1, an address 0."""
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise WorkbenchError(f"{path} cannot be read as CSV: {error}") from None
    if list(text.columns) != list(COLUMNS):
        raise WorkbenchError(
            f"{path} has the columns {', '.join(text.columns)}; needed are {', '.join(COLUMNS)}"
        )
    numbers = {"call": text["call"].str.strip()}
    for name, missing in (("time", -1), ("address", 0), ("size", -1), ("old", 0)):
        numbers[name] = _integers(path, text[name], missing)
    return pd.DataFrame(numbers)[list(COLUMNS)]


def _integers(path: str | Path, column: "pd.Series[str]", missing: int) -> list[int]:
    found = []
    for line, text in enumerate(column, 2):
        try:
            found.append(int(text, 0) if text.strip() else missing)
        except ValueError:
            raise WorkbenchError(
                f"{path}, line {line}: {column.name} '{text}' is not a whole number"
            ) from None
    return found
