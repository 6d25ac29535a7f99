"""Run a function at every point of a grid, in parallel, and keep each result as it comes.

    points ──► kept already? ── yes ──► read ──────────────────┐
                    └ no ──► executor ──► kept on disk ──► row ┴──► one frame, in grid order

A result is found again by its content: the function's code, the point and the seed. So a sweep that
was stopped goes on where it was, and one whose function has changed begins anew.
"""

import ctypes
import hashlib
import inspect
import itertools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.errors import SaveError, WorkbenchError
from workbench.evidence import provenance
from workbench.files import cache_root
from workbench.widgets.progress import bar

if TYPE_CHECKING:
    import pandas as pd

OWN_COLUMNS = ("seed", "status", "error", "seconds")
THREAD_LIMITS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)  # fmt: skip
BLAS_SETTERS = (
    "scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_", "openblas_set_num_threads",
)  # fmt: skip
_KEPT_NAME = re.compile(r".+-[0-9a-f]{24}\.parquet")
_PACKAGE = Path(__file__).resolve().parents[1]


class Point(NamedTuple):
    """One call: its arguments, its own seed, and the name that its result is kept under."""

    arguments: dict[str, Any]
    seed: int
    key: str


class Outcome(NamedTuple):
    """What a call gave: a frame of its rows, or why there is none ("" if there is)."""

    frame: "pd.DataFrame | None"
    error: str
    seconds: float


@dataclass(frozen=True)
class Sweep:
    """`function` at every point of `grid`, a dict of lists (their product) or a list of dicts.

    The function takes a point's values by name, and `seed` if it has a parameter of that name: a
    number that depends on the sweep's `seed` and the point alone. It returns a number, a dict or
    a DataFrame. Values are text, numbers, booleans, None or tuples of those. Results are kept in
    `directory` (default: the user's cache). Raises WorkbenchError for a grid it cannot take.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sweep = wb.Sweep(lambda pages: pages * 4096, {"pages": [1, 2]}, directory=folder)
    ...     sweep.run(jobs=1)[["pages", "value"]].values.tolist()
    [[1, 4096], [2, 8192]]
    """

    function: Callable[..., Any]
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]
    seed: int = 0
    directory: Path | str | None = None

    def run(self, executor: Any = None, jobs: int = -1) -> "pd.DataFrame":
        """Compute what is not kept yet; one frame of all points, in the order of the grid.

        `executor` is any concurrent.futures.Executor or a Dask Client; None takes `jobs` joblib
        processes (-1: one per processor; 1: none, all runs here). Columns: the grid's, seed,
        status ("ok", "failed" or "interrupted"), error, seconds, then those of the function
        ("value" for a number). Failed points are tried again next time. Ctrl-C keeps what is done.
        """
        points = self.points()
        found = {p.key: kept for p in points if (kept := self._kept(p)) is not None}
        missing = [point for point in points if point.key not in found]
        interrupted = ""
        try:
            for key, outcome in self._computed(missing, executor, jobs):
                found[key] = outcome
        except KeyboardInterrupt:
            interrupted = "interrupted"
        return self._frame(points, found, interrupted)

    def points(self) -> list[Point]:
        """Every point of the grid, in order; equal ones once.

        Raises WorkbenchError for points of different names, and values without content to compare.
        """
        code = _code(self.function)
        grid = _product(self.grid) if isinstance(self.grid, Mapping) else self.grid
        points = [_point(code, dict(arguments), self.seed) for arguments in grid]
        if points and len({tuple(sorted(point.arguments)) for point in points}) > 1:
            raise WorkbenchError("all points of a grid need the same names")
        return list({point.key: point for point in points}.values())

    def forget(self) -> int:
        """Delete the kept results of these points; returns how many there were."""
        paths = [self._path(point) for point in self.points()]
        there = [path for path in paths if path.exists()]
        for path in there:
            path.unlink()
        return len(there)

    def _path(self, point: Point) -> Path:
        root = Path(self.directory) if self.directory is not None else _default_directory()
        return root / f"{self.function.__name__}-{point.key}.parquet"

    def _kept(self, point: Point) -> Outcome | None:
        """The kept result; None if there is none, or none that can be read."""
        path = self._path(point)
        if not path.exists():
            return None
        try:
            frame = provenance.load(path)
        except WorkbenchError as error:
            print(f"Note: computed again, as {error}", file=sys.stderr)
            return None
        return Outcome(frame, "", float(frame.attrs["seconds"]))

    def _keep(self, point: Point, outcome: Outcome) -> None:
        """Write a result, whole or not at all."""
        frame = outcome.frame
        if frame is None:
            return
        about = {"parameters": point.arguments, "seed": point.seed, "seconds": outcome.seconds}
        frame.attrs = {**frame.attrs, **about}
        path = self._path(point)
        try:
            provenance.save(frame, path)
        except SaveError as error:
            raise WorkbenchError(
                f"a result cannot be kept: {error}; earlier ones are safe in {path.parent}, "
                "and used when you run again"
            ) from None

    def _computed(
        self, points: list[Point], executor: Any, jobs: int
    ) -> Iterator[tuple[str, Outcome]]:
        """Compute points, keep each result as it comes, and show progress after a second."""
        import cloudpickle

        if not points:
            return
        call = cloudpickle.dumps(self.function)
        by_key = {point.key: point for point in points}
        with bar(self.function.__name__, total=len(points)) as progress:
            for key, outcome in _outcomes(call, points, executor, jobs):
                self._keep(by_key[key], outcome)
                progress.update()
                yield key, outcome

    def _frame(
        self, points: list[Point], found: dict[str, Outcome], interrupted: str
    ) -> "pd.DataFrame":
        """Put all points into one frame."""
        import pandas as pd

        lost = Outcome(None, interrupted or "its worker died", float("nan"))
        parts = [_rows(point, found.get(point.key, lost), interrupted) for point in points]
        frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        frame.attrs = {provenance.KEY: provenance.provenance(), "seed": self.seed}
        return frame


