"""Ns per BPF instruction on seven small programs: our engines, the kernel, and what peers take."""

from pathlib import Path

import numpy as np
import pandas as pd

from workbench.arena import Arena
from workbench.engines.interpreter.engine import Interpreter
from workbench.evidence.measurement import geometric_mean, typical
from workbench.examples import programs
from workbench.experiments.exhibit import Exhibit
from workbench.experiments.frames import reads
from workbench.experiments.repetition import FULL, Effort, in_turns, label, on_engines
from workbench.models.conversion.timing import each_engine
from workbench.models.conversion.workloads import Workload
from workbench.plots.figure import Figure, legend_below, page, plain_ticks, say_empty, styled

NAME = "engine_speed"
COLUMNS = ("program", "engine", "subject", "iteration", "value", "kind", "host")
ENGINES = ("interpreter", "jit", "kernel")
PROGRAMS = tuple(name for name in programs.names() if programs.example(name).sizes)
PEERS = {
    "rbpf interpreter": 4.18,
    "ubpf interpreter": 3.98,
    "ubpf JIT": 0.292,
    "rbpf JIT": 0.229,
    "gcc -O2, in C": 0.206,
    "llvmbpf JIT": 0.195,
}
"""Geometric means over the same seven programs written for them, ns per instruction: recorded
once on a 2-core x86-64 virtual machine, Linux 6.18.44; none of them has arenas."""
KERNEL_BESIDE_PEERS = 0.231
"""What Linux's JIT took there, on loops with may_goto, as ours are."""
PEERS_LABEL = "recorded (another x86-64 virtual machine, Linux 6.18.44)"
_PART = 20  # a run does one part in so many of the full size


