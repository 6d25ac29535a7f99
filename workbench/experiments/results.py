"""Results recorded on a real kernel, for readers whose machine does not let them measure."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workbench.errors import KernelError, Unsupported
from workbench.evidence import places, provenance

if TYPE_CHECKING:
    import pandas as pd


class Found(NamedTuple):
    """A result, where it comes from in words, and why it was not measured here ("" if it was)."""

    frame: "pd.DataFrame"
    label: str
    reason: str

    @property
    def recorded(self) -> bool:
        """Whether this is the recorded result."""
        return bool(self.reason)


def here_or_recorded(name: str, run: "Callable[[], pd.DataFrame]") -> Found:
    """Measure with `run`, or load the recorded result `name` where the kernel does not let us."""
    try:
        frame = run()
    except (KernelError, Unsupported) as error:
        frame = load(name)
        return Found(frame, f"recorded ({_described(frame)})", str(error))
    if provenance.KEY not in frame.attrs:
        frame.attrs = {**frame.attrs, provenance.KEY: provenance.provenance()}
    return Found(frame, f"measured here ({_described(frame)})", "")


def load(name: str) -> "pd.DataFrame":
    """Read the recorded result `name` (data/results/NAME.parquet).

    Raises WorkbenchError where there is none.
    """
    return provenance.load(directory() / f"{name}.parquet")


def recorded(name: str) -> "pd.DataFrame":
    """Read a recorded result and mark its rows so: column `kind` is "recorded"."""
    return load(name).assign(kind="recorded")


def directory() -> Path:
    """Find the recorded results; raises WorkbenchError where they are not installed."""
    return places.data("results")


def _described(frame: "pd.DataFrame") -> str:
    return provenance.describe(frame.attrs[provenance.KEY])