def kept_in(directory: Path) -> list[Path]:
    """The results that sweeps have kept in a directory: files with such a name that say so."""
    paths = directory.glob("*.parquet")
    return [path for path in paths if _KEPT_NAME.fullmatch(path.name) and _by_a_sweep(path)]


def _by_a_sweep(path: Path) -> bool:
    from pyarrow.parquet import read_schema

    try:
        about = read_schema(path).pandas_metadata["attributes"]
        return {provenance.KEY, "parameters", "seed", "seconds"} <= set(about)
    except (OSError, ValueError, KeyError, TypeError):  # pyarrow's own errors are ValueErrors
        return False


def _product(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the lists of a grid."""
    for name, values in grid.items():
        if isinstance(values, str) or not hasattr(values, "__iter__"):
            raise WorkbenchError(f"grid: '{name}' needs a list of values, not {values!r}")
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _point(code: str, arguments: dict[str, Any], seed: int) -> Point:
    """Name a point by the hash of its content, which also makes its seed."""
    plain = {name: _plain(name, value) for name, value in arguments.items()}
    if reserved := set(plain) & set(OWN_COLUMNS):
        raise WorkbenchError(f"grid: '{reserved.pop()}' is a column of every sweep; rename it")
    text = json.dumps([plain, seed], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    words = np.frombuffer(digest, np.uint32).tolist()
    own = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
    key = hashlib.sha256(f"{provenance.SCHEMA}{code}{text}".encode()).hexdigest()[:24]
    return Point(plain, own, key)


def _plain(name: str, value: Any) -> Any:
    """A value as JSON has it; raises WorkbenchError for what has no content to compare."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return tuple(_plain(name, part) for part in value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise WorkbenchError(
        f"grid: '{name}' is {type(value).__name__}; use text or numbers, and let the function "
        "look up the rest"
    )


def _code(function: Callable[..., Any]) -> str:
    """A hash of what the function says: its own text; for one of the workbench, all of its files.

    What a function calls elsewhere is not seen; `Sweep.forget` drops kept results.
    """
    digest = hashlib.sha256(f"{function.__module__}.{function.__qualname__}".encode())
    if function.__module__.startswith("workbench."):
        for path in sorted(_PACKAGE.rglob("*.py")):
            digest.update(path.read_bytes())
        return digest.hexdigest()
    try:
        digest.update(inspect.getsource(function).encode())
    except (OSError, TypeError):
        digest.update(getattr(function, "__code__", function).__class__.__name__.encode())
        digest.update(getattr(getattr(function, "__code__", None), "co_code", b""))
    return digest.hexdigest()


