"""The table of observed facts: reads tests/rows/*.toml and puts each row to an arena.

A row says what Linux was seen to answer; it holds for the `releases` that it names, else for 6.18.
`answers(row, machine)` carries it out on a machine, emulated or real (row_machines.py), and writes
the answer in the row's own words, so that a test needs no more than three texts to be equal. Kinds
of rows:

    create     attributes of a new arena -> "ok" or an errno
    operation  an element operation of bpf(2) -> an errno
    script     a sequence of calls, one a line:  call arguments -> answer
    verdict    a program -> "accepted", or the verifier's reason
    xlated     a program -> its instructions as rewritten; with `raw`, one slot's bytes

A script's lengths are bytes or pages (`3p`); an address is a sum of terms: a name bound by
`A = mmap ...`, bytes, pages. One that begins with pages counts from the arena's start (`2p+8`).
A missing answer means "ok". `emulated` or `kernel` in a row is the reason why that side cannot
express it; `ours` is the emulation's wording where only the wording differs. A program is `head`,
`asm` and `tail`, the outer two usually a file's defaults; `ctx` is the context in 64-bit words.
"""

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.paths import ROW_TABLES
from workbench.bpf.releases import DEFAULT, Release, release
from workbench.errors import (
    ArenaError,
    KernelError,
    SegmentationFault,
    VerificationError,
    WorkbenchError,
)

VERIFIER = ROW_TABLES / "verifier.toml"  # rows of another form, which test_verifier.py reads
PAGE = 4096
KEYS = {
    "name",
    "kind",
    "emulated",
    "kernel",
    "ours",
    "answer",
    "pages",
    "flags",
    "base",
    "create",
    "operation",
    "key",
    "frozen",
    "script",
    "asm",
    "type",
    "license",
    "maps",
    "bytecode",
    "references",
    "ctx",
    "mapped",
    "capabilities",
    "note",
    "pc",
    "raw",
    "sleepable",
    "head",
    "tail",
    "releases",
}

Machine = Any  # row_machines.EmulatedMachine or row_machines.KernelMachine


@dataclass(frozen=True)
class Row:
    """One fact: where it stands, what kind it is, and its table in the file."""

    file: str
    name: str
    kind: str
    table: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"

    @property
    def releases(self) -> list[Release]:
        """The releases of Linux that it holds for."""
        return [release(name) for name in self.table.get("releases", [DEFAULT.name])]

    def reason(self, side: str) -> str:
        """Why this row cannot be expressed on a side ("emulated", "kernel"); "" if it can."""
        return str(self.table.get(side, ""))

    def expected(self, side: str) -> str:
        """The answer that this side must give."""
        if self.kind == "script":
            return "\n".join(line.text for line in script_lines(self.table["script"]))
        return str(self.table["ours" if side == "emulated" and "ours" in self.table else "answer"])


def read_rows(folder: Path = ROW_TABLES, linux: Release | None = DEFAULT) -> list[Row]:
    """Every row of every file that holds for a release, in order; None: for any.

    Raises AssertionError for a malformed row.
    """
    rows = []
    for path in sorted(set(folder.glob("*.toml")) - {VERIFIER}):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        defaults = content.get("defaults", {})
        for table in content["row"]:
            table = {**defaults, **table}
            unknown = set(table) - KEYS
            assert not unknown, f"{path.name}: {table.get('name')}: unknown keys {unknown}"
            rows.append(Row(path.stem, table["name"], table["kind"], table))
    return [row for row in rows if linux is None or linux in row.releases]


def answers(row: Row, machine: Machine) -> Iterator[str]:
    """Carry out a row on a machine; its lines together have the form of `row.expected`."""
    if row.kind == "script":
        yield from run_script(machine, script_lines(row.table["script"]))
    else:
        yield told(lambda: getattr(machine, row.kind)(row))


def told(call: Callable[[], object]) -> str:
    """The outcome of a call as text: "ok", a number, or the name of the error."""
    try:
        value = call()
    except (ArenaError, KernelError) as error:
        return error.errno_name
    except SegmentationFault:
        return "SIGSEGV"
    except VerificationError as error:
        return f"refused: {error.reason}"
    except WorkbenchError as error:
        return f"{type(error).__name__}: {error}"
    return "ok" if value is None else str(value)


