"""Measurement: intervals hold at the rate they promise, on data whose truth is known; real A/A."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.evidence import measurement


def simulated(
    generator: np.random.Generator, true: float, processes: int, instances: int, iterations: int
) -> pd.DataFrame:
    """Times of A and B: log-normal at each level, one iteration in twenty disturbed."""
    shape = (2, processes, instances, iterations)
    logs = generator.normal(0, 0.05, (1, processes, 1, 1))  # a process has both
    logs = logs + generator.normal(0, 0.03, (2, processes, 1, 1))
    logs = logs + generator.normal(0, 0.02, (2, processes, instances, 1))
    logs = logs + generator.normal(0, 0.04, shape)
    logs = logs + (generator.random(shape) < 0.05) * generator.exponential(1.0, shape)
    logs[0] += np.log(true)
    at = np.indices(shape).reshape(4, -1)
    return pd.DataFrame({
        "subject": np.array(["A", "B"])[at[0]], "process": at[1], "instance": at[2],
        "iteration": at[3], "value": np.exp(logs.ravel()),
    })  # fmt: skip


@pytest.mark.parametrize(
    ("true", "processes", "instances"),
    [(1.0, 8, 2), (1.0, 1, 8), (1.0, 20, 1), (1.25, 8, 2), (0.5, 6, 3)],
)
def test_the_interval_holds_the_truth_at_the_nominal_rate(true, processes, instances, scale):
    runs = scale(120, 4000)
    generator = np.random.default_rng(1)
    held = 0
    for number in range(runs):
        if processes == 1:
            frame = simulated(generator, true, instances, 1, 5)
            frame = frame.rename(columns={"process": "instance", "instance": "process"})
        else:
            frame = simulated(generator, true, processes, instances, 5)
        found = measurement.effect(frame, "A", "B", seed=number)
        assert found.level == ("instance" if processes == 1 else "process")
        held += found.low <= true <= found.high
    low, high = stats.binom.interval(0.999, runs, 0.95)
    # a little too often is honest, too seldom is not
    assert low <= held <= max(high, 0.985 * runs)


def test_an_effect_is_found():
    frame = simulated(np.random.default_rng(2), 1.5, 10, 2, 5)
    found = measurement.effect(frame, "A", "B")
    assert found.verdict == "slower"
    assert measurement.effect(frame, "B", "A").verdict == "faster"
    assert found.ratio == pytest.approx(1.5, rel=0.1)
    assert found.a / found.b == pytest.approx(found.ratio)
    assert str(found).endswith("slower")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(1.01, 2, "slower"), (0.5, 0.99, "faster"), (0.96, 1.04, "same"), (0.9, 1.2, "cannot say")],
)
def test_verdicts(low, high, verdict):
    assert measurement._verdict(low, high) == verdict


def test_nothing_is_claimed_from_few_units():
    frame = simulated(np.random.default_rng(3), 3, 3, 1, 5)
    found = measurement.effect(frame, "A", "B")
    assert np.isnan(found.low)
    assert found.verdict == "cannot say"
    assert "no interval" in str(found)


def test_the_interval_of_normal_values_is_students():
    values = np.random.default_rng(4).normal(0, 1, 40)
    ours = measurement.interval(values)
    theirs = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert ours == pytest.approx(theirs, abs=0.04)


def test_equal_values_have_an_interval_of_a_point():
    assert measurement.interval(np.full(8, 2.0)) == (2, 2)


# Collecting


@contextmanager
def opened(name: str, log: list[str]) -> Iterator:
    log.append(f"open {name}")

    def run() -> float:
        log.append(name)
        return 1.0

    yield run
    log.append(f"close {name}")


def test_turns_are_random_and_all_take_part():
    log: list[str] = []
    subjects = {name: lambda name=name: opened(name, log) for name in "AB"}
    frame = measurement.collect(subjects, instances=3, iterations=20, warmup=2, seed=5)
    assert len(frame) == 2 * 3 * (1 + 2 + 20)
    assert frame["turn"].tolist() == list(range(len(frame)))
    assert set(frame["phase"]) == set(measurement.PHASES)
    assert sorted(frame.columns) == sorted(measurement.COLUMNS)
    timed = frame[frame["phase"] == "timed"]
    assert timed.groupby(["subject", "instance"]).size().tolist() == [20] * 6
    firsts = timed["subject"].iloc[::2]
    assert 10 < (firsts == "A").sum() < 50  # of 60 rounds
    again = measurement.collect(subjects, instances=3, iterations=20, warmup=2, seed=5)
    assert again["subject"].tolist() == frame["subject"].tolist()
    assert log.count("close A") == log.count("open A") == 6


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux pins threads")
def test_pinning_is_undone():
    before = os.sched_getaffinity(0)
    with measurement.pinned() as cpu:
        assert os.sched_getaffinity(0) == {cpu}
    assert os.sched_getaffinity(0) == before


def test_where_pinning_is_forbidden(monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse, raising=False)
    with measurement.pinned() as cpu:
        assert cpu is None


def test_outliers_are_shown_and_kept():
    frame = simulated(np.random.default_rng(6), 1, 1, 1, 40)
    frame["value"] = 1.0 + 0.001 * frame["iteration"]
    frame.loc[7, "value"] = 50
    assert measurement.outliers(frame).to_numpy().nonzero()[0].tolist() == [7]
    assert len(measurement.typical(frame)[0]) == 40


def test_spread_tells_the_levels_apart():
    frame = simulated(np.random.default_rng(7), 1, 30, 4, 20)
    found = measurement.spread(frame).loc["A"]
    assert found["process"] == pytest.approx(0.06, rel=0.5)
    assert found["instance"] == pytest.approx(0.02, rel=0.5)
    assert found["iteration"] > 0.04


def test_noise_is_called_noise():
    frame = simulated(np.random.default_rng(8), 1, 2, 2, 20)
    assert "noisy" not in measurement.warning(frame.assign(value=1.0))
    loud = frame.assign(value=np.random.default_rng(9).lognormal(0, 0.5, len(frame)))
    assert measurement.warning(loud).startswith("noisy: iterations of '")


def test_two_quiet_measurements_in_one_frame_are_not_noise():
    frame = simulated(np.random.default_rng(8), 1, 2, 2, 20).assign(value=1.0, load="small")
    frame.loc[frame.index % 2 == 0, ["value", "load"]] = 9.0, "large"
    assert measurement.warning(frame, ["load"]) == ""
    loud = frame["load"] == "large"
    frame.loc[loud, "value"] *= np.random.default_rng(9).lognormal(0, 0.5, loud.sum())
    assert measurement.warning(frame, ["load"]).startswith("noisy: iterations of 'large, ")


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (pd.DataFrame({"subject": ["A"]}), "no column 'iteration'"),
        (pd.DataFrame({"subject": ["A"], "iteration": [0], "value": [0.0]}), "above 0"),
        (pd.DataFrame({"subject": ["A"], "iteration": [0], "value": [np.nan]}), "finite"),
        (pd.DataFrame({"subject": ["A"], "iteration": [0], "value": ["fast"]}), "must be numbers"),
        (pd.DataFrame({"subject": ["A"], "iteration": [0], "value": [1.0]}), "'B' was not"),
        (pd.DataFrame({"subject": [], "iteration": [], "value": []}), "no rows"),
    ],
)
def test_frames_that_are_no_measurements(frame, reason):
    with pytest.raises(WorkbenchError, match=reason):
        measurement.effect(frame, "A", "B")


# A program against itself, really


COUNT = """
r6 = *(u64 *)(r1 + 0)
r0 = 0
again:
r0 += r6
r6 -= 1
if r6 != 0 goto again
exit
"""


@contextmanager
def interpreter(program: wb.Program) -> Iterator:
    with wb.Interpreter(program) as engine:

        def run() -> float:
            began = time.thread_time_ns()
            engine.run((2000).to_bytes(8, "little"))
            return time.thread_time_ns() - began

        yield run


def test_a_program_against_itself(scale):
    program = wb.assemble(COUNT, name="count", type="raw")
    subjects = {name: lambda: interpreter(program) for name in ("one", "other")}
    trials = scale(15, 400)
    claims = 0
    for trial in range(trials):
        frame = measurement.collect(subjects, instances=10, iterations=9, seed=trial)
        claims += measurement.effect(frame, "one", "other").verdict in ("slower", "faster")
    assert claims <= stats.binom.isf(0.0005, trials, 0.05)
