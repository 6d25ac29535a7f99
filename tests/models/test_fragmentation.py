"""Fragmentation: every metric against values worked out by hand, the replay against a bitmap."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.arena.holes import extent_histogram, text_histogram
from workbench.errors import WorkbenchError
from workbench.models import faults
from workbench.models.allocators import history
from workbench.models.fragmentation import (
    JohnstoneWilson,
    aligned_unusable_index,
    blow_up,
    entropy,
    external_fragmentation,
    fragmentation_index,
    internal_fragmentation,
    johnstone_wilson,
    occupancy_histogram,
    unusable_curve,
    unusable_index,
)

EXTERNAL = [
    ([10], 0.0),  # one hole
    ([5, 5], 0.5),
    ([4, 3, 2, 1], 0.6),  # 1 - 4/10
    ([1] * 100, 0.99),
    ([1, 99], 0.01),
]
UNUSABLE = [
    ([4, 3, 2, 1], 1, 0.0),
    ([4, 3, 2, 1], 2, 0.1),
    ([4, 3, 2, 1], 3, 0.3),
    ([4, 3, 2, 1], 4, 0.6),
    ([4, 3, 2, 1], 5, 1.0),
    ([8], 8, 0.0),
]
INDEX = [
    ([1, 1, 1, 1], 2, 0.25),  # 1 - (1 + 4/2)/4
    ([1] * 10, 5, 0.7),  # 1 - (1 + 10/5)/10
    ([3, 3], 4, -0.25),  # 1 - (1 + 6/4)/2
    ([1], 2, -0.5),  # 1 - (1 + 1/2)/1: memory is short
]


def log(*events: tuple) -> pd.DataFrame:
    """Build an event log from (kind, page, count); time is the row."""
    kinds, pages, counts = zip(*events, strict=True) if events else ((), (), ())
    times = np.arange(len(events), dtype=np.uint64)
    return pd.DataFrame({"time": times, "kind": kinds, "page": pages, "count": counts})


@pytest.mark.parametrize(("extents", "expected"), EXTERNAL)
def test_external_fragmentation(extents, expected):
    assert external_fragmentation(extents) == pytest.approx(expected)


@pytest.mark.parametrize(("extents", "k", "expected"), UNUSABLE)
def test_unusable_index(extents, k, expected):
    assert unusable_index(extents, k) == pytest.approx(expected)


@pytest.mark.parametrize(("extents", "k", "expected"), INDEX)
def test_fragmentation_index(extents, k, expected):
    assert fragmentation_index(extents, k) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("extents", "bits"), [([7], 0), ([3, 3], 1), ([5] * 8, 3), ([2, 1, 1], 1.5)]
)
def test_entropy(extents, bits):
    assert entropy(extents) == pytest.approx(bits)


ALIGNED = [
    ([[0, 8]], 8, 0),
    ([[1, 8]], 8, 1),  # pages 1 to 8: no block of 8 begins at a multiple of 8
    ([[1, 8]], 4, 0.5),  # pages 4 to 7
    ([[1, 8]], 2, 0.25),  # pages 2-3, 4-5, 6-7
    ([[3, 1], [8, 4]], 4, 0.2),
]


@pytest.mark.parametrize(("extents", "k", "expected"), ALIGNED)
def test_aligned_unusable_index(extents, k, expected):
    assert aligned_unusable_index(extents, k) == pytest.approx(expected)
    assert aligned_unusable_index(extents, k) >= unusable_index([row[1] for row in extents], k)


@pytest.mark.parametrize("k", [0, 3, -8])
def test_aligned_blocks_are_powers_of_two(k):
    with pytest.raises(ValueError, match="not"):
        aligned_unusable_index([[0, 4]], k)


@given(st.lists(st.integers(1, 50), max_size=30))
def test_the_curve_is_the_index_at_every_k(extents):
    ks = np.arange(1, 60)
    np.testing.assert_allclose(
        unusable_curve(extents, ks), [unusable_index(extents, k) for k in ks]
    )


def test_johnstone_and_wilson_s_four_measures():
    measures = johnstone_wilson([10, 20, 5, 0], [10, 30, 40, 40])
    average = (10 / 10 + 30 / 20 + 40 / 5) / 3 - 1
    assert measures == pytest.approx((average, 30 / 20 - 1, 40 / 5 - 1, 40 / 20 - 1))
    assert blow_up([10, 20, 5, 0], [10, 30, 40, 40]) == 2
    assert all(math.isnan(value) for value in johnstone_wilson([0, 0], [4, 4]))
    assert johnstone_wilson([8], [8]) == JohnstoneWilson(0, 0, 0, 0)
    with pytest.raises(ValueError, match="one length"):
        johnstone_wilson([1, 2], [1])


def test_internal_fragmentation_and_occupancy():
    assert internal_fragmentation(3000, 4096) == pytest.approx(1096 / 4096)
    assert math.isnan(internal_fragmentation(0, 0))
    with pytest.raises(ValueError, match="more than"):
        internal_fragmentation(5, 4)
    table = occupancy_histogram([0, 1, 409, 410, 2048, 4095, 4096, 4096])
    assert table["pages"].tolist() == [1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 1, 2]
    assert occupancy_histogram([])["pages"].sum() == 0


def test_text_histogram():
    lines = text_histogram([1, 1, 6], width=6).splitlines()
    assert [line.split() for line in lines] == [
        ["1", "██", "2", "pages", "25%", "in", "2"],
        ["2-3", "0", "pages", "0%", "in", "0"],
        ["4-7", "██████", "6", "pages", "75%", "in", "1"],
    ]
    assert text_histogram([]) == "no page is free"


def test_undefined_is_nan():
    assert math.isnan(entropy([]))
    assert math.isnan(aligned_unusable_index(np.zeros((0, 2), int), 4))
    assert np.isnan(unusable_curve([], [1, 2])).all()
    assert math.isnan(external_fragmentation([]))
    assert math.isnan(unusable_index([], 1))
    assert math.isnan(fragmentation_index([], 1))
    assert math.isnan(fragmentation_index([4, 1], 4))  # the request would succeed


@pytest.mark.parametrize("metric", [unusable_index, fragmentation_index])
def test_a_request_has_pages(metric):
    with pytest.raises(ValueError, match="at least 1 page"):
        metric([1, 2], 0)


@pytest.mark.parametrize("k", [1.5, float("nan")])
def test_a_request_has_whole_pages(k):
    with pytest.raises(ValueError, match="whole ones"):
        unusable_index([1, 2], k)


@pytest.mark.parametrize(
    "extents", [[0, 3], [-1], [[0, 4], [8, 2]], [1.5, 2], [float("nan"), 2], ["a"]]
)
def test_impossible_extents_are_refused(extents):
    with pytest.raises(ValueError):
        external_fragmentation(extents)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 60))
def test_ranges(extents, k):
    assert 0 <= external_fragmentation(extents) < 1
    assert 0 <= unusable_index(extents, k) <= 1
    index = fragmentation_index(extents, k)
    bound = 1 / len(extents)
    assert math.isnan(index) == (max(extents) >= k)
    assert math.isnan(index) or -bound < index < 1 - bound


def test_histogram_bins_are_powers_of_two():
    table = extent_histogram([1, 1, 2, 3, 4, 16])
    assert table["smallest"].tolist() == [1, 2, 4, 8, 16]
    assert table["largest"].tolist() == [1, 3, 7, 15, 31]
    assert table["extents"].tolist() == [2, 2, 1, 0, 1]
    assert table["pages"].tolist() == [2, 5, 4, 0, 16]
    assert table["share"].sum() == pytest.approx(1)
    assert extent_histogram([]).empty


def test_history_by_hand():
    events = log(
        ("alloc", 0, 4),  # ....|12 free
        ("free", 1, 2),  # #..#|12: extents 2 and 12
        ("reserve", 8, 4),  # #..#....RRRR....: extents 2, 4, 4
        ("user_fault", 8, 1),  # reserved page gets memory
        ("alloc_failed", -1, 5),
        ("load", 0, 8),  # not an allocation: ignored
        ("free", 0, 16),
    )
    table = history(events, 16, k=4)
    assert table["kind"].tolist() == [
        "start", "alloc", "free", "reserve", "user_fault", "alloc_failed", "free",
    ]  # fmt: skip
    assert table["live_pages"].tolist() == [0, 4, 2, 2, 3, 3, 0]
    assert table["reserved_pages"].tolist() == [0, 0, 0, 4, 3, 3, 0]
    assert table["free_pages"].tolist() == [16, 12, 14, 10, 10, 10, 16]
    assert table["largest_extent"].tolist() == [16, 12, 12, 4, 4, 4, 16]
    assert table["extents"].tolist() == [1, 1, 2, 3, 3, 3, 1]
    assert table["external_fragmentation"].tolist() == pytest.approx(
        [0, 0, 1 - 12 / 14, 0.6, 0.6, 0.6, 0]
    )
    assert table["unusable"].tolist() == pytest.approx([0, 0, 2 / 14, 0.2, 0.2, 0.2, 0])
    index = table["fragmentation_index"]
    assert index[5] == pytest.approx(1 - (1 + 10 / 5) / 3)
    assert index.drop(5).isna().all()
    assert (table["k"] == 4).all()


def test_full_arena_is_nan_not_zero():
    last = history(log(("alloc", 0, 8)), 8).iloc[-1]
    assert last["free_pages"] == 0
    assert math.isnan(last["external_fragmentation"])
    assert math.isnan(last["unusable"])


def test_empty_log_is_the_empty_arena():
    table = history(log(), 1024)
    assert len(table) == 1
    assert table["free_pages"][0] == 1024


def test_contradictions_are_left_out_on_request():
    events = log(("alloc", 0, 4), ("free", 6, 1), ("segv", -1, 0), ("alloc", 2, 4), ("free", 0, 9))
    table = history(events, 8, repair=True)
    assert table["free_pages"].tolist() == [8, 4]
    assert history(events.assign(time=[4, 3, 2, 1, 0]), 8, repair=True)["free_pages"].min() == 4


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([("alloc", 0, 4), ("alloc", 3, 1)], "row 1: alloc of 1 page\\(s\\) at page 3"),
        ([("alloc", 0, 4), ("user_fault", 3, 1)], "row 1: user_fault on page 3"),
        ([("reserve", 2, 1), ("reserve", 0, 4)], "row 1: reserve of 4 page\\(s\\) at page 0"),
        ([("alloc", 0, 4), ("free", 4, 1)], "row 1: free of page 4, which is free already"),
        ([("alloc", 6, 3)], "row 0: alloc of 3 pages at page 6, outside the arena"),
        ([("user_fault", -1, 1)], "row 0: user_fault of 1 pages at page -1"),
    ],
)
def test_contradictions_are_named(events, message):
    with pytest.raises(WorkbenchError, match=message):
        history(log(*events), 8)


def test_frames_that_are_no_log_are_refused():
    with pytest.raises(WorkbenchError, match=r"lacks the column\(s\) count, kind, page"):
        history(pd.DataFrame({"time": [1]}), 8)
    with pytest.raises(WorkbenchError, match="row 1: time runs backwards"):
        history(log(("alloc", 0, 1), ("alloc", 1, 1)).assign(time=[5, 4]), 8)
    with pytest.raises(WorkbenchError, match="page_count must be a whole number from 1"):
        history(log(), 0)
    with pytest.raises(WorkbenchError, match=r"unknown column\(s\) weight"):
        history(log(("alloc", 0, 1)).assign(weight=1), 8)
    with pytest.raises(WorkbenchError, match="row 0: unknown kind 'map'; repair=True"):
        history(log(("map", 0, 1)), 8)
    with pytest.raises(WorkbenchError, match="row 0: page is q, not a whole number"):
        history(log(("alloc", "q", 1)), 8)


def runs(free: np.ndarray) -> list[int]:
    """Measure the runs of True, the obvious way."""
    return [len(run) for run in "".join("x" if f else " " for f in free).split()]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["take", "free"]), st.integers(0, 39),
                          st.integers(1, 12)), max_size=60))  # fmt: skip
def test_replay_agrees_with_a_bitmap(steps):
    free, events, expected = np.ones(40, bool), [], []
    for kind, page, count in steps:
        if page + count > 40 or not (free[page : page + count] ^ (kind == "free")).any():
            continue  # outside, or a double free
        if kind == "take" and not free[page : page + count].all():
            continue
        free[page : page + count] = kind == "free"
        events.append(("alloc" if kind == "take" else "free", page, count))
        expected.append(runs(free))
    table = history(log(*events), 40, k=3)[1:]
    assert table["extents"].tolist() == [len(e) for e in expected]
    assert table["largest_extent"].tolist() == [max(e, default=0) for e in expected]
    np.testing.assert_allclose(table["unusable"], [unusable_index(e, 3) for e in expected])
    np.testing.assert_allclose(
        table["external_fragmentation"], [external_fragmentation(e) for e in expected]
    )


def test_a_log_without_its_beginning_is_refused(monkeypatch):
    monkeypatch.setattr("workbench.arena.state.EVENT_CAPACITY", 8)
    arena = wb.Arena(16)
    for _ in range(10):
        arena.free(arena.alloc(1))
    assert (len(arena.events), arena.events.attrs["lost"]) == (8, 12)
    with pytest.raises(WorkbenchError, match=r"lost its 12 oldest events.*repair=True"):
        history(arena.events, 16)
    assert len(history(arena.events, 16, repair=True)) == 9
    assert faults.fault_frame(arena.events).attrs["lost"] == 12
