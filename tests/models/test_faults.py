"""Page faults: causes by hand, every table against the obvious count, views, bad input."""

import math

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.errors import SegmentationFault, WorkbenchError
from workbench.models import faults
from workbench.models.faults import NAMES, tables
from workbench.plots import Figure, fault_views

PAGE = 4096


def story() -> pd.DataFrame:
    """Faults of every cause on one arena: touches, frees, a program on absent pages."""
    program = wb.assemble("""
        r6 = arena + 0x3000 ll
        r6 = cast_kern(r6)
        r7 = *(u64 *)(r6 + 0)
        *(u64 *)(r6 + 0) = 42
        r0 = 0
        exit
        """)
    arena = wb.Arena(16)
    start = arena.user_start
    arena.user.store(start, "u8", 1)  # fill page 0
    block = arena.alloc(1)  # page 1
    arena.user.load(block, "u8")  # map it
    arena.free(start)
    arena.user.load(start, "u8")  # fill page 0 again, after a free
    with wb.Interpreter(program, arena=arena) as engine:
        engine.run(trace="events")  # page 3: read 0, write lost
    with pytest.raises(SegmentationFault):
        arena.user.load(start + 16 * PAGE, "u8")
    return arena.events


def test_causes_by_hand():
    found = faults.fault_frame(story())
    assert faults.sequence(found) == [
        ("fill", 0), ("map", 1), ("fill", 0), ("absent_read", 3), ("dropped_write", 3),
        ("refused", -1),
    ]  # fmt: skip
    assert found["repeat"].tolist() == [False, False, True, False, True, False]
    assert found["after_free"].tolist() == [False, False, True, False, False, False]
    assert found["pc"].tolist() == [-1, -1, -1, 3, 4, -1]
    assert found["ns"].isna().all()
    assert list(found.columns) == list(faults.COLUMNS)
    assert found["actor"].tolist()[2:4] == ["user", "program"]


def test_lines_of_c_where_they_are_known():
    from workbench.examples import programs

    loaded = wb.load_object(programs.directory() / "c" / "sparse.o")
    program = loaded.programs["gather"]
    with loaded.arena() as arena, wb.Interpreter(program, arena=arena) as engine:
        result = engine.run(ctx=(60).to_bytes(8, "little"), trace="events")
        found = faults.fault_frame(result.events, program)
    reads = found[found["cause"] == "absent_read"]
    assert len(reads)
    assert (reads["line"] > 0).all()


def test_reports_of_the_kernel():
    text = (
        "ERROR: Arena READ access at unmapped address 0x100000003008\nCPU: 1 UID: 0 PID: 7\n"
        "Call trace:\nbpf_stream_stage_dump_stack+0x2b/0x60\nbpf_prog_1_walk+0x1f/0x40\n"
        "  sum += node->value; @ list.c:17\nbpf_prog_2_main+0x9/0x10\n  walk(); @ list.c:30\n\n"
        "ERROR: Arena WRITE access at unmapped address 0x100000000010\nCall trace:\nbpf_prog\n\n"
        "ERROR: Arena READ access at unmapped address 0x100000001000\nf\n  x @ a b.c:4\n"
    )
    found = faults.from_reports(text, 0x1000_0000_0000, pages=4)
    told = [("absent_read", 3), ("dropped_write", 0), ("absent_read", 1)]
    assert faults.sequence(found) == told
    assert found["line"].tolist() == [17, 0, 4]
    assert set(found["source"]) == {"kernel"}
    assert faults.from_reports("", 0).empty


