"""`workbench bench`: its sums are right, and its parts run; how fast is not a test's business."""

import json
import re

import pytest

from workbench.evidence.provenance import provenance
from workbench.experiments import bench
from workbench.experiments.bench import (
    compiling,
    engines,
    micro,
    pages,
    recordings,
    startup,
    verifying,
)
from workbench.experiments.bench.engines import Time, Times
from workbench.experiments.bench.micro import Micro, Sample
from workbench.experiments.bench.pages import Cost
from workbench.experiments.bench.text import table

SAMPLES = tuple(
    Sample(number, program, "untraced", 10, ns)
    for program, values in {"a": (1.0, 2.0, 9.0), "b": (8.0, 8.0, 8.0)}.items()
    for number, ns in enumerate(values)
)
FOUND = Micro(SAMPLES, "EPERM: not allowed")
TIMES = Times(
    tuple(
        Time(number, program, engine, 10, ns)
        for program, all_ns in {"a": {"jit": (1.0, 4.0, 3.0), "kernel": (2.0, 2.0, 2.0)},
                                "b": {"jit": (2.0, 2.0, 2.0), "kernel": (4.0, 4.0, 4.0)}}.items()
        for engine, values in all_ns.items()
        for number, ns in enumerate(values)
    ),
    "",
)  # fmt: skip


def test_medians_and_geometric_mean() -> None:
    assert FOUND.programs() == ["a", "b"]
    assert FOUND.median("a", "untraced") == 2.0
    assert FOUND.geomean("untraced") == pytest.approx(4.0)
    assert FOUND.geomean("recording") is None
    assert FOUND.spread("untraced") == pytest.approx((5.5 - 1.5) / 2 / 2)


def test_the_report_as_text_and_json() -> None:
    costs = Cost("x", "ms", 0.5, 2.0, 1.0), Cost("y", "s", None, None)
    report = bench.Report(TIMES, FOUND, costs, provenance())
    text = str(report)
    assert re.search(r"geometric mean +4\.00\n", text)
    assert re.search(r"of the limit +2\.00×\n", text)
    assert re.search(r"x +ms +0\.5 +2 +0\.25× +1 +0\.50×", text)
    assert re.search(r"y +s +– +– +– +– +–", text)
    assert "kernel not measured: EPERM: not allowed" in text
    found = json.loads(json.dumps(report.to_json()))
    assert found["geomean"][0]["limit"] == 2.0
    assert len(found["samples"]) == len(SAMPLES)
    assert {"cpu", "kernel", "python", "packages"} <= set(found["about"])


def test_ratios_are_medians_over_rounds() -> None:
    assert TIMES.ratio("a", "jit", "kernel") == 1.5
    assert TIMES.ratio("a", "interpreter", "jit") is None
    assert TIMES.geomean("jit", "kernel") == pytest.approx((1.5 * 0.5) ** 0.5)
    text = bench._engine_table(TIMES)
    assert re.search(r"a +– +3\.00 +2\.00 +1\.50× +–", text)
    assert text.endswith("more than 10 % slower than the kernel: a")


def test_every_program_runs_on_every_engine() -> None:
    found = engines.measure(1, True, lambda: None)
    assert len(found.programs()) == 11
    names = engines.ENGINES[: 2 if found.kernel else 3]
    assert all(found.median(p, name) for p in found.programs() for name in names)


def test_compiling() -> None:
    cold, looping, good, kept = (cost.emulated or 0 for cost in compiling.measure(1))
    assert 0 < kept < min(cold, looping) < good


def test_verifying() -> None:
    costs = verifying.measure(1, True, kernel=False)
    assert [cost.limit for cost in costs] == [20.0, 20.0]
    assert all(cost.emulated and cost.kernel is None for cost in costs)


def test_tables_are_aligned() -> None:
    assert table(["a", "bc"], [["x", "1"]]) == "a  bc\n─  ──\nx   1"


def test_a_micro_program_in_every_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro, "names", lambda: ["lcg32"])
    monkeypatch.setattr(micro, "RECORDED", 5_000)
    turns = []
    found = micro.measure(2, True, lambda: turns.append(0))
    modes = [mode.name for mode in micro.MODES if mode != micro.KERNEL or not found.kernel]
    assert {sample.mode for sample in found.samples} == set(modes)
    assert len(found.samples) == 2 * len(modes)
    assert all(sample.ns > 0 for sample in found.samples)
    assert {s.instructions for s in found.samples if "recording" in s.mode} == {5_000}
    assert len(turns) == 2


def test_pages_on_the_emulated_arena() -> None:
    costs = pages.measure(1, 128, kernel=False)
    assert [cost.name for cost in costs] == [case.name for case in pages.CASES]
    assert all(cost.emulated and cost.kernel is None for cost in costs)


def test_an_empty_arena() -> None:
    milliseconds, mebibytes = pages.measure_creation(1, kernel=False)
    assert milliseconds.emulated is not None
    assert mebibytes.emulated is not None
    assert mebibytes.emulated < 2


def test_new_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {cost.name: cost.emulated for cost in startup.measure(1, cold=False)}
    assert found["first result, cold cache"] is None
    assert found["first result, warm cache"]
    monkeypatch.setattr(startup, "IMPORT", "import nothing_of_that_name")
    with pytest.raises(startup.WorkbenchError, match="nothing_of_that_name"):
        startup.measure(1, cold=False)


def test_what_a_recording_takes() -> None:
    found = {cost.name: cost.emulated for cost in recordings.measure(50_000)}
    assert found["recording, compressed"] < found["recording, in memory"]
    assert found["recording, in memory"] <= found["recording, for the browser"]
    assert found["packing a recording"] > 0
