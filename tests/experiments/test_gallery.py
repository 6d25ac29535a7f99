"""The gallery: recorded results are drawn everywhere, their claims hold; reproduce says so."""

import json
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.backends.backend_agg import FigureCanvasAgg
from support.repetition_probe import measured

import workbench as wb
from workbench import plots
from workbench.cli import cli
from workbench.errors import KernelError, WorkbenchError
from workbench.evidence import provenance
from workbench.experiments import (
    arena_creation,
    batch_costs,
    conversion_overhead,
    engine_speed,
    explorer,
    fragmentation_versions,
    gallery,
    repetition,
    results,
    together,
    touch_costs,
    walk_costs,
)
from workbench.experiments import reproduce as command
from workbench.plots.figure import base_style

RECORDED = [one for one in gallery.EXHIBITS if one.name != fragmentation_versions.NAME]
NAMES = [one.name for one in RECORDED]
EARLIER = [conversion_overhead.NAME]


def recorded(name: str) -> pd.DataFrame:
    frame = results.load("touch_costs" if name == "fault_costs" else name)
    return frame.assign(kind="recorded")


@pytest.fixture(scope="module")
def earlier() -> dict[str, pd.DataFrame]:
    return {name: recorded(name) for name in EARLIER}


@pytest.mark.parametrize("place", [("usenix", 1), ("ieee", 2), ("dark", 1), ("slides", 1)])
@pytest.mark.parametrize("one", RECORDED, ids=NAMES)
def test_every_figure_fits_every_place(one, place, earlier, tmp_path):
    with plots.style(*place):
        figure = one.plot(recorded(one.name), earlier)
    assert figure.workbench_alt.endswith(".")
    assert figure.workbench_caption.endswith(".")
    path = tmp_path / "figure.pdf"
    figure.savefig(path)
    assert b"/Type3" not in path.read_bytes()
    width, height = figure.get_size_inches() * figure.dpi
    with base_style(figure._place):
        renderer = FigureCanvasAgg(figure).get_renderer()
        boxes = [part.get_tightbbox(renderer) for part in (*figure.axes, *figure.legends)]
    for box in boxes:  # nothing is cut off
        assert -2 <= box.x0 < box.x1 <= width + 2
        assert -2 <= box.y0 < box.y1 <= height + 2


@pytest.mark.parametrize("one", RECORDED, ids=NAMES)
def test_claims_hold_on_the_recorded_results(one, earlier):
    claims = gallery.claims_of(one, recorded(one.name), earlier)
    assert claims
    assert [claim for claim in claims if not claim.holds] == []
    assert {claim.kind for claim in claims} == {"recorded"}


@pytest.mark.parametrize("one", RECORDED, ids=NAMES)
def test_an_empty_frame_is_drawn_as_empty(one, earlier):
    plot = {"fault_costs": lambda frame, _: touch_costs.plot(frame)}.get(one.name, one.plot)
    assert "empty" in plot(recorded(one.name).iloc[:0], earlier).workbench_alt


def test_fragmentation_is_replayed_here(tmp_path, monkeypatch):
    monkeypatch.setattr(fragmentation_versions, "ROWS", 2000)
    monkeypatch.setattr(fragmentation_versions, "WORKLOADS", ("exponential", "larson"))
    frame = fragmentation_versions.run(6, tmp_path)
    assert set(frame["kind"]) == {"model"}
    assert len(frame) == 2 * 2 * 6
    figure = fragmentation_versions.plot(frame)
    assert "exponential" in figure.workbench_alt
    assert "range tree leaves fewer free ranges" in figure.workbench_caption
    assert "empty" in fragmentation_versions.plot(frame.iloc[:0]).workbench_alt


def test_the_table_has_the_reference_beside_it():
    table = conversion_overhead.table(recorded(conversion_overhead.NAME))
    assert table.loc["cast_user", "reference, ns"] == "0.4 / 0.057"
    assert table.loc["16 casts and stores", "reference ratio"] == "1.54"
    assert set(table["kind"]) == {"recorded"}


def test_differences_from_the_reference_are_told_from_the_data():
    frame = recorded(conversion_overhead.NAME)
    text = conversion_overhead.differences(frame)
    assert "reference 0.4 / 0.057" in text
    assert conversion_overhead.RENAMED in text
    chain = (frame["workload"] == "chain") & (frame["engine"] == "kernel")
    frame.loc[chain, "value"] *= 5  # a core that copies
    assert conversion_overhead.COPIED in conversion_overhead.differences(frame)


