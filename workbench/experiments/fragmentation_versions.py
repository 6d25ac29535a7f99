"""Fragmentation by the kernel's allocator: maple tree (Linux 6.9 to 6.12), range tree (since 6.13).

The same logs of requests replayed under both rules; many logs of each kind, which differ in their
seed. All numbers are exact results of the rules, which hold for any machine (`kind` "model").
"""

from pathlib import Path

import numpy as np
import pandas as pd

from workbench.evidence.measurement import geometric_mean
from workbench.experiments.exhibit import Exhibit
from workbench.experiments.sweep import Sweep
from workbench.models import allocators, workloads
from workbench.plots.figure import Figure, legend_below, page, say_empty, styled

NAME = "fragmentation_versions"
POLICIES = {"maple": "maple tree, 6.9 to 6.12", "range_tree": "range tree, since 6.13"}
WORKLOADS = ("exponential", "bimodal", "phases", "larson", "key_value", "producer_consumer")
PAGES, ROWS = 1024, 20_000
TRIALS = 12  # logs of each workload: twice the fewest units that an interval is given for


def place(workload: str, policy: str, trial: int) -> dict[str, float]:
    """Replay one log under one policy.

    `blow_up` is the span of pages that was needed at most, over the pages live at most; `refused`
    a share of the requests; `holes` the mean number of free ranges.
    """
    log = workloads.make(workload, ROWS, PAGES, trial)
    found = allocators.replay(log, policy, PAGES)
    return {
        "blow_up": found.blow_up,
        "refused": found.refused / max(len(log), 1),
        "holes": float(found.samples["extents"].mean()),
    }


def run(trials: int = TRIALS, directory: Path | None = None) -> pd.DataFrame:
    """Replay every workload under both policies, `trials` logs of each.

    Columns: workload, policy, trial, blow_up, refused, holes, kind ("model").
    """
    grid = {"workload": WORKLOADS, "policy": tuple(POLICIES), "trial": range(trials)}
    frame = Sweep(place, grid, directory=directory).run(jobs=1)
    kept = frame.drop(columns=["seed", "status", "error", "seconds"]).assign(kind="model")
    kept.attrs = frame.attrs
    return kept


def ratios(frame: pd.DataFrame, metric: str = "holes") -> pd.DataFrame:
    """Range tree over maple tree, log by log: workload, ratio, low, high, and both means."""
    rows = []
    for name, part in frame.groupby("workload", sort=False):
        wide = part.pivot(index="trial", columns="policy", values=metric)
        found = geometric_mean((wide["range_tree"] / wide["maple"]).to_numpy())
        rows.append((name, *found, *wide[list(POLICIES)].mean()))
    return pd.DataFrame(rows, columns=["workload", "ratio", "low", "high", *POLICIES])


@styled
def plot(frame: pd.DataFrame) -> Figure:
    """Each log's mean number of free ranges under both rules, by workload, with the means."""
    figure = Figure(figsize=page(2.8))
    axes = figure.subplots()
    figure.workbench_alt = describe(frame)
    if frame.empty:
        say_empty(axes, "nothing was replayed")
        return figure
    names = list(dict.fromkeys(frame["workload"]))
    for number, (policy, said) in enumerate(POLICIES.items()):
        part = frame[frame["policy"] == policy]
        colour, marker, shift = f"C{number}", "os"[number], (number - 0.5) * 0.3
        rows = [names.index(name) + shift for name in part["workload"]]
        axes.plot(part["holes"], rows, marker, color=colour, alpha=0.35, markersize=3)
        means = part.groupby("workload")["holes"].mean().loc[names]
        places = np.arange(len(names)) + shift
        axes.plot(means, places, marker, color=colour, markeredgecolor="0.2", label=said)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set(xlabel="free ranges, mean over a log (fewer is better)")
    axes.set_title("Fragmentation by the kernel's allocator")
    legend_below(figure, axes)
    figure.workbench_caption = caption(frame)
    return figure


def caption(frame: pd.DataFrame) -> str:
    """State the finding."""
    found, spans = ratios(frame), ratios(frame, "blow_up")["ratio"]
    best = found.loc[found["ratio"].idxmin()]
    return (
        f"The range tree leaves fewer free ranges than the maple tree on "
        f"{(found['high'] < 1).sum()} of {len(found)} workloads, {best['ratio']:.2f} times as many "
        f"[{best['low']:.2f}, {best['high']:.2f}] on {best['workload'].replace('_', ' ')}; the "
        f"memory spanned is {spans.min():.2f} to {spans.max():.2f} times the same."
    )


def describe(frame: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "Fragmentation by the kernel's allocator: empty, nothing was replayed."
    parts = [
        f"{row.workload.replace('_', ' ')} {row.maple:.1f} against {row.range_tree:.1f}"
        for row in ratios(frame).itertuples()
    ]
    trials = frame["trial"].nunique()
    return (
        "Free ranges, mean over a log, maple tree (Linux 6.9 to 6.12) against "
        f"range tree (since 6.13), means of {trials} logs (model: exact replay): "
        f"{'; '.join(parts)}."
    )


def claims(frame: pd.DataFrame) -> list[tuple[str, str, bool]]:
    """What the figure is to prove: claim, number, whether it holds."""
    found, spans = ratios(frame), ratios(frame, "blow_up")["ratio"]
    refused = frame.groupby("policy")["refused"].mean()
    return [
        ("the range tree leaves fewer free ranges on every workload",
         f"{found['ratio'].min():.2f} to {found['ratio'].max():.2f}",
         bool((found["high"] < 1).all())),
        ("both span the same memory within 10 %",
         f"{spans.min():.2f} to {spans.max():.2f}", bool(spans.between(0.9, 1.1).all())),
        ("the range tree refuses no more requests",
         f"{refused['range_tree']:.2%} and {refused['maple']:.2%}",
         bool(refused["range_tree"] <= refused["maple"])),
    ]  # fmt: skip


EXHIBIT = Exhibit(
    NAME, "how the kernel's allocators fragment",
    lambda effort, kept, _: run(2 * effort.processes, kept),
    lambda frame, _: plot(frame),
    lambda frame, _: claims(frame),
)  # fmt: skip