def _default_directory() -> Path:
    """Of a user's own: below $WORKBENCH_CACHE, or in our part of the user's cache directory."""
    root = cache_root()
    if root is None:
        raise WorkbenchError("you have no home directory; give the sweep a `directory`")
    named = os.environ.get("WORKBENCH_CACHE")
    return root / "sweeps" if named else root / "bpf-arena-workbench" / "sweeps"


def _outcomes(
    call: bytes, points: list[Point], executor: Any, jobs: int
) -> Iterator[tuple[str, Outcome]]:
    """Yield outcomes as they come; a point whose worker died yields none, or a failed one."""
    if executor is None:
        yield from _in_processes(call, points, jobs)
        return
    pool: Executor = executor
    if hasattr(executor, "get_executor"):  # a Dask Client
        pool = executor.get_executor(pure=False, retries=3)
    futures = {pool.submit(_call, call, point, os.getpid()): point for point in points}
    try:
        for future in as_completed(futures):
            yield futures[future].key, _result(future.result)
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _result(ask: Callable[[], tuple[str, Outcome]]) -> Outcome:
    """What a future holds; that of a dead worker, or of one that cannot be sent, has failed."""
    try:
        return ask()[1]
    except Exception as error:
        return Outcome(None, f"{type(error).__name__}: {error}".strip(), float("nan"))


def _in_processes(call: bytes, points: list[Point], jobs: int) -> Iterator[tuple[str, Outcome]]:
    """Run points in joblib's processes, one thread each."""
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with parallel_config(backend="loky", inner_max_num_threads=1):
        pool = Parallel(
            n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="all"
        )
        try:
            yield from pool(delayed(_call)(call, point, os.getpid()) for point in points)
        except TerminatedWorkerError as error:
            print(f"Note: a worker died, its points failed: {error}"[:300], file=sys.stderr)


def _call(call: bytes, point: Point, parent: int) -> tuple[str, Outcome]:
    """Call the function at one point, here or in a worker; every exception becomes an outcome."""
    import cloudpickle

    if os.getpid() != parent:
        _one_thread()
    began = time.perf_counter()
    try:
        function = cloudpickle.loads(call)
        takes = inspect.signature(function).parameters
        seed = {"seed": point.seed} if "seed" in takes and "seed" not in point.arguments else {}
        frame = _as_frame(function(**point.arguments, **seed))
    except Exception as error:
        text = f"{type(error).__name__}: {error}".strip()
        return point.key, Outcome(None, text, time.perf_counter() - began)
    return point.key, Outcome(frame, "", time.perf_counter() - began)


def _one_thread() -> None:
    """Keep a worker to one thread: there are as many workers as processors."""
    os.environ.update(dict.fromkeys(THREAD_LIMITS, "1"))
    if "numba" in sys.modules:
        sys.modules["numba"].set_num_threads(1)
    for library in _loaded("openblas"):  # it read its limit when NumPy was loaded
        for setter in BLAS_SETTERS:
            if hasattr(library, setter):
                getattr(library, setter)(1)


def _loaded(name: str) -> Iterator[ctypes.CDLL]:
    """The shared libraries of this process that are called so; none where Linux does not say."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    paths = {line.split(maxsplit=5)[-1] for line in lines if "/" in line}
    yield from (ctypes.CDLL(path) for path in sorted(paths) if name in Path(path).name)


def _as_frame(result: Any) -> "pd.DataFrame":
    """A function's result as rows."""
    import pandas as pd

    if isinstance(result, pd.DataFrame):
        return result.reset_index(drop=True)
    if isinstance(result, Mapping):
        return pd.DataFrame([dict(result)])
    if isinstance(result, int | float | str | bool | np.generic):
        return pd.DataFrame({"value": [result]})
    raise TypeError(f"a sweep's function returns a number, dict or DataFrame, not {result!r:.80}")


def _rows(point: Point, outcome: Outcome, interrupted: str) -> "pd.DataFrame":
    """The rows of one point: its values, how it went, and what the function gave."""
    import pandas as pd

    status = "ok" if outcome.frame is not None else interrupted or "failed"
    own = (point.seed, status, outcome.error, outcome.seconds)
    content = outcome.frame if outcome.frame is not None else pd.DataFrame(index=[0])
    head = {**point.arguments, **dict(zip(OWN_COLUMNS, own, strict=True))}
    index = content.index
    columns = {name: pd.Series([value] * len(index), index) for name, value in head.items()}
    return pd.concat(
        [pd.DataFrame(columns), content.drop(columns=list(head), errors="ignore")], axis=1
    )
