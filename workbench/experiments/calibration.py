"""What a step and each kind of fault cost on this machine: the constants of the modelled clock.

`workbench calibrate` measures them and keeps them, with provenance, for faults.modelled.
"""

from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from workbench.engines.kernel import UNROLL, Kernel, KernelArena, loop, rounds_ctx, time_engines
from workbench.evidence import provenance
from workbench.experiments import results, touch_costs
from workbench.files import user_directory

RECORDED = "fault_costs"
SOURCES = {
    "step": "load, present",
    "fill": "arena, absent page",
    "map": "arena, page of a program",
    "absent_read": "load, absent",
}
"""Cost -> case of touch_costs; a step is priced as a load from a page that is there."""
STORE = ("*(u64 *)(r1 + 4096) = 1", 1 << 6)  # body and rounds: as many as of absent loads


def run(repeats: int = 15) -> pd.DataFrame:
    """Measure the costs: columns cost, ns (median), low, high (quartiles), samples, kind.

    Raises KernelError or Unsupported where the kernel cannot be asked. A refused touch (SIGSEGV)
    has no cost here: what the process does about the signal decides it.
    """
    samples = touch_costs.run(repeats)[["case", "value"]]
    samples = pd.concat([samples, _stores(repeats)], ignore_index=True)
    rows = []
    for cost, case in {**SOURCES, "dropped_write": "store, absent"}.items():
        values = samples.loc[samples["case"] == case, "value"]
        low, median, high = values.quantile([0.25, 0.5, 0.75])
        rows.append((cost, median, low, high, len(values), "measured"))
    return pd.DataFrame(rows, columns=["cost", "ns", "low", "high", "samples", "kind"])


def _stores(repeats: int) -> pd.DataFrame:
    """Time stores of a program to an absent page."""
    body, rounds = STORE
    program = loop(body, "r1 = arena + 0 ll\nr1 = cast_kern(r1)", "stores")
    with ExitStack() as stack:
        arena = stack.enter_context(KernelArena(2))
        arena.alloc(1)
        engine = stack.enter_context(Kernel(program, arena))
        operations = UNROLL * rounds
        timed = time_engines({"store, absent": engine}, rounds_ctx(rounds), operations, repeats)
    return pd.DataFrame({"case": timed["name"], "value": timed["ns_per_operation"]})


def kept() -> Path | None:
    """Where `workbench calibrate` keeps this machine's costs; None for a user without a home."""
    home = user_directory("XDG_DATA_HOME", ".local/share")
    return home and home / "bpf-arena-workbench" / "fault_costs.parquet"


def load(path: Path | None = None) -> pd.DataFrame:
    """The costs kept on this machine, else those recorded with the package; see `run`."""
    place = path or kept()
    if place is not None and (path is not None or place.is_file()):
        return provenance.load(place)
    return results.load(RECORDED)


def costs(frame: pd.DataFrame | None = None) -> dict[str, float]:
    """The costs as faults.modelled takes them: ns by name."""
    table = load() if frame is None else frame
    return dict(zip(table["cost"], table["ns"], strict=True))
