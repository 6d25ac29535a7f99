"""`workbench bench`: what this machine does, next to its own kernel and to the project's limits.

    engines      interpreter, jit and kernel on eleven programs
    micro        ns per instruction of seven programs, in four ways of running
    pages        allocating and freeing pages; making an arena
    replay       logs of requests under every allocation policy
    startup      new processes
    compiling    machine code made by the jit, and found again
    verifying    instructions that the verifier looks at, next to Linux's
    recordings   bytes of a recorded step
    text         tables

Ratios taken side by side in one run are what counts; absolute times move from machine to machine.
"""

from dataclasses import dataclass, field

from workbench.evidence.provenance import provenance
from workbench.experiments.bench import (
    compiling,
    engines,
    micro,
    pages,
    recordings,
    replay,
    startup,
    verifying,
)
from workbench.experiments.bench.engines import Times
from workbench.experiments.bench.micro import Micro, Mode
from workbench.experiments.bench.pages import Cost
from workbench.experiments.bench.text import headline, table
from workbench.widgets.progress import bar

SLOW = 1.1  # a jit's share of the kernel's time that must be explained


@dataclass(frozen=True)
class Report:
    """Every figure of the benchmark; `about` names machine, versions and moment."""

    engines: Times
    micro: Micro
    costs: tuple[Cost, ...]
    about: dict[str, object] = field(repr=False)

    def to_json(self) -> dict[str, object]:
        """The report as JSON values: medians, geometric means, and all samples of the programs."""
        means = [_mean(self.micro, mode) for mode in micro.MODES]
        return {
            "about": self.about,
            "engines": [sample._asdict() for sample in self.engines.samples],
            "geomean": means,
            "samples": [sample._asdict() for sample in self.micro.samples],
            "costs": [cost._asdict() for cost in self.costs],
            "kernel": self.micro.kernel,
        }

    def __str__(self) -> str:
        tables = _engine_table(self.engines), _micro_table(self.micro), _cost_table(self.costs)
        parts = [headline(self.about), *(f"\n{found}" for found in tables)]
        if self.micro.kernel:
            parts += ["", f"kernel not measured: {self.micro.kernel}"]
        return "\n".join(parts)


def bench(quick: bool = False) -> Report:
    """Measure everything, some two minutes; `quick` takes seconds and shows the order of things.

    Engines take turns; figures are medians. Shows progress on standard error.
    """
    rounds = 1 if quick else 7
    repeats = 3 if quick else 9
    turns = len(micro.names()) * rounds + len(list(engines.cases(quick))) * rounds
    with bar("bench: engines", total=turns + 6) as progress:
        times = engines.measure(rounds, quick, progress.update)
        progress.set_description("bench: programs")
        programs = micro.measure(rounds, quick, progress.update)
        kernel = not programs.kernel
        progress.set_description("bench: pages")
        costs = pages.measure(repeats, 1 << (11 if quick else 13), kernel)
        progress.update()
        costs += pages.measure_creation(repeats, kernel)
        progress.update()
        costs += recordings.measure(50_000 if quick else 1_000_000)
        progress.set_description("bench: replay")
        costs += replay.measure(repeats, quick)
        progress.update()
        progress.set_description("bench: new processes")
        costs += startup.measure(repeats, cold=not quick)
        progress.update()
        costs += compiling.measure(repeats)
        progress.update()
        progress.set_description("bench: verifier")
        costs += verifying.measure(repeats, quick, kernel)
        progress.update()
    return Report(times, programs, tuple(costs), provenance())


def _mean(found: Micro, mode: Mode) -> dict[str, object]:
    """One mode's geometric mean with its limit and spread, as JSON values."""
    return {
        "mode": mode.name,
        "ns": found.geomean(mode.name),
        "limit": mode.limit,
        "spread": found.spread(mode.name),
    }


def _engine_table(found: Times) -> str:
    """Ns per instruction on every engine, and what share of the kernel's time the jit takes."""
    pairs = (("jit", "kernel"), ("interpreter", "jit"))
    rows = [
        [
            program,
            *(_ns(found.median(program, engine)) for engine in engines.ENGINES),
            *(_times(found.ratio(program, *pair)) for pair in pairs),
        ]
        for program in found.programs()
    ]
    means = [_times(found.geomean(*pair)) for pair in pairs]
    rows.append(["geometric mean", "", "", "", *means])
    header = ["ns per instruction", *engines.ENGINES, "jit / kernel", "interpreter / jit"]
    slow = [p for p in found.programs() if (found.ratio(p, "jit", "kernel") or 0) > SLOW]
    note = f"\nmore than 10 % slower than the kernel: {', '.join(slow) or 'none'}"
    return table(header, rows) + (note if not found.kernel else "")


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×"


def _micro_table(found: Micro) -> str:
    """Ns per instruction: a row per program, then the means, limits and ratios."""
    modes = [mode for mode in micro.MODES if found.geomean(mode.name)]
    means = [found.geomean(mode.name) or 0.0 for mode in modes]
    rows = [
        [program, *(_ns(found.median(program, mode.name)) for mode in modes)]
        for program in found.programs()
    ]
    rows.append(["geometric mean", *map(_ns, means)])
    rows.append(["limit", *(_ns(mode.limit) for mode in modes)])
    rows.append(
        [
            "of the limit",
            *(_share(mean, mode.limit) for mean, mode in zip(means, modes, strict=True)),
        ]
    )
    rows.append(["of untraced", *(f"{mean / means[0]:.2f}×" for mean in means)])
    rows.append(["spread, at most", *(_percent(found.spread(mode.name)) for mode in modes)])
    return table(["ns per instruction", *(mode.name for mode in modes)], rows)


def _cost_table(costs: tuple[Cost, ...]) -> str:
    """Costs in any unit next to the kernel's and to their limits."""
    rows = [
        [
            cost.name,
            cost.unit,
            _number(cost.emulated),
            _number(cost.kernel),
            _share(cost.emulated, cost.kernel),
            _number(cost.limit),
            _share(cost.emulated, cost.limit),
        ]
        for cost in costs
    ]
    header = ["cost", "unit", "emulated", "kernel", "of the kernel", "limit", "of the limit"]
    return table(header, rows, left=2)


def _ns(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"±{value:.0%}"


def _share(value: float | None, whole: float | None) -> str:
    return "–" if value is None or not whole else f"{value / whole:.2f}×"


__all__ = ["Report", "bench"]
