"""Is A slower than B, by how much, and may one say so? Repetition, pairing, intervals.

Times vary at three levels: from one iteration to the next, from one engine instance to the next
(where its memory and machine code lie), and from one process to the next. Each level is repeated.
Within an instance A and B run in turns, in random order, so that what disturbs one disturbs both.

    process 0 ┬ instance 0: open A, open B │ warm up │ B A · A B · A B ...   iterations
              └ instance 1: open B, open A │ warm up │ A B · B A · A B ...
    process 1 ─ ...

The effect is a ratio, and its interval a bootstrap over the units of the highest level that was
repeated; a unit is drawn with all that lies below it (Davison and Hinkley, Bootstrap Methods and
their Application, 1997, section 3.8). Kalibera and Jones, Rigorous benchmarking in reasonable
time, ISMM 2013, say why ratios, and why these levels.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    import pandas as pd

Opening = Callable[[], AbstractContextManager[Callable[[], float]]]
"""Opens an instance; what it gives runs one iteration and returns its time."""

LEVELS = ("process", "instance", "iteration")
COLUMNS = ("subject", "instance", "iteration", "turn", "phase", "value")
PHASES = ("open", "warmup", "timed")
FEWEST_UNITS = 6  # the fewest that were simulated: 94.6 % of their intervals hold the truth
SAME = 0.05  # an effect that certainly is smaller counts as none: a convention, not measured
NOISY = 0.10  # spread between iterations above which a machine is called noisy: a convention
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2  # left out at either end of an interval
RESAMPLES = 9999  # the default of scipy.stats.bootstrap


def collect(
    subjects: Mapping[str, Opening],
    instances: int = 8,
    iterations: int = 8,
    warmup: int = 2,
    seed: int = 0,
    cpu: int | None = None,
) -> "pd.DataFrame":
    """Run subjects in turns in this process, pinned to one processor where that is allowed.

    Columns: subject, instance, iteration (-1 outside the timed phase), turn (its place in time),
    phase ("open": ns to load and compile, "warmup", "timed") and value, in the unit that the
    subjects return. `cpu` None takes the last processor allowed.
    """
    import pandas as pd

    generator = np.random.default_rng(seed)
    rows: list[tuple[str, int, int, str, float]] = []
    with pinned(cpu):
        for instance in range(instances):
            rows += _instance(subjects, instance, iterations, warmup, generator)
    frame = pd.DataFrame(rows, columns=["subject", "instance", "iteration", "phase", "value"])
    frame.insert(3, "turn", np.arange(len(frame)))
    return frame


def _instance(
    subjects: Mapping[str, Opening],
    instance: int,
    iterations: int,
    warmup: int,
    generator: np.random.Generator,
) -> Iterator[tuple[str, int, int, str, float]]:
    """Open every subject once, warm up, and time in turns of random order."""
    names = list(subjects)
    with ExitStack() as stack:
        run = {}
        for name in generator.permutation(names).tolist():
            began = time.perf_counter_ns()
            run[name] = stack.enter_context(subjects[name]())
            yield name, instance, -1, "open", float(time.perf_counter_ns() - began)
        for number in range(-warmup, iterations):
            for name in generator.permutation(names).tolist():
                phase = "timed" if number >= 0 else "warmup"
                yield name, instance, max(number, -1), phase, run[name]()


@contextmanager
def pinned(cpu: int | None = None) -> Iterator[int | None]:
    """Keep this thread on one processor (None: the last allowed); gives its number, or None.

    Afterwards the thread may run where it could before. Does nothing where it is not allowed.
    """
    try:
        before = os.sched_getaffinity(0)
        chosen = max(before) if cpu is None else cpu
        os.sched_setaffinity(0, {chosen})
    except (AttributeError, PermissionError):  # not on Linux; confined
        yield None
        return
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


class Effect(NamedTuple):
    """How A compares with B: typical values, their ratio with its interval, and what it says.

    `a` and `b` are geometric means of units, `units` how many of `level` there were. `verdict`:
    "slower" or "faster" (of A), "same" (certainly less than 5 % apart), or "cannot say".
    """

    a: float
    b: float
    ratio: float
    low: float
    high: float
    units: int
    level: str
    verdict: str

    def __str__(self) -> str:
        interval = "no interval" if np.isnan(self.low) else f"[{self.low:.3g}, {self.high:.3g}]"
        return f"{self.ratio:.3g} × {interval}, {self.verdict}"


def effect(frame: "pd.DataFrame", a: str, b: str, seed: int = 0) -> Effect:
    """Compare subject `a` with `b` in a frame of `collect`, or several with a column `process`.

    The ratio is the geometric mean over units of a/b, each unit's times being the medians of its
    iterations. Raises WorkbenchError for a frame without these columns or subjects.
    """
    units, level = typical(frame)
    for name in (a, b):
        if name not in units.columns:
            there = ", ".join(map(str, units.columns))
            raise WorkbenchError(f"'{name}' was not measured; there are: {there or 'no rows'}")
    pair = units[[a, b]].dropna().to_numpy()
    ratio, low, high = geometric_mean(pair[:, 0] / pair[:, 1], seed)
    typical_a, typical_b = np.exp(np.log(pair).mean(axis=0)).tolist()
    return Effect(typical_a, typical_b, ratio, low, high, len(pair), level, _verdict(low, high))


def effects(frame: "pd.DataFrame", by: list[str], a: str, b: str, seed: int = 0) -> "pd.DataFrame":
    """The effect within each group of rows: columns `by`, then those of Effect, in row order.

    Raises WorkbenchError for a group that are no measurements of both `a` and `b`.
    """
    import pandas as pd

    rows = [
        (*(key if isinstance(key, tuple) else (key,)), *effect(part, a, b, seed))
        for key, part in frame.groupby(by, sort=False, observed=True)
    ]
    return pd.DataFrame(rows, columns=[*by, *Effect._fields])


def _verdict(low: float, high: float) -> str:
    """What an interval of a ratio allows to say."""
    if low > 1:
        return "slower"
    if high < 1:
        return "faster"
    return "same" if low > 1 / (1 + SAME) and high < 1 + SAME else "cannot say"


def typical(frame: "pd.DataFrame") -> tuple["pd.DataFrame", str]:
    """One value per unit and subject, and the name of the level whose members are the units.

    Iterations give their median, instances the geometric mean of theirs. Rows are units, columns
    subjects. Raises WorkbenchError for a frame that holds no measurements.
    """
    timed = _timed(frame)
    level = next((n for n in LEVELS if n in timed and timed[n].nunique() > 1), "iteration")
    above = [name for name in LEVELS[:2] if name in timed]
    if level == "iteration":
        return timed.pivot_table(index=level, columns="subject", values="value"), level
    medians = timed.groupby(["subject", *above], observed=True)["value"].median()
    logs = np.log(medians).groupby(["subject", level], observed=True).mean()
    return np.exp(logs).unstack("subject"), level


def _timed(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The timed rows, checked."""
    missing = [name for name in ("subject", "iteration", "value") if name not in frame]
    if missing:
        raise WorkbenchError(f"these are no measurements: no column '{missing[0]}'")
    timed = frame[frame["phase"] == "timed"] if "phase" in frame else frame
    try:
        values = timed["value"].to_numpy(float)
    except (TypeError, ValueError):
        raise WorkbenchError("measurements must be numbers, finite and above 0") from None
    if not (np.isfinite(values) & (values > 0)).all():
        raise WorkbenchError("measurements must be numbers, finite and above 0")
    return timed


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of float[n]; (nan, nan) for n < FEWEST_UNITS."""
    if len(values) < FEWEST_UNITS:
        return float("nan"), float("nan")
    low, high = np.quantile(resampled(values, np.random.default_rng(seed)), [TAIL, 1 - TAIL])
    return float(low), float(high)


def geometric_mean(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """The geometric mean of positive values, float[n], and the ends of its `interval`."""
    logs = np.log(values)
    low, high = np.exp(interval(logs, seed))
    return float(np.exp(logs.mean())), float(low), float(high)


def resampled(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Bootstrap means of float[n]: float[RESAMPLES], spread as widely as n asks.

    A bootstrap of few values is too narrow: its means vary by the factor sqrt((n - 1) / n) too
    little, and a normal distribution has thinner tails than Student's t. Asking for percentiles
    further out (Hesterberg, What teachers should know about the bootstrap, The American
    Statistician 69 (2015), section 5.3) does not mend it for n below 8, as there the far
    percentiles come from few different means; so the means are moved away from their own.
    """
    from scipy import stats

    count, middle = len(values), values.mean()
    if np.ptp(values) == 0:
        return np.full(RESAMPLES, values[0])
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=generator
    )
    wider = np.sqrt(count / (count - 1)) * stats.t.isf(TAIL, count - 1) / stats.norm.isf(TAIL)
    return middle + wider * (found.bootstrap_distribution - middle)


