"""Workloads: logs that hold together, equal for equal seeds; Robson's bound; imports; heaps."""

import numpy as np
import pandas as pd
import pytest

from workbench.arena.events import Kind
from workbench.errors import WorkbenchError
from workbench.models import fragmentation, requests, workloads
from workbench.models.allocators import POLICIES, replay
from workbench.models.allocators.heaps import HEAPS, run_heap
from workbench.models.workloads import synthetic


@pytest.mark.parametrize("name", workloads.WORKLOADS)
def test_workloads_hold_together_and_come_from_the_seed(name):
    log = workloads.make(name, 3000, 512, seed=3)
    requests.check(log)
    assert len(log) == 3000
    pd.testing.assert_frame_equal(log, workloads.make(name, 3000, 512, seed=3))
    assert not log.equals(workloads.make(name, 3000, 512, seed=4))
    found = replay(log, "range_tree", 512)
    assert 0.4 * 512 < found.samples["live_pages"].max() <= 512
    assert workloads.summary(name).endswith(".")


@pytest.mark.parametrize(("rows", "pages"), [(0, 64), (1, 1), (50, 1), (7, 1 << 20)])
@pytest.mark.parametrize("name", workloads.WORKLOADS)
def test_small_and_large_arenas(name, rows, pages):
    log = workloads.make(name, rows, pages)
    requests.check(log)
    assert len(log) == rows


def test_lifo_frees_the_newest_and_ring_the_oldest():
    for name, newest in (("lifo", True), ("ring", False)):
        held: list[int] = []
        for kind, block in workloads.make(name, 2000, 256)[["kind", "block"]].itertuples(
            index=False
        ):
            if kind == "alloc":
                held.append(block)
            else:
                assert held.pop(-1 if newest else 0) == block


def test_checkerboard_refuses_although_half_is_free():
    found = replay(workloads.make("checkerboard", 4000, 256), "range_tree", 256)
    assert found.refused > 0


@pytest.mark.parametrize("name", POLICIES)
def test_robson_s_adversary_reaches_his_bound(name):
    live, largest = 512, 32
    log = workloads.robson(name, live, largest, 8192)
    found = replay(log, name, 8192, every=1)
    assert found.refused == 0
    assert found.samples["live_pages"].max() <= live
    assert found.samples["span_pages"].max() >= workloads.bound(live, largest)
    assert found.blow_up >= workloads.bound(live, largest) / live - 1e-9


@pytest.mark.parametrize("name", workloads.PROGRAMS)
def test_programs_ask_for_pages(name):
    log = workloads.record(name, size=200)
    requests.check(log)
    assert (log["kind"] == "alloc").any()
    assert replay(log).refused == 0


def test_a_log_survives_its_file(tmp_path):
    log = workloads.make("user_faults", 500, 128)
    again = requests.load(requests.save(log, tmp_path / "log.parquet"))
    pd.testing.assert_frame_equal(log, again)
    assert again.attrs["workload"] == "user_faults"


# Logs that are wrong

GOOD = [("alloc", -1, 4, 0, 0), ("free", -1, 1, 0, 1), ("alloc", 9, 2, 1, 0), ("free", -1, 2, 1, 0)]
BAD = [
    (("alloc", -1, 1, 0, 0), "row 4: block 0 was allocated before"),
    (("free", -1, 2, 1, 0), "row 4: double free: pages of block 1 were freed before"),
    (("free", -1, 2, 0, 0), "row 4: double free: pages of block 0"),  # page 1 went alone
    (("free", -1, 1, 7, 0), "row 4: free of block 7, which no row before it allocates"),
    (("free", -1, 3, 0, 2), "row 4: free of 3 pages from page 2 of block 0 goes past its end"),
    (("alloc", -1, 0, 2, 0), "row 4: alloc of 0 pages; an arena has 1 to 1,048,576"),
    (("alloc", -1, 1 << 40, 2, 0), "row 4: alloc of 1099511627776 pages"),
    (("alloc", (1 << 20) - 1, 2, 2, 0), "row 4: alloc at page 1048575; an arena's pages are 0 to"),
    (("reserve", -1, 1, 2, 0), "row 4: reserve at page -1"),
    (("mmap", -1, 1, 2, 0), "row 4: kind 'mmap' is not one of"),
    (("alloc", -1, 1.5, 2, 0), "row 4: count is 1.5, not a whole number"),
    (("alloc", float("nan"), 1, 2, 0), "row 4: page is nan, not a whole number"),
    (("alloc", -1, 1 << 63, 2, 0), r"row 4: count is 9223372036854775808, not .* below 2\*\*62"),
    (("free", -1, 1, "first", 0), "row 4: block is first, not a whole number"),
    (("free", -1, 1, 0, None), "row 4: offset is (None|nan), not a whole number"),
]


