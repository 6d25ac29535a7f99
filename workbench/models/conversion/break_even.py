"""How many walks by user space make conversion worth what it costs the program.

Building pays for conversion once per pointer stored; without it, user space pays at each step of
each walk. With dB the extra cost of a build and dW that of a walk without conversion, conversion
is worth it from dB / dW walks per build on. Both are measured, so the quotient has an interval.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.errors import WorkbenchError
from workbench.evidence.measurement import FEWEST_UNITS, TAIL, interval, resampled, typical

if TYPE_CHECKING:
    import pandas as pd


class BreakEven(NamedTuple):
    """From how many walks per build on conversion pays, with its 95 % interval.

    0: at once, as the build costs nothing more; inf: never, as walking costs nothing more. `build`
    and `walk` are the extra ns per operation, each with its interval (estimate, low, high).
    """

    walks: float
    low: float
    high: float
    build: tuple[float, float, float]
    walk: tuple[float, float, float]

    @property
    def verdict(self) -> str:
        """What this allows to say, in plain words."""
        if self.build[2] <= 0 or self.high == 0:
            return "conversion costs nothing here: leave it on"
        if np.isinf(self.low):
            return "conversion never pays: set NO_USER_CONV"
        if not self.settled:
            return f"conversion pays from {self.low:.3g} walks on, if at all: repeat more to tell"
        return f"conversion pays from {self.low:.3g} to {self.high:.3g} walks per build on"

    @property
    def settled(self) -> bool:
        """Whether the interval says anything: it has two ends, or is "never"."""
        return bool(np.isinf(self.low) or np.isfinite(self.high))


class Costs(NamedTuple):
    """What conversion costs a build and saves a walk, in ns per operation: a value per unit."""

    build: np.ndarray
    walk: np.ndarray


def costs(build: "pd.DataFrame", walk: "pd.DataFrame", casts: bool = True) -> Costs:
    """Compare builds and walks under both flags; frames of `measurement.collect`, in ns.

    Operations of a build and of a walk must be the same things (nodes, keys). A build without
    `casts` has the same machine code under both flags: it costs nothing, whatever was measured.
    Raises WorkbenchError for fewer than FEWEST_UNITS units of either.
    """
    found = Costs(_extra(build, "conversion", "no_user_conv"),
                  _extra(walk, "no_user_conv", "conversion"))  # fmt: skip
    if min(map(len, found)) < FEWEST_UNITS:
        raise WorkbenchError(f"a break-even needs {FEWEST_UNITS} units of builds and of walks")
    return found if casts else found._replace(build=np.zeros_like(found.build))


def break_even(found: Costs, seed: int = 0) -> BreakEven:
    """The quotient of both costs, with its interval."""
    low, high = _ends(quotient(*_draws(found, seed)))
    middle = float(quotient(found.build.mean(), found.walk.mean()))
    if not found.build.any():
        low = middle = high = 0.0
    sides = [(float(cost.mean()), *interval(cost, seed)) for cost in found]
    return BreakEven(middle, low, high, sides[0], sides[1])


def _extra(frame: "pd.DataFrame", a: str, b: str) -> np.ndarray:
    """How many ns subject `a` takes more than `b`, in each unit."""
    units, _ = typical(frame)
    if missing := [name for name in (a, b) if name not in units]:
        raise WorkbenchError(f"a break-even needs both flags; '{missing[0]}' was not measured")
    return (units[a] - units[b]).dropna().to_numpy()


def quotient(build: np.ndarray, walk: np.ndarray) -> np.ndarray:
    """Walks per build from which on conversion pays: inf where walks have nothing to gain."""
    build, walk = np.maximum(build, 0), np.maximum(walk, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(walk == 0, np.inf, build / walk)


def curve(found: Costs, walks: np.ndarray, seed: int = 0) -> "pd.DataFrame":
    """What conversion costs more, in ns per operation, over a build and so many walks of it.

    Columns walks, value, low, high (95 %); where the value is below 0, conversion has paid.
    """
    import pandas as pd

    build, walk = _draws(found, seed)
    rows = [
        (float(n), found.build.mean() - n * found.walk.mean(), *_ends(build - n * walk))
        for n in walks
    ]
    return pd.DataFrame(rows, columns=["walks", "value", "low", "high"])


def _draws(found: Costs, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap means of both costs."""
    generator = np.random.default_rng(seed)
    return resampled(found.build, generator), resampled(found.walk, generator)


def _ends(draws: np.ndarray) -> tuple[float, float]:
    """The interval of draws; draws may be infinite, so nothing is interpolated."""
    draws = np.sort(draws)
    return float(draws[int(TAIL * len(draws))]), float(draws[int((1 - TAIL) * len(draws))])
