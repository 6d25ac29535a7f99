"""Sweeps: the same rows from every executor, nothing lost when something dies, nothing stale."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.paths import ROOT

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.evidence import provenance
from workbench.experiments.sweep import _loaded

GRID = {"x": [1, 2, 3], "word": ["a", "b"]}


def noted(x: int, word: str, seed: int) -> dict[str, float]:
    return {"square": x * x, "draw": float(np.random.default_rng(seed).random()), "twice": word * 2}


def bare(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="seconds")


@pytest.fixture(scope="module")
def serial(tmp_path_factory) -> pd.DataFrame:
    return wb.Sweep(noted, GRID, seed=7, directory=tmp_path_factory.mktemp("serial")).run(jobs=1)


def test_rows_come_in_the_order_of_the_grid(serial):
    assert serial["x"].tolist() == [1, 1, 2, 2, 3, 3]
    assert serial["word"].tolist() == ["a", "b"] * 3
    assert serial["square"].tolist() == [1, 1, 4, 4, 9, 9]
    assert set(serial["status"]) == {"ok"}
    assert serial["seed"].nunique() == serial["draw"].nunique() == 6
    assert provenance.KEY in serial.attrs


EXECUTORS = {
    "joblib": lambda: None,
    "threads": lambda: ThreadPoolExecutor(2),
    "processes": lambda: ProcessPoolExecutor(2, get_context("spawn")),
}


@pytest.mark.parametrize("make", EXECUTORS.values(), ids=EXECUTORS)
def test_every_executor_gives_the_same(make, serial, tmp_path):
    executor = make()
    found = wb.Sweep(noted, GRID, seed=7, directory=tmp_path).run(executor)
    pd.testing.assert_frame_equal(bare(found), bare(serial))
    if executor:
        executor.shutdown()


def test_a_seed_depends_on_the_point_and_not_on_the_grid(serial, tmp_path):
    one = wb.Sweep(noted, [{"word": "b", "x": 2}], seed=7, directory=tmp_path).run(jobs=1)
    assert one["seed"].tolist() == serial.query("x == 2 and word == 'b'")["seed"].tolist()
    other = wb.Sweep(noted, GRID, seed=8, directory=tmp_path).points()
    assert not {point.seed for point in other} & set(serial["seed"])


def counting(x: int, log: str) -> int:
    with open(log, "a") as file:
        file.write(f"{x}\n")
    if x == 2:
        raise ValueError("two is too many")
    return x


def test_failures_are_rows_and_only_they_are_tried_again(tmp_path):
    log = tmp_path / "log"
    sweep = wb.Sweep(counting, {"x": [1, 2, 3], "log": [str(log)]}, directory=tmp_path / "kept")
    frame = sweep.run(jobs=2)
    assert frame["status"].tolist() == ["ok", "failed", "ok"]
    assert frame["error"].tolist() == ["", "ValueError: two is too many", ""]
    assert frame["value"].iloc[[0, 2]].tolist() == [1, 3]
    again = sweep.run(jobs=2)
    pd.testing.assert_frame_equal(bare(again), bare(frame))
    assert sorted(log.read_text().split()) == ["1", "2", "2", "3"]
    assert sweep.forget() == 2


def dying(x: int) -> int:
    if x == 2:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.mark.parametrize("make", [EXECUTORS["joblib"], EXECUTORS["processes"]])
def test_a_worker_that_dies_loses_only_its_own(make, tmp_path):
    frame = wb.Sweep(dying, {"x": [0, 1, 2]}, directory=tmp_path).run(make(), jobs=2)
    assert frame["status"].tolist()[2] == "failed"
    assert frame["error"].iloc[2]
    done = wb.Sweep(dying, {"x": [0, 1]}, directory=tmp_path).run(make())
    assert done["value"].tolist() == [0, 1]


def test_a_changed_function_is_not_mistaken_for_the_old(tmp_path):
    values = []
    for text in ("def f(x): return x", "def f(x): return -x"):
        path = tmp_path / f"module{len(values)}.py"
        path.write_text(text)
        space: dict = {"__name__": "module"}
        exec(compile(text, str(path), "exec"), space)
        sweep = wb.Sweep(space["f"], {"x": [5]}, directory=tmp_path)
        values += sweep.run(jobs=1)["value"].tolist()
    assert values == [5, -5]


def test_a_damaged_result_is_computed_again(tmp_path, capsys):
    sweep = wb.Sweep(noted, {"x": [1, 2], "word": ["a"]}, directory=tmp_path)
    first = sweep.run(jobs=1)
    victim = sorted(tmp_path.glob("*.parquet"))[0]
    victim.write_bytes(victim.read_bytes()[:200])
    again = sweep.run(jobs=1)
    pd.testing.assert_frame_equal(bare(first), bare(again))
    assert "computed again" in capsys.readouterr().err


def test_a_full_disk(tmp_path):
    """A limit on file sizes stands for a full disk: writing fails in the middle of a file."""
    code = f"""