def hand_made(*rows: tuple) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["kind", "page", "count", "block", "offset"])
    return frame.assign(time=np.arange(len(frame)))


@pytest.mark.parametrize(("row", "message"), BAD)
def test_wrong_rows_are_named_and_left_out_on_request(row, message):
    log = hand_made(*GOOD, row, ("alloc", -1, 1, 5, 0))
    with pytest.raises(WorkbenchError, match=message):
        replay(log, pages=64)
    assert requests.faults(log)["row"].tolist() == [4]
    mended = requests.repair(log)
    assert mended["block"].tolist() == [0, 0, 1, 1, 5]
    assert replay(mended, pages=64).refused == 0


def test_times_columns_and_sizes():
    log = hand_made(*GOOD)
    with pytest.raises(WorkbenchError, match="row 3: time runs backwards, to 1"):
        requests.check(log.assign(time=[0, 1, 2, 1]))
    assert len(requests.repair(log.assign(time=[0, 1, 2, 1]))) == 3  # the free now comes too early
    with pytest.raises(WorkbenchError, match=r"unknown column\(s\) weight"):
        requests.check(log.assign(weight=1))
    assert "weight" not in requests.repair(log.assign(weight=1))
    with pytest.raises(WorkbenchError, match=r"lacks the column\(s\) block, offset"):
        requests.check(log.drop(columns=["block", "offset"]))
    with pytest.raises(WorkbenchError, match="number them from 0"):
        requests.check(log.assign(block=[10**9] * 4))
    for time in (np.nan, -1, "noon"):
        with pytest.raises(WorkbenchError, match=f"row 1: time is {time}, not a whole number"):
            requests.check(log.assign(time=pd.Series([0, time, 2, 3], dtype=object)))
    with pytest.raises(WorkbenchError, match=r"the column\(s\) page more than once"):
        requests.check(pd.concat([log, log["page"]], axis=1))
    with pytest.raises(WorkbenchError, match="is a DataFrame, not a list"):
        requests.check([1, 2])
    with pytest.raises(WorkbenchError, match="from 1 to 1,048,576"):
        replay(log, pages=1 << 21)
    for rows, pages in ((-1, 64), (5, 0), (5, 1 << 21)):
        with pytest.raises(WorkbenchError, match="a workload has 0 or more rows"):
            workloads.make("bump", rows, pages)
    with pytest.raises(WorkbenchError, match="up to a power of two; not 10 and 3"):
        workloads.robson("maple", 10, 3, 64)