@dataclass(frozen=True)
class Line:
    """One call of a script: `name` is bound to its result; `wanted` is the answer's text."""

    text: str
    name: str
    call: str
    words: tuple[str, ...]
    wanted: str


_LINE = re.compile(
    r"^(?:(?P<name>[A-Z]\w*) = )?(?P<call>\w+)(?P<words>.*?)(?:\s+->\s+(?P<wanted>.*))?$"
)


def script_lines(script: str) -> list[Line]:
    """Read a script; `#` begins a comment and `x3` as last word repeats a call's answer."""
    lines = []
    for raw in script.strip().splitlines():
        text = re.sub(r"\s+", " ", raw.split("#")[0].strip())
        if not text:
            continue
        match = _LINE.match(text)
        assert match, f"cannot read '{raw}'"
        lines.append(
            Line(
                text,
                match["name"] or "",
                match["call"],
                tuple(match["words"].split()),
                match["wanted"] or "ok",
            )
        )
    return lines


def run_script(machine: Machine, lines: list[Line]) -> Iterator[str]:
    """Run calls in order; yields each line as written if the answer is the wanted one."""
    names: dict[str, int] = {}
    for line in lines:
        machine.line = line
        seen = told(lambda line=line: CALLS[line.call](machine, Words(machine, names, line)))
        if line.name and seen.isdigit():
            names[line.name] = int(seen)
        yield line.text if _same(machine, names, line, seen) else rewritten(line, seen)


def _same(machine: Machine, names: dict[str, int], line: Line, seen: str) -> bool:
    """Whether an answer is the wanted one; "ok" stands for any success."""
    if seen == line.wanted:
        return True
    if line.wanted == "ok":
        return seen.isdigit() or seen.startswith("[")
    try:
        return seen.lstrip("-").isdigit() and int(seen) == evaluate(line.wanted, names, machine)
    except (KeyError, ValueError):
        return False


def rewritten(line: Line, seen: str) -> str:
    """The line with the answer that was seen instead of the wanted one."""
    value = hex(int(seen)) if seen.lstrip("-").isdigit() and abs(int(seen)) > 9 else seen
    return f"{line.text.split(' -> ')[0]} -> {value}"


def evaluate(text: str, names: dict[str, int], machine: Machine) -> int:
    """The value of a sum of terms; one that begins with pages counts from the arena's start."""
    terms = re.findall(r"([+-]?)\s*(\w+)", text)
    total = machine.start if re.fullmatch(r"\d+p", terms[0][1]) else 0
    for sign, term in terms:
        total += (-1 if sign == "-" else 1) * _term(term, names)
    return total


def _term(term: str, names: dict[str, int]) -> int:
    if term in names:
        return names[term]
    return int(term[:-1]) * PAGE if term.endswith("p") else int(term, 0)


class Words:
    """The arguments of a script's call, read from left to right."""

    def __init__(self, machine: Machine, names: dict[str, int], line: Line) -> None:
        self._machine, self._names = machine, names
        self.rest = list(line.words)

    def address(self) -> int:
        return evaluate(self.rest.pop(0), self._names, self._machine)

    def length(self, default: int = 0) -> int:
        return _term(self.rest.pop(0), {}) if self.rest else default

    def number(self, default: int) -> int:
        """A plain number if one comes next."""
        plain = self.rest and re.fullmatch(r"-?(\d+|0x[0-9a-fA-F]+)", self.rest[0])
        return int(self.rest.pop(0), 0) if plain else default

    def word(self, default: str = "") -> str:
        return self.rest.pop(0) if self.rest else default

    def option(self, name: str, default: str) -> str:
        """The value of `name=value`."""
        for word in self.rest:
            if word.startswith(name + "="):
                self.rest.remove(word)
                return word.split("=")[1]
        return default

    def after(self, name: str) -> int:
        """The address that follows a word such as `at`; 0 without it."""
        if name not in self.rest:
            return 0
        place = self.rest.index(name)
        address = evaluate(self.rest[place + 1], self._names, self._machine)
        del self.rest[place : place + 2]
        return address


