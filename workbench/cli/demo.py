"""The main job without a browser: real arena programs, run, checked, recorded and drawn.

Every example of data/programs, in assembly and in C, runs on each engine; the user side follows the
pointers that the program left in the arena and compares what it finds with a model in plain Python.
"""

import html
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from workbench.arena import Arena
from workbench.arena.either import AnyArena
from workbench.arena.rules import PAGE_SIZE
from workbench.cli.demo_rows import HEADER, Row, c_rows, cells, user_faults, verdict
from workbench.engines.compare import compare
from workbench.engines.interpreter.engine import Interpreter
from workbench.errors import KernelError, SegmentationFault, Unsupported
from workbench.evidence.provenance import KEY, provenance, save
from workbench.examples import c_programs, programs
from workbench.experiments.bench.text import headline, table
from workbench.files import write_whole
from workbench.models import allocators, conversion
from workbench.plots import conversion as conversion_plots
from workbench.plots import faults as fault_plots
from workbench.plots import fragmentation as fragmentation_plots
from workbench.recording.trace import Trace
from workbench.widgets.progress import bar

if TYPE_CHECKING:
    from workbench.plots import Figure
    from workbench.widgets.progress import Bar

PAGES = 64
EXAMPLES = ("list", "hash", "allocator")
KEYS = (30, 60, 90, 120, 150)  # in the hash table after each act of the fault timeline
ROUNDS, SEED = 365, 1  # of the allocator's churn; these leave seven holes


