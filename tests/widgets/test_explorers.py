"""Explorers and the modelled clock: controls change what is shown; recorded costs and touches."""

import base64
import json

import numpy as np
import pytest

import workbench as wb
from workbench.evidence import provenance
from workbench.experiments import (
    batch_faults,
    calibration,
    kernel_allocators,
    kernel_replay,
    results,
    touches,
)
from workbench.models import faults
from workbench.plots import fault_views
from workbench.widgets.explorers import FaultExplorer, FragmentationExplorer


def touched() -> wb.Arena:
    arena = wb.Arena(64)
    for page in touches.accesses("random", 64, 90).tolist():
        arena.user.store(arena.user_start + 4096 * page, "u8", 1)
        if page % 3 == 0:
            arena.free(arena.user_start + 4096 * page)
    return arena


def test_the_fault_explorer_zooms_and_shows_tables():
    found = faults.fault_frame(touched().events)
    explorer = FaultExplorer(found)
    assert len(explorer.shown) == len(found)
    whole = explorer.brush.picture
    explorer.window.value = (10, 30)
    assert len(explorer.shown) == 21
    assert explorer.brush.picture != whole
    explorer.as_table.value = True
    assert "save as CSV" in explorer.below.value
    explorer.view.value = "by_page"
    assert "total" in explorer.below.value
    explorer.whole.click()
    assert len(explorer.shown) == len(found)
    assert "empty" in FaultExplorer(found[:0]).brush.alt


def test_dragging_over_the_map_zooms_time_and_pages():
    found = faults.fault_frame(touched().events)
    explorer = FaultExplorer(found)
    limits = explorer.brush._limits
    explorer.brush.selected = [0.25, 0.0, 0.5, 0.5]
    order, page = np.arange(len(found)), found["page"].to_numpy()
    low, high = np.array([0.25, 0.5]) * (limits[2] - limits[0]) + limits[0]
    top = np.ceil(0.5 * (limits[3] - limits[1]) + limits[1])
    wanted = found[(order >= low) & (order <= high) & (page <= top)]
    assert 0 < len(wanted) < len(found)
    assert explorer.shown.equals(wanted)
    assert explorer.brush.selected == []  # ready for the next one
    explorer.brush._handle_custom_msg("whole", [])
    assert explorer.shown.equals(found)
    explorer.clock.value = "time"
    assert [name for _, name in explorer.clock.options] == ["time", "order"]
    assert explorer.shown.equals(found)


def test_what_is_shown_is_saved(tmp_path, monkeypatch):
    views = {name: fault_views.VIEWS[name] for name in ("address_time", "cumulative")}
    monkeypatch.setattr(fault_views, "VIEWS", views)
    explorer = FaultExplorer(faults.fault_frame(touched().events))
    explorer.window.value = (10, 30)
    names = {path.name for path in explorer.save(tmp_path)}
    assert {f"{name}.pdf" for name in views} < names
    assert len(provenance.load(tmp_path / "address_time.parquet")) == 21


PAGE = """<body><script type="module">
const model = { get: (name) => given[name], on() {}, off() {},
  set: (name, value) => { window.chosen = value; }, save_changes() {},
  send: (text) => { window.sent = text; } };
const given = %s;
const { default: widget } = await import("data:text/javascript;base64,%s");
widget.render({ model, el: document.body });
window.ready = true;
</script></body>"""


@pytest.mark.browser
def test_the_brush_in_a_browser(chromium):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    brush = FaultExplorer(faults.fault_frame(touched().events)).brush
    given = {name: getattr(brush, name) for name in ("picture", "alt", "width", "panels")}
    code = base64.b64encode(brush._esm.encode()).decode()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content(PAGE % (json.dumps(given), code))
        page.wait_for_function("window.ready && document.images[0].complete")
        box = page.locator("img").bounding_box()
        left, top, right, low = given["panels"][0]

        def go(x: float, y: float) -> None:
            """Move to shares of the panel, y upwards."""
            page.mouse.move(box["x"] + box["width"] * (left + x * (right - left)),
                            box["y"] + box["height"] * (low - y * (low - top)))  # fmt: skip

        go(0.25, 0.75)
        page.mouse.down()
        go(0.5, 0.25)
        page.mouse.up()
        assert page.evaluate("chosen") == pytest.approx([0.25, 0.25, 0.5, 0.75], abs=0.01)
        page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
        assert page.evaluate("sent") == "whole"
        browser.close()


def test_the_fragmentation_explorer_replays():
    explorer = FragmentationExplorer(rows=2000, pages=256)
    assert explorer.replay.policy.name == "range_tree"
    explorer.policy.value = "buddy"
    explorer.k.value = 64
    explorer.workload.value = "larson"
    assert (explorer.replay.policy.name, explorer.replay.k) == ("buddy", 64)
    assert "powers of two" in explorer.sentence.value
    explorer.as_table.value = True
    assert "span_pages" in explorer.picture.value


def test_recorded_touches_are_what_the_emulated_arena_does():
    frame = results.load("touches")
    assert frame["same"].all()
    for (pattern, setup), own in frame.groupby(["pattern", "setup"]):
        found = touches.emulated(setup, touches.accesses(pattern))["cause"].value_counts()
        real = own[own["source"] == "kernel"].set_index("cause")["faults"]
        assert real.to_dict() == found[found > 0].to_dict()
    assert touches.plot(frame).workbench_alt.endswith("equal.")
    assert "empty" in touches.plot(frame[:0]).workbench_alt


def test_batches_save_no_fault():
    frame = results.load("batch_faults")
    assert frame["same"].all()
    assert set(frame["batch"]) == set(batch_faults.BATCHES)
    for batch in (0, 1, 512):
        model, _ = batch_faults.emulated(batch)
        own = frame[frame["batch"] == batch]
        assert (own["fill"] == (model["cause"] == "fill").sum()).all()
        assert (own["map"] == (model["cause"] == "map").sum()).all()
    assert batch_faults.plot(frame).workbench_alt.endswith("equal.")
    assert "empty" in batch_faults.plot(frame[:0]).workbench_alt


def test_costs_come_from_the_recording_or_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    costs = calibration.costs()
    assert 0 < costs["step"] < costs["map"] < 1e5
    model = faults.modelled(faults.fault_frame(touched().events), costs)
    assert model["model_ns"].is_monotonic_increasing


def test_six_twelve_against_six_thirteen():
    frame = kernel_allocators.run(rows=4000, pages=512, seeds=2)
    assert set(frame["workload"]) == set(kernel_allocators.CHOSEN)
    table = kernel_allocators.findings(frame)
    assert (table[("extents", "ratio")] < 1).all()
    figure = kernel_allocators.plot(frame)
    assert "fewer and larger holes" in figure.workbench_caption
    assert "empty" in kernel_allocators.plot(frame[:0]).workbench_alt


def test_the_recorded_comparison_and_what_would_be_a_difference():
    frame = results.load(kernel_replay.NAME)
    assert kernel_replay.same(frame)
    assert frame["requests"].min() == kernel_replay.ROWS
    curve = frame["extents"].where(frame.index != len(frame) - 1, 0)
    assert not kernel_replay.same(frame.assign(extents=curve))
    assert not kernel_replay.same(frame.assign(elsewhere=1))
    assert "do not agree" in kernel_replay.caption(frame.assign(elsewhere=1))
    assert "empty" in kernel_replay.plot(frame[:0]).workbench_alt
