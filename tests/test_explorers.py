"""Explorers and the modelled clock: controls change what is shown; recorded costs and touches."""

import workbench as wb
from workbench import faults
from workbench.experiments import calibration, kernel_allocators, results, touches
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
    whole = explorer.top.value
    explorer.window.value = (10, 30)
    assert len(explorer.shown) == 21
    assert explorer.top.value != whole
    explorer.as_table.value = True
    assert "save as CSV" in explorer.below.value
    explorer.view.value = "by_page"
    assert "total" in explorer.below.value
    explorer.whole.click()
    assert len(explorer.shown) == len(found)
    assert "empty" in FaultExplorer(found[:0]).top.value


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