def random_faults(rows: int = 4000, seed: int = 3) -> pd.DataFrame:
    """Faults made up, of every cause, some outside the arena."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "time": np.sort(rng.integers(0, 900, rows)).astype(np.uint64),
        "ns": np.sort(rng.random(rows)) * 1e6,
        "cause": pd.Categorical.from_codes(rng.integers(0, 5, rows).astype(np.int8), NAMES),
        "page": rng.integers(-1, 40, rows).astype(np.int32),
        "repeat": rng.random(rows) < 0.5,
        "after_free": rng.random(rows) < 0.2,
    })  # fmt: skip


def test_tables_count_every_fault():
    found = random_faults()
    counts = found["cause"].value_counts()
    rate = tables.rate(found, windows=7)
    edges = np.append(rate["start"], rate["end"].iloc[-1])
    for name in NAMES:
        own = found.loc[found["cause"] == name, "time"]
        assert rate[name].tolist() == np.histogram(own, edges)[0].tolist()
    assert tables.cumulative(found)[NAMES].iloc[-1].to_dict() == counts.reindex(NAMES).to_dict()
    by_page = tables.by_page(found).set_index("page")
    assert by_page["total"].to_dict() == found["page"].value_counts().sort_index().to_dict()
    causes = tables.by_cause(found).set_index("cause")
    assert causes["faults"].to_dict() == counts.reindex(NAMES).to_dict()
    assert (causes["pages"] == found.groupby("cause", observed=True)["page"].nunique()).all()
    first = tables.first_and_repeat(found)
    assert first[["first", "repeat", "after_free"]].to_numpy().sum() == len(found)
    assert first["after_free"].sum() == found["after_free"].sum()
    cells, limits = tables.density(found)
    assert cells.sum() == len(found)
    assert limits == (found["time"].min(), found["time"].max(), -1, 40)
    gaps = tables.gaps(found)["ns"]
    assert gaps.is_monotonic_increasing
    assert gaps.sum() == pytest.approx(found["ns"].iloc[-1] - found["ns"].iloc[0])


def test_windows_and_clocks():
    found = random_faults()
    part = tables.window(found, "time", 100, 200)
    assert part["time"].between(100, 200).all()
    assert len(part) == found["time"].between(100, 200).sum()
    assert tables.moments(found, "order").tolist() == list(range(len(found)))
    with pytest.raises(WorkbenchError, match="no clock 'seconds'; there are time, order"):
        tables.moments(found, "seconds")
    with pytest.raises(WorkbenchError, match=r"have no model_ns; faults\.modelled makes it"):
        tables.moments(found, "model_ns")
    with pytest.raises(WorkbenchError, match="have no ns; nothing was measured"):
        tables.moments(faults.fault_frame(story()), "ns")


def test_modelled_time_by_hand():
    found = faults.fault_frame(story())
    costs = {"step": 2.0, "fill": 1500.0, "map": 800.0, "absent_read": 600.0, "refused": math.nan}
    model = faults.modelled(found, costs)["model_ns"].tolist()
    steps = (found["time"].astype(float) - float(found["time"][0])).tolist()
    own = np.cumsum([1500, 800, 1500, 600, 0, 0])
    assert model == [2 * step + cost for step, cost in zip(steps, own, strict=True)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.drop(columns=["pc", "page"]), r"lacks the column\(s\) page, pc"),
        (lambda e: e.assign(kind="teleport"), "row 0: unknown kind 'teleport'"),
        (lambda e: e.assign(time=e["time"].to_numpy()[::-1].copy()), "time runs backwards"),
        (lambda e: e.assign(weight=1), r"has the unknown column\(s\) weight"),
        (lambda e: e.assign(actor="martian"), "row 0: .* actor 'martian'"),
        (lambda e: e.assign(page=1 << 20), "row 0: page is 1048576, not .* to 1,048,575"),
        (lambda e: e.assign(count=-1), "row 0: count is -1, not a whole number from 0"),
        (lambda e: e.assign(time=np.nan), "row 0: time is nan, not a whole number"),
        (lambda e: [e], "must be a frame of events"),
    ],
)
def test_what_is_no_event_frame(change, message):
    with pytest.raises(WorkbenchError, match=message):
        faults.fault_frame(change(story()))


def test_rows_that_cannot_be_are_left_out_on_request():
    events = story()
    bad = events.iloc[[0]].assign(page=1 << 40)
    shuffled = pd.concat([events[::-1], bad], ignore_index=True).assign(weight=1)
    mended = faults.fault_frame(shuffled, repair=True)
    wanted = faults.fault_frame(events)
    assert len(mended) == len(wanted)
    assert mended["time"].is_monotonic_increasing
    assert mended["cause"].value_counts().equals(wanted["cause"].value_counts())


@pytest.mark.parametrize("name", fault_views.VIEWS)
def test_every_view_and_its_table(name):
    view, table = fault_views.VIEWS[name]
    full = faults.fault_frame(story())
    for frame in (full, random_faults(), random_faults(fault_views.DOTS + 1), full[:0]):
        figure = view(frame, "order")
        assert isinstance(figure, Figure)
        assert figure.workbench_alt.endswith(".")
        assert isinstance(table(frame, "order"), pd.DataFrame)
    assert "empty" in view(full[:0]).workbench_alt
    assert any(axes.texts for axes in view(full[:0]).axes)


def test_looks_differ_without_colour():
    looks = fault_views.LOOKS.values()
    assert len({look.marker for look in looks}) == len({look.hatch for look in looks}) == len(NAMES)
    assert len({str(look.dashes) for look in looks}) == len(NAMES) == len(fault_views.LOOKS)