def test_recorded_events_become_requests():
    events = pd.DataFrame({
        "time": range(6),
        "kind": ["alloc", "user_fault", "alloc", "free", "alloc_failed", "free"],
        "page": [0, 6, 4, 3, -1, 0],
        "count": [4, 1, 2, 3, 9, 8],
    })  # fmt: skip
    log = requests.from_events(events)
    told = log[["kind", "page", "count", "block", "offset"]].to_numpy().tolist()
    assert told == [
        ["alloc", -1, 4, 0, 0],
        ["user_fault", 6, 1, 1, 0],
        ["alloc", -1, 2, 2, 0],
        ["free", -1, 1, 0, 3],  # pages 3 to 5 were of two blocks
        ["free", -1, 2, 2, 0],
        ["alloc", -1, 9, 3, 0],
        ["free", -1, 3, 0, 0],
        ["free", -1, 1, 1, 0],
    ]
    with pytest.raises(WorkbenchError, match="row 2: alloc of 2 page"):
        requests.from_events(events.assign(page=[0, 6, 3, 3, -1, 0]))
    found = replay(log, "maple", pages=8)
    assert found.page.tolist()[:3] == [0, 6, 4]


# Traces of malloc

TRACE = """time,call,address,size,old
0,malloc,0x1000,100,
1,calloc,0x2000,5000,
2,realloc,0x3000,9000,0x1000
3,free,0x2000,,
4,free,0,,
"""
WRONG_TRACES = [
    ("9,free,0x2000,,", "line 7: free of 0x2000, which is not in use"),
    ("9,malloc,0x3000,8,", "line 7: malloc returns 0x3000, which is in use"),
    ("9,realloc,0x5000,8,0x4000", "line 7: realloc of 0x4000, which is not in use"),
    ("9,malloc,0x5000,,", "line 7: malloc without a size"),
    ("9,brk,0x5000,8,", "line 7: unknown call 'brk'"),
    ("1,malloc,0x5000,8,", "line 7: time runs backwards, to 1"),
    ("9,malloc,0x5000,many,", "line 7: size 'many' is not a whole number"),
]


def test_a_malloc_trace_by_hand(tmp_path):
    (tmp_path / "trace.csv").write_text(TRACE)
    log = workloads.read_malloc_trace(tmp_path / "trace.csv")
    requests.check(log)
    told = log[["time", "kind", "count", "block", "bytes"]].to_numpy().tolist()
    assert told == [
        [0, "alloc", 1, 0, 100],
        [1, "alloc", 2, 1, 5000],
        [2, "free", 1, 0, 100],
        [2, "alloc", 3, 2, 9000],
        [3, "free", 2, 1, 5000],
    ]
    cells = workloads.read_malloc_trace(tmp_path / "trace.csv", unit=16)
    assert cells["count"].tolist() == [7, 313, 7, 563, 313]