@dataclass(frozen=True)
class Report:
    """What the demo did: a row for each program and engine, and the files it wrote.

    `kernel` says why the kernel engine did not run here, "" if it did.
    """

    rows: tuple[Row, ...]
    kernel: str
    about: dict[str, object] = field(repr=False)
    files: tuple[Path, ...] = field(repr=False)
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every program left what its model says, on every engine alike."""
        return all(row.agrees and not row.difference for row in self.rows)

    def to_json(self) -> dict[str, object]:
        """The report as JSON values."""
        rows = [row._asdict() | {"r0": f"{row.r0:#x}"} for row in self.rows]
        return {
            "ok": self.ok,
            "rows": rows,
            "kernel": self.kernel,
            "about": self.about,
            "files": [str(path) for path in self.files],
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        lines = [
            table(HEADER, [cells(row) for row in self.rows], left=2),
            "",
            verdict(self.rows, self.kernel),
            headline(self.about),
            "",
        ]
        lines += [f"wrote {path}" for path in self.files]
        return "\n".join([*lines, f"{self.seconds:.1f} s"])


def demo(output: Path | str = "output") -> Report:
    """Run every example, check it from the user side, write page, figures and tables to `output`.

    Shows progress on standard error when it takes longer than a second.
    """
    began = time.perf_counter()
    directory = Path(output)
    for part in ("figures", "tables"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    with bar("demo", total=2 * len(EXAMPLES) + len(c_programs.names()) + 2) as progress:
        rows, traces, kernel = _run_examples(progress)
        progress.set_description("demo: figures")
        tables = _tables(rows, traces)
        figures = _save_figures(directory / "figures", _figures(tables))
        progress.update()
        progress.set_description("demo: tables and pages")
        about = provenance()
        files = [
            *_save_pages(directory, traces, _section(rows, kernel, figures, about)),
            *(path.with_suffix(suffix) for path, _ in figures for suffix in (".png", ".pdf")),
            *_save_tables(directory / "tables", tables, about),
        ]
        progress.update()
    return Report(tuple(rows), kernel, about, tuple(files), time.perf_counter() - began)


def _run_examples(progress: "Bar") -> tuple[list[Row], dict[str, Trace], str]:
    """Run every example on every engine: rows, recordings, and why the kernel did not run."""
    rows: list[Row] = []
    traces: dict[str, Trace] = {}
    kernel = ""
    for name in EXAMPLES:
        progress.set_description(f"demo: {name}")
        row, traces[name] = _emulated(name)
        rows.append(row)
        progress.update()
        try:
            rows.append(_real(name))
        except (KernelError, Unsupported) as error:
            kernel = str(error)
        progress.update()
    for name in c_programs.names():
        progress.set_description(f"demo: {name}.c")
        rows += c_rows(name, kernel=not kernel)
        progress.update()
    return rows, traces, kernel


def _tables(rows: list[Row], traces: dict[str, Trace]) -> dict[str, pd.DataFrame]:
    """Everything that is shown, as tidy tables by file name."""
    history, extents = _fragmentation_scene()
    return {
        "summary": pd.DataFrame(rows, columns=Row._fields),
        "events": _fault_scene(),
        "steps": pd.concat([_steps(name, trace) for name, trace in traces.items()]),
        "fragmentation": history,
        "free_extents": extents,
        "conversion": pd.concat([_conversion(name) for name in EXAMPLES], ignore_index=True),
    }


def _figures(tables: dict[str, pd.DataFrame]) -> "dict[str, Figure]":
    """The figures by file name."""
    return {
        "page_events": fault_plots.timeline(tables["events"]),
        "conversion": conversion_plots.comparison(tables["conversion"]),
        "fragmentation": fragmentation_plots.timeline(tables["fragmentation"]),
        "holes": fragmentation_plots.holes(tables["free_extents"].to_numpy(), PAGES),
    }


# What each program must leave in the arena, in plain Python.


def list_model() -> list[int]:
    """Twelve values, each of 1 to 12 once; the even ones deleted; ascending."""
    values = [n * 7 % 13 for n in range(1, 13)]
    return sorted(value for value in values if value % 2)


def hash_model() -> dict[int, int]:
    """The squares of 1 to 24 with their roots."""
    return {root * root: root for root in range(1, 25)}


def allocator_model(pages: int = PAGES) -> list[int]:
    """The sizes of the runs held at the end, ascending.

    Of `pages`, the allocator's own data take 1 and its small blocks 2. Runs of 1, 2, 4, 8, 1, ...
    pages fill the rest (32 slots); every second one is freed; single pages take the free slots.
    """
    free = pages - 3
    runs: list[int] = []
    while len(runs) < 32 and (size := 1 << len(runs) % 4) <= free:
        runs.append(size)
        free -= size
    singles = min(16, free + sum(runs[::2]))
    return sorted(runs[1::2] + [1] * singles)


def _runs_found(arena: AnyArena) -> list[int]:
    """The sizes that stand in the first word of each run in the table; [] if runs overlap."""
    runs = programs.walk_runs(arena)
    ends = [run.address + run.pages * PAGE_SIZE for run in runs]
    if any(end > run.address for end, run in zip(ends, runs[1:], strict=False)):
        return []
    return sorted(arena.user.load(run.address, "u64") for run in runs)


class _Check(NamedTuple):
    """What the user side finds, and what it should."""

    walk: "Callable[[AnyArena], object]"
    model: Callable[[], object]


_CHECKS = {
    "list": _Check(programs.walk_list, list_model),
    "hash": _Check(programs.walk_hash, hash_model),
    "allocator": _Check(_runs_found, allocator_model),
}


def _agrees(name: str, arena: AnyArena) -> bool:
    """Whether the user side finds in the arena what the model says."""
    check = _CHECKS[name]
    return check.walk(arena) == check.model()


# The engines.


def _emulated(name: str) -> tuple[Row, Trace]:
    """Run an example on the interpreter, once for the time and once recorded."""
    program = programs.load(name)["main"]
    with Arena(PAGES) as arena, Interpreter(program, arena) as engine:
        engine.run(fuel=0)  # loads compiled code
        seconds = engine.run().seconds
    with Arena(PAGES) as arena, Interpreter(program, arena) as engine:
        result = engine.run(trace="steps")
        agrees = _agrees(name, arena)
        kinds = arena.events["kind"].value_counts()
        faults, pages = user_faults(arena.events), arena.live_pages
    trace = result.trace
    assert trace is not None
    casts = int(trace.events["kind"].isin(["cast_kern", "cast_user"]).sum())
    row = Row(
        name,
        result.engine,
        result.steps,
        casts,
        faults,
        int(kinds["alloc"]),
        pages,
        result.r0,
        agrees,
        "",
        seconds,
    )
    return row, trace


def _real(name: str) -> Row:
    """Run an example in this machine's kernel, and compare it with the interpreter."""
    from workbench.engines.kernel import Kernel, KernelArena

    program = programs.load(name)["main"]
    with KernelArena(PAGES) as arena, Kernel(program, arena) as engine:
        result = engine.run()
        pages = arena.live_pages
        agrees = _agrees(name, arena)
        faults = user_faults(arena.events)
    difference = compare(program, pages=PAGES).difference
    return Row(
        name,
        result.engine,
        None,
        None,
        faults,
        None,
        pages,
        result.r0,
        agrees,
        difference,
        result.seconds,
    )


# Scenes for the figures.


