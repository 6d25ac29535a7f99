"""What pointer conversion costs on the real kernel: casts timed with and without NO_USER_CONV.

Every case is a loop in the kernel, 16 copies of its body per round; the kernel itself takes the
time. All cases and both flags take turns, on one processor, so that what disturbs one disturbs
all. Times include the case's share of the loop, which the case "empty loop" is.
"""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pandas as pd

from workbench.arena.rules import ArenaFlags
from workbench.bpf.assembler import assemble
from workbench.engines.kernel import Kernel, KernelArena, loop, rounds_ctx, time_engines
from workbench.experiments.frames import reads
from workbench.models.conversion.workloads import CASES, SETUP, UNROLL
from workbench.models.conversion.workloads import CLOCK as CLOCK
from workbench.plots.figure import BLUE, GREY, ORANGE, Figure, plain_ticks, say_empty, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("case", "flag", "repeat", "value")
FLAGS = {"conversion": ArenaFlags(0), "no_user_conv": ArenaFlags.NO_USER_CONV}
ROUNDS = 1 << 14  # of the loop in one run: 0.1 to 0.4 ms
REFERENCE = {
    "cast_user": (0.40, 0.057),
    "cast_user, store": (0.42, 0.14),
    "chain": (1.79, 0.53),
}
"""ns with conversion and without, from another x86-64 virtual machine with Linux 6.18.44."""
REFERENCE_RATIO = {"16 casts and stores": 1.54}

_ONE_CAST = """
r1 = arena + 0 ll
r1 = cast_kern(r1)
r2 = cast_user(r1)
r1 = cast_user(r1)
r0 = 0
exit
"""


def run(repeats: int = 30, rounds: int = ROUNDS) -> pd.DataFrame:
    """Time every case under both flags, `repeats` times in turns.

    Columns case, flag, repeat, value, unit ("ns per operation"), kind ("measured"). Raises
    KernelError or Unsupported where the kernel cannot be asked.
    """
    with ExitStack() as stack:
        engines = {}
        for flag, bits in FLAGS.items():
            arena = stack.enter_context(KernelArena(1, bits))
            arena.alloc(1)
            for case in CASES:
                program = loop(case.body, SETUP, case.name.replace(" ", "_"))
                engines[f"{case.name}/{flag}"] = stack.enter_context(Kernel(program, arena))
        samples = time_engines(engines, rounds_ctx(rounds), UNROLL * rounds, repeats)
    frame = _tidy(samples)
    frame.attrs["parameters"] = {"repeats": repeats, "rounds": rounds, "unroll": UNROLL}
    return frame


def _tidy(samples: pd.DataFrame) -> pd.DataFrame:
    """Turn the samples of `time_engines` into rows of the experiment."""
    names = samples["name"].str.split("/", expand=True)
    operations = names[0].map({case.name: case.operations for case in CASES})
    return pd.DataFrame({
        "case": names[0], "flag": names[1], "repeat": samples["round"],
        "value": samples["ns_per_operation"] / operations,
        "unit": "ns per operation", "kind": "measured",
    })  # fmt: skip


