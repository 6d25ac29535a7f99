"""Everything that writes a file which a person keeps, with how one sees that a file is whole.

`python -m support.writers full|killed DIRECTORY COUNT` tries them on a disk without room, or kills
them with SIGKILL at random moments, and prints what was lost, as JSON.
"""

import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import workbench as wb
from workbench.cli.run import _write_traces
from workbench.errors import SaveError
from workbench.evidence import provenance
from workbench.examples.studies import packets
from workbench.files import write_whole
from workbench.labs import build
from workbench.labs.source import labs
from workbench.plots.figure import Figure, page, styled

LOOP = "r0 = 0\nagain:\nr0 += 1\nif r0 != 300 goto again\nexit"


@styled
def small() -> Figure:
    figure = Figure(figsize=page(1))
    figure.subplots().plot([1, 2])
    return figure


class Writer(NamedTuple):
    """The name of a file, what writes it, and what raises or is false unless it is whole."""

    name: str
    write: Callable[[Path], Any]
    whole: Callable[[Path], Any]


def ends(text: str) -> Callable[[Path], bool]:
    return lambda path: path.read_bytes().rstrip().endswith(text.encode())


def writers() -> list[Writer]:
    """One writer for each kind of file."""
    program = wb.assemble(LOOP, name="loop", type="raw")
    with wb.Interpreter(program) as engine:
        result = engine.run(trace="steps")
    trace, figure = result.trace, small()
    frames = [packets.request(b"key %d" % number) for number in range(100)]
    frame = pd.DataFrame({"number": range(1000)})
    book = build.notebook(labs()[0], build._student)
    return [
        Writer("plain.txt", lambda path: write_whole(path, "x" * 100_000 + "."), ends(".")),
        Writer("run.trace", trace.save, wb.load_trace),
        Writer("run.html", trace.to_html, ends("</html>")),
        Writer("stepper.html", trace.stepper().to_html, ends("</html>")),
        Writer("run.json", trace.to_perfetto, lambda path: json.loads(path.read_text())),
        Writer("steps.parquet", lambda path: _write_traces(path, [result]), pd.read_parquet),
        Writer("figure.pdf", figure.savefig, ends("%%EOF")),
        Writer("figure.svg", figure.savefig, ends("</svg>")),
        Writer("figure.pgf", figure.savefig, ends("\\endgroup")),
        Writer("result.parquet", lambda path: provenance.save(frame, path), provenance.load),
        Writer("frames.pcap", lambda path: packets.write_pcap(path, frames),
               lambda path: len(packets.read_pcap(path)) == 100),
        Writer("lab.ipynb", lambda path: build._write(book, path),
               lambda path: json.loads(path.read_text())),
    ]  # fmt: skip


@contextmanager
def no_room(size: int) -> Iterator[None]:
    """A limit on the size of files, which stands for a full disk: writing fails in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def lost(writer: Writer, path: Path) -> str:
    """Why a file is not what it was, or not whole; "" if it is."""
    try:
        return "" if writer.whole(path) is not False else "cut short"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def fill(path: Path) -> None:
    """Take all the room that is left."""
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))


def full(directory: Path) -> list[str]:
    """Save over an old file on a disk that has no room; what went wrong."""
    found = []
    for writer in writers():
        path = directory / writer.name
        path.write_text("old")
        fill(directory / "rest")
        try:
            writer.write(path)
        except SaveError as error:
            if error.errno_name != "ENOSPC" or "make room" not in str(error):
                found.append(f"{writer.name}: {error}")
        except Exception as error:
            found.append(f"{writer.name}: {type(error).__name__}: {error}")
        else:
            found.append(f"{writer.name}: there was room")
        if path.read_bytes() != b"old" or len(os.listdir(directory)) != 2:
            found.append(f"{writer.name}: {os.listdir(directory)}")
        path.unlink()
    return found


def killed(directory: Path, count: int) -> list[str]:
    """Kill each writer `count` times while it saves over an old file; what was lost."""
    draw, found = random.Random(1), []
    for writer in writers():
        path = directory / writer.name
        writer.write(path)
        began = time.monotonic()
        writer.write(path)
        longest = 2 * (time.monotonic() - began) + 0.002
        for _ in range(count):
            if (child := os.fork()) == 0:
                while True:
                    writer.write(path)
            time.sleep(draw.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if why := lost(writer, path):
                found.append(f"{writer.name}: {why}")
        writer.write(path)  # what a killed process left behind is in nobody's way
        found += [f"{writer.name}: {why}" for why in [lost(writer, path)] if why]
    return found


if __name__ == "__main__":
    place = Path(sys.argv[2])
    print(json.dumps(full(place) if sys.argv[1] == "full" else killed(place, int(sys.argv[3]))))