def _mmap(machine: Machine, words: Words) -> int:
    """mmap LENGTH [at ADDRESS] [prot=rw] [offset=0] [flags: shared unless named]"""
    address, prot = words.after("at"), words.option("prot", "rw")
    offset, length = words.option("offset", "0"), words.length()
    return machine.mmap(length, address, prot, words.rest or ["shared"], _term(offset, {}))


def _alloc(machine: Machine, words: Words) -> str:
    """alloc [COUNT] [at ADDRESS] [node=-1] [flags=0] [xTIMES] -> page numbers, or none"""
    address, node, flags = words.after("at"), words.option("node", "-1"), words.option("flags", "0")
    count = words.number(1)
    times = int(words.word("x1")[1:])
    placed = [machine.alloc(address, count, int(node, 0), int(flags, 0)) for _ in range(times)]
    return " ".join(machine.page_name(at) for at in placed)


def _numbers(values: "list[int]") -> str:
    """Ranges of page numbers: 0-3 7; "none" for an empty list."""
    parts: list[list[int]] = []
    for value in values:
        if parts and parts[-1][1] == value - 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts) or "none"


def _errno(value: int) -> str | None:
    return {0: None, -16: "EBUSY", -22: "EINVAL"}.get(value, str(value))


def _straddles(machine: Machine, words: Words) -> str:
    """straddles ADDRESS LENGTH -> yes or no: does the range cross a 4 GiB line?"""
    address, length = words.address(), words.length()
    return "yes" if address >> 32 != (address + length - 1) >> 32 else "no"


# Call -> what it does; this table and the docstrings above are the language's reference.
CALLS: dict[str, Callable[[Machine, Words], object]] = {
    # the user's mapping; `other` maps something else over a range (anonymous MAP_FIXED)
    "mmap": _mmap,
    "other": lambda m, w: m.map_other(w.address(), w.length()),
    "munmap": lambda m, w: m.munmap(w.address(), w.length()),
    "mprotect": lambda m, w: m.mprotect(w.address(), w.length(), w.word()),
    "madvise": lambda m, w: m.madvise(w.address(), w.length(), w.word()),
    "mremap": lambda m, w: m.mremap(w.address(), w.length(), w.length(), w.after("to"), w.rest),
    "msync": lambda m, w: m.msync(w.address(), w.length(), w.rest),
    "mlock": lambda m, w: m.mlock(w.address(), w.length()),
    "munlock": lambda m, w: m.munlock(w.address(), w.length()),
    "freeze": lambda m, w: m.freeze(),
    "fork": lambda m, w: m.fork(),  # the rest of the script runs in the child
    "straddles": _straddles,
    "low": lambda m, w: w.address() & 0xFFFFFFFF,
    # the user's touches: numbers; `touch load|store` tells what SIGSEGV says, and ends the script;
    # write(2) and read(2) with a buffer in the arena
    "load": lambda m, w: m.load(w.address(), w.word("u64")),
    "store": lambda m, w: m.store(w.address(), w.number(0), w.word("u64")),
    "touch": lambda m, w: m.touch(w.word(), w.address()),
    "sys_write": lambda m, w: m.sys_write(w.address(), w.number(1)),
    "sys_read": lambda m, w: m.sys_read(w.address(), w.number(1)),
    # the same through /proc/self/mem
    "mem": lambda m, w: m.mem(w.address()),
    # what /proc tells: the mapping's VmFlags, and numbers of the map's fdinfo
    "vmflags": lambda m, w: m.vmflags(w.address()),
    "info": lambda m, w: m.info(w.word()),
    "close": lambda m, w: m.close_map(),
    # what programs ask for
    "alloc": _alloc,
    "free": lambda m, w: m.free(w.address(), w.number(1)),
    "reserve": lambda m, w: _errno(m.reserve(w.address(), w.number(1))),
    "bpf_load": lambda m, w: m.bpf_load(w.address()),
    "bpf_store": lambda m, w: m.bpf_store(w.address(), w.number(0)),
    # the row's own program: low half of r0, then words of the context after the run
    "run": lambda m, w: m.run(),
    "ctx": lambda m, w: m.ctx(w.number(0)),
    # what is there: page numbers
    "present": lambda m, w: _numbers(m.present()),
    "free_pages": lambda m, w: _numbers(m.free_pages()),
}