def _fault_scene() -> pd.DataFrame:
    """The page events of a hash table that grows while user space looks at it, and beyond it."""
    program, layout = programs.load("hash")["fill"], programs.example("hash").contexts["fill"]
    with Arena(PAGES) as arena, Interpreter(program, arena) as engine:
        for keys in KEYS:
            engine.run(layout.pack(keys))
            programs.walk_hash(arena)
            if keys == KEYS[2]:
                arena.user.store(
                    arena.user_start + 5 * PAGE_SIZE, "u64", keys
                )  # nobody allocated it
        with suppress(SegmentationFault):
            arena.user.load(0, "u64")
        return arena.events


def _fragmentation_scene() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The history of an arena in which runs come and go, and its free extents at the end."""
    program = programs.load("allocator")["churn"]
    layout = programs.example("allocator").contexts["churn"]
    with Arena(PAGES) as arena, Interpreter(program, arena) as engine:
        engine.run(layout.pack(ROUNDS, SEED))
        history = allocators.history(arena.events, PAGES)
        return history, pd.DataFrame(arena.free_extents, columns=["page", "pages"])


def _conversion(name: str) -> pd.DataFrame:
    """Exact counts of an example's casts, with and without NO_USER_CONV."""
    return conversion.compare(programs.load(name)["main"], pages=PAGES)


def _steps(name: str, trace: Trace) -> pd.DataFrame:
    """A recording as a table with the program's name."""
    steps = trace.frame.reset_index()
    steps.insert(0, "program", name)
    return steps.astype({"text": str})


# Files.


def _save_figures(directory: Path, figures: "dict[str, Figure]") -> "list[tuple[Path, Figure]]":
    """Write every figure as PNG and PDF; return the PNG files with their figures."""
    saved = []
    for name, figure in figures.items():
        path = directory / f"{name}.png"
        figure.savefig(path)
        figure.savefig(path.with_suffix(".pdf"))
        saved.append((path, figure))
    return saved


def _save_tables(
    directory: Path, tables: dict[str, pd.DataFrame], about: dict[str, object]
) -> list[Path]:
    """Write every table as Parquet with its provenance inside, and the summary also as CSV."""
    paths = []
    for name, frame in tables.items():
        frame.attrs[KEY] = about
        paths.append(save(frame, directory / f"{name}.parquet"))
    write_whole(directory / "summary.csv", tables["summary"].to_csv(index=False))
    return [*paths, directory / "summary.csv"]


def _save_pages(directory: Path, traces: dict[str, Trace], section: str) -> list[Path]:
    """Write the stepper over each recording; the first page has the rest of the report too."""
    names = ["demo", *EXAMPLES[1:]]
    paths = [directory / f"{name}.html" for name in names]
    for path, (name, trace) in zip(paths, traces.items(), strict=True):
        page = trace.to_html(title=f"{name}: {programs.example(name).summary}")
        if name == EXAMPLES[0]:
            page = page.replace("</main>", f"{section}</main>", 1)
        write_whole(path, page)
    return paths


_STYLE = """\
<style>
.report { margin: 28px 0; overflow-x: auto; }
.report h2 { font-size: 16px; margin: 24px 0 8px; }
.report table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
.report :is(th, td) { padding: 3px 10px; text-align: right; border-bottom: 1px solid #8884; }
.report :is(th, td):nth-child(-n+2) { text-align: left; }
.report p { font-size: 12px; line-height: 1.5; }
.figures { display: flex; flex-wrap: wrap; gap: 24px 40px; align-items: flex-start; }
.figures figure { margin: 0; width: min(100%, 680px); }
.figures img { display: block; width: 100%; background: #fff; }
.figures figcaption { font-size: 12px; margin-top: 4px; }
</style>
"""


def _section(
    rows: list[Row], kernel: str, figures: "list[tuple[Path, Figure]]", about: dict[str, object]
) -> str:
    """The summary and the figures as HTML, to stand below the stepper."""
    head = "".join(f"<th scope='col'>{name}</th>" for name in HEADER)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(row)) + "</tr>"
        for row in rows
    )
    pictures = "".join(
        f"<figure><img src='data:image/png;base64,{b64encode(path.read_bytes()).decode()}' alt=''>"
        f"<figcaption>{html.escape(figure.workbench_alt)}</figcaption></figure>"
        for path, figure in figures
    )
    return (
        f"{_STYLE}<section class='report'><h2>Every example on every engine</h2>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p>{html.escape(verdict(rows, kernel))}<br>{html.escape(headline(about))}</p>"
        f"<h2>Figures</h2><div class='figures'>{pictures}</div></section>"
    )