def workload(name: str) -> Workload:
    """A micro program as a workload, whose operations are its instructions."""
    example = programs.example(name)
    assert example.sizes is not None
    program = programs.load(name)[name]
    ctx = example.contexts[name].pack(max(example.sizes.full // _PART, 1))
    with Arena(example.pages) as arena, Interpreter(program, arena) as engine:
        programs.prepare(name, arena, Interpreter)
        result = engine.run(ctx)
    return Workload(
        name, "micro", program, example.pages, ctx, result.steps, "instruction", r0=result.r0,
        setup=lambda arena, make: programs.prepare(name, arena, make),
    )  # fmt: skip


def measure(
    engines: tuple[str, ...], process: int, instances: int, iterations: int, host: str, seed: int
) -> pd.DataFrame:
    """One process: every program on every engine, engines in turns."""
    cases = ((name, each_engine(workload(name), engines)) for name in PROGRAMS)
    return in_turns("program", cases, instances, iterations, 1, seed)


def run(effort: Effort = FULL, seed: int = 0, directory: Path | None = None) -> pd.DataFrame:
    """Measure all engines; without a usable kernel, its rows are the recorded ones.

    Columns: process, program, engine, those of `measurement.collect` (ns per instruction), kind,
    host, date.
    """
    return on_engines(measure, NAME, ENGINES, effort, seed, directory)


@reads(*COLUMNS)
def means(frame: pd.DataFrame) -> pd.DataFrame:
    """Geometric means over the programs, ns per instruction with intervals, and the peers'.

    Columns: engine, value, low, high, kind; a row per engine.
    """
    rows = []
    for engine, part in frame.groupby("engine", sort=False):
        logs = [np.log(typical(rows)[0][engine]) for _, rows in part.groupby("program")]
        units = np.mean([log.to_numpy()[: min(map(len, logs))] for log in logs], axis=0)
        rows.append((engine, *geometric_mean(np.exp(units)), part["kind"].iloc[0]))
    rows += [(name, value, np.nan, np.nan, "recorded") for name, value in PEERS.items()]
    return pd.DataFrame(rows, columns=["engine", "value", "low", "high", "kind"])


@styled
def plot(frame: pd.DataFrame) -> Figure:
    """A dot for each engine and peer, on a log axis; ours and the kernel's with intervals."""
    figure = Figure(figsize=page(2.9))
    axes = figure.subplots()
    figure.workbench_alt = describe(frame)
    if frame.empty:
        say_empty(axes, "nothing was measured")
        return figure
    found = means(frame).sort_values("value", ascending=False).reset_index(drop=True)
    for place, row in enumerate(found.itertuples()):
        ours = row.engine in ENGINES
        colour, marker, face = ("C0", "o", "C0") if ours else ("0.5", "D", "none")
        axes.plot(row.value, place, marker, color=colour, markerfacecolor=face)
        axes.hlines(place, row.low, row.high, color="C0", alpha=0.5, linewidth=3)
        axes.text(1.02, place, f"{row.value:.2f}", va="center", fontsize="small",
                  transform=axes.get_yaxis_transform())  # fmt: skip
    axes.set_yticks(range(len(found)), [_named(row) for row in found.itertuples()])
    axes.set(xscale="log", xlabel="ns per instruction (left is faster)")
    plain_ticks(axes.xaxis)
    axes.set_title("Mean of seven programs")
    axes.plot([], [], "o", color="C0", label="here, 95 % interval")
    axes.plot([], [], "D", color="0.5", markerfacecolor="none", label="recorded elsewhere")
    legend_below(figure, axes)
    figure.workbench_caption = caption(frame)
    return figure


def _named(row) -> str:  # type: ignore[no-untyped-def]
    names = {"kernel": "Linux's JIT", "jit": "our jit", "interpreter": "our interpreter"}
    return names.get(row.engine, row.engine)


@reads(*COLUMNS, rows=True)
def caption(frame: pd.DataFrame) -> str:
    """State the finding."""
    found = means(frame).set_index("engine")["value"]
    text = (
        f"Our interpreter takes {found['interpreter']:.2f} ns per instruction with all of the "
        f"arena's checks, ubpf's {found['ubpf interpreter']:.2f} without; our jit "
        f"{found['jit']:.2f}"
    )
    if "kernel" not in found:
        return f"{text}."
    return f"{text}, {found['jit'] / found['kernel']:.2f} times Linux's {found['kernel']:.2f}."


@reads(*COLUMNS)
def describe(frame: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "Speed of engines: empty, nothing was measured."
    parts = [f"{_named(row)} {row.value:.2f} ({row.kind})" for row in means(frame).itertuples()]
    return (
        "Ns per BPF instruction, geometric mean of seven programs: "
        f"{'; '.join(parts)}. {label(frame)}; peers {PEERS_LABEL}."
    )


@reads(*COLUMNS, rows=True)
def claims(frame: pd.DataFrame) -> list[tuple[str, str, bool]]:
    """What the figure is to prove: claim, number, whether it holds."""
    found = means(frame).set_index("engine")["value"]
    jit, kernel = found["jit"], found.get("kernel", np.nan)
    ours = found["interpreter"] / kernel
    theirs = found["ubpf interpreter"] / KERNEL_BESIDE_PEERS
    return [
        ("the interpreter is 1.5 times as fast as ubpf's, each against Linux's JIT beside it",
         f"{ours:.1f} and {theirs:.1f} × Linux's", bool(1.5 * ours <= theirs)),
        ("the jit is at most 1.3 times as slow as Linux's",
         f"{jit / kernel:.2f}", bool(jit <= 1.3 * kernel)),
        ("the jit is at least 4 times as fast as the interpreter",
         f"{found['interpreter'] / jit:.1f} ×", bool(found["interpreter"] >= 4 * jit)),
    ]  # fmt: skip


EXHIBIT = Exhibit(
    NAME, "how fast engines are",
    lambda effort, kept, _: run(effort, directory=kept),
    lambda frame, _: plot(frame),
    lambda frame, _: claims(frame),
    cells=("program",), record=run,
)  # fmt: skip