@pytest.mark.parametrize(("line", "message"), WRONG_TRACES)
def test_wrong_traces_are_refused_with_the_line(line, message, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(TRACE + line + "\n")
    with pytest.raises(WorkbenchError, match=message):
        workloads.read_malloc_trace(path)
    if "whole number" not in message:
        assert len(workloads.read_malloc_trace(path, repair=True)) == 5


def test_what_is_no_trace(tmp_path):
    (tmp_path / "trace.csv").write_text("a,b\n1,2\n")
    with pytest.raises(WorkbenchError, match="has the columns a, b; needed are time, call"):
        workloads.read_malloc_trace(tmp_path / "trace.csv")
    with pytest.raises(WorkbenchError, match="cannot be read as CSV"):
        workloads.read_malloc_trace(tmp_path / "absent.csv")


# Inside pages


def objects(rows: int = 4000, seed: int = 5) -> pd.DataFrame:
    """A log of objects of 1 to 20,000 bytes."""
    rng = np.random.default_rng(seed)
    size = np.minimum(rng.lognormal(4.5, 1.4, rows).astype(int) + 1, 40_000)
    birth = np.arange(rows)
    return synthetic.from_lifetimes(size, birth, birth + rng.exponential(rows / 5, rows), rows)


@pytest.mark.parametrize("heap", HEAPS)
def test_objects_do_not_overlap_and_pages_are_counted(heap):
    log = objects()
    found = run_heap(log, heap, pages=2048)
    assert found.samples["refused"].iloc[-1] == 0
    memory = np.zeros(2048 * 4096, bool)
    place: dict[int, int] = {}
    for kind, block, size, address in zip(
        log["kind"], log["block"], log["count"], found.events["address"], strict=True
    ):
        if kind == "alloc":
            assert not memory[address : address + size].any(), "two objects in one place"
            place[block] = address
        memory[place[block] : place[block] + size] = kind == "alloc"
    used = memory.reshape(-1, 4096).sum(axis=1)
    assert used[found.pages].tolist() == found.used.tolist()
    assert used.sum() == found.used.sum() == found.samples["live_bytes"].iloc[-1]
    assert len(found.pages) * 4096 == found.samples["committed_bytes"].iloc[-1]
    samples = found.samples
    assert (samples["live_bytes"] <= samples["granted_bytes"]).all()
    assert (samples["granted_bytes"] <= samples["committed_bytes"]).all()
    assert found.occupancy["pages"].sum() == len(found.pages)


@pytest.mark.parametrize("heap", HEAPS)
def test_a_heap_s_pages_replay_to_the_same_addresses(heap):
    asked = run_heap(objects(), heap, pages=2048).page_requests
    requests.check(asked)
    assert (replay(asked, pages=2048).page * 4096 == asked["address"]).all()


@pytest.mark.parametrize("heap", HEAPS)
def test_all_pages_come_back(heap):
    log = objects(500)
    last = log.groupby("block")["kind"].last()
    alive = last.index[last == "alloc"]
    size = log.drop_duplicates("block").set_index("block")["count"].loc[alive]
    rest = requests.frame(np.full(len(alive), int(Kind.FREE)), size, alive)
    whole = pd.concat([log, rest.assign(time=log["time"].max())], ignore_index=True)
    found = run_heap(whole, heap, pages=2048)
    kept = 8 if heap == "bump" else 0  # the chunk in use
    assert len(found.pages) == kept
    assert found.used.sum() == 0


SIZES_BY_HAND = [("bump", 112), ("slab", 128), ("buddy", 128)]


@pytest.mark.parametrize(("heap", "granted"), SIZES_BY_HAND)
def test_rounding_by_hand(heap, granted):
    log = requests.frame([Kind.ALLOC], [100], [0])
    found = run_heap(log, heap, pages=16)
    assert found.samples["granted_bytes"].tolist() == [granted]
    assert found.internal_fragmentation == pytest.approx(1 - 100 / granted)
    assert found.johnstone_wilson.average == pytest.approx(
        found.samples["committed_bytes"][0] / 100 - 1
    )


def test_a_slab_uses_what_was_freed_last():
    kinds = [Kind.ALLOC] * 3 + [Kind.FREE] * 2 + [Kind.ALLOC] * 2
    log = requests.frame(kinds, [64] * 7, [0, 1, 2, 0, 1, 3, 4])
    assert run_heap(log, "slab", pages=16).events["address"].tolist() == [0, 64, 128, 0, 64, 64, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(heap="jemalloc"), "no allocator 'jemalloc'; there are bump, slab, buddy"),
        (dict(pages=5000), "1 to 4,096 pages, not 5,000"),
        (dict(rule="buddy"), "a policy that searches"),
        (dict(log=workloads.make("user_faults", 100, 64)), "row .*: a heap knows alloc anywhere"),
    ],
)
def test_what_a_heap_refuses(change, message):
    with pytest.raises(WorkbenchError, match=message):
        run_heap(**{"log": objects(50), **change})


def test_fragmentation_of_programs_pages():
    """The example allocator, placed again under each policy: the same pages asked for."""
    log = workloads.record("runs", size=300, pages=64)
    live = {name: replay(log, name, 64).samples["live_pages"].iloc[-1] for name in POLICIES}
    assert live["range_tree"] == live["maple"] == live["best_fit"]
    extents = replay(log, "range_tree", 64).extents
    assert fragmentation.entropy(extents[:, 1]) <= np.log2(len(extents))
