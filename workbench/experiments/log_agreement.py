"""Does our log say what Linux's says? Accepted programs' logs of level 2, value by value.

Both texts are read by the same reader (`workbench.verifier.log.reader`). The k-th visit of an
instruction in one log is compared with the k-th visit in the other; of each, every register that
Linux knows before the instruction, r10 left out, and every value that Linux prints after it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from workbench.bpf import isa
from workbench.bpf.isa import Op
from workbench.engines.kernel import KernelArena, verdict
from workbench.errors import KernelError, Unsupported
from workbench.experiments import seeds
from workbench.experiments.verdicts import PAGES
from workbench.verifier import verify
from workbench.verifier.log.steps import LogStep
from workbench.verifier.log.view import VerifierLog, read_verifier_log
from workbench.widgets.progress import bar

if TYPE_CHECKING:
    from workbench.bpf.program import Program
    from workbench.verifier.log.known import LogValue

LARGE = 20_000  # instructions processed; bounds the time and memory of one log, not measured
COLUMNS = ["program", "pc", "visit", "name", "printed", "linux", "workbench", "same"]


def programs() -> "dict[str, Program]":
    """What is compared: every program of data/, and the seeds."""
    named = {f"seeds/{name}": program for name, program in seeds.seeds().items()}
    return {**seeds.examples(), **named}


def run(chosen: "dict[str, Program] | None" = None) -> pd.DataFrame:
    """Compare the logs of every program that both accept; see COLUMNS, a row for each value.

    `linux` and `workbench` are the printed texts, "" where there is no value. `printed` says
    whether the log itself shows the value, after the instruction; if not, it was known before.
    Raises KernelError where the kernel cannot be asked.
    """
    rows: list[tuple[object, ...]] = []
    found = programs() if chosen is None else chosen
    with KernelArena(PAGES) as arena:
        for name, program in bar("logs", found.items(), unit="program"):
            try:
                answer = verdict(program, arena, 2)
            except (KernelError, Unsupported):
                continue
            if not answer.ok or answer.processed > LARGE:
                continue
            ours = verify(program, arena_pages=PAGES, log_level=2)
            if ours.ok:
                logs = read_verifier_log(answer.log), read_verifier_log(ours.log)
                rows += [(name, *row) for row in compared(*logs)]
    return pd.DataFrame(rows, columns=COLUMNS)


def compared(linux: VerifierLog, ours: VerifierLog) -> Iterator[tuple[object, ...]]:
    """Rows of COLUMNS after the first, for two logs of one program."""
    visits: dict[tuple[int, int], list[LogStep]] = defaultdict(list)
    for step in ours.steps:
        visits[step.pc, step.frame].append(step)
    seen: Counter[tuple[int, int]] = Counter()
    for step in linux.steps:
        key = step.pc, step.frame
        visit, seen[key] = seen[key], seen[key] + 1
        other = visits[key][visit] if visit < len(visits[key]) else None
        for number in range(10):
            value = step.before.registers[number]
            if value is not None:
                known = other.before.registers[number] if other else None
                yield _row(step.pc, visit, f"R{number}", False, value, known)
        printed = dict(other.printed) if other else {}
        for name, value in step.printed:
            yield _row(step.pc, visit, name, True, value, printed.get(name))


def _row(
    pc: int, visit: int, name: str, printed: bool, value: "LogValue", other: "LogValue | None"
) -> tuple[object, ...]:
    same = other is not None and _meaning(value) == _meaning(other)
    return pc, visit, name, printed, value.text, other.text if other else "", same


def _meaning(value: "LogValue") -> tuple[object, ...]:
    """What must be equal; of stack bytes, their letters."""
    return (*value.meaning, value.text if value.kind == "bytes" else "")


def report(frame: pd.DataFrame, show: Callable[[str], None] = print, differences: int = 20) -> None:
    """Show the percentages and the commonest differences."""
    known, printed = frame[~frame["printed"]], frame[frame["printed"]]
    show(f"{frame['program'].nunique()} programs accepted by both")
    for title, part in (("known before each instruction", known), ("printed after it", printed)):
        show(f"{title:<32} {len(part):>9,} values, {100 * part['same'].mean():.2f} % the same")
    show("")
    show(by_difference(frame).head(differences).to_string(index=False, max_colwidth=90))


def by_difference(frame: pd.DataFrame) -> pd.DataFrame:
    """Differences by the two texts, commonest first, each with a program and slot."""
    differ = frame[~frame["same"]]
    groups = differ.groupby(["linux", "workbench"])
    found = groups.agg(
        count=("pc", "size"),
        program=("program", "first"),
        pc=("pc", "first"),
        name=("name", "first"),
    )
    return found.sort_values("count", ascending=False).reset_index()


def demonstration() -> "dict[str, Program]":
    """A C function that walks a list, as compiled, and without the cast before its access."""
    whole = seeds.examples()["list.o/walk"]
    records = whole.instructions.copy()
    casts = [pc for pc, op in enumerate(records["op"]) if op == Op.CAST_KERN]
    records["op"][casts[-1]] = Op.MOV64
    return {"walk": whole, "walk without its cast": replace(whole, bytecode=isa.encode(records))}


def samples() -> pd.DataFrame:
    """Linux's logs of level 2 on `demonstration`: columns program, accepted, log."""
    rows = []
    with KernelArena(PAGES) as arena:
        for name, program in demonstration().items():
            answer = verdict(program, arena, 2)
            rows.append((name, answer.ok, answer.log))
    return pd.DataFrame(rows, columns=["program", "accepted", "log"])