def outliers(frame: "pd.DataFrame") -> "pd.Series":
    """Which rows lie beyond Tukey's far fences of their instance: bool by row; none is left out.

    The fences are three interquartile ranges beyond the quartiles. Raises WorkbenchError for a
    frame that holds no measurements.
    """
    timed = _timed(frame)
    above = ["subject", *(name for name in LEVELS[:2] if name in timed)]
    groups = timed.groupby(above, observed=True)["value"]
    low, high = groups.transform("quantile", q=0.25), groups.transform("quantile", q=0.75)
    reach = 3 * (high - low)  # Tukey, Exploratory Data Analysis, 1977: "far out"
    beyond = (timed["value"] > high + reach) | (timed["value"] < low - reach)
    return beyond.reindex(frame.index, fill_value=False)


def spread(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The relative spread of each subject at each level: where to repeat more.

    Columns process, instance, iteration: typical standard deviations of logarithms within the
    level above; NaN where a level was not repeated. Raises WorkbenchError for a frame that holds no
    measurements.
    """
    import pandas as pd

    timed = _timed(frame)
    present = [name for name in LEVELS if name in timed]
    logs = np.log(timed.set_index(["subject", *present])["value"])
    table = {}
    for depth in range(len(present), 0, -1):
        above = ["subject", *present[: depth - 1]]
        groups = logs.groupby(level=above, observed=True)
        table[present[depth - 1]] = groups.std().groupby("subject", observed=True).median()
        logs = groups.median()
    return pd.DataFrame(table).reindex(columns=LEVELS)


def warning(frame: "pd.DataFrame", by: list[str] | None = None) -> str:
    """Say that the machine was too noisy, and how noisy; "" if it was quiet enough.

    `by` names the columns that part one measurement of the frame from another. Raises
    WorkbenchError for a frame that holds no measurements.
    """
    parts = frame.groupby(by, sort=False, observed=True) if by else [((), frame)]
    worst, where, share = 0.0, "", 0.0
    for key, part in parts:
        found = spread(part)["iteration"]
        if found.max() > worst:
            worst, share = float(found.max()), float(outliers(part).mean())
            where = ", ".join(map(str, [*key, found.idxmax()]))
    if not worst > NOISY:
        return ""
    return (
        f"noisy: iterations of '{where}' vary by {worst:.0%} (above {NOISY:.0%}; {share:.1%} of "
        "them are outliers); close other programs, or repeat more"
    )