@reads(*COLUMNS, rows=True)
def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Median and quartiles of every case under both flags, and their ratio, in order of CASES.

    Columns (flag or "ratio", statistic); the ratio is taken within each repeat, where both flags
    ran within milliseconds of each other.
    """
    wide = frame.pivot(index=["case", "repeat"], columns="flag", values="value")
    wide["ratio"] = wide["conversion"] / wide["no_user_conv"]
    quartiles = wide.groupby("case").quantile([0.25, 0.5, 0.75]).unstack()
    quartiles = quartiles.rename(columns={0.25: "low", 0.5: "median", 0.75: "high"}, level=1)
    order = [case.name for case in CASES if case.name in quartiles.index]
    return quartiles.loc[order, ["conversion", "no_user_conv", "ratio"]]


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The summary as text for a reader, the reference numbers beside it."""
    rows = []
    for name, row in summary(frame).iterrows():
        reference = REFERENCE.get(str(name))
        ratio = REFERENCE_RATIO.get(str(name), reference and reference[0] / reference[1])
        rows.append({
            "": name,
            "conversion": _spread(row["conversion"]),
            "NO_USER_CONV": _spread(row["no_user_conv"]),
            "ratio": f"{row['ratio', 'median']:.2f}",
            "reference": "{:.3g} / {:.3g}".format(*reference) if reference else "",
            "reference ratio": f"{ratio:.2f}" if ratio else "",
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("")


def _spread(row: pd.Series) -> str:
    return f"{row['median']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


@styled
def plot(frame: pd.DataFrame, label: str = "") -> Figure:
    """Draw each case's median with its quartiles under both flags, and the reference numbers.

    `label` says where the frame comes from, for the title.
    """
    figure = Figure(figsize=(7.0, 4.0))
    axes = figure.subplots()
    figure.workbench_alt = describe(frame)
    if frame.empty:
        say_empty(axes, "nothing was measured")
        return figure
    table = summary(frame)
    for row, (name, values) in enumerate(table.iterrows()):
        medians = [values[flag, "median"] for flag in FLAGS]
        axes.plot(medians, [row - 0.14, row + 0.14], color=GREY, linewidth=0.6, zorder=1)
        for flag, colour, marker, shift in _SERIES:
            _point(axes, values[flag], row + shift, colour, marker)
        quoted = zip(REFERENCE.get(str(name), ()), _SERIES, strict=False)
        for number, (_, _, marker, shift) in quoted:
            axes.plot(number, row + shift, marker, color=GREY, markerfacecolor="none")
        axes.text(
            1.02,
            row,
            f"{values['ratio', 'median']:.2f} ×",
            va="center",
            fontsize=8,
            transform=axes.get_yaxis_transform(),
        )
    _dress(axes, list(table.index))
    figure.suptitle(f"Pointer conversion, {label}" if label else "Pointer conversion", fontsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


_SERIES = (("conversion", BLUE, "o", -0.14), ("no_user_conv", ORANGE, "s", 0.14))


def _point(axes: "Axes", values: pd.Series, row: float, colour: str, marker: str) -> None:
    """Draw a median and its quartiles."""
    axes.plot([values["low"], values["high"]], [row, row], color=colour, linewidth=3, alpha=0.5)
    axes.plot(values["median"], row, marker, color=colour)


def _dress(axes: "Axes", cases: list[str]) -> None:
    """Scale, labels and legend entries."""
    axes.set(xscale="log", xlabel="ns per operation (log scale, further left is faster)")
    axes.set_yticks(range(len(cases)), cases)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    plain_ticks(axes.xaxis)
    for _, colour, marker, _ in _SERIES:
        name = "with conversion" if colour == BLUE else "NO_USER_CONV"
        axes.plot([], [], marker, color=colour, label=f"{name} (median, quartiles)")
    axes.plot([], [], "o", color=GREY, markerfacecolor="none", label="hollow: another machine")
    axes.text(1.02, 1.02, "ratio", transform=axes.transAxes, fontsize=8)


@reads(*COLUMNS)
def describe(frame: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "Cost of pointer conversion: empty, nothing was measured."
    parts = [
        f"{name} {row['conversion', 'median']:.3f} against {row['no_user_conv', 'median']:.3f}"
        for name, row in summary(frame).iterrows()
    ]
    repeats = frame["repeat"].nunique()
    return ("Cost of pointer conversion in ns per operation, with conversion against NO_USER_CONV, "
            f"medians of {repeats} runs: {'; '.join(parts)}.")  # fmt: skip


def machine_code() -> pd.DataFrame:
    """The JIT's code for cast_kern and for cast_user, copying and in place, under both flags.

    Columns flag, pc, bpf, offset (bytes from the function's start), code (hexadecimal), native.
    Raises KernelError, or Unsupported without capstone.
    """
    program = assemble(_ONE_CAST, name="one_cast")
    parts = []
    for flag, bits in FLAGS.items():
        with KernelArena(1, bits) as arena, Kernel(program, arena) as engine:
            code = engine.native
        offset = code["address"] - code["address"].iloc[0]
        parts.append(code.assign(flag=flag, offset=offset).drop(columns="address"))
    frame = pd.concat(parts, ignore_index=True)
    casts = frame["bpf"].str.contains("cast_")
    columns = ["flag", "pc", "bpf", "offset", "code", "native"]
    return frame.loc[casts, columns].reset_index(drop=True)


def side_by_side(code: pd.DataFrame) -> pd.DataFrame:
    """Set the machine code of both flags side by side, a row per machine instruction."""
    step = code.groupby(["flag", "pc"]).cumcount()
    wide = code.assign(step=step).pivot(
        index=["pc", "bpf", "step"], columns="flag", values=["code", "native"]
    )
    wide = wide.swaplevel(axis=1)[[(flag, part) for flag in FLAGS for part in ("code", "native")]]
    return wide.fillna("").droplevel(["pc"])
