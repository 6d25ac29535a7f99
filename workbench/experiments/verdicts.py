"""Do we decide as Linux decides? Thousands of changed programs, judged by both.

Every program is named by where it starts (`origin`) and a number, and can be made again from them.
The examples of data/ are judged as they are; the rest are changed at random (see `mutate`).
"""

import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import pandas as pd

from workbench.bpf.program import Program
from workbench.engines.kernel import KernelArena, Verdict, verdict
from workbench.errors import KernelError, Unsupported, WorkbenchError
from workbench.experiments import seeds
from workbench.experiments.mutate import minimised, mutated
from workbench.verifier import verify
from workbench.verifier.log.messages import SAFETY, classify
from workbench.widgets.progress import bar

COUNT, SEED, PAGES = 20_000, 1, 1024
LARGE = 30_000  # instructions that Linux looked at, half a second of ours; larger are left out
SOURCES, WEIGHTS = ("seeds", "arithmetic", "examples"), (60, 25, 15)
TOTALS = 4  # the log level that prints the reason and the totals (BPF_LOG_STATS)
COLUMNS = [
    "origin", "number", "changes", "type", "slots", "kernel_ok", "kernel_pc", "kernel_reason",
    "kernel_class", "kernel_kind", "processed", "ok", "pc", "reason", "class",
]  # fmt: skip


CAUSES = {
    ("verifier bug", "accepted"): "Linux gives up on a callback that reads r6 to r9 of its caller,"
    " and reports a bug of its own",
    ("accepted", "not in the workbench"): "Linux lets programs read the fields of its map objects;"
    " the workbench has no such objects",
    (
        "accepted",
        "helper forbidden",
    ): "a change made the number of a helper that the workbench lacks",
    ("accepted", "iterator"): "Linux takes r10 + 0 for the slot at r10 - 8; what lies there is not"
    " the program's",
    ("accepted", "region"): "as for iterators: r10 + 0 for the slot at r10 - 8",
}
"""Why verdicts differ, by the classes of the two: Linux's first."""


class Start(NamedTuple):
    """A program to be judged, by name: `number` seeds its changes; -1 leaves it as it is."""

    origin: str
    number: int


def run(count: int = COUNT, seed: int = SEED) -> pd.DataFrame:
    """Judge the examples and `count` changed programs by Linux and by us; see COLUMNS.

    Shows progress; Ctrl-C keeps what was done. Raises KernelError where the kernel cannot be asked.
    """
    rows: list[tuple[object, ...]] = []
    todo = list(_starts(count, seed))
    with KernelArena(PAGES) as arena:
        try:
            for start in bar("judged by both", todo, unit="program"):
                if (row := judged(start, arena)) is not None:
                    rows.append(row)
        except KeyboardInterrupt:
            print(f"stopped: {len(rows)} of {len(todo)} programs")
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.drop_duplicates(["origin", "number"], ignore_index=True)


def _starts(count: int, seed: int) -> Iterator[Start]:
    """The examples and seeds as they are, then `count` names of changed programs."""
    rng = random.Random(seed)
    names = {"seeds": list(seeds.seeds()), "examples": list(seeds.examples())}
    for source, found in names.items():
        yield from (Start(f"{source}/{name}", -1) for name in found)
    for _ in range(count):
        source = rng.choices(SOURCES, WEIGHTS)[0]
        origin = f"{source}/{rng.choice(names[source])}" if source in names else source
        yield Start(origin, rng.getrandbits(31))


def program_of(start: Start) -> Program:
    """Make the program that a row is about."""
    source, _, name = start.origin.partition("/")
    rng = random.Random(start.number)
    if source == "arithmetic":
        return mutated(seeds.arithmetic(rng), rng, rng.choice((0, 1, 1, 2)))
    program = _named(source)[name]
    return program if start.number < 0 else mutated(program, rng, rng.choice((1, 1, 2, 3)))


@cache
def _named(source: str) -> dict[str, Program]:
    return seeds.seeds() if source == "seeds" else seeds.examples()


def judged(start: Start, arena: KernelArena) -> tuple[object, ...] | None:
    """One row of COLUMNS; None for a program that Linux cannot be asked about."""
    program = program_of(start)
    try:
        answer = _linux(program, arena)
    except (KernelError, Unsupported):
        return None
    changes = -1 if start.number < 0 else 1
    about = (*start, changes, program.type, len(program))
    linux = (answer.ok, answer.pc, answer.reason, *_class(answer.reason), answer.processed)
    if answer.processed > LARGE:
        return (*about, *linux, answer.ok, answer.pc, "left out: too large", "left out")
    ours = ours_of(program)
    return (*about, *linux, *ours, _class(ours[2])[0])


def _linux(program: Program, arena: KernelArena) -> Verdict:
    """Linux's verdict; the path that led to a refusal is printed only where it is short."""
    answer = verdict(program, arena, TOTALS)
    if answer.ok or answer.processed > LARGE:
        return answer
    return verdict(program, arena)