import resource, signal, sys
sys.path[:0] = [{str(ROOT / "tests")!r}, {str(ROOT)!r}]
import workbench as wb, pandas as pd
from support.sweep_points import large
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
wb.Sweep(large, {{"rows": [1]}}, directory={str(tmp_path)!r}).run(jobs=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    wb.Sweep(large, {{"rows": [1, 100_000]}}, directory={str(tmp_path)!r}).run(jobs=1)
except wb.errors.WorkbenchError as error:
    print(error)
"""
    code = code.replace("import workbench as wb,", "import workbench.errors, workbench as wb,")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("a result cannot be kept: ")
    assert "earlier ones are safe" in done.stdout
    assert len(list(tmp_path.iterdir())) == 1
    assert provenance.load(next(tmp_path.iterdir()))["noise"].shape == (1,)


def test_ctrl_c_keeps_what_is_done(tmp_path):
    code = f"""
import sys
sys.path[:0] = [{str(ROOT / "tests")!r}, {str(ROOT)!r}]
import workbench as wb
from support.sweep_points import slow
frame = wb.Sweep(slow, {{"x": list(range(40))}}, directory={str(tmp_path)!r}).run(jobs=2)
print(*frame["status"])
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    while len(list(tmp_path.glob("*.parquet"))) < 2:
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    words = child.communicate(timeout=30)[0].split()
    assert len(words) == 40
    assert 2 <= words.count("ok") == len(list(tmp_path.glob("*.parquet"))) < 40
    assert words.count("interrupted") == 40 - words.count("ok")


def threads(x: int) -> str:
    """The limits of threads, those that OpenBLAS tells among them."""
    asked = [os.environ["NUMBA_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]]
    for library in _loaded("openblas"):
        for getter in ("scipy_openblas_get_num_threads64_", "scipy_openblas_get_num_threads"):
            asked += [str(getattr(library, getter)())] if hasattr(library, getter) else []
    return "".join(asked)


def test_workers_have_one_thread(tmp_path):
    forked = lambda: ProcessPoolExecutor(1, get_context("fork"))  # noqa: E731
    for number, make in enumerate((EXECUTORS["joblib"], EXECUTORS["processes"], forked)):
        frame = wb.Sweep(threads, {"x": [1]}, directory=tmp_path / str(number)).run(make())
        assert set(frame["value"].iloc[0]) == {"1"}, frame["error"].iloc[0]


def frame_of(x: int) -> pd.DataFrame:
    return pd.DataFrame({"y": range(x)})


def test_a_function_may_give_several_rows(tmp_path):
    frame = wb.Sweep(frame_of, {"x": [1, 2]}, directory=tmp_path).run(jobs=1)
    assert frame[["x", "y"]].to_numpy().tolist() == [[1, 0], [2, 0], [2, 1]]


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        ({"x": 5}, "needs a list of values"),
        ({"x": "abc"}, "needs a list of values"),
        ({"x": [object()]}, "use text or numbers"),
        ({"seed": [1]}, "rename it"),
        ([{"x": 1}, {"y": 1}], "the same names"),
    ],
)
def test_grids_that_are_none(grid, reason):
    with pytest.raises(WorkbenchError, match=reason):
        wb.Sweep(noted, grid).run(jobs=1)


def test_an_empty_grid_is_an_empty_frame():
    assert wb.Sweep(noted, {"x": []}).run().empty


def test_what_is_no_result_is_a_failure(tmp_path):
    frame = wb.Sweep(lambda x: object(), {"x": [1]}, directory=tmp_path).run(jobs=1)
    assert "returns a number, dict or DataFrame" in frame["error"].iloc[0]


# A cluster


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed", reason="pip install distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


def test_a_cluster_gives_the_same(client, serial, tmp_path):
    found = wb.Sweep(noted, GRID, seed=7, directory=tmp_path).run(client)
    pd.testing.assert_frame_equal(bare(found), bare(serial))


def dying_once(x: int, log: str) -> int:
    """Kill the worker that runs point 3, the first time."""
    time.sleep(0.1)
    mark = Path(log)
    if x == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x * 10


def test_a_worker_killed_midway_loses_nothing(client, tmp_path):
    mark = tmp_path / "killed"
    grid = {"x": list(range(8)), "log": [str(mark)]}
    frame = wb.Sweep(dying_once, grid, directory=tmp_path / "kept").run(client)
    assert mark.exists()
    assert frame["status"].tolist() == ["ok"] * 8
    assert frame["value"].tolist() == [x * 10 for x in range(8)]