MALFORMED = {
    "another frame": (pd.DataFrame({"nonsense": [1]}), "finds no column"),
    "no frame": ([1, 2], "takes a DataFrame, not list"),
}


@pytest.mark.parametrize("read", [
    conversion_overhead.ratios, conversion_overhead.table, conversion_overhead.claims,
    conversion_overhead.differences, walk_costs.ratios, walk_costs.break_evens, walk_costs.rule,
    walk_costs.claims, touch_costs.summary, touch_costs.claims, engine_speed.means,
    engine_speed.claims, arena_creation.summary, arena_creation.caption, batch_costs.summary,
    batch_costs.caption, batch_costs.claims,
], ids=lambda read: f"{read.__module__.rpartition('.')[2]}.{read.__name__}")  # fmt: skip
@pytest.mark.parametrize(("frame", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_frames_that_are_something_else(read, frame, reason):
    with pytest.raises(WorkbenchError, match=reason):
        read(frame)


def test_frames_of_a_part():
    times = recorded(conversion_overhead.NAME)
    with pytest.raises(WorkbenchError, match=r"claims misses .*pointer-chasing walk.*a part"):
        conversion_overhead.claims(times[times["workload"] == "list build"])
    with pytest.raises(WorkbenchError, match="'kernel'; there is jit, interpreter"):
        conversion_overhead.table(times[times["engine"] != "kernel"])
    with pytest.raises(WorkbenchError, match="table got an empty frame"):
        conversion_overhead.table(times.iloc[:0])
    with pytest.raises(WorkbenchError, match="needs finite numbers in column 'value'"):
        conversion_overhead.ratios(times.assign(value="fast"))
    figure = conversion_overhead.plot(times[times["engine"] == "jit"])
    assert figure.workbench_caption.startswith("What conversion costs")
    assert "not measured" in {
        text.get_text()
        for axes in conversion_overhead.plot(times[times["workload"] == "list build"]).axes
        for text in axes.texts
    }


def test_a_build_without_casts_costs_nothing():
    rows = walk_costs.break_evens(recorded(walk_costs.NAME), recorded(conversion_overhead.NAME))
    tree = rows.set_index("structure").loc["tree"]
    assert (tree["walks"], tree["high"]) == (0, 0)
    assert tree["verdict"] == "conversion costs nothing here: leave it on"


def test_the_rule_is_drawn_from_the_data():
    walks, builds = recorded(walk_costs.NAME), recorded(conversion_overhead.NAME)
    text = walk_costs.rule(walks, builds)
    assert text.count("\n- **") == 2 + len(walk_costs.CURVES)
    free = builds.copy()
    is_list = free["workload"] == "list build"
    free.loc[is_list & (free["subject"] == "conversion"), "value"] /= 10
    assert "A list built, and walked by user space:** conversion costs nothing" in walk_costs.rule(
        walks, free
    )


# Without a kernel


def test_without_a_kernel_its_rows_are_the_recorded_ones(monkeypatch):
    monkeypatch.setattr(repetition, "kernel_refusal", lambda: "EPERM: run as root")
    frame = arena_creation.run(repetition.TOUCH)
    kinds = frame.groupby("engine")["kind"].unique().str.join(" ").to_dict()
    assert kinds == {"kernel": "recorded", "emulated": "measured"}
    text = repetition.label(frame)
    assert "kernel recorded (" in text
    assert "emulated measured (" in text


# Repetition


def test_every_repetition_has_a_process_of_its_own(tmp_path):
    effort = repetition.Effort(2, 1, 1)
    frame = repetition.repeated(measured, {"point": ["a"]}, effort, directory=tmp_path)
    assert frame["pid"].nunique() == 2
    assert set(frame["kind"]) == {"measured"}
    assert frame.attrs["parameters"] == {"grid": {"point": ["a"]}, **effort._asdict()}
    again = repetition.repeated(measured, {"point": ["a"]}, effort, directory=tmp_path)
    assert again["pid"].tolist() == frame["pid"].tolist()  # kept
    anew = repetition.repeated(measured, {"point": ["a"]}, effort)
    assert set(anew["pid"]).isdisjoint(frame["pid"])


def test_a_failed_measurement_says_why(tmp_path):
    with pytest.raises(WorkbenchError, match=r"measuring failed \(point broken\): ValueError: no"):
        repetition.repeated(measured, {"point": ["broken"]}, repetition.TOUCH, directory=tmp_path)


# Reproduce


@pytest.fixture
def small(monkeypatch, earlier) -> list[str]:
    """A gallery of recorded figures; returns the list of what was run."""
    ran: list[str] = []

    def run(name: str) -> pd.DataFrame:
        ran.append(name)
        return recorded(name)

    exhibits = tuple(
        one._replace(run=lambda effort, kept, frames, name=one.name: run(name))
        for one in RECORDED[:2]
    )
    monkeypatch.setattr(gallery, "EXHIBITS", exhibits)
    return ran


def test_reproduce_writes_every_figure(small, tmp_path):
    report = command.reproduce(tmp_path, venue="acm", span=1)
    assert report.ok
    assert small == NAMES[:2]
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {f"{name}.{form}" for name in small for form in command.FORMATS}
    assert names >= {f"{name}.{form}" for name in small for form in ("parquet", "json")}
    assert names >= {"conversion.txt", "conversion.csv", "break_even.txt", "rule.txt"}
    for name in small:
        about = json.loads((tmp_path / f"{name}.json").read_text())
        for path, digest in about["outputs"].items():
            assert sha256((tmp_path / path).read_bytes()).hexdigest() == digest
        frame = provenance.load(tmp_path / f"{name}.parquet")
        assert about["inputs"] == {f"{name}.parquet": provenance.content_hash(frame)}
        assert about["provenance"]["commit"] == frame.attrs["provenance"]["commit"]
    below = (tmp_path / "conversion.txt").read_text().splitlines()[-2:]
    assert "recorded (Linux" in below[0]
    assert "commit " in below[1]
    assert (tmp_path / "report.txt").read_text() == f"{report}\n"
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["ok"]
    assert {claim["kind"] for claim in told["claims"]} == {"recorded"}
    assert "\\caption{" in (tmp_path / "captions.tex").read_text()
    assert any(note.startswith("walk_costs: kernel recorded (") for note in report.notes)
    lines = str(report).splitlines()
    assert all(line.startswith("pass  ") for line in lines[: len(report.claims)])


def test_a_claim_that_fails_is_the_exit_status(small, tmp_path, monkeypatch):
    one = gallery.EXHIBITS[0]._replace(claims=lambda *_: [("pigs fly", "0 m", False)])
    monkeypatch.setattr(gallery, "EXHIBITS", (one,))
    done = CliRunner().invoke(cli, ["reproduce", "--output", str(tmp_path)], standalone_mode=False)
    assert done.return_value == 1
    assert done.stdout.startswith("FAIL  pigs fly  conversion_overhead  0 m  (recorded)")


def test_noise_is_told(small, tmp_path, monkeypatch):
    def loud(*_: object) -> pd.DataFrame:
        frame = recorded(NAMES[0]).assign(kind="measured")
        frame["value"] *= np.random.default_rng(1).lognormal(0, 0.5, len(frame))
        return frame

    one = gallery.EXHIBITS[0]._replace(run=loud)
    monkeypatch.setattr(gallery, "EXHIBITS", (one,))
    report = command.reproduce(tmp_path)
    assert any("conversion_overhead: noisy: iterations of '" in note for note in report.notes)


def test_a_full_disk_is_told(small, tmp_path, monkeypatch):
    def full(self: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WorkbenchError, match=r"No space left on device; .*kept, and used"):
        command.reproduce(tmp_path)


def test_an_unknown_venue_is_refused_before_anything_runs(small, tmp_path):
    with pytest.raises(WorkbenchError, match="no venue 'nature'"):
        command.reproduce(tmp_path, venue="nature")
    assert small == []


def kept_point(x: int) -> int:
    return x


def test_kept_measurements_are_forgotten_when_asked(tmp_path):
    """A user's frames stay, whatever their names are."""
    sweep = wb.Sweep(kept_point, {"x": [1, 2]}, directory=tmp_path)
    sweep.run(jobs=1)
    assert len(os.listdir(tmp_path)) == 2
    digits = "0123456789abcdef01234567"
    for name in (f"thesis-{digits}.parquet", "thesis.parquet"):
        pd.DataFrame({"a": [1]}).to_parquet(tmp_path / name)
    (tmp_path / f"empty-{digits}.parquet").touch()
    (tmp_path / "notes.txt").touch()
    before = set(os.listdir(tmp_path))
    command.forget(tmp_path)
    gone = before - set(os.listdir(tmp_path))
    assert len(gone) == 2
    assert all(name.startswith("kept_point-") for name in gone)


def test_unknown_figures():
    with pytest.raises(WorkbenchError, match="no figure 'pie' in the gallery; there are conv"):
        gallery.exhibit("pie")
    assert gallery.exhibit("fault_costs").title


@pytest.mark.deep
def test_reproduce_quick_from_nothing(tmp_path):
    report = command.reproduce(tmp_path)
    assert report.seconds > 0
    assert len(list(tmp_path.glob("*.pdf"))) == len(gallery.EXHIBITS)


# The explorer


def test_the_explorer_shows_all_of_a_workload():
    times, walks = recorded(conversion_overhead.NAME), recorded(walk_costs.NAME)
    for name in ("red-black tree", "cast_kern"):
        parts = list(explorer.sheet(name, times, walks))
        text = " ".join(part for part in parts if isinstance(part, str))
        for word in ("All together", "Times", "recorded", "User space"):
            assert word in text
        assert any(isinstance(part, plots.Figure) for part in parts)


@pytest.mark.parametrize("name", ["pointers, 25 % NULL", "cast_kern"])
def test_all_that_is_known_of_a_workload_is_in_one_table(name):
    table = together.together(name, recorded(conversion_overhead.NAME))
    assert table["says"].str.match("model|measured|recorded|.* recorded").all()
    times = table[table["what"] == "time"].set_index("engine")
    assert set(times.index) == {"kernel", "jit", "interpreter"}
    assert (times["low"] <= times["ratio"]).all()
    counts = table[table["engine"] == ""].set_index("what")
    share = counts.loc["NULL among pointers converted", "conversion"]
    casts = counts.loc["conversions executed", "conversion"]
    assert (share == 0.25 and casts == 32768) if "25" in name else (share != share and casts == 0)


def test_a_program_of_ones_own_is_measured_here():
    text = """
        r1 = arena + 0 ll
        r2 = cast_user(r1)
        r1 = arena ll
        r0 = 0
        exit
    """
    table = together.together(wb.assemble(text, name="own")).set_index(["what", "engine"])
    assert table.loc[("cast_user in the program's text", ""), "conversion"] == 1
    assert table.loc[("time", "jit"), "no_user_conv"] > 0
    assert table.loc[("time", "interpreter"), "says"].startswith("measured (interpreter, ")
    with pytest.raises(WorkbenchError, match="no workload 'heap'"):
        together.together("heap")


def test_without_a_kernel_the_size_of_its_code_is_the_recorded_one(monkeypatch):
    def refused(*_: object) -> None:
        raise KernelError("EPERM", "run as root")

    monkeypatch.setattr(together, "_left_by_linux", refused)
    monkeypatch.setattr(together.machine_code, "compiled", refused)
    table = together.together("list build", recorded(conversion_overhead.NAME))
    code = table[table["what"] == "instructions that a cast_user adds"].set_index("engine")
    assert code.loc["kernel", "conversion"] == 5
    assert code.loc["kernel", "says"].startswith("recorded (kernel, Linux")


def test_the_user_picks():
    from workbench.widgets.chooser import Chooser

    def show(name: str) -> list:
        if name == "bad":
            raise WorkbenchError("a mistake")
        return [f"**{name}**", pd.DataFrame({"x": [1]})]

    chooser = Chooser(["one", "two", "bad"], show)
    assert chooser.chosen == "one"
    chooser.choose("two")
    outputs = chooser.children[1].outputs
    assert outputs[0]["data"]["text/markdown"] == "**two**"
    assert "<table" in outputs[1]["data"]["text/html"]
    static = chooser._repr_mimebundle_()
    assert "<b>two</b>" in static["text/html"]
    assert "<table" in static["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in static
    chooser.choose("bad")
    assert "a mistake" in chooser.children[1].outputs[0]["data"]["text/plain"]
    with pytest.raises(ValueError, match="'three' is not a choice; there are one, two, bad"):
        chooser.choose("three")


def test_provenance_goes_with_every_recorded_frame():
    for name in (conversion_overhead.NAME, walk_costs.NAME):
        frame = results.load(name)
        assert {"parameters", "seed", "sha256", "schema", provenance.KEY} <= set(frame.attrs)
        assert Path(results.directory(), f"{name}.parquet").stat().st_size < 400_000