def ours_of(program: Program) -> tuple[bool, int, str]:
    """Our verdict: accepted, slot, reason; an error of ours is a reason too."""
    try:
        report = verify(program, arena_pages=PAGES)
    except WorkbenchError as error:
        return False, -1, f"error: {error}"
    except Exception as error:
        return False, -1, f"failure of the verifier: {type(error).__name__}: {error}"
    return report.ok, report.pc, report.reason


def _class(reason: str) -> tuple[str, str]:
    """Name and kind of a refusal; its own words where no row knows them."""
    if not reason:
        return "accepted", ""
    match = classify(reason)
    return (match.message.name, match.message.kind) if match else (reason[:60], SAFETY)


# What came out


class Summary(NamedTuple):
    """The figures that count; percentages of the programs that both judged."""

    programs: int
    refused_by_linux: int
    agreement: float
    same_reason: float
    unsafe: int
    too_strict: int
    left_out: int

    def __str__(self) -> str:
        return (
            f"{self.programs:,} programs, of which Linux refuses {self.refused_by_linux:,}\n"
            f"same verdict                        {self.agreement:.2f} %\n"
            f"same class of reason, both refuse   {self.same_reason:.2f} %\n"
            f"accepted here, unsafe to Linux      {self.unsafe}\n"
            f"refused here, accepted by Linux     {self.too_strict}\n"
            f"left out (over {LARGE:,} instructions processed)  {self.left_out}"
        )


def summary(frame: pd.DataFrame) -> Summary:
    """Count agreement over the rows of `run`."""
    both, left_out = compared(frame), int((frame["class"] == "left out").sum())
    same = both["ok"] == both["kernel_ok"]
    refused = both[~both["ok"] & ~both["kernel_ok"]]
    unsafe = both["ok"] & ~both["kernel_ok"] & (both["kernel_kind"] == SAFETY)
    return Summary(
        len(both),
        int((~both["kernel_ok"]).sum()),
        100 * float(same.mean()),
        100 * float((refused["class"] == refused["kernel_class"]).mean()),
        int(unsafe.sum()),
        int((~both["ok"] & both["kernel_ok"]).sum()),
        left_out,
    )


def compared(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that both judged."""
    return frame[frame["class"] != "left out"]


def confusion(frame: pd.DataFrame) -> pd.DataFrame:
    """Programs by verdict: rows Linux, columns the workbench."""
    names = {True: "accepted", False: "refused"}
    both = compared(frame)
    table = pd.crosstab(both["kernel_ok"].map(names), both["ok"].map(names))
    table = table.reindex(index=list(names.values()), columns=list(names.values()), fill_value=0)
    return table.rename_axis(index="Linux", columns="workbench")


def disagreements(frame: pd.DataFrame) -> pd.DataFrame:
    """Differences in verdict or in the class of the reason, commonest first, with an example.

    `cause` says why verdicts differ, where that is known.
    """
    both = compared(frame)
    differ = both[(both["class"] != both["kernel_class"])]
    groups = differ.groupby(["kernel_class", "class"])
    found = groups.agg(
        count=("origin", "size"),
        origin=("origin", "first"),
        number=("number", "first"),
        linux=("kernel_reason", "first"),
        workbench=("reason", "first"),
    )
    found = found.sort_values("count", ascending=False).reset_index()
    pairs = zip(found["kernel_class"], found["class"], strict=True)
    return found.assign(cause=[CAUSES.get(pair, "") for pair in pairs])


def smallest(start: Start, limit: int = 400) -> Program:
    """The smallest program found that shows the same difference as the one of `start`.

    At most `limit` programs are tried.
    """
    with KernelArena(PAGES) as arena:
        wanted, tries = _difference(program_of(start), arena), iter(range(limit))

        def still(program: Program) -> bool:
            return next(tries, None) is not None and _difference(program, arena) == wanted

        return minimised(program_of(start), still)


def _difference(program: Program, arena: KernelArena) -> tuple[str, str] | None:
    try:
        answer = _linux(program, arena)
    except (KernelError, Unsupported):
        return None
    if answer.processed > LARGE:
        return None
    return _class(answer.reason)[0], _class(ours_of(program)[2])[0]


def report(frame: pd.DataFrame, examples: int = 0, show: Callable[[str], None] = print) -> None:
    """Show the figures, the matrix and the differences, `examples` of them made small."""
    show(f"{summary(frame)}\n\n{confusion(frame)}\n")
    table = disagreements(frame)
    if table.empty:
        return
    show(table.drop(columns=["origin", "number", "cause"]).to_string(index=False, max_colwidth=60))
    for row in table[table["cause"] != ""].to_dict("records"):
        show(f"\nLinux: {row['kernel_class']}; here: {row['class']}\n   {row['cause']}")
    for row in table.head(examples).itertuples():
        show(f"\n{row.count}× Linux: {row.linux}\n   here: {row.workbench or 'accepted'}")
        show(f"; {row.origin} {row.number}\n{smallest(Start(row.origin, row.number))}")
