"""How many walks by user space make conversion worth what it costs the program.

Building pays for conversion once per pointer stored; without it, user space pays at each step of
each walk. With dB the extra cost of a build and dW that of a walk without conversion, conversion
is worth it from dB / dW walks per build on. Both are measured, so the quotient has an interval.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.errors import WorkbenchError
from workbench.measurement import FEWEST_UNITS, RESAMPLES, confidence_level, interval, typical

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
        if np.isinf(self.high):
            return f"conversion pays from {self.low:.1f} walks per build on, if at all"
        return f"conversion pays from {self.low:.1f} to {self.high:.1f} walks per build on"


def break_even(build: "pd.DataFrame", walk: "pd.DataFrame", seed: int = 0) -> BreakEven:
    """Compare builds and walks under both flags; frames of `measurement.collect`, in ns.

    Operations of a build and of a walk must be the same things (nodes, keys). Raises
    WorkbenchError for fewer than FEWEST_UNITS units of either.
    """
    costs = extra(build, "conversion", "no_user_conv"), extra(walk, "no_user_conv", "conversion")
    if min(map(len, costs)) < FEWEST_UNITS:
        raise WorkbenchError(f"a break-even needs {FEWEST_UNITS} units of builds and of walks")
    generator = np.random.default_rng(seed)
    draws = _resampled(costs[0], generator), _resampled(costs[1], generator)
    tail = (1 - confidence_level(min(map(len, costs)))) / 2
    found = np.sort(quotient(*draws))
    low, high = found[int(tail * len(found))], found[int((1 - tail) * len(found))]
    middle = quotient(costs[0].mean(), costs[1].mean())
    sides = [(float(cost.mean()), *interval(cost, seed)) for cost in costs]
    return BreakEven(float(middle), float(low), float(high), sides[0], sides[1])


def extra(frame: "pd.DataFrame", a: str, b: str) -> np.ndarray:
    """How many ns subject `a` takes more than `b`, in each unit."""
    units, _ = typical(frame)
    return (units[a] - units[b]).dropna().to_numpy()


def quotient(build: np.ndarray, walk: np.ndarray) -> np.ndarray:
    """Walks per build from which on conversion pays: 0 for a free build, inf for free walks."""
    build, walk = np.maximum(build, 0), np.maximum(walk, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(build == 0, 0.0, np.where(walk == 0, np.inf, build / walk))


def curve(build: "pd.DataFrame", walk: "pd.DataFrame", walks: np.ndarray) -> "pd.DataFrame":
    """Total ns per operation of one build and so many walks: walks, flag, value, low, high."""
    import pandas as pd

    rows = []
    for flag in ("conversion", "no_user_conv"):
        sides = [typical(frame)[0][flag].dropna().to_numpy() for frame in (build, walk)]
        middles = [side.mean() for side in sides]
        bounds = [interval(side) for side in sides]
        for count in walks:
            ends = [bounds[0][end] + count * bounds[1][end] for end in (0, 1)]
            rows.append((float(count), flag, middles[0] + count * middles[1], *ends))
    return pd.DataFrame(rows, columns=["walks", "flag", "value", "low", "high"])


def _resampled(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Bootstrap means."""
    from scipy import stats

    if np.ptp(values) == 0:
        return np.full(RESAMPLES, values[0])
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=generator
    )
    return found.bootstrap_distribution
