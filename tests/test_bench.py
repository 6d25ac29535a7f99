"""`workbench bench`: its sums are right, and its parts run; how fast is not a test's business."""

import json
import re

import pytest

from workbench import bench
from workbench.bench import micro, pages, startup
from workbench.bench.micro import Micro, Sample
from workbench.bench.pages import Cost
from workbench.bench.text import table
from workbench.provenance import provenance

SAMPLES = tuple(
    Sample(number, program, "untraced", 10, ns)
    for program, values in {"a": (1.0, 2.0, 9.0), "b": (8.0, 8.0, 8.0)}.items()
    for number, ns in enumerate(values)
)
FOUND = Micro(SAMPLES, "EPERM: not allowed")


def test_medians_and_geometric_mean() -> None:
    assert FOUND.programs() == ["a", "b"]
    assert FOUND.median("a", "untraced") == 2.0
    assert FOUND.geomean("untraced") == pytest.approx(4.0)
    assert FOUND.geomean("recording") is None
    assert FOUND.spread("untraced") == pytest.approx((5.5 - 1.5) / 2 / 2)


def test_the_report_as_text_and_json() -> None:
    report = bench.Report(FOUND, (Cost("x", "ms", 0.5, 2.0, 1.0), Cost("y", "s", None, None)),
                          provenance())  # fmt: skip
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
